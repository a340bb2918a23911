"""What is written to gift-sent in a world, and when: drawn beforehand from a stream of its own."""

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from tests.simulation.bad_luck import POD, Trouble
from tests.simulation.hub import MS, SECOND, START_US


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


def arrivals_of(
    random: Random,
    timeout_ms: int,
    rooms: int,
    troubles: tuple[Trouble, ...],
    end_us: int,
) -> tuple[Arrival, ...]:
    """Gifts and records of other kinds, alone and in bursts, many of them amid a trouble."""
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


def hot_arrivals(
    random: Random, timeout_ms: int, troubles: tuple[Trouble, ...]
) -> tuple[Arrival, ...]:
    """A hundred gifts into one room just before each trouble of a pod, consumed late."""
    arrivals = []
    for trouble in troubles:
        if trouble.kind not in POD:
            continue
        at_us = trouble.at_us - random.randint(100, 2_000) * MS
        for _ in range(random.choice((40, 100))):
            at_us += random.randint(0, 3) * MS
            arrival = _arrival(random, at_us, "gift", timeout_ms, 0)
            late_ms = None if arrival.delay_ms is None else arrival.delay_ms + timeout_ms // 2
            arrivals.append(replace(arrival, delay_ms=late_ms))
    return tuple(sorted(arrivals, key=lambda one: one.at_us))


def wide_arrivals(random: Random, timeout_ms: int, rooms: int) -> tuple[Arrival, ...]:
    """So many gifts within a time-out that the map of the answered ones outgrows its metadata."""
    at_us = START_US + 3 * SECOND
    arrivals = []
    for _ in range(1_200):
        at_us += random.randint(0, 8 * MS)
        arrivals.append(_arrival(random, at_us, "gift", timeout_ms, random.randrange(rooms)))
    return tuple(arrivals)


def probes_of(random: Random, timeout_ms: int, rooms: int, begin_us: int) -> tuple[Arrival, ...]:
    """Gifts of the time when all is well again: they measure promptness."""
    return tuple(
        _arrival(random, begin_us + number * 400 * MS, "probe", timeout_ms, random.randrange(rooms))
        for number in range(12)
    )


def busy_arrivals(random: Random, quiet_us: int, rooms: int) -> tuple[Arrival, ...]:
    """Gifts for busy rooms from before the time when all is well until it is nearly over."""
    arrivals = []
    at_us = quiet_us - 6 * SECOND
    while at_us < quiet_us + 18 * SECOND:
        at_us += random.randint(0, 40 * MS)
        delay_ms = random.randint(0, 4_000)
        arrivals.append(Arrival(at_us, "gift", random.randrange(rooms), delay_ms, 0))
    return tuple(arrivals)


def seldom_probes(random: Random, quiet_us: int, room: int) -> tuple[Arrival, ...]:
    """Gifts of a room that has few, consumed at once."""
    return tuple(
        Arrival(quiet_us + number * 4 * SECOND, "probe", room, random.randint(0, 200), 0)
        for number in range(4)
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
