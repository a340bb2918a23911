"""The embedded broker: librdkafka's mock cluster, so that the demo needs nothing installed.

It speaks the protocol, on loopback, in this process, and forgets everything at the end. What it
cannot do (tried): offsets sent in a transaction are not stored, aborted and open records are
visible, nothing is fenced, topics cannot be created but come into being, with four partitions,
when a client asks about them; a fetch always waits its full time; about 5 MB are kept for each
partition. So the consumer runs on it in a mode of its own (`KafkaConfig.embedded_broker`).
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Producer

METADATA_S: Final = 5.0


class EmbeddedBroker:
    """A running mock cluster of one broker; a context manager.

    Args:
        topics: topics that exist from the start.
    """

    def __init__(
        self, topics: Iterable[str] = ("gift-sent", "gift-result", "gift-sent.dlq")
    ) -> None:
        self._topics = tuple(topics)
        self._cluster: Producer | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        """Start it; its address is in `bootstrap_servers` from here on."""
        # The cluster lives inside a client; that client's own servers are never asked.
        cluster = Producer(
            {"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1, "log_level": 3}
        )
        brokers = cluster.list_topics(timeout=METADATA_S).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        for topic in self._topics:
            cluster.list_topics(topic, timeout=METADATA_S)
        self._cluster = cluster
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it with everything in it."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None
