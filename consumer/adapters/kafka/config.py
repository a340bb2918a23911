"""What the Kafka clients are told, and what a user may tell them (design §4, "Settings").

Free `properties` reach librdkafka as they are, except for those that would void a promise:
they are refused by name, with the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from confluent_kafka import KafkaError

from consumer.errors import ConfigurationError
from consumer.settings.groups import SESSION_TIMEOUT_MS

MESSAGE_BYTES_MAX: Final = 10_000_000
"""The producer's own limit: well above any broker's, so that the broker decides [R 13]."""

HEARTBEAT_INTERVAL_MS: Final = 200
"""Whoever stays learns by its next heartbeat that somebody left or came, and until all have, nobody
gets the rooms that are free. With 500 ms results were seen to flow again 1.9 to 2.0 s after a
SIGTERM, and one second of that is the API's. Five small requests a second cost nothing."""

METADATA_REFRESH_MS: Final = 1_000
METADATA_AGE_MS: Final = 3_000
IDLE_CONNECTION_MS: Final = 5_000
"""These end a hang of the producer. While a broker is away it is missing in the metadata, and
librdkafka 2.16 then waits for its dead connection as the group's coordinator, beyond all time-outs
(librdkafka issue 5511; seen: for good). It looks for the coordinator again when some connection
comes or goes and it remembers none. So it forgets soon (the age counts for coordinators, too; the
refresh keeps topics from being forgotten), and idle connections go soon after. Seen: results flow
a second after the broker is back, instead of never."""

_ONE_RESULT: Final = "exactly one result (P1) rests on it"
_OWN_SETTING: Final = "it has its own setting"

REFUSED_PROPERTIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bootstrap.servers": f"{_OWN_SETTING}: kafka.bootstrap_servers",
        "metadata.broker.list": f"{_OWN_SETTING}: kafka.bootstrap_servers",
        "group.id": f"{_OWN_SETTING}: kafka.group_id",
        "group.instance.id": f"{_OWN_SETTING}: kafka.instance_id",
        "transactional.id": "it is made of kafka.group_id and kafka.instance_id",
        "isolation.level": f"{_ONE_RESULT}: without read_committed a predecessor's open"
        " transaction is not awaited",
        "enable.auto.commit": f"{_ONE_RESULT}: offsets are committed with the results",
        "enable.auto.offset.store": f"{_ONE_RESULT}: offsets are committed with the results",
        "auto.offset.reset": f"{_ONE_RESULT}: see kafka.start_from and kafka.on_data_loss",
        "enable.partition.eof": "the intake lag is computed from it",
        "group.protocol": "leases and hand-over are proven for the classic protocol",
        "partition.assignment.strategy": "all members must use cooperative-sticky",
        "session.timeout.ms": "leases and hand-over between pods are computed from it",
        "transaction.timeout.ms": "whether a transaction was fenced by time is judged by it",
        "enable.idempotence": f"{_ONE_RESULT}: transactions need it",
        "acks": f"{_ONE_RESULT}: transactions need acks=all",
        "request.required.acks": f"{_ONE_RESULT}: transactions need acks=all",
        "retries": f"{_ONE_RESULT}: transactions need it",
        "message.send.max.retries": f"{_ONE_RESULT}: transactions need it",
        "message.timeout.ms": "it follows the transaction's time-out",
        "delivery.timeout.ms": "it follows the transaction's time-out",
        "partitioner": "results are partitioned with murmur2, as Java clients do",
        "test.mock.num.brokers": "it replaces the cluster by one that keeps nothing",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConfig:
    """Everything the Kafka adapter needs to know. Times are milliseconds.

    Attributes:
        instance: this process' name; with `static_member` it is stable over restarts and the
            group knows it (`group.instance.id`).
        start_from: where a group that never ran begins; an int is Unix milliseconds.
        on_data_loss: what to do where the start rule finds that something is missing.
        outage_max_ms: how long brokers may be away before the process gives up.
        properties: what the user tells librdkafka; may hold passwords.
        file_properties: the same, out of files: no message may quote these values.
        embedded_broker: the broker is librdkafka's mock cluster, which keeps no transactional
            offsets: every partition starts at its beginning, and what the mock cannot show
            ends the process (`RestartNeeded`). For the demo alone.
    """

    bootstrap_servers: str
    group_id: str
    instance: str
    static_member: bool = True
    gift_sent: str = "gift-sent"
    gift_result: str = "gift-result"
    dead_letters: str = "gift-sent.dlq"
    start_from: Literal["earliest", "latest"] | int = "earliest"
    on_data_loss: Literal["stop", "continue"] = "stop"
    outage_max_ms: int = 120_000
    commit_interval_ms: int = 50
    startup_ms: int = 15_000
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    heartbeat_interval_ms: int = HEARTBEAT_INTERVAL_MS
    transaction_timeout_ms: int = 15_000
    fetch_wait_max_ms: int = 100
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    file_properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    embedded_broker: bool = False

    @property
    def transactional_id(self) -> str:
        """Unique in the cluster as the group is; the instance alone would not be [R 4]."""
        return f"{self.group_id}/{self.instance}"

    @property
    def max_poll_interval_ms(self) -> int:
        """300 s, and always over the longest turn: a transaction insists for `outage_max_ms`."""
        return max(300_000, self.outage_max_ms + 60_000)


