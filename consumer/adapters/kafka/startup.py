"""What is checked before the first record is read, bounded in time (design §4, "At the start").

The client itself raises nothing for wrong credentials or TLS: it tries for ever, and only its
error callback tells. So this module asks the cluster, judges what the callbacks said and ends
with one line:

- wrong credentials or TLS, missing rights, a missing topic: `ConfigurationError` within
  `startup_ms`;
- nobody answers: one warning at `startup_ms`, then waiting, `RestartNeeded` at `outage_max_ms`.

The rights are four, and no more are needed (seen, by removing one at a time): READ on gift-sent,
WRITE on both outputs, READ on the group, WRITE on the transactional id.
"""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AclOperation,
    AdminClient,
    TopicDescription,
)

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.clients import LIBRDKAFKA, Clients
from consumer.adapters.kafka.config import KafkaConfig, client_properties, refuse_properties
from consumer.adapters.kafka.errors import NOT_ALLOWED, kafka_error
from consumer.clock import Clock
from consumer.errors import ConfigurationError, RestartNeeded

TRY_S: Final = 1.0
"""One try; between tries callbacks are judged and a stop is noticed."""

PAUSE_S: Final = 0.1

REQUEST_S: Final = 5.0

REFUSALS_MAX: Final = 2
"""A broker that is just starting may refuse a good password once."""

TOPIC_MISSING_MS: Final = 3_000
"""A topic made a moment ago is not known to every broker at once."""

_PASSING: Final = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._TIMED_OUT,  # noqa: SLF001  the client's names
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._DESTROY_BROKER,  # noqa: SLF001  a configured address gave way to the broker's own
    }
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TopicFound:
    """One of our topics as the cluster describes it, and what is wrong with it, if anything is.

    `description` is None where the topic, or a right to see it, is missing.
    """

    name: str
    right: AclOperation
    description: TopicDescription | None
    mistake: str | None


