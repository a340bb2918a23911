"""The Kafka a demo runs on: the embedded broker, one started for it, or one that is there.

On a real Kafka the demo has topics and a group of its own, named by a random run id, and deletes
them at its end. The embedded broker is librdkafka's mock cluster: it makes topics when it is
asked for them, with four partitions, and lets every fetch wait for its full time.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, field
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.topics import create_topics
from consumer.clock import SystemClock
from consumer.demo.embedded_broker import EmbeddedBroker
from consumer.demo.kafka_broker import KafkaBroker
from consumer.demo.options import DemoOptions

PARTITIONS: Final = 4
"""As many as the embedded broker makes, so that figures can be compared."""

EMBEDDED_PROPERTIES: Final[Mapping[str, str]] = {"fetch.wait.max.ms": "10"}
"""For the consumer and the reader. With the default of 500 ms the median delay was seen to be
629 ms instead of 68."""

_ADMIN_S: Final = 15.0

_LOG_LEVEL: Final = 2
"""Critical: less would be written across the live view, and what matters comes as an error."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the consumer's three topics."""

    gift_sent: str = "gift-sent"
    gift_result: str = "gift-result"
    dead_letters: str = "gift-sent.dlq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where a demo's records go; `name` is for people.

    `consumer_properties` are librdkafka's, for whoever reads from it.
    """

    name: str
    bootstrap_servers: str
    embedded: bool = False
    topics: Topics = field(default_factory=Topics)
    group_id: str = "giftcheck-demo"
    consumer_properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def client_properties(self) -> dict[str, str | int | float | bool]:
        """librdkafka's, for every client of the demo itself."""
        return {"bootstrap.servers": self.bootstrap_servers, "log_level": _LOG_LEVEL}


@contextmanager
def open_cluster(options: DemoOptions) -> Iterator[Cluster]:
    """The cluster that the options ask for, with its topics, within a `with` block.

    Raises:
        GiftcheckError: the broker does not come up, cannot be reached, or refuses the topics.
    """
    with ExitStack() as stack:
        if (servers := options.bootstrap_servers) is not None:
            yield stack.enter_context(_own_corner(f"Kafka at {servers}", servers))
        elif options.broker == "kafka":
            broker = stack.enter_context(KafkaBroker())
            yield stack.enter_context(_own_corner("Apache Kafka", broker.bootstrap_servers))
        else:
            embedded = stack.enter_context(EmbeddedBroker(astuple(Topics())))
            yield Cluster(
                name="embedded broker",
                bootstrap_servers=embedded.bootstrap_servers,
                embedded=True,
                consumer_properties=EMBEDDED_PROPERTIES,
            )


@contextmanager
def _own_corner(name: str, bootstrap_servers: str) -> Iterator[Cluster]:
    """Topics and a group that nobody else uses; deleted at the end."""
    run = f"giftcheck-demo-{secrets.token_hex(4)}"
    cluster = Cluster(
        name=name,
        bootstrap_servers=bootstrap_servers,
        topics=Topics(f"{run}.gift-sent", f"{run}.gift-result", f"{run}.gift-sent.dlq"),
        group_id=run,
    )
    config = KafkaConfig(
        bootstrap_servers=bootstrap_servers, group_id=run, instance=run, **asdict(cluster.topics)
    )
    try:
        create_topics(config, SystemClock(), gift_sent_partitions=PARTITIONS)
        yield cluster
    finally:
        _delete(cluster)


def _delete(cluster: Cluster) -> None:
    """Delete what is there; the run has been judged, so trouble here is no business of its."""
    admin = AdminClient(cluster.client_properties)
    deleted = admin.delete_topics(list(astuple(cluster.topics)), operation_timeout=_ADMIN_S)
    deleted |= admin.delete_consumer_groups([cluster.group_id])
    for done in deleted.values():
        with suppress(KafkaException, TimeoutError):
            done.result(_ADMIN_S)