def refuse_properties(config: KafkaConfig) -> None:
    """Refuse what would void a promise [R 19].

    Raises:
        ConfigurationError: one line with all such names and why.
    """
    for key, properties in (
        ("kafka.properties", config.properties),
        ("kafka.property_files", config.file_properties),
    ):
        refused = [name for name in properties if name in REFUSED_PROPERTIES]
        if refused:
            reasons = "; ".join(f"{name}: {REFUSED_PROPERTIES[name]}" for name in refused)
            raise ConfigurationError(f"{key} may not hold {reasons}")


def client_properties(
    config: KafkaConfig, on_error: Callable[[KafkaError], None]
) -> dict[str, Any]:
    """What every client of ours is told: where, who we are, and how to complain."""
    return {
        "client.id": config.instance,
        "retry.backoff.ms": 10,  # the default of 100 doubles the time of a short transaction
        "retry.backoff.max.ms": 100,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,  # the lease is 3 s: do not miss a broker's return
        **config.properties,
        **config.file_properties,
        "bootstrap.servers": config.bootstrap_servers,
        "error_cb": on_error,
    }


def consumer_properties(
    config: KafkaConfig, on_error: Callable[[KafkaError], None]
) -> dict[str, Any]:
    """The consumer of gift-sent."""
    return {
        "fetch.wait.max.ms": config.fetch_wait_max_ms,
        "fetch.queue.backoff.ms": 20,  # the default of 1,000 stalls a full queue for a second
        "queued.min.messages": 10_000,
        "queued.max.messages.kbytes": 65_536,
        "heartbeat.interval.ms": config.heartbeat_interval_ms,
        "max.poll.interval.ms": config.max_poll_interval_ms,
        **client_properties(config, on_error),
        "group.id": config.group_id,
        **({"group.instance.id": config.instance} if config.static_member else {}),
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": config.session_timeout_ms,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # a lost offset is judged by us (`start`)
        "enable.partition.eof": True,  # only it tells records from what is never handed over
    }


def producer_properties(
    config: KafkaConfig, on_error: Callable[[KafkaError], None]
) -> dict[str, Any]:
    """The transactional producer of results and dead letters."""
    return {
        "linger.ms": 5,  # a commit flushes at once; this only gathers one cut's records
        "compression.type": "lz4",
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
        "metadata.max.age.ms": METADATA_AGE_MS,
        "connections.max.idle.ms": IDLE_CONNECTION_MS,
        **client_properties(config, on_error),
        "delivery.report.only.error": True,  # the rest costs a callback for each result
        "transactional.id": config.transactional_id,
        "transaction.timeout.ms": config.transaction_timeout_ms,
        "partitioner": "murmur2_random",
    }
