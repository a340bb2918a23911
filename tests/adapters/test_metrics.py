"""What a scrape shows: names, labels, and that what is gone is gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from prometheus_client.parser import text_string_to_metric_families

from consumer.adapters.metrics import Metrics
from consumer.core.limits import Limit
from consumer.core.model import Cut, GiftResult, GiftSent, Status
from consumer.core.tally import CoreStatus, PartitionStatus, Tally

LABELS = {
    "partition", "status", "reason", "code", "trouble", "clause", "fault", "limit", "le", "version",
}  # fmt: skip
"""All there may be; a room or a MsgId would make a series for each."""

PARTITION = PartitionStatus(
    partition=3, offset=10, position=60, pending_gifts=5, fill=0.25, paused_for=(),
    lease_left_ms=1_500,
)  # fmt: skip


@dataclass
class Figures:
    """A Kafka thread's figures, as set."""

    intake_lag: Mapping[int, int] = field(default_factory=dict)
    intake_lag_ms: Mapping[int, int] = field(default_factory=dict)
    assigned: Sequence[int] = ()
    waiting: Sequence[int] = ()
    begun: int = 0
    gift_sent_partitions: int | None = None
    joined: bool = True
    commits: int = 0
    aborts: int = 0


@dataclass
class Watched:
    """What a scrape reads, to be changed between two scrapes."""

    core: CoreStatus
    kafka: Figures


def status(*partitions: PartitionStatus, tally: Tally | None = None) -> CoreStatus:
    """A core with these partitions."""
    return CoreStatus(
        pending_gifts=7, pending_gifts_max=20, overdue_gifts=6,
        overdue_gifts_max=10, replay_records_max=100, windows=4, rooms=3, requests_in_flight=2,
        request_price_ms=30.0, slots=256, windows_queued=1,
        scopes_in_trouble=1, troubles=("game g: this_game: gone",), faults={"host_down": "no answer", "wall_clock": None},
        batch_size_max=50, partitions=partitions,
        tally=tally or Tally(),
    )  # fmt: skip


def make_metrics() -> Metrics:
    """The metrics of a process whose gifts have 30 s, and a second more to prove absence."""
    return Metrics(check_timeout_ms=30_000, check_settle_ms=1_000, version="1.2.3")


def watched(core: CoreStatus, kafka: Figures | None = None) -> tuple[Metrics, Watched]:
    """Metrics that read what can be changed."""
    now = Watched(core, kafka or Figures())
    metrics = make_metrics()
    metrics.watch(lambda: now.core, lambda: now.kafka)
    return metrics, now


def full_tally() -> Tally:
    """Something of everything that is counted by a label."""
    tally = Tally(gifts_read=11, entries_foreign=2, checks_unwritten=1)
    tally.results["SUCCEEDED"] += 8
    tally.results["UNCONSUMED"] += 1
    tally.answers[0] += 5
    tally.answers[7] += 1
    tally.checks_lost["transient"] += 2
    tally.dead_letters["not_avro"] += 3
    tally.clauses_open["incomplete"] += 1
    return tally


def samples(metrics: Metrics) -> dict[str, float]:
    """Every series of a scrape, written `name{label=value}`."""
    body, _ = metrics.exposition()
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for name, labels, value, *_ in family.samples:
            label = ",".join(f"{key}={labels[key]}" for key in sorted(labels))
            found[f"{name}{{{label}}}" if label else name] = value
    return found


def test_what_the_core_holds_and_counts_is_read_at_the_scrape() -> None:
    """Gauges as they are, counters with their labels."""
    metrics, _ = watched(status(tally=full_tally()))
    expected = {
        "giftcheck_pending_gifts": 7,
        "giftcheck_checks_in_flight": 2,
        "giftcheck_gifts_read_total": 11,
        "giftcheck_results_total{status=SUCCEEDED}": 8,
        "giftcheck_results_total{status=UNCONSUMED}": 1,
        "giftcheck_answers_total{code=0,trouble=none}": 5,
        "giftcheck_answers_total{code=7,trouble=rate_limited}": 1,
        "giftcheck_checks_lost_total{trouble=transient}": 2,
        "giftcheck_dead_letters_total{reason=not_avro}": 3,
        "giftcheck_checks_unwritten_total": 1,
        "giftcheck_batch_size_max": 50,
        "giftcheck_fault{fault=host_down}": 1,
        "giftcheck_fault{fault=wall_clock}": 0,
    }
    found = samples(metrics)
    assert expected == {name: found.get(name) for name in expected}


