"""The core's figures, read at the scrape."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from consumer.adapters.metrics.families import counter, counters, gauge, of_all, per_partition
from consumer.adapters.metrics.kafka import KafkaFigures, of_kafka
from consumer.core.limits import GIVE_UP_AFTER, Limit
from consumer.core.model import Reason, Status, Trouble
from consumer.core.reaction import SUCCESS, trouble_of
from consumer.core.tally import CoreStatus, PartitionStatus
from consumer.core.verdict import Clause


class Scrape:
    """Turns one reading of core and Kafka thread into metrics."""

    def __init__(self, core: Callable[[], CoreStatus], kafka: Callable[[], KafkaFigures]) -> None:
        self._core = core
        self._kafka = kafka

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        core = self._core()
        yield from _of_core(core)
        yield from _of_partitions(core.partitions)
        yield from of_kafka(self._kafka())


def _of_core(core: CoreStatus) -> Iterator[Metric]:
    tally = core.tally
    yield gauge("pending_gifts", "Gifts without a result.", core.pending_gifts)
    yield gauge(
        "overdue_gifts",
        "Of these, past their deadline and without an answer that decides.",
        core.overdue_gifts,
    )
    for name, value in (
        ("pending_gifts_max", core.pending_gifts_max),
        ("overdue_gifts_max", core.overdue_gifts_max),
        ("replay_records_max", core.replay_records_max),
    ):
        yield gauge(name, f"What limits.{name} is set to.", value)
    yield gauge("rooms", "Rooms with pending gifts or permits not yet free.", core.rooms)
    yield gauge("checks_in_flight", "Checks under way now.", core.requests_in_flight)
    yield gauge(
        "request_price_seconds",
        "Gift-seconds of waiting that are worth a request; above check.request_price: too few "
        "slots, or the loop is late.",
        core.request_price_ms / 1_000,
    )
    yield gauge(
        "slots",
        "Checks that may be under way now; fewer after many rooms were told "
        '"too frequent" at once.',
        core.slots,
    )
    yield gauge(
        "windows_queued",
        "Rooms that are due and wait for a slot; lastingly above 0: raise requests_in_flight_max.",
        core.windows_queued,
    )
    yield gauge(
        "scopes_in_trouble",
        "Rooms, games and apps that back off after an error; /status names games and apps.",
        core.scopes_in_trouble,
    )
    yield gauge(
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
    yield counter("gifts_read", "Gift records read.", tally.gifts_read)
    yield counter(
        "records_shared",
        "Records of a gift that was still pending: they share its result.",
        tally.records_shared,
    )
    yield counter(
        "keys_foreign",
        "Records whose key is not their room: the limit is only kept if all are keyed by room.",
        tally.keys_foreign,
    )
    yield counter(
        "rooms_in_two_partitions",
        "Rooms met in two partitions at once: producers partition differently.",
        tally.rooms_in_two_partitions,
    )
    yield counters("results", "Results by status.", "status", of_all(Status, tally.results))
    yield counters(
        "given_up",
        "Results UNVERIFIED because the API could not be asked, by the limit they stood in the way"
        " of; give_up_after is the ordinary one.",
        "limit",
        {GIVE_UP_AFTER: tally.given_up[GIVE_UP_AFTER], **of_all(Limit, tally.given_up)},
    )
    yield counters(
        "dead_letters", "Records refused, by reason.", "reason", of_all(Reason, tally.dead_letters)
    )
    yield _answers(tally.answers)
    yield counters(
        "checks_lost",
        "Checks without an answer of the API, by trouble.",
        "trouble",
        of_all(Trouble, tally.checks_lost),
    )
    yield counter(
        "checks_unwritten",
        "Checks never written: no connection, or the lease was over.",
        tally.checks_unwritten,
    )
    yield counter(
        "entries_foreign", "Entries in answers that nobody asked for.", tally.entries_foreign
    )
    yield counter(
        "answers_incomplete",
        "Answers that were malformed in part: they prove no absence.",
        tally.answers_incomplete,
    )
    yield counters(
        "proofs_failed",
        "Gifts past their deadline that an answer could not prove absent, by clause.",
        "clause",
        {clause.name.lower(): tally.clauses_open[clause.name.lower()] for clause in Clause},
    )


def _of_partitions(partitions: Sequence[PartitionStatus]) -> Iterator[Metric]:
    pending = per_partition("partition_pending_gifts", "Gifts without a result, by partition.")
    fill = per_partition(
        "partition_metadata_ratio",
        "How full a partition's progress is, 0 to 1; intake pauses at 0.9: add partitions.",
    )
    paused = per_partition("partition_paused", "1 while a partition's intake is paused.")
    offset = per_partition(
        "partition_offset", "The oldest pending offset: what is committed, or about to be."
    )
    position = per_partition("partition_position", "The offset after the last record read.")
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
        yield gauge(
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


def _answers(counted: Counter[int]) -> Metric:
    family = CounterMetricFamily(
        "giftcheck_answers",
        "Answers of the API by Code, and what is to be done about it; 0 and none: success.",
        labels=["code", "trouble"],
    )
    for code in {SUCCESS, *counted}:
        trouble = trouble_of(code)
        family.add_metric([str(code), trouble.value if trouble else "none"], counted[code])
    return family
