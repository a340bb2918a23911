"""Prometheus metrics (design §9): prefix `giftcheck_`, base units, bounded labels.

Never a room or a MsgId as a label. Almost everything is counted by the core and the Kafka thread
anyhow, so it is read from them at the scrape; the series of a partition go when it goes. Only
durations and sizes of single checks are observed as they happen.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from consumer.core.limits import Limit
from consumer.core.model import Cut, Status
from consumer.core.tally import CoreStatus, PartitionStatus


class KafkaFigures(Protocol):
    """What the Kafka thread tells about itself, as far as it is exported."""

    @property
    def intake_lag(self) -> Mapping[int, int]:
        """Records not yet read, by partition."""
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


class Metrics:
    """A registry of its own, and what is observed while it happens."""

    def __init__(self, *, check_timeout_ms: int) -> None:
        self._check_timeout_ms = check_timeout_ms
        self._registry = CollectorRegistry()
        self._transaction_seconds = Histogram(
            "giftcheck_transaction_duration_seconds",
            "From making a cut to knowing it committed, queues included; aborted ones are counted.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
            registry=self._registry,
        )
        self._result_seconds = Histogram(
            "giftcheck_result_delay_seconds",
            "From a gift's start (sent, or its record written) to its verdict, by status.",
            labelnames=["status"],
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600, 3_600),
            registry=self._registry,
        )
        self._result_seconds_of = {
            status: self._result_seconds.labels(status=status.value) for status in Status
        }
        self._check_seconds = Histogram(
            "giftcheck_check_duration_seconds",
            "From sending a check to its end; compare its upper quantiles with request_timeout.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self._registry,
        )
        self._check_ids = Histogram(
            "giftcheck_check_ids",
            "Ids in one check; always at batch_size_max means that rooms outgrow their limit.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self._registry,
        )

    def check_ended(self, ids_count: int, duration_ms: int) -> None:
        """A check for so many ids ended, with whatever outcome."""
        self._check_ids.observe(ids_count)
        self._check_seconds.observe(duration_ms / 1_000)

    def cut_committed(self, cut: Cut, duration_ms: int) -> None:
        """A cut is committed, so long after it was made."""
        self._transaction_seconds.observe(duration_ms / 1_000)
        for result in cut.results:
            delay_ms = result.decided_at - result.deadline + self._check_timeout_ms
            self._result_seconds_of[result.status].observe(delay_ms / 1_000)

    def watch(self, core: Callable[[], CoreStatus], kafka: Callable[[], KafkaFigures]) -> None:
        """Read core and Kafka thread at every scrape from now on."""
        self._registry.register(_Scrape(core, kafka))

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Scrape:
    """Turns one reading of core and Kafka thread into metrics."""

    def __init__(self, core: Callable[[], CoreStatus], kafka: Callable[[], KafkaFigures]) -> None:
        self._core = core
        self._kafka = kafka

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        core = self._core()
        yield from _of_core(core)
        yield from _of_partitions(core.partitions)
        yield from _of_kafka(self._kafka())


def _of_core(core: CoreStatus) -> Iterator[Metric]:
    tally = core.tally
    yield _gauge("pending_gifts", "Gifts without a result.", core.pending_gifts)
    yield _gauge(
        "overdue_gifts",
        "Of these, past their deadline and without an answer that decides.",
        core.overdue_gifts,
    )
    yield _gauge("rooms", "Rooms with pending gifts or permits not yet free.", core.rooms)
    yield _gauge("checks_in_flight", "Checks under way now.", core.requests_in_flight)
    yield _gauge(
        "request_price_seconds",
        "Gift-seconds of waiting that are worth a request; above check.request_price: too few "
        "slots, or the loop is late.",
        core.request_price_ms / 1_000,
    )
    yield _gauge(
        "slots",
        "Checks that may be under way now; fewer after many rooms were told "
        '"too frequent" at once.',
        core.slots,
    )
    yield _gauge(
        "windows_queued",
        "Rooms that are due and wait for a slot; lastingly above 0: raise requests_in_flight_max.",
        core.windows_queued,
    )
    yield _gauge(
        "scopes_in_trouble",
        "Rooms, games and apps that back off after an error; /status names games and apps.",
        core.scopes_in_trouble,
    )
    yield _gauge(
        "batch_size_max",
        "Ids in one check at most, as learned; under check.batch_size_max: the API takes no more.",
        core.batch_size_max,
    )
    faults = GaugeMetricFamily(
        "giftcheck_fault", "1 while this is wrong; /status says what exactly.", labels=["fault"]
    )
    for fault, detail in core.faults.items():
        faults.add_metric([fault], int(detail is not None))
    yield faults
    yield _counter("gifts_read", "Gift records read.", tally.gifts_read)
    yield _counter(
        "records_shared",
        "Records of a gift that was still pending: they share its result.",
        tally.records_shared,
    )
    yield _counter(
        "keys_foreign",
        "Records whose key is not their room: the limit is only kept if all are keyed by room.",
        tally.keys_foreign,
    )
    yield _counter(
        "rooms_in_two_partitions",
        "Rooms met in two partitions at once: producers partition differently.",
        tally.rooms_in_two_partitions,
    )
    yield _counters("results", "Results by status.", "status", tally.results)
    yield _counters(
        "given_up",
        "Results UNVERIFIED because the API could not be asked, by the limit they stood in the way"
        " of; give_up_after is the ordinary one.",
        "limit",
        tally.given_up,
    )
    yield _counters("dead_letters", "Records refused, by reason.", "reason", tally.dead_letters)
    yield _counters("answers", "Answers of the API by Code; 0 is success.", "code", tally.answers)
    yield _counters(
        "checks_lost", "Checks without an answer of the API, by trouble.", "trouble",
        tally.checks_lost,
    )  # fmt: skip
    yield _counter(
        "checks_unwritten",
        "Checks never written: no connection, or the lease was over.",
        tally.checks_unwritten,
    )
    yield _counter(
        "entries_foreign", "Entries in answers that nobody asked for.", tally.entries_foreign
    )
    yield _counter(
        "answers_incomplete",
        "Answers that were malformed in part: they prove no absence.",
        tally.answers_incomplete,
    )
    yield _counters(
        "proofs_failed",
        "Gifts past their deadline that an answer could not prove absent, by clause.",
        "clause",
        tally.clauses_open,
    )


def _of_partitions(partitions: Sequence[PartitionStatus]) -> Iterator[Metric]:
    pending = _per_partition("partition_pending_gifts", "Gifts without a result, by partition.")
    fill = _per_partition(
        "partition_metadata_ratio",
        "How full a partition's progress is, 0 to 1; intake pauses at 0.9: add partitions.",
    )
    paused = _per_partition("partition_paused", "1 while a partition's intake is paused.")
    offset = _per_partition(
        "partition_offset", "The oldest pending offset: what is committed, or about to be."
    )
    position = _per_partition("partition_position", "The offset after the last record read.")
    for status in partitions:
        label = [str(status.partition)]
        pending.add_metric(label, status.pending_gifts)
        fill.add_metric(label, status.fill)
        paused.add_metric(label, int(bool(status.paused_for)))
        offset.add_metric(label, status.offset)
        position.add_metric(label, status.position)
    yield from (pending, fill, paused, offset, position)
    yield _paused_by_reason(partitions)
    leases_ms = [status.lease_left_ms for status in partitions if status.pending_gifts]
    if leases_ms:
        yield _gauge(
            "lease_left_seconds",
            "The shortest time for which checks may still go out without another commit.",
            min(leases_ms) / 1_000,
        )


def _paused_by_reason(partitions: Iterable[PartitionStatus]) -> Metric:
    counts = Counter(limit for status in partitions for limit in status.paused_for)
    family = GaugeMetricFamily(
        "giftcheck_intake_paused", "Partitions whose intake pauses, by limit.", labels=["reason"]
    )
    for limit in Limit:
        family.add_metric([limit.value], counts[limit])
    return family


def _of_kafka(kafka: KafkaFigures) -> Iterator[Metric]:
    lag = _per_partition(
        "intake_lag_records",
        "Records not yet read; unlike the group's lag without those that are pending.",
    )
    for partition, records in kafka.intake_lag.items():
        lag.add_metric([str(partition)], records)
    yield lag
    yield _gauge("group_joined", "1 while this process is a member of the group.", kafka.joined)
    yield _counter("transactions_committed", "Transactions committed.", kafka.commits)
    yield _counter(
        "transactions_aborted",
        "Transactions aborted; a few at each rebalance are normal.",
        kafka.aborts,
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"giftcheck_{name}", text, value=value)


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"giftcheck_{name}", text, value=value)


def _counters(
    name: str, text: str, label: str, values: Mapping[str, int] | Mapping[int, int]
) -> Metric:
    family = CounterMetricFamily(f"giftcheck_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _per_partition(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"giftcheck_{name}", text, labels=["partition"])
