"""One seed: a world, its load and its bad luck, drawn before anything happens.

All durations are of the world's clock. The bounds keep to what the promises assume (design §2):
a request reaches the server within the hold or never, pods' wall clocks agree within a second,
one process of a name at a time. Where a fault breaks an assumption for a while (a wall clock set
an hour off), the plan leaves out what the assumption is needed for.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from consumer.core.model import CheckRules
from tests.simulation.hub import MS, SECOND

START_US: Final = 1_700_000_000 * SECOND
"""When every world begins, in Unix time."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something goes wrong at an instant, and ends `length_us` later (0: it has no length)."""

    at_us: int
    kind: str
    length_us: int = 0
    who: int = 0
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record is written to gift-sent at an instant.

    `kind` is one of gift, repeat, foreign (keyed by something else), old, ancient, garbage,
    tombstone, large, aborted (its producer aborts it).
    """

    at_us: int
    kind: str
    room: int
    delay_ms: int | None
    result_code: int
    sent_before_ms: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is drawn beforehand."""

    seed: int
    partitions: int
    pods: int
    static: bool
    rooms: int
    games: int
    rules: CheckRules
    session_ms: int
    transaction_ms: int
    outage_max_ms: int
    commit_interval_ms: int
    first_delay_us: int
    cleanup_us: int
    latency_us: tuple[int, int]
    marker_us: tuple[int, int]
    api_latency_us: tuple[int, int]
    metadata_max: int
    message_bytes_max: int
    lag_max_ms: int
    skew_max_us: int
    dates: bool
    stale: float
    faults_end_us: int
    quiet_us: int
    arrivals: tuple[Arrival, ...] = ()
    probes: tuple[Arrival, ...] = ()
    troubles: tuple[Trouble, ...] = field(default=())


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(f"giftcheck {seed}")
    profile = random.random()
    hot = profile < HOT_SHARE
    wide = profile > 1 - WIDE_SHARE
    rules = _rules(random, hot=hot, wide=wide)
    timeout_ms, settle_ms = rules.timeout_ms, rules.settle_ms
    pods = random.choice((1, 2, 2, 3))
    rooms = random.choice((1, 2, 4, 8))
    length_us = (20 if hot else random.choice((20, 45, 120))) * SECOND
    faults_end_us = START_US + 3 * SECOND + length_us
    # Streams of their own: a change of one part leaves the others of a seed as they are.
    bad_luck, load = Random(f"troubles {seed}"), Random(f"load {seed}")
    if hot:
        troubles = _hot_troubles(bad_luck, pods, faults_end_us)
    else:
        troubles = _troubles(bad_luck, rules, pods, rooms, faults_end_us)
    steps = any(one.kind == "clock step" for one in troubles)
    slow = any(one.kind in SLOW for one in troubles)
    quiet_us = faults_end_us + (100 if slow else 45) * SECOND
    request_timeout_ms = rules.request_timeout_ms
    # There and back within the request's time-out, as long as all is well.
    api_us = random.choice((10, 80, min(300, 2 * request_timeout_ms // 5))) * MS
    return Plan(
        seed=seed,
        partitions=1 if wide else random.choice((1, 2, 3, 4)),
        pods=pods,
        static=random.random() < 0.8,
        rooms=rooms,
        games=random.choice((1, 2, 3)),
        rules=rules,
        session_ms=max(6_000, rules.lease_ms + request_timeout_ms + 500),
        transaction_ms=random.choice((3_000, 6_000, 15_000)),
        outage_max_ms=random.choice((10_000, 30_000)),
        commit_interval_ms=random.choice((20, 50, 200)),
        first_delay_us=random.choice((0, 200, 3_000)) * MS,
        cleanup_us=random.choice((500, 2_000, 10_000)) * MS,
        latency_us=(200, random.choice((1_500, 6_000) if hot else (1_500, 6_000, 40_000))),
        marker_us=(100, random.choice((3, 20) if hot else (3, 60, 400)) * MS),
        api_latency_us=(1_000, 10 * MS if hot else api_us),
        metadata_max=200 if wide else 4_096,
        message_bytes_max=random.choice((1_048_588, 1_048_588, 80_000)),
        lag_max_ms=random.choice((0, settle_ms // 3)),
        skew_max_us=random.choice((0, 50, settle_ms // 3)) * MS,
        # Without a `Date` our own clock alone decides: that is when its steps matter.
        dates=random.random() < (0.3 if steps else 0.7),
        stale=random.choice((0.0, 0.5)),
        faults_end_us=faults_end_us,
        quiet_us=quiet_us,
        arrivals=(
            _hot_arrivals(load, timeout_ms, troubles)
            if hot
            else _wide_arrivals(load, timeout_ms, rooms)
            if wide
            else _arrivals(load, timeout_ms, rooms, troubles, faults_end_us)
        ),
        probes=_probes(load, timeout_ms, rooms, quiet_us),
        troubles=troubles,
    )


def _rules(random: Random, *, hot: bool, wide: bool) -> CheckRules:
    timeout_ms = random.choice((1_500, 2_500, 4_000, 8_000))
    if hot or wide:
        timeout_ms = 8_000
    settle_ms = random.choice((300, 600, 1_000))
    give_up_ms = random.choice((2_000, 15_000, 60_000))
    gives_up = random.random() < 0.7
    pending_max = 100_000 if hot or wide else random.choice((15, 60, 100_000))
    return CheckRules(
        timeout_ms=timeout_ms,
        settle_ms=settle_ms,
        give_up_after_ms=timeout_ms + settle_ms + give_up_ms if gives_up else 0,
        request_price_ms=5.0 if hot else random.choice((10.0, 30.0, 200.0)),
        request_timeout_ms=random.choice((500, 1_000, 2_000, 3_000)),
        requests_in_flight_max=256 if hot else random.choice((8, 16, 256)),
        batch_size_max=3 if hot else 100 if wide else random.choice((3, 5, 20, 100)),
        room_permits=random.choice((10, 20, 20)),
        lease_ms=3_000,
        unknown_hold_min_ms=2_000,
        unknown_hold_max_ms=random.choice((20_000, 60_000)),
        pending_gifts_max=pending_max,
        overdue_gifts_max=max(5, pending_max // random.choice((2, 4))),
        replay_records_max=max(pending_max, random.choice((60, 300, 100_000))),
    )


WIDE_SHARE: Final = 0.04
"""So many seeds have more answered offsets than the broker takes metadata for."""

STEPS_SHARE: Final = 0.15
"""So many of the others are about wall clocks that are set wrong."""

HOT_SHARE: Final = 0.3
"""So many seeds are about the limit: more is due in one room than it allows, all the time, and
pods come and go."""

HOT: Final = 50
"""A burst of so many goes to one room: more checks than its limit allows are due at once."""

ODD: Final = (
    "repeat",
    "repeat",
    "repeat",
    "foreign",
    "old",
    "ancient",
    "garbage",
    "tombstone",
    "large",
    "aborted",
    "aborted",
    "invalid",
)
"""Records of other kinds than plain new gifts."""

# --- load ----------------------------------------------------------------------------------------


def _arrivals(
    random: Random,
    timeout_ms: int,
    rooms: int,
    troubles: tuple[Trouble, ...],
    end_us: int,
) -> tuple[Arrival, ...]:
    count = random.choice((30, 80, 200))
    odd = random.choice((0.0, 0.1, 0.35))
    bursts = random.choice(((1, 1, 1, 3, 12), (1, 12, 50)))
    hot = random.randrange(rooms)
    arrivals: list[Arrival] = []
    while len(arrivals) < count:
        at_us = random.randint(START_US + 100 * MS, end_us)
        if troubles and random.random() < 0.3:
            # In the midst of something: it begins, or ends, while there is much to do.
            trouble = random.choice(troubles)
            within_us = random.randint(0, trouble.length_us)
            around_us = trouble.at_us + random.choice((0, trouble.length_us, within_us))
            at_us = min(end_us, around_us + random.randint(-1_500, 500) * MS)
        burst = random.choice(bursts)
        for _ in range(min(burst, count - len(arrivals))):
            kind = "gift"
            if random.random() < odd:
                kind = random.choice(ODD)
            at_us += random.randint(0, 20 * MS if burst < HOT else MS)
            room = hot if burst >= HOT else random.randrange(rooms)
            arrivals.append(_arrival(random, at_us, kind, timeout_ms, room))
    return tuple(sorted(arrivals, key=lambda one: one.at_us))


def _hot_arrivals(
    random: Random, timeout_ms: int, troubles: tuple[Trouble, ...]
) -> tuple[Arrival, ...]:
    """A hundred gifts into one room just before each trouble of a pod, consumed late."""
    arrivals = []
    for trouble in troubles:
        if trouble.kind not in _POD:
            continue
        at_us = trouble.at_us - random.randint(100, 2_000) * MS
        for _ in range(random.choice((40, 100))):
            at_us += random.randint(0, 3) * MS
            arrival = _arrival(random, at_us, "gift", timeout_ms, 0)
            late_ms = None if arrival.delay_ms is None else arrival.delay_ms + timeout_ms // 2
            arrivals.append(replace(arrival, delay_ms=late_ms))
    return tuple(sorted(arrivals, key=lambda one: one.at_us))


def _wide_arrivals(random: Random, timeout_ms: int, rooms: int) -> tuple[Arrival, ...]:
    """So many gifts within a time-out that the map of the answered ones outgrows its metadata."""
    at_us = START_US + 3 * SECOND
    arrivals = []
    for _ in range(1_200):
        at_us += random.randint(0, 8 * MS)
        arrivals.append(_arrival(random, at_us, "gift", timeout_ms, random.randrange(rooms)))
    return tuple(arrivals)


def _probes(random: Random, timeout_ms: int, rooms: int, begin_us: int) -> tuple[Arrival, ...]:
    """Gifts of the time when all is well again: they measure promptness."""
    return tuple(
        _arrival(random, begin_us + number * 400 * MS, "probe", timeout_ms, random.randrange(rooms))
        for number in range(12)
    )


def _arrival(random: Random, at_us: int, kind: str, timeout_ms: int, room: int) -> Arrival:
    delay_ms: int | None = int(random.expovariate(1 / (0.25 * timeout_ms)))
    edge = random.random()
    if edge < 0.15:
        delay_ms = None
    elif edge < 0.30:
        delay_ms = timeout_ms + random.randint(-30, 30)
    elif edge < 0.35:
        delay_ms = timeout_ms + random.randint(0, 3 * timeout_ms)
    return Arrival(
        at_us,
        kind,
        room,
        delay_ms,
        10_003 if random.random() < 0.1 else 0,
        random.choice((0, 0, 5, 200, timeout_ms // 2)),
    )


# --- troubles ------------------------------------------------------------------------------------

SLOW: Final = frozenset(
    {"api game", "api credentials", "api clock", "api poison", "api size", "api bad"}
)
"""What somebody has to mend: the retries afterwards are up to 75 s apart (`reaction.SLOW`)."""

_POD: Final = ("kill", "kill", "kill in transaction", "term", "freeze", "leave", "late loop")
_KAFKA: Final = (
    "broker away",
    "group slow",
    "transactions slow",
    "data slow",
    "answers lost",
    "moved",
    "unknown",
    "out of order",
    "queue full",
)
_API: Final = (
    "api outage",
    "api late",
    "api stall",
    "api hang",
    "api reset",
    "api 503",
    "api 429",
    "api busy",
    "api limited",
    "api bad",
    "api poison",
    "api size",
    "api game",
    "api credentials",
    "api clock",
    "api date",
    "api garbled",
    "api slow answers",
    "api write",
)


_MIXTURES: Final[tuple[tuple[str, ...], ...]] = (
    _POD,
    _KAFKA,
    _API,
    (*_POD, *_KAFKA),
    (*_POD, *_KAFKA, *_API),
    (),
)


def _hot_troubles(random: Random, pods: int, end_us: int) -> tuple[Trouble, ...]:
    """Pods come and go, now and then while the API is slow or Kafka is."""
    troubles = []
    for at_us in (START_US + 6 * SECOND, START_US + 15 * SECOND):
        pod_us = at_us + random.randint(0, 2_000) * MS
        kind = random.choice(("kill", "term", "leave", "freeze", "kill", "leave"))
        length_us = random.choice((300, 300, 1_500, 9_000)) * MS
        who = random.randrange(pods)
        troubles.append(Trouble(pod_us, kind, length_us, who, 0.0))
        # A check that waits to be written while its process stands still outlives its lease.
        other = "api write" if kind == "freeze" else random.choice(_BESIDE)
        if other is not None:
            begin_us = pod_us - random.randint(0, 1_500) * MS
            other_us = min(random.randint(500, 6_000) * MS, end_us - begin_us)
            # Whole shares for all rooms: only then does an answer speak for everybody.
            troubles.append(Trouble(begin_us, other, other_us, who + 1, random.uniform(0.5, 1.0)))
    return tuple(sorted(troubles, key=lambda one: one.at_us))


_BESIDE: Final = (
    None,
    None,
    "api late",
    "api late",
    "api stall",
    "api slow answers",
    "api write",
    "transactions slow",
    "late loop",
    "late loop",
)


def _troubles(
    random: Random, rules: CheckRules, pods: int, rooms: int, end_us: int
) -> tuple[Trouble, ...]:
    begin_us = START_US + 2 * SECOND
    kinds = random.choice(_MIXTURES)
    steps = random.random() < STEPS_SHARE
    if steps:
        kinds = ("clock step", "clock step", "api hang", "api busy", "out of order")
    count = random.choice((2, 5, 9))
    troubles = []
    for _ in range(count if kinds else 0):
        kind = random.choice(kinds)
        at_us = random.randint(begin_us, end_us - SECOND)
        longest_us = {
            "freeze": 14 * SECOND,
            "broker away": 14 * SECOND,
            # Shorter than the hold, or the assumption of P2 is broken.
            "api stall": min(15 * SECOND, rules.unknown_hold_max_ms * MS - 4 * SECOND),
        }.get(kind, 12 * SECOND)
        length_us = random.choice((100 * MS, SECOND, longest_us // 2, longest_us))
        length_us = min(random.randint(0, length_us), end_us - at_us)
        troubles.append(
            Trouble(at_us, kind, length_us, random.randrange(max(pods, rooms)), random.random())
        )
    return tuple(sorted(troubles, key=lambda one: one.at_us))
