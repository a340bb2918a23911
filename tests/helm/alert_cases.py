"""For every alert: what it fires at, and what is nearly that and must leave people alone.

Scenes are made of the thresholds in force, so that they hold for the defaults and for whatever else
is set. All end at the instant at which is looked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

PARTITIONS: Final = 8
BATCH_SIZE_MAX: Final = 100
"""The default of `check.batchSizeMax`."""


class Thresholds(NamedTuple):
    """`monitoring.prometheusRule.thresholds`, in the order of the values."""

    in_time_ratio: float
    late_seconds: float
    late_results: float
    unverified_results: float
    dead_letters: float
    intake_lag_seconds: float
    intake_lag_high_seconds: float
    rebalances_per_hour: float
    restarts_per_hour: float
    limit_ratio: float
    overdue_gifts: float
    map_ratio: float
    api_errors_ratio: float
    refusals: float
    too_frequent_ratio: float
    malformed_ratio: float
    batch_size_ratio: float
    aborts_ratio: float
    keys_foreign: float


class Piece(NamedTuple):
    """Some minutes of a series, None: the rest; it grows by `step` a minute. No value: no series."""

    minutes: float | None
    value: float | None
    step: float = 0


@dataclass(frozen=True, slots=True)
class Series:
    """One series of one pod."""

    name: str
    pieces: tuple[Piece, ...]
    pod: int = 0
    labels: tuple[tuple[str, str], ...] = ()

    def as_promtool(self, minutes: int, interval_s: int) -> dict[str, str]:
        """So many minutes of it, a sample each interval."""
        left, words = minutes * 60 // interval_s + 1, []
        for minutes_or_rest, value, step in self.pieces:
            count = left if minutes_or_rest is None else int(minutes_or_rest * 60 // interval_s)
            left -= count
            if value is None:
                words += ["stale", *["_"] * (count - 1)]
            else:
                sign = "-" if step < 0 else "+"
                words.append(f"{value:.10g}{sign}{abs(step) * interval_s / 60:.10g}x{count - 1}")
        assert left == 0, (self.name, minutes, left)
        labels = {
            "namespace": "gifts",
            "pod": f"giftcheck-{self.pod}",
            "instance": f"10.0.0.{self.pod}:8080",
            **dict(self.labels),
        }
        text = ",".join(f'{key}="{value}"' for key, value in labels.items())
        return {"series": f"{self.name}{{{text}}}", "values": " ".join(words)}


Scene = Sequence[Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An alert, and scenes of so many minutes: at each of `fires` it does, at each of `quiet` not."""

    alert: str
    fires: Callable[[Thresholds], Sequence[Scene]]
    quiet: Callable[[Thresholds], Sequence[Scene]]
    minutes: int = 30
    interval_s: int = 30


def pieces(name: str, *parts: Piece, pod: int = 0, **labels: str) -> Series:
    """A series in pieces."""
    return Series(f"giftcheck_{name}", parts, pod, tuple(labels.items()))


def gauge(name: str, value: float, pod: int = 0, **labels: str) -> Series:
    """It stays at this value."""
    return pieces(name, Piece(None, value), pod=pod, **labels)


def lately(name: str, value: float, minutes: float, *, of: int = 30, **labels: str) -> Series:
    """It is 0, and this for the last minutes."""
    parts = (Piece(of - minutes, 0), Piece(None, value))
    return Series(f"giftcheck_{name}", parts, labels=tuple(labels.items()))


def counter(name: str, per_minute: float, pod: int = 0, **labels: str) -> Series:
    """It grows by so much a minute."""
    return pieces(f"{name}_total", Piece(None, 0, per_minute), pod=pod, **labels)


def events(name: str, count: float, minutes_ago: int, *, of: int = 30, **labels: str) -> Series:
    """It was 0 from the beginning, and so many events came at once."""
    return lately(f"{name}_total", count, minutes_ago, of=of, **labels)


def late(thresholds: Thresholds, share: float, per_minute: float = 100) -> Scene:
    """This share of results is late."""
    return _results(thresholds, per_minute, Piece(None, 0, per_minute * (1 - share)))


def recovered(thresholds: Thresholds, minutes: int, of: int) -> Scene:
    """All were late, until some minutes ago."""
    return _results(thresholds, 100, Piece(of - minutes, 0), Piece(None, 0, 100))


def late_for(thresholds: Thresholds, minutes: int, of: int) -> Scene:
    """All have been late for some minutes, and none before."""
    before = Piece(of - minutes, 0, 100)
    return _results(thresholds, 100, before, Piece(None, (of - minutes) * 100))