class Startup:
    """The checks, in the order they are to be called; the doctor makes them by itself, too.

    Args:
        stopping: set to give up quietly; every method then returns False.
        turned: called at each try, so that a watchdog sees that we go on.

    Attributes:
        gift_sent_partitions: how many that topic has; None before `check_cluster`.

    Raises (all methods):
        ConfigurationError: one line that says what to mend.
        RestartNeeded: nobody answered for `outage_max_ms`.
    """

    def __init__(
        self,
        config: KafkaConfig,
        reports: ClientReports,
        clock: Clock,
        *,
        stopping: threading.Event,
        turned: Callable[[], None],
        clients: Clients = LIBRDKAFKA,
    ) -> None:
        self._config = config
        self._reports = reports
        self._clock = clock
        self._stopping = stopping
        self._turned = turned
        self._clients = clients
        self._began_ms = clock.now_ms()
        self._told = False
        self._refusals = 0
        self.gift_sent_partitions: int | None = None

    def check_cluster(self) -> bool:
        """Reach the brokers; see the topics and our rights to them. Of the group joining tells."""
        with open_admin(self._config, self._reports, self._clients) as admin:
            return self.connect(admin) and self.until_done(lambda: self._check_topics(admin))

    def connect(self, client: AdminClient | Producer, topic: str | None = None) -> bool:
        """Reach the brokers with this client, by asking about one topic or about all."""

        def ask() -> None:
            client.poll(0)
            client.list_topics(topic, timeout=TRY_S)

        return self.until_done(ask)

    def topics(self, admin: AdminClient) -> list[TopicFound]:
        """The three topics, each judged; empty if stopped."""
        found: list[TopicFound] = []
        self.until_done(lambda: found.extend(self._topics(admin)))
        return found

    def until_done(self, attempt: Callable[[], None]) -> bool:
        """Try until it works; passing errors are awaited, others raised as they are.

        Raises (on top):
            KafkaException: an error that does not pass.
        """
        while not self._stopping.is_set():
            self._turned()
            try:
                attempt()
            except KafkaException as exception:
                error = kafka_error(exception)
                if not passes(error):
                    raise
                self._judge_silence(error)
                self._stopping.wait(PAUSE_S)
            else:
                return True
        return False

    def _judge_silence(self, error: KafkaError) -> None:
        """One more try without an answer: go on, unless we are refused or it takes too long."""
        where = f"kafka.bootstrap_servers {self._config.bootstrap_servers}"
        if self._reports.refusal is not None:
            self._refusals += 1
            if self._refusals >= REFUSALS_MAX:
                raise ConfigurationError(
                    f"{where}: {self._reports.refusal}; check security.protocol, sasl.* and ssl.*"
                    " in kafka.properties and kafka.property_files"
                )
        silent_ms = self._clock.now_ms() - self._began_ms
        said = self._reports.last_error or error.str()
        if silent_ms >= self._config.outage_max_ms:
            raise RestartNeeded(f"{where}: no answer for {silent_ms} ms ({said})")
        if silent_ms >= self._config.startup_ms and not self._told:
            self._told = True
            log.warning("the brokers do not answer, waiting", where=where, last_error=said)

    def _check_topics(self, admin: AdminClient) -> None:
        mistakes = [topic.mistake for topic in self._topics(admin) if topic.mistake is not None]
        if mistakes:
            raise ConfigurationError("; ".join(mistakes))

    def _topics(self, admin: AdminClient) -> list[TopicFound]:
        config = self._config
        needed = {
            config.gift_sent: AclOperation.READ,
            config.gift_result: AclOperation.WRITE,
            config.dead_letters: AclOperation.WRITE,
        }
        described = admin.describe_topics(
            TopicCollection(list(needed)),
            include_authorized_operations=True,
            request_timeout=REQUEST_S,
        )
        return [self._topic(name, right, described[name]) for name, right in needed.items()]

    def _topic(self, name: str, right: AclOperation, future: Any) -> TopicFound:
        try:
            topic = result_of(future)
        except KafkaException as exception:
            error = kafka_error(exception)
            if error.code() in NOT_ALLOWED:
                mistake = (
                    f'topic "{name}": this user may not {right.name} it, or it does not exist'
                    f" ({error.name()})"
                )
                return TopicFound(name, right, None, mistake)
            if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            if self._clock.now_ms() - self._began_ms < TOPIC_MISSING_MS:
                raise KafkaException(_timed_out()) from exception
            mistake = f'topic "{name}" does not exist: create it (giftcheck topics create)'
            return TopicFound(name, right, None, mistake)
        if name == self._config.gift_sent:
            self.gift_sent_partitions = len(topic.partitions)
        operations = topic.authorized_operations
        if operations and right not in operations:
            mistake = f'topic "{name}": this user may not {right.name} it; allow it'
            return TopicFound(name, right, topic, mistake)
        return TopicFound(name, right, topic, None)


def open_admin(
    config: KafkaConfig, reports: ClientReports, clients: Clients = LIBRDKAFKA
) -> AdminClient:
    """A client that asks about topics and groups; close it.

    Raises:
        ConfigurationError: a property is refused or not understood.
    """
    refuse_properties(config)
    with properties_judged(config):
        properties = client_properties(config, reports.on_error)
        return clients.admin(properties, logger=reports.logger)


@contextmanager
def properties_judged(config: KafkaConfig) -> Iterator[None]:
    """Making a client: what it does not understand is the user's property.

    Raises:
        ConfigurationError: with the client's words, which name the property. They may quote its
            value (seen); one that came out of a file is left out.
    """
    try:
        yield
    except KafkaException as exception:
        words = kafka_error(exception).str()
        for value in config.file_properties.values():
            words = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", words)
        key = "kafka.properties"
        if any(
            re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", words)
            for name in config.file_properties
        ):
            key = "kafka.property_files"
        # Without its cause, which holds what was left out.
        raise ConfigurationError(f"{key}: {words}") from None


def result_of(future: Any, request_s: float = REQUEST_S) -> Any:
    """An admin client's answer within the request's time and a bit.

    Raises:
        KafkaException: what it failed with, or that there was none in time.
    """
    try:
        return future.result(request_s + 1)
    except FutureTimeout as error:
        raise KafkaException(_timed_out()) from error


def passes(error: KafkaError) -> bool:
    """Whether another try may go better."""
    return error.code() in _PASSING or error.retriable()


def _timed_out() -> KafkaError:
    return KafkaError(KafkaError._TIMED_OUT, "no answer in time", retriable=True)  # noqa: SLF001