def test_a_counter_moves_between_two_scrapes() -> None:
    """The core goes on counting; nothing is kept here."""
    metrics, now = watched(status(tally=full_tally()))
    now.core.tally.results["SUCCEEDED"] += 1
    assert samples(metrics)["giftcheck_results_total{status=SUCCEEDED}"] == 9


def test_a_partitions_series_go_when_it_goes() -> None:
    """A partition that another process owns now would else show its last value for ever."""
    metrics, now = watched(
        status(PARTITION, replace(PARTITION, partition=4, paused_for=(Limit.MAP,))),
        Figures(intake_lag={3: 100, 4: 0}, intake_lag_ms={3: 2_500, 4: 0}),
    )
    before = samples(metrics)
    now.core, now.kafka = status(PARTITION), Figures(intake_lag={3: 90}, intake_lag_ms={3: 2_000})
    after = samples(metrics)
    assert before["giftcheck_partition_metadata_ratio{partition=3}"] == 0.25
    assert before["giftcheck_partition_paused{partition=3}"] == 0
    assert before["giftcheck_partition_paused{partition=4}"] == 1
    assert before["giftcheck_intake_lag_records{partition=3}"] == 100
    assert before["giftcheck_intake_lag_seconds{partition=3}"] == 2.5
    assert before["giftcheck_intake_lag_seconds{partition=4}"] == 0
    assert after["giftcheck_intake_lag_records{partition=3}"] == 90
    assert [name for name in after if "partition=4" in name] == []


def test_a_pause_shows_its_limits_and_a_partition_where_it_stands() -> None:
    """Every limit has its series, reached or not; an idle partition's lease bothers nobody."""
    full = replace(PARTITION, partition=4, paused_for=(Limit.REPLAY, Limit.MAP), lease_left_ms=700)
    idle = replace(PARTITION, partition=5, pending_gifts=0, lease_left_ms=0)
    metrics, now = watched(status(PARTITION, full, idle))
    now.core.tally.given_up["map"] += 3
    expected = {
        "giftcheck_intake_paused{reason=map}": 1,
        "giftcheck_intake_paused{reason=replay_records_max}": 1,
        "giftcheck_intake_paused{reason=pending_gifts_max}": 0,
        "giftcheck_intake_paused{reason=overdue_gifts_max}": 0,
        "giftcheck_given_up_total{limit=map}": 3,
        "giftcheck_overdue_gifts": 6,
        "giftcheck_partition_offset{partition=4}": 10,
        "giftcheck_partition_position{partition=4}": 60,
        "giftcheck_lease_left_seconds": 0.7,
    }
    found = samples(metrics)
    assert expected == {name: found.get(name) for name in expected}
    now.core = status(idle)
    assert "giftcheck_lease_left_seconds" not in samples(metrics)


def test_the_kafka_threads_figures_are_read_at_the_scrape() -> None:
    """Membership and transactions."""
    metrics, _ = watched(status(), Figures(joined=False, commits=5, aborts=1))
    found = samples(metrics)
    assert (0, 5, 1) == (
        found["giftcheck_group_joined"],
        found["giftcheck_transactions_committed_total"],
        found["giftcheck_transactions_aborted_total"],
    )


def test_a_process_shows_its_share_of_gift_sent() -> None:
    """What waits for its start is ours, too; how many there are in all is not always known."""
    metrics, now = watched(status(), Figures(assigned=(0, 3), waiting=(5,), begun=7))
    found = samples(metrics)
    assert (3, 1, 7) == (
        found["giftcheck_partitions_assigned"],
        found["giftcheck_partitions_waiting"],
        found["giftcheck_partition_assignments_total"],
    )
    assert "giftcheck_gift_sent_partitions" not in found
    now.kafka = Figures(gift_sent_partitions=12)
    assert samples(metrics)["giftcheck_gift_sent_partitions"] == 12


def test_counters_are_there_before_they_count() -> None:
    """A series that begins with its first event shows no growth: an alert would miss it."""
    metrics, _ = watched(status())
    found = samples(metrics)
    silent = [
        "giftcheck_results_total{status=UNVERIFIED}",
        "giftcheck_dead_letters_total{reason=not_avro}",
        "giftcheck_given_up_total{limit=give_up_after}",
        "giftcheck_given_up_total{limit=overdue_gifts_max}",
        "giftcheck_checks_lost_total{trouble=transient}",
        "giftcheck_proofs_failed_total{clause=incomplete}",
        "giftcheck_answers_total{code=0,trouble=none}",
    ]
    assert dict.fromkeys(silent, 0) == {name: found.get(name) for name in silent}