def _results(thresholds: Thresholds, per_minute: float, *in_time: Piece) -> Scene:
    name, bound = "result_lateness_seconds", f"{thresholds.late_seconds:.1f}"
    every = Piece(None, 0, per_minute)
    return [
        pieces(f"{name}_count", every),
        pieces(f"{name}_bucket", every, le="+Inf"),
        pieces(f"{name}_bucket", *in_time, le=bound),
    ]


def checks(share: float, code: str, trouble: str) -> Scene:
    """A hundred checks a minute: this share of answers has this code, the others are good."""
    return [
        counter("checks_lost", 0, trouble="transient"),
        counter("answers", 100 * (1 - share), code="0", trouble="none"),
        counter("answers", 100 * share, code=code, trouble=trouble),
    ]


def lost(share: float) -> Scene:
    """A hundred checks a minute, of which this share gets no answer."""
    return [
        counter("checks_lost", 100 * share, trouble="transient"),
        counter("answers", 100 * (1 - share), code="0", trouble="none"),
    ]


def burst(share: float, minutes: float, bad: str, good: str, trouble: str = "none") -> Scene:
    """A hundred events a minute, all good until this share of the last minutes."""
    before, share = 30 - minutes, min(1, share)
    after_good = Piece(None, 100 * before, 100 * (1 - share))
    return [
        pieces(f"{bad}_total", Piece(before, 0), Piece(None, 0, 100 * share), trouble=trouble),
        pieces(f"{good}_total", Piece(before, 0, 100), after_good, trouble="none"),
    ]


def filled(name: str, ratio: float, most: float = 10_000) -> Scene:
    """One pod is at this share of a limit, the other well under its own."""
    return [
        gauge(name, ratio * most), gauge(f"{name}_max", most),
        gauge(name, 1, pod=1), gauge(f"{name}_max", most, pod=1),
    ]  # fmt: skip


def replay(ratio: float) -> Scene:
    """One partition holds so much back, another nothing."""
    return [
        gauge("partition_position", 5_000_000 + 1_000_000 * ratio, partition="3"),
        gauge("partition_offset", 5_000_000, partition="3"),
        gauge("partition_position", 1, partition="4"), gauge("partition_offset", 1, partition="4"),
        gauge("replay_records_max", 1_000_000),
    ]  # fmt: skip


def waiting_partition(*, step: float = 0, paused: int = 0, lag: float = 5) -> Scene:
    """A partition with unread records, and how its position moves."""
    return [
        gauge("intake_lag_records", lag, partition="3"),
        pieces("partition_position", Piece(None, 1_000, step), partition="3"),
        gauge("partition_paused", paused, partition="3"),
    ]


def transactions(share: float, per_minute: float = 100) -> Scene:
    """This share of transactions is aborted."""
    return [
        counter("transactions_aborted", per_minute * share),
        counter("transactions_committed", per_minute * (1 - share)),
    ]


def starts(count: float) -> Scene:
    """A process began, and so many times again, within the last 50 minutes."""
    changes = int(count)
    every = 50 / (changes + 1) // 0.5 * 0.5
    parts = [Piece(every, number) for number in range(changes)]
    return [pieces("process_start_time_seconds", *parts, Piece(None, changes))]


def shares(first: float, second: float, *, minutes: float | None = None) -> Scene:
    """What two pods were given; all of it until some minutes ago, if those are given."""
    after = Piece(None, second)
    second_pod = [Piece(30 - minutes, PARTITIONS - first), after] if minutes else [after]
    return [
        gauge("partitions_assigned", first), pieces("partitions_assigned", *second_pod, pod=1),
        gauge("gift_sent_partitions", PARTITIONS), gauge("gift_sent_partitions", PARTITIONS, pod=1),
    ]  # fmt: skip


def overdue(start: float, step: float) -> Scene:
    """So many at the beginning, and so many more each minute; half in each of two pods."""
    return [pieces("overdue_gifts", Piece(None, start / 2, step / 2), pod=pod) for pod in (0, 1)]


