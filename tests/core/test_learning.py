"""What answers teach about when a game's gifts are consumed (design §6)."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.hazard import (
    AGE_CLASSES,
    PRIOR,
    RATE_FLOOR_PER_MS,
    Hazard,
    Sighting,
    age_class,
    exponential_hazard,
)
from consumer.core.learning import HALF_LIFE_GIFTS, REFRESH_SIGHTINGS, LearnedHazards

WRONG = exponential_hazard(20_000, 0.9)
WIDTHS_MS = (50, 50, 100, 200)
UNKNOWN = Hazard((RATE_FLOOR_PER_MS,) * AGE_CLASSES)


def consumed(from_ms: int, until_ms: int) -> Sighting:
    """Found at this age, not yet at that."""
    return Sighting(from_ms, until_ms, consumed=True, ended=True)


def still_pending(from_ms: int, until_ms: int) -> Sighting:
    """Not found at this age either."""
    return Sighting(from_ms, until_ms, consumed=False, ended=False)


def proven_absent(from_ms: int, until_ms: int) -> Sighting:
    """Past its deadline, and never consumed."""
    return Sighting(from_ms, until_ms, consumed=False, ended=True)


def learned(*sightings: Sighting, prior: Hazard = PRIOR) -> tuple[float, ...]:
    """The rates, a second, that these sightings amount to."""
    hazards = LearnedHazards(prior)
    hazards.learn(7, "game", sightings)
    return tuple(rate * 1_000 for rate in hazards.of(7, "game").rates_per_ms)


def looked_at(dice: random.Random, consumed_ms: int | None, every_ms: int) -> list[Sighting]:
    """A gift's life, as checks at about these intervals see it."""
    sightings: list[Sighting] = []
    age_ms = 0
    while age_ms < 31_000:
        next_ms = age_ms + dice.randint(1, 2 * every_ms)
        if consumed_ms is not None and consumed_ms <= next_ms:
            return [*sightings, consumed(age_ms, next_ms)]
        sightings.append(still_pending(age_ms, next_ms))
        age_ms = next_ms
    sightings[-1] = sightings[-1]._replace(ended=True)
    return sightings


def test_an_unknown_game_has_the_prior() -> None:
    """And keeps it until there is enough to refresh it."""
    hazards = LearnedHazards()
    assert hazards.of(7, "game") is PRIOR
    hazards.learn(7, "game", [consumed(0, 10)] * (REFRESH_SIGHTINGS - 1))
    assert hazards.of(7, "game") is PRIOR
    hazards.learn(7, "game", [consumed(0, 10)])
    assert hazards.of(7, "game").rates_per_ms[0] > PRIOR.rates_per_ms[0]
    assert (hazards.of(8, "game"), hazards.of(7, "other")) == (PRIOR, PRIOR)


def test_a_rate_is_events_by_time_at_risk() -> None:
    """A thousand gifts at risk for 50 ms each, of which 100 within it, half-way on average."""
    rates = learned(*[consumed(0, 50)] * 100, *[still_pending(0, 50)] * 900, prior=UNKNOWN)
    at_risk_s = 900 * 0.05 + 100 * 0.025 + 20 * 0.05  # and the prior's share
    assert pytest.approx(100 / at_risk_s, rel=0.01) == rates[0]


def test_an_event_is_spread_over_its_interval_as_the_belief_has_it() -> None:
    """Of the classes it may have happened in, the likelier get more, and none of them nothing."""
    hazards = LearnedHazards()
    hazards.learn(7, "game", [consumed(0, 400)] * 10)
    game = hazards._games[7, "game"]
    chances = [1 - math.exp(-r * w) for r, w in zip(PRIOR.rates_per_ms[:4], WIDTHS_MS, strict=True)]
    alive = [math.prod(1 - c for c in chances[:n]) for n in range(5)]
    share = [10 * chances[n] * alive[n] / (1 - alive[4]) for n in range(4)]
    assert pytest.approx(share) == game.events[:4]
    assert pytest.approx(10) == sum(game.events)
    assert all(0 < risk_ms for risk_ms in game.risk_ms[:4])
    assert sum(game.risk_ms) < 10 * 400


