"""The record and the limit: what is counted, to the microsecond."""

import random

import pytest

from consumer.simulator.arrivals import Arrival, Arrivals
from consumer.simulator.limit import RoomLimit
from consumer.simulator.request import CHECK, SEND, Request


def arrive(
    arrivals: Arrivals,
    time_us: int,
    room_id: str = "room",
    msg_ids: tuple[str, ...] = ("m1",),
    action: str = CHECK,
) -> Arrival:
    """Record one arrival and return it."""
    request = Request("POST", "", {}, None, 1, action, room_id, "game", msg_ids)
    return arrivals.record(request, time_us, 0)


def test_a_half_open_second_does_not_hold_its_end() -> None:
    """Arrivals exactly one second apart are not in one second, a microsecond less they are."""
    arrivals = Arrivals()
    arrive(arrivals, 0)
    arrive(arrivals, 1_000_000)
    assert arrivals.room_requests_per_second_max() == 1
    arrive(arrivals, 1_999_999)
    assert arrivals.room_requests_per_second_max() == 2


def test_only_requests_of_one_room_and_action_are_counted_together() -> None:
    """Other rooms, sends, and requests without a room do not add up."""
    arrivals = Arrivals()
    arrive(arrivals, 0)
    arrive(arrivals, 1, room_id="other")
    arrive(arrivals, 2, action=SEND)
    arrive(arrivals, 3, room_id="")
    arrive(arrivals, 4, room_id="")
    assert arrivals.room_requests_per_second_max() == 1
    assert arrivals.room_requests_per_second_max(SEND) == 1


def test_most_in_a_second_agrees_with_counting_by_hand() -> None:
    """Random arrivals give what a quadratic count gives."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    times_us = sorted(rng.randrange(5_000_000) for _ in range(300))
    arrivals = Arrivals()
    for time_us in times_us:
        arrive(arrivals, time_us)
    expected = max(sum(start <= t < start + 1_000_000 for t in times_us) for start in times_us)
    assert expected == arrivals.room_requests_per_second_max()


def test_nothing_arrived_is_a_most_of_nought() -> None:
    """An empty record has no busiest second."""
    assert Arrivals().room_requests_per_second_max() == 0


def test_an_arrival_is_found_by_the_request_id_of_its_answer() -> None:
    """The deciding check of a result can be looked up."""
    arrivals = Arrivals()
    arrive(arrivals, 5)
    second = arrive(arrivals, 7_999)
    assert second == arrivals.by_request_id(second.request_id)
    assert second.wall_ms == 7
    assert arrivals.by_request_id("sim-2") is None
    assert arrivals.by_request_id("abcd123") is None


def test_a_bounded_record_forgets_the_oldest() -> None:
    """Only the last are kept, all are counted, and look-ups still find the right one."""
    arrivals = Arrivals(kept_max=2)
    first, second, third = (arrive(arrivals, time_us) for time_us in (1, 2, 3))
    assert arrivals.count == 3
    assert [second, third] == list(arrivals)
    assert arrivals.by_request_id(first.request_id) is None
    assert third == arrivals.by_request_id(third.request_id)
    with pytest.raises(ValueError, match="keeps all"):
        arrivals.checks_of(1, "room", "game", "m1")


def test_the_checks_of_a_gift_are_found_also_those_that_come_later() -> None:
    """Every check that asked for it is listed once, in order; sends are not checks."""
    arrivals = Arrivals()
    first = arrive(arrivals, 1, msg_ids=("m1", "m2", "m1"))
    arrive(arrivals, 2, msg_ids=("m2",))
    arrive(arrivals, 3, action=SEND)
    assert (first,) == arrivals.checks_of(1, "room", "game", "m1")
    later = arrive(arrivals, 4)
    assert (first, later) == arrivals.checks_of(1, "room", "game", "m1")
    assert arrivals.checks_of(1, "room", "other", "m1") == ()


def test_the_twenty_first_within_a_second_is_one_too_many() -> None:
    """Twenty pass, the next is over until the first of the last twenty is a second old."""
    limit = RoomLimit(20)
    key = (1, "room", CHECK)
    assert [limit.arrive(key, time_us) for time_us in range(20)] == [False] * 20
    assert limit.arrive(key, 999_999) is True
    assert limit.arrive(key, 1_000_001) is False


def test_refused_requests_count_against_the_limit() -> None:
    """Whoever goes on asking at more than the limit stays refused."""
    limit = RoomLimit(2)
    key = (1, "room", CHECK)
    over = [limit.arrive(key, time_us) for time_us in range(0, 4_000_000, 400_000)]
    assert over == [False, False] + [True] * 8


def test_rooms_and_actions_have_limits_of_their_own() -> None:
    """What one room or action uses up is no other's."""
    limit = RoomLimit(1)
    keys = [(1, "room", CHECK), (1, "room", SEND), (1, "other", CHECK), (2, "room", CHECK)]
    assert [limit.arrive(key, 0) for key in keys] == [False] * 4


def test_the_limit_can_be_lifted() -> None:
    """Without a limit nothing is over."""
    limit = RoomLimit(None)
    assert not any(limit.arrive((1, "room", CHECK), 0) for _ in range(100))
