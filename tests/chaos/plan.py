"""Which fault when: drawn from a seed, so that the same seed plans the same trouble.

Faults overlap freely, but each needs something of its own while it lasts: a pod is killed once at
a time, one broker is down at a time (with two down, nothing with `min.insync.replicas` 2 can be
written), and the API and each broker's connections have one kind of trouble at a time.
"""

from collections.abc import Iterator
from enum import StrEnum
from random import Random
from typing import Final, NamedTuple

PODS: Final = 3
BROKERS: Final = 3


class Kind(StrEnum):
    """What is done; see `inject`."""

    KILL = "SIGKILL of a consumer, back within 3 s"
    KILL_AND_STAY = "SIGKILL of a consumer, away beyond its session"
    TERM = "SIGTERM of a consumer"
    STOP = "SIGSTOP of a consumer, then SIGCONT"
    ROLL = "rolling restart of all consumers"
    SCALE = "consumers scaled 3 to 1 and back to 3"
    BROKER_KILL = "SIGKILL of a broker"
    GROUP_COORDINATOR_KILL = "SIGKILL of the group's coordinator"
    TRANSACTION_COORDINATOR_KILL = "SIGKILL of a transaction coordinator"
    BROKER_TERM = "restart of a broker"
    API_OUTAGE = "API: connections refused"
    API_RESET = "API: connections reset once"
    API_SLOW = "API: slow in both directions"
    API_HALVED = "API: answers cut in the middle"
    API_HANG = "API: answers that never come"
    API_STALL = "API: stands still, then takes in what waited"
    API_STATUS = "API: a gateway's 503 instead of answers"
    KAFKA_CUT = "Kafka: a broker's connections reset"
    KAFKA_REFUSED = "Kafka: a broker out of reach"
    KAFKA_SLOW = "Kafka: a broker's connections slow"
    KAFKA_STALL = "Kafka: a broker's connections stand still"


class _Rule(NamedTuple):
    """How often (in proportion), for how long, and what it needs for itself."""

    weight: int
    hold_s: tuple[float, float]
    needs: str


_RULES: Final[dict[Kind, _Rule]] = {
    Kind.KILL: _Rule(6, (0.2, 3.0), "pod"),
    Kind.KILL_AND_STAY: _Rule(2, (14.0, 17.0), "pod"),
    Kind.TERM: _Rule(4, (1.0, 1.0), "pod"),
    Kind.STOP: _Rule(4, (0.5, 14.0), "pod"),
    Kind.ROLL: _Rule(1, (10.0, 10.0), "pods"),
    Kind.SCALE: _Rule(1, (6.0, 10.0), "pods"),
    Kind.BROKER_KILL: _Rule(1, (1.0, 12.0), "broker"),
    Kind.GROUP_COORDINATOR_KILL: _Rule(2, (1.0, 12.0), "broker"),
    Kind.TRANSACTION_COORDINATOR_KILL: _Rule(2, (1.0, 12.0), "broker"),
    Kind.BROKER_TERM: _Rule(1, (1.0, 6.0), "broker"),
    Kind.API_OUTAGE: _Rule(3, (0.5, 5.0), "api"),
    Kind.API_RESET: _Rule(2, (0.1, 0.1), "api"),
    Kind.API_SLOW: _Rule(3, (1.0, 5.0), "api"),
    Kind.API_HALVED: _Rule(3, (1.0, 4.0), "api"),
    Kind.API_HANG: _Rule(2, (1.0, 4.0), "api"),
    Kind.API_STALL: _Rule(2, (0.5, 6.0), "api"),
    Kind.API_STATUS: _Rule(2, (1.0, 4.0), "api"),
    Kind.KAFKA_CUT: _Rule(3, (0.1, 0.1), "link"),
    Kind.KAFKA_REFUSED: _Rule(2, (1.0, 5.0), "link"),
    Kind.KAFKA_SLOW: _Rule(3, (1.0, 5.0), "link"),
    Kind.KAFKA_STALL: _Rule(2, (0.5, 5.0), "link"),
}

_REST_S: Final = {"pod": 1.0, "pods": 5.0, "broker": 12.0, "api": 0.5, "link": 0.5}
"""How long after a fault what it needed is left alone: a broker must come up and catch up."""


class Fault(NamedTuple):
    """A fault `at_s` after the beginning, for `hold_s`; `target` is a pod's or broker's number.

    `strength` is drawn from [0, 1): how slow, how often.
    """

    at_s: float
    kind: Kind
    target: int
    hold_s: float
    strength: float


def plan(
    seed: int,
    duration_s: float,
    every_s: tuple[float, float] = (2.0, 6.0),
    *,
    brokers: int = BROKERS,
) -> tuple[Fault, ...]:
    """The faults of so many seconds."""
    return tuple(_faults(Random(seed), duration_s, every_s, brokers))


def _faults(
    random: Random, duration_s: float, every_s: tuple[float, float], brokers: int
) -> Iterator[Fault]:
    free_at: dict[str, float] = {}
    at_s = random.uniform(*every_s)
    while at_s < duration_s:
        possible = [kind for kind in _RULES if _targets(kind, free_at, at_s, brokers)]
        if possible:
            [kind] = random.choices(possible, [_RULES[kind].weight for kind in possible])
            target = random.choice(_targets(kind, free_at, at_s, brokers))
            hold_s = random.uniform(*_RULES[kind].hold_s)
            yield Fault(at_s, kind, target, hold_s, random.random())
            needs = _RULES[kind].needs
            for name in _names(needs, target):
                free_at[name] = at_s + hold_s + _REST_S[needs]
        at_s += random.uniform(*every_s)


def _targets(kind: Kind, free_at: dict[str, float], at_s: float, brokers: int) -> list[int]:
    """Whom it could strike now."""
    needs = _RULES[kind].needs
    count = {"pod": PODS, "link": brokers, "broker": brokers}.get(needs, 1)
    return [
        target
        for target in range(count)
        if all(free_at.get(name, 0.0) <= at_s for name in _names(needs, target))
    ]


def _names(needs: str, target: int) -> tuple[str, ...]:
    """What a fault has for itself."""
    match needs:
        case "pods":
            return tuple(f"pod-{number}" for number in range(PODS))
        case "pod" | "link":
            return (f"{needs}-{target}",)
        case _:
            return (needs,)