def test_an_interval_of_no_length_is_an_event_all_the_same() -> None:
    """A check sent in the moment its gift was: the answer was later."""
    assert learned(*[consumed(0, 0)] * 100)[0] > 1_000 * PRIOR.rates_per_ms[0]


def test_what_is_never_consumed_falls_to_the_floor_and_no_further() -> None:
    """Four hundred gifts proven absent: still asked about now and then."""
    life = [still_pending(0, 1_000), still_pending(1_000, 20_000), proven_absent(20_000, 31_050)]
    rates = learned(*life * 400)
    assert 0.02 == pytest.approx(min(rates))
    assert rates[2] < 0.1 * PRIOR.rates_per_ms[2] * 1_000


@pytest.mark.parametrize("every_ms", [60, 300, 1_500])
@pytest.mark.parametrize("prior", [PRIOR, WRONG], ids=["right", "wrong"])
def test_an_exponential_delay_is_found_whatever_the_prior(prior: Hazard, every_ms: int) -> None:
    """By looking often, seldom, and very seldom; and it is seen to be falling."""
    dice = random.Random(every_ms)
    hazards = LearnedHazards(prior)
    for _ in range(2_000):
        consumed_ms = round(dice.expovariate(1 / 500)) if dice.random() < 0.9 else None
        hazards.learn(7, "game", looked_at(dice, consumed_ms, every_ms))
    rates = hazards.of(7, "game").rates_per_ms
    likely = sum(rates[:5]) / sum(PRIOR.rates_per_ms[:5])
    assert pytest.approx(1.0, abs=0.2) == likely
    assert hazards.of(7, "game").falling


def test_a_fixed_delay_is_found_in_its_class() -> None:
    """1.3 s: hardly any chance before 0.8 s, and a high one after; it is not falling."""
    dice = random.Random(5)
    hazards = LearnedHazards()
    for _ in range(2_000):
        hazards.learn(7, "game", looked_at(dice, 1_300, 200))
    rates = hazards.of(7, "game").rates_per_ms
    assert max(rates[:5]) * 1_000 < 0.1
    assert max(rates) == rates[5]
    assert rates[5] * 1_000 > 1.5
    assert not hazards.of(7, "game").falling


def test_a_rise_by_chance_is_no_rise() -> None:
    """Two events where one was expected are nothing to look again for; fifty are."""
    lives = [still_pending(0, 100)] * 70
    assert len(set(learned(*lives, *[consumed(60, 90)] * 2, prior=UNKNOWN)[:2])) == 1
    assert len(set(learned(*lives, *[consumed(60, 90)] * 50, prior=UNKNOWN)[:2])) == 2


def test_a_lesson_fades_by_half_in_a_thousand_gifts() -> None:
    """A game that changes is learned anew; one without gifts forgets nothing."""
    hazards = LearnedHazards(UNKNOWN)
    hazards.learn(7, "game", [still_pending(0, 50)] * 1_000)
    hazards.learn(7, "game", [proven_absent(25_000, 25_001)] * HALF_LIFE_GIFTS)
    assert pytest.approx(25_000) == hazards._games[7, "game"].risk_ms[0]


def test_beyond_its_bound_the_game_not_heard_of_for_longest_is_forgotten() -> None:
    """It begins again with the prior."""
    hazards = LearnedHazards(games_max=2)
    for game in ("a", "b", "a", "c"):
        hazards.learn(7, game, [consumed(0, 10)] * REFRESH_SIGHTINGS)
    assert (2, PRIOR) == (len(hazards), hazards.of(7, "b"))
    assert PRIOR not in (hazards.of(7, "a"), hazards.of(7, "c"))


# --- properties ---------------------------------------------------------------------------------