CASES: Final = (
    Case(
        alert="GiftcheckResultsLate",
        minutes=70,
        fires=lambda t: [late(t, 14.4 * (1 - t.in_time_ratio) * 1.05)],
        quiet=lambda t: [
            late(t, 14.4 * (1 - t.in_time_ratio) * 0.95),
            late(t, 0.5, per_minute=t.late_results / 60),
            recovered(t, 10, 70),
            late_for(t, 6, 70),
        ],
    ),
    Case(
        alert="GiftcheckResultsLateForLong",
        minutes=1_500,
        interval_s=300,
        fires=lambda t: [late(t, 3 * (1 - t.in_time_ratio) * 1.05)],
        quiet=lambda t: [
            late(t, 3 * (1 - t.in_time_ratio) * 0.95),
            late(t, 0.5, per_minute=t.late_results / 1_500),
            recovered(t, 150, 1_500),
            late_for(t, 50, 1_500),
        ],
    ),
    Case(
        alert="GiftcheckResultsUnverified",
        fires=lambda t: [[events("results", t.unverified_results + 1, 9, status="UNVERIFIED")]],
        quiet=lambda t: [
            [events("results", t.unverified_results * 0.9, 9, status="UNVERIFIED")],
            [events("results", t.unverified_results + 1, 12, status="UNVERIFIED")],
            [events("results", t.unverified_results + 1, 9, status="UNCONSUMED")],
        ],
    ),
    Case(
        alert="GiftcheckDeadLetters",
        fires=lambda t: [[events("dead_letters", t.dead_letters + 1, 14, reason="not_avro")]],
        quiet=lambda t: [
            [events("dead_letters", t.dead_letters * 0.9, 14, reason="not_avro")],
            [events("dead_letters", t.dead_letters + 1, 17, reason="not_avro")],
        ],
    ),
    Case(
        alert="GiftcheckDown",
        fires=lambda _: [
            [pieces("build_info", Piece(24, 1), Piece(None, None), version="1")],
            [Series("giftcheck_build_info", (Piece(None, 1),), 0, (("pod", "another-0"),))],
            [gauge("build_info", 1, version="1", namespace="elsewhere")],
        ],
        quiet=lambda _: [
            [pieces("build_info", Piece(26, 1), Piece(None, None), version="1")],
            [
                pieces("build_info", Piece(10, 1), Piece(None, None), version="1"),
                gauge("build_info", 1, pod=1, version="1"),
            ],
        ],
    ),
    Case(
        alert="GiftcheckPodDown",
        fires=lambda _: [[Series("up", (Piece(19, 1), Piece(None, 0)))]],
        quiet=lambda _: [
            [Series("up", (Piece(21, 1), Piece(None, 0)))],
            [Series("up", (Piece(None, 0),), 0, (("pod", "another-0"),))],
        ],
    ),
    Case(
        alert="GiftcheckRestarting",
        minutes=55,
        fires=lambda t: [starts(t.restarts_per_hour + 1)],
        quiet=lambda t: [starts(t.restarts_per_hour)],
    ),
    Case(
        alert="GiftcheckOutsideGroup",
        fires=lambda _: [[gauge("group_joined", 0), gauge("group_joined", 0, pod=1)]],
        quiet=lambda _: [
            [gauge("group_joined", 0), gauge("group_joined", 1, pod=1)],
            [pieces("group_joined", Piece(26, 1), Piece(None, 0))],
        ],
    ),
    Case(
        alert="GiftcheckPartitionsUnassigned",
        fires=lambda _: [shares(4, 3), shares(4, 3, minutes=4)],
        quiet=lambda _: [shares(4, 4), shares(4, 3, minutes=2)],
    ),
    Case(
        alert="GiftcheckPartitionWaiting",
        fires=lambda _: [[lately("partitions_waiting", 1, 3)]],
        quiet=lambda _: [[lately("partitions_waiting", 1, 1)]],
    ),
    Case(
        alert="GiftcheckPartitionStuck",
        fires=lambda _: [waiting_partition()],
        quiet=lambda _: [
            waiting_partition(step=0.2),
            waiting_partition(paused=1),
            waiting_partition(lag=0),
            [
                *waiting_partition()[::2],
                pieces("partition_position", Piece(18, 1, 1), Piece(None, 19), partition="3"),
            ],
        ],
    ),
    Case(
        alert="GiftcheckIntakeLag",
        fires=lambda t: [
            [
                gauge("intake_lag_seconds", t.intake_lag_seconds * 1.05, partition="3"),
                gauge("intake_lag_seconds", 0, pod=1, partition="4"),
            ]
        ],
        quiet=lambda t: [
            [gauge("intake_lag_seconds", t.intake_lag_seconds, partition="3")],
            [lately("intake_lag_seconds", t.intake_lag_seconds * 2, 4, partition="3")],
        ],
    ),
    Case(
        alert="GiftcheckIntakeLagHigh",
        fires=lambda t: [[gauge("intake_lag_seconds", t.intake_lag_high_seconds * 1.05)]],
        quiet=lambda t: [
            [gauge("intake_lag_seconds", t.intake_lag_high_seconds)],
            [lately("intake_lag_seconds", t.intake_lag_high_seconds * 2, 4)],
        ],
    ),
    Case(
        alert="GiftcheckRebalancing",
        minutes=70,
        fires=lambda t: [
            [
                counter("partition_assignments", t.rebalances_per_hour * PARTITIONS / 60 * 1.05),
                *shares(4, 4)[2:],
            ]
        ],
        quiet=lambda t: [
            [
                counter("partition_assignments", t.rebalances_per_hour * PARTITIONS / 60 * 0.95),
                *shares(4, 4)[2:],
            ]
        ],
    ),
    Case(
        alert="GiftcheckVersionsMixed",
        minutes=70,
        fires=lambda _: [
            [gauge("build_info", 1, version="1"), gauge("build_info", 1, pod=1, version="2")]
        ],
        quiet=lambda _: [
            [gauge("build_info", 1, version="1"), gauge("build_info", 1, pod=1, version="1")],
            [
                gauge("build_info", 1, version="2"),
                pieces("build_info", Piece(55, 1), Piece(None, None), pod=1, version="1"),
                pieces("build_info", Piece(55, None), Piece(None, 1), pod=1, version="2"),
            ],
            [
                gauge("build_info", 1, version="1"),
                pieces("build_info", Piece(15, 1), Piece(None, None), pod=1, version="1"),
                pieces("build_info", Piece(15, None), Piece(None, 1), pod=1, version="2"),
            ],
        ],
    ),
    Case(
        alert="GiftcheckIntakePaused",
        fires=lambda _: [[lately("intake_paused", 1, 3, reason="map")]],
        quiet=lambda _: [[lately("intake_paused", 8, 1, reason="map")]],
    ),
    Case(
        alert="GiftcheckPendingNearLimit",
        fires=lambda t: [filled("pending_gifts", t.limit_ratio + 0.01)],
        quiet=lambda t: [
            filled("pending_gifts", t.limit_ratio - 0.01),
            [lately("pending_gifts", 99, 4), gauge("pending_gifts_max", 100)],
        ],
    ),
    Case(
        alert="GiftcheckOverdueNearLimit",
        fires=lambda t: [filled("overdue_gifts", t.limit_ratio + 0.01)],
        quiet=lambda t: [
            filled("overdue_gifts", t.limit_ratio - 0.01),
            [lately("overdue_gifts", 99, 1), gauge("overdue_gifts_max", 100)],
        ],
    ),
    Case(
        alert="GiftcheckOverdueGrowing",
        fires=lambda t: [overdue(t.overdue_gifts + 10, 1)],
        quiet=lambda t: [
            overdue(t.overdue_gifts + 10, 0),
            overdue(t.overdue_gifts - 31, 1),
            [
                pieces(
                    "overdue_gifts",
                    Piece(24, t.overdue_gifts + 10),
                    Piece(None, t.overdue_gifts + 10, 5),
                )
            ],
        ],
    ),
    Case(
        alert="GiftcheckReplayNearLimit",
        fires=lambda t: [replay(t.limit_ratio + 0.01)],
        quiet=lambda t: [
            replay(t.limit_ratio - 0.01),
            [
                lately("partition_position", 990_000, 4, partition="3"),
                gauge("partition_offset", 0, partition="3"),
                gauge("replay_records_max", 1_000_000),
            ],
        ],
    ),
    Case(
        alert="GiftcheckMapNearFull",
        fires=lambda t: [[gauge("partition_metadata_ratio", t.map_ratio + 0.01, partition="3")]],
        quiet=lambda t: [
            [gauge("partition_metadata_ratio", t.map_ratio, partition="3")],
            [lately("partition_metadata_ratio", 0.89, 8, partition="3")],
        ],
    ),
    Case(
        alert="GiftcheckApiDown",
        fires=lambda _: [[lately("fault", 1, 3, fault="host_down")]],
        quiet=lambda _: [
            [lately("fault", 1, 1, fault="host_down")],
            [lately("fault", 1, 3, fault="wall_clock")],
        ],
    ),
    Case(
        alert="GiftcheckApiErrors",
        fires=lambda t: [
            lost(t.api_errors_ratio * 1.05),
            lost(1),
            checks(t.api_errors_ratio * 1.05, code="7202001", trouble="this_game"),
        ],
        quiet=lambda t: [
            lost(t.api_errors_ratio * 0.95),
            burst(1, 8, "checks_lost", "answers", trouble="transient"),
            checks(0.9, code="7", trouble="rate_limited"),
        ],
    ),
    Case(
        alert="GiftcheckApiRefuses",
        fires=lambda t: [
            [events("answers", t.refusals + 1, 9, code="100000005", trouble="credentials")],
            [events("checks_lost", t.refusals + 1, 9, trouble="configuration")],
        ],
        quiet=lambda t: [
            [events("answers", t.refusals * 0.9, 9, code="100000005", trouble="credentials")],
            [events("answers", t.refusals + 1, 12, code="100000005", trouble="credentials")],
            [events("checks_lost", t.refusals + 1, 9, trouble="transient")],
        ],
    ),
    Case(
        alert="GiftcheckTooFrequent",
        fires=lambda t: [checks(t.too_frequent_ratio * 1.05, code="7", trouble="rate_limited")],
        quiet=lambda t: [
            checks(t.too_frequent_ratio * 0.95, code="7", trouble="rate_limited"),
            checks(0.9, code="1", trouble="transient"),
            burst(1.5 * t.too_frequent_ratio, 7, "answers", "answers", trouble="rate_limited"),
            burst(20 * t.too_frequent_ratio, 3, "answers", "answers", trouble="rate_limited"),
        ],
    ),
    Case(
        alert="GiftcheckSlotsShort",
        fires=lambda _: [[gauge("windows_queued", 1)]],
        quiet=lambda _: [[pieces("windows_queued", Piece(20, 50), Piece(1, 0), Piece(None, 50))]],
    ),
    Case(
        alert="GiftcheckAnswersMalformed",
        fires=lambda t: [
            [
                counter("answers_incomplete", 100 * t.malformed_ratio * 1.05),
                counter("answers", 100, code="0", trouble="none"),
            ]
        ],
        quiet=lambda t: [
            [
                counter("answers_incomplete", 100 * t.malformed_ratio * 0.95),
                counter("answers", 100, code="0", trouble="none"),
            ],
            burst(1.5 * t.malformed_ratio, 7, "answers_incomplete", "answers"),
            burst(20 * t.malformed_ratio, 3, "answers_incomplete", "answers"),
        ],
    ),
    Case(
        alert="GiftcheckBatchShrunk",
        minutes=45,
        fires=lambda t: [[gauge("batch_size_max", BATCH_SIZE_MAX * t.batch_size_ratio - 1)]],
        quiet=lambda t: [
            [gauge("batch_size_max", BATCH_SIZE_MAX * t.batch_size_ratio)],
            [pieces("batch_size_max", Piece(20, BATCH_SIZE_MAX), Piece(None, 10))],
        ],
    ),
    Case(
        alert="GiftcheckNotCommitting",
        fires=lambda _: [[pieces("lease_left_seconds", Piece(26, 2.5), Piece(None, 0))]],
        quiet=lambda _: [
            [pieces("lease_left_seconds", Piece(28, 2.5), Piece(None, 0))],
            [pieces("lease_left_seconds", Piece(28, 0), Piece(0.5, 1.5), Piece(None, 0))],
            [gauge("pending_gifts", 0)],
        ],
    ),
    Case(
        alert="GiftcheckTransactionsAborted",
        fires=lambda t: [transactions(t.aborts_ratio * 1.05)],
        quiet=lambda t: [
            transactions(t.aborts_ratio * 0.95),
            transactions(0.9, per_minute=0.3),
            burst(1.5 * t.aborts_ratio, 7, "transactions_aborted", "transactions_committed"),
            burst(20 * t.aborts_ratio, 3, "transactions_aborted", "transactions_committed"),
        ],
    ),
    Case(
        alert="GiftcheckClockWrong",
        fires=lambda _: [[lately("fault", 1, 6, fault="wall_clock")]],
        quiet=lambda _: [
            [lately("fault", 1, 4, fault="wall_clock")],
            [lately("fault", 1, 6, fault="host_down")],
        ],
    ),
    Case(
        alert="GiftcheckKeyedWrongly",
        minutes=90,
        fires=lambda t: [
            [
                events("keys_foreign", t.keys_foreign + 1, 50, of=90),
                events("rooms_in_two_partitions", 0, 50, of=90),
            ],
            [
                events("keys_foreign", 0, 50, of=90),
                events("rooms_in_two_partitions", t.keys_foreign + 1, 50, of=90),
            ],
        ],
        quiet=lambda t: [
            [
                events("keys_foreign", t.keys_foreign * 0.9, 50, of=90),
                events("rooms_in_two_partitions", 0, 50, of=90),
            ],
            [
                events("keys_foreign", t.keys_foreign + 1, 65, of=90),
                events("rooms_in_two_partitions", 0, 50, of=90),
            ],
        ],
    ),
)
