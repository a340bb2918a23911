"""What answers teach about when a game's gifts are consumed (design §6).

The hazard of an age class is consumed gifts ÷ time at risk. Nobody tells when a gift was consumed:
`Timestamp` in an entry is when it was *sent*. All that is known is an interval of ages, from the
last check that did not find it (or its sending) to the one that did. So the event is spread over
the interval, as likely as the present belief has it, and the time at risk with it; as the belief
gets better the spreading does, and both settle (expectation–maximisation for interval-censored
lives). Booking an event in the middle would starve the youngest class instead [R 21].

Ages are those at the *sending* of checks: what the rates decide is when to send. All of a game's
rooms teach it, and what they taught fades by the number of gifts seen since, not by time: a game
with a gift an hour has no reason to forget.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from consumer.core.gift import Gift
from consumer.core.hazard import (
    AGE_BORDERS_MS,
    AGE_CLASSES,
    PRIOR,
    RATE_FLOOR_PER_MS,
    Hazard,
    Sighting,
    age_class,
)
from consumer.core.model import Status
from consumer.core.verdict import Clause, Verdict

GAMES_MAX: Final = 1_000
"""Games remembered, at about 2 KiB each; beyond it the one that was not heard of for longest goes."""

HALF_LIFE_GIFTS: Final = 1_000
"""After so many gifts a lesson counts half. The 1,440 gifts that this amounts to give each class
that matters a hundred events, and ten per cent of its rate either way; asking by a rate 20 % wrong
costs under 2 %, for the best instant to ask is flat."""

PRIOR_GIFTS: Final = 20
"""The prior weighs as much as so many gifts: gone among a thousand, but enough that the first
three do not make a belief."""

REFRESH_SIGHTINGS: Final = 64
"""Rates are worked out anew after so many sightings (20 µs), not for each."""

RISE_SIGMAS: Final = 3
"""A class's rate is above a younger one's only if by so many standard errors. Rises by chance
would make every class border an instant to look again (`Hazard.falling`)."""

_WIDTHS_MS: Final = (
    *(end - begin for begin, end in itertools.pairwise((0, *AGE_BORDERS_MS))),
    AGE_BORDERS_MS[-1],
)
"""How long an age lasts; for the open last class as long as all before it."""


class _Pool(NamedTuple):
    """Neighbouring classes that share a rate."""

    events: float
    risk_ms: float
    classes: int

    def joined(self, older: "_Pool") -> "_Pool":
        return _Pool(
            self.events + older.events,
            self.risk_ms + older.risk_ms,
            self.classes + older.classes,
        )

    def is_exceeded_by_chance(self, older: "_Pool") -> bool:
        """Whether the older one's higher rate may be an accident: counts vary by their root."""
        rise = older.events / older.risk_ms - self.events / self.risk_ms
        variance = self.events / self.risk_ms**2 + older.events / older.risk_ms**2
        return rise > 0 and rise**2 <= RISE_SIGMAS**2 * variance


