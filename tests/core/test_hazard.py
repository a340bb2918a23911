"""The chance, by age, that a gift is consumed now (design §6)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.hazard import (
    AGE_BORDERS_MS,
    AGE_CLASSES,
    PRIOR,
    RATE_FLOOR_PER_MS,
    age_class,
    exponential_hazard,
)


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [(0, 0), (49, 0), (50, 1), (99, 1), (100, 2), (3_276_799, 16), (3_276_800, 17), (10**9, 17)],
)
def test_an_age_at_a_border_belongs_to_the_older_class(age_ms: int, expected: int) -> None:
    """Classes double from 50 ms to 55 min; the last one is open."""
    assert expected == age_class(age_ms)


def test_the_prior_survives_as_often_as_its_distribution_says() -> None:
    """The rates times the classes' lengths add up to the logarithm of what is left."""
    rates = PRIOR.rates_per_ms
    risk = rates[0] * 50 + rates[1] * 50 + rates[2] * 100
    assert math.log(0.9 * math.exp(-200 / 500) + 0.1) == pytest.approx(-risk)


def test_no_rate_falls_under_the_floor() -> None:
    """What was never seen to be consumed late is asked about now and then all the same."""
    rates = PRIOR.rates_per_ms
    assert AGE_CLASSES == len(rates) == len(AGE_BORDERS_MS) + 1
    assert RATE_FLOOR_PER_MS == min(rates) == rates[-1]


@given(st.one_of(st.integers(0, 10**8), st.sampled_from(AGE_BORDERS_MS)), st.integers(-1, 1))
def test_a_class_is_the_number_of_borders_that_are_reached(age_ms: int, off_ms: int) -> None:
    """At each border and beside it, and everywhere else."""
    age_ms = max(0, age_ms + off_ms)
    assert sum(border <= age_ms for border in AGE_BORDERS_MS) == age_class(age_ms)


@given(mean_ms=st.floats(1.0, 10**7), share=st.floats(0.0, 0.999))
def test_any_exponential_hazard_survives_as_its_distribution_says(
    mean_ms: float, share: float
) -> None:
    """Up to every border, for as long as no rate is raised to the floor; and it always falls."""
    hazard = exponential_hazard(mean_ms, share)
    assert hazard.falling
    risk = begin = 0.0
    for border, rate in zip(AGE_BORDERS_MS, hazard.rates_per_ms, strict=False):
        if rate == RATE_FLOOR_PER_MS:
            break
        risk, begin = risk + rate * (border - begin), border
        left = share * math.exp(-border / mean_ms) + 1 - share
        assert pytest.approx(-math.log(left), rel=1e-9, abs=1e-12) == risk
