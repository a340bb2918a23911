"""Whether our wall clock can be believed (design §7)."""

import pytest

from consumer.core.wall_clock import WallClock
from tests.core.builders import NOW_MS, WALL_MS


def running() -> WallClock:
    """A clock that has been read twice."""
    clock = WallClock()
    for at_ms in (0, 500):
        clock.read(NOW_MS + at_ms, WALL_MS + at_ms)
    return clock


def dated(clock: WallClock, differences_ms: list[int], wall_ms: int = WALL_MS) -> list[bool]:
    """Answers with these differences of `Date` to our clock; whether it is in doubt after each."""
    said = []
    for difference_ms in differences_ms:
        clock.date(wall_ms + difference_ms, wall_ms - 30, wall_ms)
        said.append(clock.doubt is not None)
    return said


@pytest.mark.parametrize("step_ms", [2_000, -2_000])
def test_two_seconds_are_no_step(step_ms: int) -> None:
    """Nor is a slow drift, however long it goes on."""
    clock = running()
    for n in range(1, 4):
        clock.read(NOW_MS + n * 60_000, WALL_MS + n * 60_000 + n * step_ms)
    assert clock.doubt is None


def test_a_step_is_told_with_its_length_until_dates_agree() -> None:
    """Three answers in a row."""
    clock = running()
    clock.read(NOW_MS + 1_000, WALL_MS + 4_600)
    assert (clock.doubt, clock.may_lead_ms) == ("the wall clock has stepped by +3.6 s", 3_600)
    assert dated(clock, [0, -9_000, 0, 0, 0]) == [True, True, True, True, False]
    clock.read(NOW_MS + 2_000, WALL_MS + 5_600)
    assert [clock.doubt, clock.may_lead_ms] == [None, 0]


def test_a_step_back_makes_no_deadline_early() -> None:
    """Doubtful it is, but it does not lead: nothing has to wait for so much longer."""
    clock = WallClock()
    clock.read(0, WALL_MS)
    clock.read(10, WALL_MS + 10 - 3_600_000)
    assert clock.doubt is not None
    assert clock.may_lead_ms == 0


def test_a_step_that_is_taken_back_is_over() -> None:
    """Also in two goes."""
    clock, said = running(), []
    for step_ms in (-9_000, -5_000, -1_000):
        clock.read(NOW_MS + 1_000, WALL_MS + 1_000 + step_ms)
        said.append(clock.doubt)
    assert said == [
        "the wall clock has stepped by -9.0 s",
        "the wall clock has stepped by -5.0 s",
        None,
    ]


def test_without_any_date_a_step_is_forgotten_after_an_hour() -> None:
    """The gifts read before it are gone."""
    clock, said = running(), []
    for after_ms in (0, 3_599_999, 3_600_000):
        clock.read(NOW_MS + 1_000 + after_ms, WALL_MS + 10_000 + after_ms)
        said.append(clock.doubt is not None)
    assert said == [True, True, False]


@pytest.mark.parametrize(
    ("difference_ms", "doubted"), [(2_000, False), (2_001, True), (-3_030, False), (-3_031, True)]
)
def test_dates_may_differ_by_two_seconds_beside_their_resolution(
    difference_ms: int, *, doubted: bool
) -> None:
    """`Date` has whole seconds and lies anywhere between the check and its answer."""
    assert [False, False, doubted] == dated(running(), [difference_ms] * 3)


def test_one_wrong_gateway_of_several_is_not_our_fault() -> None:
    """Three in a row are, until three in a row agree."""
    clock = running()
    assert not any(dated(clock, [-60_000, -60_000, 0, -60_000]))
    assert dated(clock, [-60_000, -60_000, 0, 0, 60_000, 0, 0, 0]) == [
        False, True, True, True, True, True, True, False,
    ]  # fmt: skip
    dated(clock, [-60_000] * 3)
    assert clock.doubt == "the wall clock is +60.0 s off the answers' Date"
    assert clock.may_lead_ms == 60_000