@dataclass(slots=True)
class _Game:
    """Decayed counts by age class, and the belief they amount to."""

    prior: Hazard
    hazard: Hazard
    events: list[float] = field(default_factory=lambda: [0.0] * AGE_CLASSES)
    risk_ms: list[float] = field(default_factory=lambda: [0.0] * AGE_CLASSES)
    sightings: int = 0
    ended: int = 0

    def book(self, sighting: Sighting) -> None:
        """Enter one gift's interval, which is at least a millisecond long."""
        begin_ms = sighting.from_ms
        end_ms = max(sighting.until_ms, begin_ms + 1)
        if sighting.consumed:
            self._book_event(begin_ms, end_ms)
        else:
            for index, length_ms in _stretches(begin_ms, end_ms):
                self.risk_ms[index] += length_ms
        self.sightings += 1
        self.ended += sighting.ended

    def _book_event(self, begin_ms: int, end_ms: int) -> None:
        """Spread one event and its time at risk over an interval of ages.

        With q the chance to be consumed in a class, and S to outlive the interval: the class gets
        q ÷ (1 − S) of the event. Of the time at risk a gift of which nothing is known spends q ÷ h
        in the class; take away what those who outlive the interval spend.
        """
        rates = self.hazard.rates_per_ms
        stretches = list(_stretches(begin_ms, end_ms))
        outlived = math.exp(-sum(rates[index] * length for index, length in stretches))
        consumed = -math.expm1(-sum(rates[index] * length for index, length in stretches))
        alive = 1.0
        for index, length_ms in stretches:
            chance = alive * -math.expm1(-rates[index] * length_ms)
            alive -= chance
            self.events[index] += chance / consumed
            self.risk_ms[index] += (chance / rates[index] - outlived * length_ms) / consumed

    def refresh(self) -> None:
        """Let the counts fade, and believe what they say."""
        fading = 0.5 ** (self.ended / HALF_LIFE_GIFTS)
        self.events = [count * fading for count in self.events]
        self.risk_ms = [time_ms * fading for time_ms in self.risk_ms]
        self.sightings = self.ended = 0
        rates: list[float] = []
        for pool in self._pools():
            rates += [max(pool.events / pool.risk_ms, RATE_FLOOR_PER_MS)] * pool.classes
        self.hazard = Hazard(tuple(rates))

    def _pools(self) -> list[_Pool]:
        """The classes with the prior's share, those joined that rise by chance alone."""
        pools: list[_Pool] = []
        for index, rate in enumerate(self.prior.rates_per_ms):
            prior_ms = PRIOR_GIFTS * _WIDTHS_MS[index]
            pool = _Pool(self.events[index] + rate * prior_ms, self.risk_ms[index] + prior_ms, 1)
            while pools and pools[-1].is_exceeded_by_chance(pool):
                pool = pools.pop().joined(pool)
            pools.append(pool)
        return pools


class LearnedHazards:
    """Every game's hazard, learned from its answers; owns at most `games_max` games' counts."""

    def __init__(self, prior: Hazard = PRIOR, *, games_max: int = GAMES_MAX) -> None:
        self._prior = prior
        self._games_max = games_max
        self._games: dict[tuple[int, str], _Game] = {}

    def __len__(self) -> int:
        return len(self._games)

    def of(self, app_id: int, mini_game_id: str) -> Hazard:
        """The hazard as the last refresh had it; the prior for a game not heard of."""
        game = self._games.get((app_id, mini_game_id))
        return self._prior if game is None else game.hazard

    def learn(self, app_id: int, mini_game_id: str, sightings: Iterable[Sighting]) -> None:
        """Book one answer's sightings; O(1) for each but those over long intervals."""
        key = app_id, mini_game_id
        game = self._games.pop(key, None) or _Game(self._prior, self._prior)
        self._games[key] = game  # last in order: heard of just now
        if len(self._games) > self._games_max:
            del self._games[next(iter(self._games))]
        for sighting in sightings:
            game.book(sighting)
        if game.sightings >= REFRESH_SIGHTINGS:
            game.refresh()


def _stretches(begin_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """The age classes from one age to another, and how long each of them lasts there."""
    index = age_class(begin_ms)
    while index < len(AGE_BORDERS_MS) and AGE_BORDERS_MS[index] < end_ms:
        yield index, AGE_BORDERS_MS[index] - begin_ms
        begin_ms = AGE_BORDERS_MS[index]
        index += 1
    yield index, end_ms - begin_ms


def sightings(gift: Gift, verdict: Verdict | Clause, sent_ms: int) -> tuple[Sighting, ...]:
    """What a check sent at `sent_ms` tells about when this gift was consumed.

    Before its first answered check it may have been at any age, also before it came to us.
    Silence is told of once the age up to which it is known has doubled, or with the verdict: a
    gift never consumed is asked about a hundred times, and each time next to nothing is new.
    """
    learned_age_ms, age_ms = gift.learned_ms - gift.start_ms, sent_ms - gift.start_ms
    if isinstance(verdict, Verdict) and verdict.status in (Status.SUCCEEDED, Status.FAILED):
        silent_age_ms = gift.since_ms - gift.start_ms if gift.checks else 0
        found = Sighting(silent_age_ms, age_ms, consumed=True, ended=True)
        if silent_age_ms <= learned_age_ms:
            return (found,)
        return Sighting(learned_age_ms, silent_age_ms, consumed=False, ended=False), found
    ended = isinstance(verdict, Verdict)
    if not ended and age_ms < 2 * learned_age_ms:
        return ()
    gift.learned_ms = sent_ms
    return (Sighting(learned_age_ms, age_ms, consumed=False, ended=ended),)
