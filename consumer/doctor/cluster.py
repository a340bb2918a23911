"""What is asked of Kafka, in this order, each step bounded; with the words of a start.

Nothing that runs is disturbed: no group is joined, nothing is committed or created, and nobody's
transactional id is taken. Of the four rights three are told by describing topics and group. For
the fourth, WRITE on the transactional id, there is no question, only the request for a producer's
id; asked with an instance's own name it would end that instance. So it is asked with a name that no
instance can have and that the rule for all of them (a prefix, `<group>/`) covers, and with a
transaction time-out that no broker grants: Kafka looks at the right first, then at the time-out,
and only then at its state, so it refuses the time-out and has changed nothing (seen).
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    ConfigResource,
    TopicDescription,
)

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig, producer_properties
from consumer.adapters.kafka.errors import NOT_ALLOWED, error_text, kafka_error
from consumer.adapters.kafka.ports import Codec
from consumer.adapters.kafka.startup import (
    REQUEST_S,
    Startup,
    TopicFound,
    open_admin,
    properties_judged,
    result_of,
)
from consumer.clock import Clock
from consumer.doctor.findings import Finding, Level
from consumer.doctor.group import ProgressCheck, look_at_members
from consumer.doctor.group_rights import RightsUnknown, group_rights
from consumer.doctor.sample import GIFTS, look_at_newest_gifts
from consumer.doctor.topics import Configs, judge_limits, judge_topics
from consumer.errors import ConfigurationError, RestartNeeded

INSTANCE: Final = "~doctor"
"""The doctor's name at the brokers. `kafka.instance_id` allows no `~`: nobody else can have it."""

CONNECT_MS: Final = 8_000
"""Credentials and TLS are refused within a second; a cluster that takes longer than this to be
reached is in trouble."""

STEP_MS: Final = 5_000
"""Each further step takes milliseconds where all is well; a new topic is waited for 3 s."""

TRANSACTION_TIMEOUT_MAX_MS: Final = 2**31 - 1
"""The longest that can be asked for; `transaction.max.timeout.ms` is 15 minutes by default."""


_WAY_THERE: Final = (
    "see kafka.bootstrap_servers, name look-up, rules for outgoing traffic, and that"
    " security.protocol fits the port"
)


