"""The Kafka thread's figures, read at the scrape."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.metrics_core import Metric

from consumer.adapters.metrics.families import counter, gauge, per_partition


class KafkaFigures(Protocol):
    """What the Kafka thread tells about itself, as far as it is exported."""

    @property
    def intake_lag(self) -> Mapping[int, int]:
        """Records not yet read, by partition."""
        ...

    @property
    def intake_lag_ms(self) -> Mapping[int, int]:
        """For how long at most records have been unread, by partition."""
        ...

    @property
    def assigned(self) -> Sequence[int]:
        """Partitions that are read."""
        ...

    @property
    def waiting(self) -> Sequence[int]:
        """Partitions that the group gave us and whose start is not known yet."""
        ...

    @property
    def begun(self) -> int:
        """Partitions that became ours since the start."""
        ...

    @property
    def gift_sent_partitions(self) -> int | None:
        """How many gift-sent has, as far as is known."""
        ...

    @property
    def joined(self) -> bool:
        """Whether the process is a member of the group."""
        ...

    @property
    def commits(self) -> int:
        """Transactions committed."""
        ...

    @property
    def aborts(self) -> int:
        """Transactions aborted."""
        ...


def of_kafka(kafka: KafkaFigures) -> Iterator[Metric]:
    """Membership, lag and transactions."""
    lag = per_partition(
        "intake_lag_records",
        "Records not yet read; unlike the group's lag without those that are pending.",
    )
    for partition, records in kafka.intake_lag.items():
        lag.add_metric([str(partition)], records)
    yield lag
    lag_seconds = per_partition(
        "intake_lag_seconds",
        "For how long records have been unread: since the last one read was written, or since"
        " nothing was left to read; 0 if nothing is. A paused partition's counts.",
    )
    for partition, lag_ms in kafka.intake_lag_ms.items():
        lag_seconds.add_metric([str(partition)], lag_ms / 1_000)
    yield lag_seconds
    yield gauge(
        "partitions_assigned",
        "Partitions that the group gave to this process.",
        len(kafka.assigned) + len(kafka.waiting),
    )
    yield gauge(
        "partitions_waiting",
        "Of these, not yet read: a predecessor's transaction is open, or the brokers are silent.",
        len(kafka.waiting),
    )
    yield counter(
        "partition_assignments",
        "Partitions taken over since the start; each hand-over to this process counts.",
        kafka.begun,
    )
    if kafka.gift_sent_partitions is not None:
        yield gauge(
            "gift_sent_partitions",
            "Partitions that gift-sent had when this process started.",
            kafka.gift_sent_partitions,
        )
    yield gauge("group_joined", "1 while this process is a member of the group.", kafka.joined)
    yield counter("transactions_committed", "Transactions committed.", kafka.commits)
    yield counter(
        "transactions_aborted",
        "Transactions aborted; a few at each rebalance are normal.",
        kafka.aborts,
    )
