"""What a request is worth, under load and without (design §6)."""

import pytest

from consumer.core.price import Price

CONFIGURED_MS = 30.0


def watch(price: Price, until_ms: int, *, crowded: bool = False, late_ms: int = 0) -> list[float]:
    """The prices of turns each 10 ms, up to an instant."""
    found = []
    for now_ms in range(0, until_ms + 1, 10):
        price.observe(now_ms, crowded=crowded, late_ms=late_ms)
        found.append(price.current_ms)
    return found


def test_without_load_it_is_the_configured_one() -> None:
    """However long; and 20 ms late is not yet late."""
    price = Price(CONFIGURED_MS)
    assert {CONFIGURED_MS} == set(watch(price, 10_000, late_ms=20))


@pytest.mark.parametrize(("crowded", "late_ms"), [(True, 0), (False, 21)])
def test_under_load_it_doubles_in_half_a_second_up_to_ten_times(
    *, crowded: bool, late_ms: int
) -> None:
    """Whichever load it is."""
    found = watch(Price(CONFIGURED_MS), 5_000, crowded=crowded, late_ms=late_ms)
    assert pytest.approx(60.0) == found[50]
    assert pytest.approx(120.0) == found[100]
    assert (300.0, 300.0) == (found[167], found[-1])


def test_it_falls_by_half_in_two_seconds_down_to_the_configured_one() -> None:
    """When neither holds any more."""
    price = Price(CONFIGURED_MS)
    watch(price, 5_000, crowded=True)
    price.observe(7_000, crowded=False, late_ms=0)
    assert pytest.approx(150.0) == price.current_ms
    price.observe(9_000, crowded=False, late_ms=0)
    assert pytest.approx(75.0) == price.current_ms
    price.observe(99_000, crowded=False, late_ms=0)
    assert price.current_ms == CONFIGURED_MS


def test_one_turn_under_load_after_a_long_silence_is_one_turn() -> None:
    """Nothing says that there was load in between."""
    price = Price(CONFIGURED_MS)
    price.observe(0, crowded=True, late_ms=0)
    price.observe(60_000, crowded=True, late_ms=0)
    assert pytest.approx(CONFIGURED_MS * 2**0.2) == price.current_ms


@pytest.mark.parametrize(("configured_ms", "expected"), [(200.0, 1_000.0), (1_000.0, 1_000.0)])
def test_it_never_rises_above_a_gift_second(configured_ms: float, expected: float) -> None:
    """A gift past its deadline waits no longer for its verdict."""
    assert expected == watch(Price(configured_ms), 5_000, crowded=True)[-1]


def test_load_in_one_turn_of_five_keeps_it_where_it_is() -> None:
    """It rests there, instead of swinging between the ends."""
    price = Price(CONFIGURED_MS)
    watch(price, 500, crowded=True)
    for now_ms in range(510, 20_510, 10):
        price.observe(now_ms, crowded=now_ms % 50 == 0, late_ms=0)
    assert pytest.approx(60.0, rel=0.05) == price.current_ms