class ClusterCheck:
    """Everything about Kafka; `config.instance` must be `INSTANCE`.

    `codec` reads gifts as the service will; None: its schemas are not right, which others tell.
    """

    def __init__(self, config: KafkaConfig, codec: Codec | None, clock: Clock) -> None:
        self._config = config
        self._codec = codec
        self._clock = clock
        self._reports = ClientReports(clock)
        self._reports.quiet = True

    def look(self) -> Iterator[Finding]:
        """The findings, as they are made. Never raises what a broker can cause."""
        check = "brokers"
        try:
            with open_admin(self._config, self._reports) as admin:
                self._startup(CONNECT_MS).connect(admin)
                brokers = sorted(admin.list_topics(timeout=REQUEST_S).brokers)
                yield Finding(check, Level.OK, f"{len(brokers)} answer")
                yield from self._look_further(admin, brokers)
        except ConfigurationError as error:
            yield Finding(check, Level.FAIL, str(error))
            yield Finding("topics, rights, group", Level.SKIP, "Kafka has to answer first")
        except RestartNeeded as silence:
            yield Finding(check, Level.FAIL, str(silence), _WAY_THERE)
            yield Finding("topics, rights, group", Level.SKIP, "Kafka has to answer first")
        except KafkaException as exception:
            yield Finding(check, Level.FAIL, error_text(kafka_error(exception)))
            yield Finding("topics, rights, group", Level.SKIP, "Kafka has to answer first")

    def _look_further(self, admin: AdminClient, brokers: list[int]) -> Iterator[Finding]:
        topics: list[TopicFound] = []
        steps: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
            ("topics", lambda: self._topics(admin, len(brokers), topics)),
            ("brokers' limits", lambda: self._limits(admin, brokers)),
            ("transactional id", self._transactional_id),
            ("group", lambda: self._group(admin, topics)),
            (GIFTS, lambda: self._newest_gifts(topics)),
        )
        for check, step in steps:
            try:
                yield from step()
            except RestartNeeded as silence:
                yield Finding(check, Level.FAIL, str(silence))
                yield Finding("what comes after it", Level.SKIP, "Kafka has to answer first")
                return
            except ConfigurationError as mistake:
                yield Finding(check, Level.FAIL, str(mistake))
            except KafkaException as exception:
                yield Finding(check, Level.FAIL, error_text(kafka_error(exception)))

    def _startup(self, limit_ms: int) -> Startup:
        """The checks of a start, which give up after `limit_ms`."""
        return Startup(
            replace(self._config, outage_max_ms=limit_ms),
            self._reports,
            self._clock,
            stopping=threading.Event(),
            turned=lambda: None,
        )

    def _topics(
        self, admin: AdminClient, brokers_count: int, topics: list[TopicFound]
    ) -> Iterator[Finding]:
        topics.extend(self._startup(STEP_MS).topics(admin))
        configs = {
            topic.name: _configs(admin, ConfigResource(ConfigResource.Type.TOPIC, topic.name))
            for topic in topics
            if topic.mistake is None
        }
        yield from judge_topics(topics, configs, self._config, brokers_count)

    def _limits(self, admin: AdminClient, brokers: list[int]) -> Iterator[Finding]:
        asked = ConfigResource(ConfigResource.Type.BROKER, str(brokers[0]))
        yield from judge_limits(_configs(admin, asked), self._config)

    def _transactional_id(self) -> Iterator[Finding]:
        check = "transactional id"
        prefix = f"{self._config.group_id}/"
        properties = {
            **producer_properties(self._config, self._reports.on_error),
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MAX_MS,
        }
        with properties_judged(self._config):
            producer = Producer(properties, logger=self._reports.logger)
        try:
            self._startup(STEP_MS).until_done(lambda: producer.init_transactions(1.0))
        except KafkaException as exception:
            error = kafka_error(exception)
            if error.code() in NOT_ALLOWED:
                yield self._no_prefix(check, prefix)
                return
            if error.code() != KafkaError.INVALID_TRANSACTION_TIMEOUT:
                raise
        yield Finding(check, Level.OK, f'WRITE allowed on those with the prefix "{prefix}"')

    def _no_prefix(self, check: str, prefix: str) -> Finding:
        found = f'no rule allows WRITE on those with the prefix "{prefix}"'
        advice = f'allow WRITE on transactional ids, PREFIXED, "{prefix}"'
        if not self._config.static_member:
            return Finding(
                check,
                Level.FAIL,
                f"{found}, and without kafka.instance_id names are random",
                advice,
            )
        return Finding(
            check,
            Level.WARN,
            f"{found}; a rule for the instance's own name cannot be seen from here",
            f"{advice}, or be sure of that rule",
        )

    def _group(self, admin: AdminClient, topics: list[TopicFound]) -> Iterator[Finding]:
        group = self._config.group_id
        check = f"group {group}"
        try:
            rights = group_rights(self._config)
        except RightsUnknown as unknown:
            yield Finding(check, Level.WARN, f"its rights cannot be asked: {unknown}", "ask again")
            rights = None
        else:
            if rights is not None and "READ" not in rights:
                found = f'group "{group}": this user may not READ it'
                yield Finding(check, Level.FAIL, found, "allow it")
                yield Finding("group members, progress", Level.SKIP, "needs READ on the group")
                return
            seen = "READ allowed" if rights else "the brokers do not tell the rights to it"
            yield Finding(check, Level.OK, seen)
        seen_topics = _described(topics)
        sent = seen_topics.get(self._config.gift_sent)
        if sent is None or self._config.gift_result not in seen_topics:
            found = f"needs {self._config.gift_sent} and {self._config.gift_result}"
            yield Finding("group members, progress", Level.SKIP, found)
            return
        partitions = sorted(one.id for one in sent.partitions)
        yield look_at_members(admin, self._config, len(partitions))
        progress = ProgressCheck(admin, self._config, self._reports, self._clock)
        yield from progress.look(self._startup(STEP_MS), partitions)

    def _newest_gifts(self, topics: list[TopicFound]) -> Iterator[Finding]:
        if self._codec is None:
            yield Finding(GIFTS, Level.SKIP, "needs the schemas")
        elif self._config.gift_sent not in _described(topics):
            yield Finding(GIFTS, Level.SKIP, f"needs {self._config.gift_sent}")
        else:
            yield from look_at_newest_gifts(self._config, self._codec, self._clock)


def _described(topics: list[TopicFound]) -> dict[str, TopicDescription | None]:
    """Those that are there and may be used as configured, by name."""
    return {topic.name: topic.description for topic in topics if topic.mistake is None}


def _configs(admin: AdminClient, resource: ConfigResource) -> Configs | None:
    """The settings of a topic or broker; None if this user may not read them."""
    asked = admin.describe_configs([resource], request_timeout=REQUEST_S)
    try:
        entries = result_of(asked[resource])
    except KafkaException as exception:
        if kafka_error(exception).code() in NOT_ALLOWED:
            return None
        raise
    return {name: entry.value for name, entry in entries.items() if entry.value is not None}
