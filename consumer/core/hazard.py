"""When gifts are consumed: the chance, by age, that a gift not yet consumed now is (design §6).

The hazard is a rate for each age class: consumed gifts ÷ time at risk. Who asks for it does not
care where it comes from: `Hazards` is the interface, `PRIOR` is what is believed of a game before
anything is known, and `learning` is how it becomes knowledge.
"""

import bisect
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

AGE_BORDERS_MS: Final = tuple(50 << n for n in range(17))
"""50 ms, 100 ms, … 55 min: the upper ends (exclusive) of all age classes but the last. Doubling
keeps a gift's moves few (4 before it is a second old) and the classes fine where it matters."""

AGE_CLASSES: Final = len(AGE_BORDERS_MS) + 1

RATE_FLOOR_PER_MS: Final = 0.02 / 1_000
"""0.02/s: also what was never seen to be consumed late is asked about now and then [R 21]."""


def age_class(age_ms: int) -> int:
    """The class of this age; an age at a border belongs to the older class."""
    return bisect.bisect_right(AGE_BORDERS_MS, age_ms)


@dataclass(frozen=True, slots=True)
class Hazard:
    """The rate of being consumed, per millisecond, for each age class.

    `falling` says that no class has a higher rate than a younger one: growing older then only
    makes a gift less urgent.
    """

    rates_per_ms: tuple[float, ...]
    falling: bool = field(init=False)

    def __post_init__(self) -> None:
        falling = all(young >= old for young, old in itertools.pairwise(self.rates_per_ms))
        object.__setattr__(self, "falling", falling)


class Sighting(NamedTuple):
    """What an answer told of one gift's life from one age to another.

    It was not yet consumed at `from_ms`. If `consumed` it was at `until_ms`, and nobody knows when
    in between; else it still was not. `ended` is whether this is the last that is seen of it.
    """

    from_ms: int
    until_ms: int
    consumed: bool
    ended: bool


class Hazards(Protocol):
    """Knows every game's hazard."""

    def of(self, app_id: int, mini_game_id: str) -> Hazard:
        """The hazard of a game's gifts as it is believed now."""
        ...

    def learn(self, app_id: int, mini_game_id: str, sightings: Iterable[Sighting]) -> None:
        """One answer's news of a game's gifts."""
        ...


def exponential_hazard(mean_ms: float, consumed_share: float) -> Hazard:
    """Of gifts that are consumed after an exponential time, or, some of them, never.

    With S(t) = p·exp(−t/mean) + 1 − p still unconsumed at age t, the mean rate over a class from a
    to b is ln(S(a)/S(b)) / (b − a). In the open last class only the floor is left.
    """

    def unconsumed(age_ms: float) -> float:
        return consumed_share * math.exp(-age_ms / mean_ms) + 1 - consumed_share

    borders = (0, *AGE_BORDERS_MS)
    rates = [
        math.log(unconsumed(begin) / unconsumed(end)) / (end - begin)
        for begin, end in itertools.pairwise(borders)
    ]
    return Hazard(tuple(max(rate, RATE_FLOOR_PER_MS) for rate in [*rates, 0.0]))


PRIOR: Final = exponential_hazard(500.0, 0.9)
"""Of an unknown game: nine of ten gifts are consumed, after 0.5 s on average."""