def test_a_level_can_be_compared_with_its_limit() -> None:
    """What is configured is exported beside what is counted."""
    metrics, _ = watched(status())
    found = samples(metrics)
    assert (20, 10, 100) == (
        found["giftcheck_pending_gifts_max"],
        found["giftcheck_overdue_gifts_max"],
        found["giftcheck_replay_records_max"],
    )


def test_a_process_says_what_it_is_and_since_when() -> None:
    """The version as a label, and Prometheus' usual figures of a process."""
    found = samples(make_metrics())
    assert found["giftcheck_build_info{version=1.2.3}"] == 1
    assert found["giftcheck_process_start_time_seconds"] > 0
    assert found["giftcheck_process_resident_memory_bytes"] > 0


def test_a_check_is_observed_in_seconds_and_ids() -> None:
    """Base units: 250 ms are 0.25."""
    metrics = make_metrics()
    metrics.check_ended(40, 250)
    metrics.check_ended(2, 10)
    found = samples(metrics)
    assert found["giftcheck_check_duration_seconds_sum"] == 0.26
    assert found["giftcheck_check_duration_seconds_count"] == 2
    assert found["giftcheck_check_ids_sum"] == 42
    assert found["giftcheck_check_ids_bucket{le=2.0}"] == 1


def test_a_committed_cut_is_observed_with_the_delay_of_each_of_its_results() -> None:
    """A gift's delay is that of its verdict after its start: deadline less the time-out."""
    metrics = make_metrics()
    sent = GiftSent("room", "game", "m0", 1)
    result = GiftResult(
        sent, "id", Status.FAILED, synthetic=False, result_code=10_003, reason=None,
        game_timestamp=None, request_id=None, checks=1,
        deadline=100_000, decided_at=72_000, source_partition=3, source_offset=10,
    )  # fmt: skip
    metrics.cut_committed(Cut(1, (), (result, result), ()), 20, 72_100)
    found = samples(metrics)
    assert found["giftcheck_transaction_duration_seconds_sum"] == 0.02
    assert found["giftcheck_result_delay_seconds_sum{status=FAILED}"] == 4
    assert found["giftcheck_result_delay_seconds_count{status=SUCCEEDED}"] == 0
    assert found["giftcheck_result_lateness_seconds_sum"] == 0
    assert found["giftcheck_result_lateness_seconds_bucket{le=1.0}"] == 2


def test_a_result_is_late_by_what_passed_since_its_time_was_over() -> None:
    """Deadline and settle; until it is committed, not only decided."""
    metrics = make_metrics()
    sent = GiftSent("room", "game", "m0", 1)
    result = GiftResult(
        sent, "id", Status.UNCONSUMED, synthetic=True, result_code=None, reason=None,
        game_timestamp=None, request_id=None, checks=1,
        deadline=100_000, decided_at=101_000, source_partition=3, source_offset=10,
    )  # fmt: skip
    metrics.cut_committed(Cut(1, (), (result,), ()), 20, 113_000)
    found = samples(metrics)
    assert found["giftcheck_result_lateness_seconds_sum"] == 12
    assert found["giftcheck_result_lateness_seconds_bucket{le=10.0}"] == 0
    assert found["giftcheck_result_lateness_seconds_bucket{le=30.0}"] == 1


def test_labels_are_bounded_and_every_metric_explains_itself() -> None:
    """The prefix, a help text, and no label beyond those that are few by nature."""
    metrics, _ = watched(status(PARTITION, tally=full_tally()), Figures(intake_lag={3: 1}))
    body, _ = metrics.exposition()
    families = list(text_string_to_metric_families(body.decode()))
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert [] == [family.name for family in families if not family.name.startswith("giftcheck_")]
    assert [] == [family.name for family in families if len(family.documentation) < 15]
    assert set() == labels - LABELS


def test_two_processes_in_one_interpreter_have_their_own_metrics() -> None:
    """No global registry: what one counts the other does not show."""
    first, second = make_metrics(), make_metrics()
    first.check_ended(1, 1)
    assert samples(first)["giftcheck_check_ids_count"] == 1
    assert samples(second)["giftcheck_check_ids_count"] == 0
