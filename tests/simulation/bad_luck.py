"""What goes wrong in a world, and when: drawn beforehand from a stream of its own."""

from dataclasses import dataclass
from random import Random
from typing import Final

from consumer.core.model import CheckRules
from tests.simulation.hub import MS, SECOND, START_US


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something goes wrong at an instant, and ends `length_us` later (0: it has no length)."""

    at_us: int
    kind: str
    length_us: int = 0
    who: int = 0
    value: float = 0.0


STEPS_SHARE: Final = 0.15
"""So many of all but the hot ones are about wall clocks that are set wrong."""

SLOW: Final = frozenset(
    {"api game", "api credentials", "api clock", "api poison", "api size", "api bad"}
)
"""What somebody has to mend: the retries afterwards are up to 75 s apart (`reaction.SLOW`)."""

POD: Final = ("kill", "kill", "kill in transaction", "term", "freeze", "leave", "late loop")
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
    POD,
    _KAFKA,
    _API,
    (*POD, *_KAFKA),
    (*POD, *_KAFKA, *_API),
    (),
)


def hot_troubles(random: Random, pods: int, end_us: int) -> tuple[Trouble, ...]:
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


def troubles_of(
    random: Random, rules: CheckRules, pods: int, rooms: int, end_us: int
) -> tuple[Trouble, ...]:
    """Troubles of one mixture of kinds, anywhere in the time of faults; of all lengths."""
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
