"""Levels and limits: when intake pauses, when it resumes, and what people are told (P5)."""

import pytest

from consumer.core.limits import BOUNDS, Limit, Reached, given_up_reason, pause_reason


@pytest.mark.parametrize("limit", Limit)
def test_a_limit_is_reached_at_one_level_and_left_at_a_lower_one(limit: Limit) -> None:
    """Between the two it is what it was."""
    reached, bounds = Reached(), BOUNDS[limit]
    between = (bounds.pause_at + bounds.resume_at) / 2
    levels = (between, bounds.pause_at, between, bounds.resume_at, bounds.resume_at - 0.01, between)
    told = [(reached.update({limit: level}), tuple(reached)) for level in levels]
    assert [
        (False, ()), (True, (limit,)), (False, (limit,)),
        (False, (limit,)), (True, ()), (False, ()),
    ] == told  # fmt: skip


def test_a_limit_keeps_its_hysteresis_while_another_comes_and_goes() -> None:
    """A map that is still too full is not forgotten because the replay limit was left."""
    reached = Reached()
    story = ((0.0, 0.91), (1.0, 0.85), (0.7, 0.85), (0.7, 0.79))
    told = []
    for replay, fill in story:
        reached.update({Limit.REPLAY: replay, Limit.MAP: fill})
        told.append(tuple(reached))
    assert [(Limit.MAP,), (Limit.REPLAY, Limit.MAP), (Limit.MAP,), ()] == told


def test_while_room_is_being_made_a_pause_waits_a_little_longer() -> None:
    """But not for ever: beyond 94.5 % the map pauses intake whatever was given up."""
    reached = Reached()
    told = [reached.update({Limit.MAP: fill}, relieving=True) for fill in (0.94, 0.946)]
    assert [False, True] == told


def test_every_limit_gives_up_before_it_pauses_and_resumes_above_what_giving_up_leaves() -> None:
    """For pending gifts nobody is given up, most are only young, nor for the volume of all maps."""
    for limit, bounds in BOUNDS.items():
        assert 0.6 < bounds.resume_at < bounds.pause_at <= 1
        assert (limit in {Limit.PENDING, Limit.VOLUME}) == (bounds.relieve_at > bounds.pause_at)


def test_reasons_name_what_is_reached() -> None:
    """As it is written in the configuration, where it is a key."""
    assert pause_reason((Limit.REPLAY, Limit.MAP)) == (
        "limits.replay_records_max and the map of answered offsets: full"
    )
    assert given_up_reason(None) == "gave up"
    assert given_up_reason(Limit.OVERDUE) == "gave up early for limits.overdue_gifts_max"