HAZARDS = st.sampled_from((PRIOR, WRONG, UNKNOWN, Hazard(tuple(0.0001 * n for n in range(1, 19)))))
SIGHTINGS = st.builds(
    lambda from_ms, length_ms, consumed, ended: Sighting(
        from_ms, from_ms + length_ms, consumed, consumed or ended
    ),
    from_ms=st.one_of(st.integers(0, 3_000), st.integers(0, 10**7)),
    length_ms=st.one_of(st.integers(0, 300), st.integers(0, 10**7)),
    consumed=st.booleans(),
    ended=st.booleans(),
)


@given(prior=HAZARDS, begin_ms=st.integers(0, 2_000), length_ms=st.integers(1, 400))
def test_an_event_is_spread_as_if_each_millisecond_were_looked_at(
    prior: Hazard, begin_ms: int, length_ms: int
) -> None:
    """The reference: the chance to be consumed in each of them, and the time at risk in it."""
    hazards = LearnedHazards(prior)
    hazards.learn(7, "game", [consumed(begin_ms, begin_ms + length_ms)])
    events, risk_ms, alive = [0.0] * AGE_CLASSES, [0.0] * AGE_CLASSES, 1.0
    rates = [prior.rates_per_ms[age_class(begin_ms + n)] for n in range(length_ms)]
    outlived = math.exp(-math.fsum(rates))
    for n, rate in enumerate(rates):
        index, chance = age_class(begin_ms + n), alive * -math.expm1(-rate)
        alive -= chance
        events[index] += chance / (1 - outlived)
        risk_ms[index] += (chance / rate - outlived) / (1 - outlived)
    game = hazards._games[7, "game"]
    assert pytest.approx(events, rel=1e-6, abs=1e-9) == game.events
    assert pytest.approx(risk_ms, rel=1e-6, abs=1e-6) == game.risk_ms


@given(prior=HAZARDS, sightings=st.lists(SIGHTINGS, max_size=10))
def test_no_event_and_no_time_gets_lost_or_made_up(
    prior: Hazard, sightings: list[Sighting]
) -> None:
    """One event for each that was consumed; never more time at risk than was looked at."""
    hazards = LearnedHazards(prior)
    hazards.learn(7, "game", sightings)
    game = hazards._games[7, "game"]
    lengths_ms = [max(1, one.until_ms - one.from_ms) for one in sightings]
    at_most_ms = sum(lengths_ms)
    at_least_ms = sum(n for n, one in zip(lengths_ms, sightings, strict=True) if not one.consumed)
    assert pytest.approx(sum(one.consumed for one in sightings)) == math.fsum(game.events)
    assert at_least_ms - 1e-3 <= math.fsum(game.risk_ms) <= at_most_ms + 1e-3
    assert all(-1e-6 <= risk_ms for risk_ms in game.risk_ms)


@given(
    ages_ms=st.lists(st.integers(0, 10**7), min_size=2, max_size=30, unique=True).map(sorted),
)
def test_looking_often_at_who_is_not_found_teaches_what_looking_once_does(
    ages_ms: list[int],
) -> None:
    """Only how long it was at risk, in each class."""
    often, once = LearnedHazards(), LearnedHazards()
    often.learn(7, "g", [still_pending(*pair) for pair in itertools.pairwise(ages_ms)])
    once.learn(7, "g", [still_pending(ages_ms[0], ages_ms[-1])])
    assert often._games[7, "g"].risk_ms == once._games[7, "g"].risk_ms


@given(prior=HAZARDS, sightings=st.lists(SIGHTINGS, min_size=1, max_size=6))
def test_whatever_is_taught_every_rate_can_be_asked_by(
    prior: Hazard, sightings: list[Sighting]
) -> None:
    """Finite, not under the floor, and called falling only if it falls."""
    hazards = LearnedHazards(prior)
    for sighting in sightings:
        hazards.learn(7, "game", [sighting] * REFRESH_SIGHTINGS)
        hazard = hazards.of(7, "game")
        rates = hazard.rates_per_ms
        assert AGE_CLASSES == len(rates)
        assert all(RATE_FLOOR_PER_MS <= rate < math.inf for rate in rates)
        assert hazard.falling == (sorted(rates, reverse=True) == list(rates))
