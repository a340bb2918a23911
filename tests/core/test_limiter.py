"""A room's permits, as tables of literal instants (design §5)."""

import pytest

from consumer.core.limiter import Limiter, Loss
from consumer.core.model import RoomKey

ROOM = RoomKey(7, "room")
OTHER = RoomKey(7, "other")
THIRD = RoomKey(7, "third")


def make_limiter(
    permits: int = 20, *, hold_min_ms: int = 2_000, hold_max_ms: int = 60_000
) -> Limiter:
    """A limiter with one open room."""
    limiter = Limiter(
        permits=permits, unknown_hold_min_ms=hold_min_ms, unknown_hold_max_ms=hold_max_ms
    )
    limiter.open(ROOM, None, 0)
    return limiter


def ask(limiter: Limiter, now_ms: int, *, room: RoomKey = ROOM) -> None:
    """A check that is sent and answered in the same millisecond."""
    limiter.take(room, now_ms)
    limiter.answered(room, now_ms, now_ms)


def ready_table(limiter: Limiter, instants: list[int]) -> dict[int, int | None]:
    """What `ready_at` says at each instant."""
    return {now_ms: limiter.ready_at(ROOM, now_ms) for now_ms in instants}


# --- cooling ------------------------------------------------------------------------------------


def test_a_permit_comes_back_a_second_after_the_answer() -> None:
    """1,005 ms of the vendor's second, and 1 ms as the end was rounded down."""
    limiter = make_limiter(permits=1)
    limiter.take(ROOM, 100)
    assert ready_table(limiter, [100, 399]) == {100: None, 399: None}
    limiter.answered(ROOM, 100, 400)
    assert ready_table(limiter, [400, 1_405, 1_406, 2_000]) == {
        400: 1_406,
        1_405: 1_406,
        1_406: 1_406,
        2_000: 2_000,
    }


def test_the_twenty_first_check_waits_for_the_first_permit() -> None:
    """Twenty go out one after the other; then they come back in the order of their answers."""
    limiter = make_limiter()
    for now_ms in range(20):
        assert now_ms == limiter.ready_at(ROOM, now_ms)
        ask(limiter, now_ms)
    assert ready_table(limiter, [20, 1_006]) == {20: 1_006, 1_006: 1_006}
    ask(limiter, 1_006)
    assert limiter.ready_at(ROOM, 1_006) == 1_007


def test_four_checks_at_most_are_in_flight() -> None:
    """The fifth waits until one ends, though sixteen permits are free."""
    limiter = make_limiter()
    for _ in range(4):
        limiter.take(ROOM, 0)
    assert limiter.ready_at(ROOM, 0) is None
    limiter.answered(ROOM, 0, 30)
    assert limiter.ready_at(ROOM, 30) == 30


def test_all_permits_in_flight_wait_for_an_answer() -> None:
    """No instant can be named while every permit is on its way."""
    limiter = make_limiter(permits=2)
    limiter.take(ROOM, 0)
    limiter.take(ROOM, 0)
    assert limiter.ready_at(ROOM, 0) is None


def test_a_check_without_a_permit_is_a_programming_error() -> None:
    """Deciding without having asked is noticed at once."""
    limiter = make_limiter(permits=1)
    limiter.take(ROOM, 0)
    with pytest.raises(AssertionError, match="without a permit"):
        limiter.take(ROOM, 0)


def test_a_check_that_was_never_written_gives_its_permit_back_at_once() -> None:
    """The server cannot have seen it."""
    limiter = make_limiter(permits=1)
    limiter.take(ROOM, 0)
    limiter.unwritten(ROOM)
    assert limiter.ready_at(ROOM, 0) == 0


def test_rooms_do_not_share_permits() -> None:
    """One room at its limit leaves another untouched."""
    limiter = make_limiter(permits=1)
    limiter.open(OTHER, None, 0)
    limiter.take(ROOM, 0)
    assert limiter.ready_at(OTHER, 0) == 0


# --- unknown ------------------------------------------------------------------------------------


def lose_all(limiter: Limiter, now_ms: int) -> None:
    """The room's only permit is taken, and the check lost 3 s later, at `now_ms`."""
    limiter.take(ROOM, now_ms - 3_000)
    limiter.lost(ROOM, now_ms - 3_000, now_ms, probing=True)


def test_a_lost_permit_comes_back_at_the_latest_after_hold_max() -> None:
    """Nothing is heard from the host: a minute after the loss the request is taken for dead."""
    limiter = make_limiter(permits=1)
    lose_all(limiter, 3_000)
    assert ready_table(limiter, [3_000, 62_999]) == {3_000: 63_000, 62_999: 63_000}


def test_an_answer_to_a_check_sent_later_releases_a_lost_permit_one_window_later() -> None:
    """Any room's answer shows that the host has emptied its queue."""
    limiter = make_limiter(permits=1)
    limiter.open(OTHER, None, 0)
    lose_all(limiter, 3_000)
    limiter.take(OTHER, 9_000)
    assert limiter.answered(OTHER, 9_000, 9_500) == [ROOM]
    assert ready_table(limiter, [9_500, 10_505]) == {9_500: 10_506, 10_505: 10_506}


def test_a_lost_permit_never_comes_back_before_hold_min() -> None:
    """An answer 11 ms after the loss is not enough: the request may be in the network."""
    limiter = make_limiter(permits=1)
    limiter.open(OTHER, None, 0)
    lose_all(limiter, 3_000)
    limiter.take(OTHER, 3_001)
    limiter.answered(OTHER, 3_001, 3_011)
    assert limiter.ready_at(ROOM, 3_011) == 5_000


@pytest.mark.parametrize("sent_ms", [100, 2_999, 3_000])
def test_an_answer_to_a_check_sent_no_later_than_the_loss_releases_nothing(sent_ms: int) -> None:
    """It may have been answered from before the stall; the same millisecond is not later."""
    limiter = make_limiter(permits=1)
    limiter.open(OTHER, None, 0)
    limiter.take(OTHER, sent_ms)
    lose_all(limiter, 3_000)
    assert limiter.answered(OTHER, sent_ms, 3_500) == []
    assert limiter.ready_at(ROOM, 3_500) == 63_000


def test_only_the_first_later_answer_counts() -> None:
    """A second answer does not put the release off."""
    limiter = make_limiter(permits=1)
    lose_all(limiter, 3_000)
    limiter.open(OTHER, None, 9_000)
    limiter.open(THIRD, None, 9_000)
    ask(limiter, 9_000, room=OTHER)
    limiter.take(THIRD, 9_100)
    assert limiter.answered(THIRD, 9_100, 9_900) == []
    assert limiter.ready_at(ROOM, 9_900) == 10_006


def test_a_late_answer_does_not_put_a_release_off_beyond_hold_max() -> None:
    """Hold_max is the end of it, even if the proof comes just before."""
    limiter = make_limiter(permits=1)
    limiter.open(OTHER, None, 0)
    lose_all(limiter, 3_000)
    ask(limiter, 62_500, room=OTHER)
    assert limiter.ready_at(ROOM, 62_500) == 63_000


def test_a_room_whose_last_check_got_no_answer_has_one_in_flight() -> None:
    """A server that hangs gets probes, not everything that is left."""
    limiter = make_limiter()
    lose_all(limiter, 3_000)
    limiter.take(ROOM, 4_000)
    assert limiter.ready_at(ROOM, 4_000) is None
    limiter.answered(ROOM, 4_000, 4_100)
    limiter.take(ROOM, 4_100)
    assert limiter.ready_at(ROOM, 4_100) == 4_100


def test_probes_are_one_two_four_and_eight_seconds_apart() -> None:
    """The first comes a second after the loss; it does not get slower than every 8 s."""
    limiter = make_limiter()
    now_ms, waits = 0, []
    limiter.take(ROOM, 0)
    limiter.lost(ROOM, 0, 0, probing=True)
    for _ in range(6):
        ready_ms = limiter.ready_at(ROOM, now_ms)
        assert ready_ms is not None
        waits.append(ready_ms - now_ms)
        now_ms = ready_ms
        limiter.take(ROOM, now_ms)
        limiter.lost(ROOM, now_ms, now_ms, probing=True)
    assert waits == [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]


def test_checks_lost_together_count_once() -> None:
    """Four sent before the first loss are one sign: the next probe is a second away, not eight."""
    limiter = make_limiter()
    for _ in range(4):
        limiter.take(ROOM, 0)
    for now_ms in (3_000, 3_001, 3_002, 3_003):
        limiter.lost(ROOM, 0, now_ms, probing=True)
    assert limiter.ready_at(ROOM, 3_003) == 4_000


def test_an_answer_ends_probing() -> None:
    """The next loss starts again at one second."""
    limiter = make_limiter()
    lose_all(limiter, 3_000)
    lose_all(limiter, 7_000)
    ask(limiter, 10_000)
    assert limiter.ready_at(ROOM, 10_000) == 10_000
    lose_all(limiter, 13_000)
    assert limiter.ready_at(ROOM, 13_000) == 14_000


def test_a_stale_connection_is_no_sign_of_a_hanging_server() -> None:
    """Its permit is unknown like any other, but the next check need not wait."""
    limiter = make_limiter(permits=2)
    limiter.take(ROOM, 0)
    limiter.lost(ROOM, 0, 5, probing=False)
    assert limiter.ready_at(ROOM, 5) == 5
    limiter.take(ROOM, 5)
    limiter.lost(ROOM, 5, 6, probing=False)
    assert limiter.ready_at(ROOM, 6) == 60_005


def test_a_stale_connection_is_forgiven_once() -> None:
    """A second in a row counts like any loss, else twenty would use up the room's permits."""
    limiter = make_limiter()
    waits = []
    now_ms = 0
    for _ in range(4):
        limiter.take(ROOM, now_ms)
        limiter.lost(ROOM, now_ms, now_ms, probing=False)
        ready_ms = limiter.ready_at(ROOM, now_ms)
        assert ready_ms is not None
        waits.append(ready_ms - now_ms)
        now_ms = ready_ms
    assert waits == [0, 1_000, 2_000, 4_000]
    ask(limiter, now_ms)
    limiter.take(ROOM, now_ms)
    limiter.lost(ROOM, now_ms, now_ms, probing=False)
    assert limiter.ready_at(ROOM, now_ms) == now_ms


def test_a_long_outage_does_not_pile_up_losses() -> None:
    """What is past hold_max is forgotten when the next loss comes."""
    limiter = make_limiter(hold_max_ms=60_000)
    for minute in range(200):
        lose_all(limiter, 3_000 + minute * 60_000)
    assert len(limiter._losses) <= 2


# --- too frequent -------------------------------------------------------------------------------


def limit(limiter: Limiter, sent_ms: int, now_ms: int) -> None:
    """A check is answered with "too frequent"."""
    limiter.take(ROOM, sent_ms)
    limiter.answered(ROOM, sent_ms, now_ms)
    limiter.limited(ROOM, sent_ms, now_ms)


def capacity(limiter: Limiter, now_ms: int) -> int:
    """How many checks could be sent and answered in this millisecond, all permits being free."""
    count = 0
    while limiter.ready_at(ROOM, now_ms) == now_ms:
        ask(limiter, now_ms)
        count += 1
    return count


def test_too_frequent_halves_the_permits() -> None:
    """Somebody else asks too: this room gets half of what it had."""
    limiter = make_limiter()
    limit(limiter, 0, 10)
    assert capacity(limiter, 5_000) == 10


def test_permits_recover_by_one_every_ten_seconds() -> None:
    """From ten back to twenty in a hundred seconds, and no further."""
    permits = {}
    for now_ms in (10_009, 10_010, 20_010, 100_009, 100_010, 500_000):
        limiter = make_limiter()
        limit(limiter, 0, 10)
        permits[now_ms] = capacity(limiter, now_ms)
    assert permits == {10_009: 10, 10_010: 11, 20_010: 12, 100_009: 19, 100_010: 20, 500_000: 20}


def test_a_permit_that_recovers_is_not_waited_for_in_vain() -> None:
    """It was: the room waited for an unknown permit (a minute), or for an answer, all the same."""
    limiter = make_limiter(permits=2)
    limit(limiter, 0, 10)
    limiter.take(ROOM, 2_000)
    assert ready_table(limiter, [2_000, 10_010]) == {2_000: 10_010, 10_010: 10_010}
    limiter.lost(ROOM, 2_000, 5_000, probing=True)
    assert ready_table(limiter, [5_000, 10_010]) == {5_000: 10_010, 10_010: 10_010}


def test_permits_halve_at_most_once_a_round_trip() -> None:
    """Checks sent before the halving knew nothing of it; one sent after it did."""
    limiter = make_limiter()
    for _ in range(3):
        limiter.take(ROOM, 0)
    for now_ms in (10, 11, 12):
        limiter.answered(ROOM, 0, now_ms)
        limiter.limited(ROOM, 0, now_ms)
    assert capacity(limiter, 5_000) == 10
    limit(limiter, 7_000, 7_010)
    assert capacity(limiter, 9_000) == 5


def test_permits_never_fall_under_one() -> None:
    """However often it is told so, a room may still ask once a second."""
    limiter = make_limiter()
    for now_ms in range(0, 20_000, 2_000):
        limit(limiter, now_ms, now_ms + 10)
    assert capacity(limiter, 25_000) == 1


def test_retry_after_is_honoured() -> None:
    """No check before the instant that the vendor names; a shorter one does not shorten it."""
    limiter = make_limiter()
    ask(limiter, 0)
    limiter.block(ROOM, 30_010)
    limiter.block(ROOM, 1_020)
    assert ready_table(limiter, [10, 30_009, 30_010]) == {
        10: 30_010,
        30_009: 30_010,
        30_010: 30_010,
    }


# --- hand-over ----------------------------------------------------------------------------------


def test_a_room_taken_over_has_one_free_permit() -> None:
    """The other nineteen are unknown until an answer shows that the predecessor's are through."""
    limiter = make_limiter()
    limiter.open(OTHER, limiter.hand_over(1_000), 1_000)
    assert limiter.ready_at(OTHER, 1_000) == 1_000
    limiter.take(OTHER, 1_000)
    assert limiter.ready_at(OTHER, 1_001) == 60_999
    assert limiter.answered(OTHER, 1_000, 1_100) == [OTHER]
    assert limiter.ready_at(OTHER, 1_100) == 2_106
    assert limiter._rooms[OTHER].releases(2_500)[0] == 2_999


def test_the_rooms_of_a_hand_over_are_released_together() -> None:
    """One answer of the host speaks for all of them."""
    limiter = make_limiter()
    hand_over = limiter.hand_over(1_000)
    rooms = [RoomKey(7, name) for name in "abc"]
    for room in rooms:
        limiter.open(room, hand_over, 1_000)
    limiter.take(rooms[0], 1_000)
    assert rooms == limiter.answered(rooms[0], 1_000, 9_000)
    assert hand_over.release_ms == 10_006


def test_an_answer_to_a_check_sent_before_the_hand_over_releases_nothing() -> None:
    """Only what is sent once the predecessor is silent shows that its requests are through."""
    limiter = make_limiter()
    hand_over = limiter.hand_over(1_000)
    limiter.take(ROOM, 999)
    limiter.answered(ROOM, 999, 1_500)
    assert hand_over.release_ms == 60_999


def test_a_second_window_of_a_room_taken_over_takes_no_more_permits() -> None:
    """The room's permits are unknown once, whatever its number of games."""
    limiter = make_limiter()
    hand_over = limiter.hand_over(1_000)
    limiter.open(OTHER, hand_over, 1_000)
    limiter.open(OTHER, hand_over, 1_000)
    assert len(limiter._rooms[OTHER].releases(1_000)) == 19
    assert hand_over.rooms == [OTHER]


def test_what_was_unknown_before_a_hand_over_is_so_for_as_long_as_that() -> None:
    """It came back by its own hold: up to 19 permits before the predecessor's requests were over."""
    limiter = make_limiter(permits=3)
    limiter.open(OTHER, limiter.hand_over(1_000), 1_000)
    limiter.close(OTHER, 1_900)
    limiter.open(OTHER, limiter.hand_over(2_000), 2_000)
    limiter.take(OTHER, 2_000)
    assert limiter.answered(OTHER, 2_000, 2_010).count(OTHER) == 2
    assert [3_016, 3_999, 3_999] == limiter._rooms[OTHER].releases(2_010)
    limiter.close(OTHER, 4_000)
    limiter.open(OTHER, limiter.hand_over(4_000), 4_000)
    assert [63_999] * 2 == limiter._rooms[OTHER].releases(4_000)  # those that are over stay so


def test_a_hand_over_that_is_over_costs_nothing() -> None:
    """A room that appears later has all its permits."""
    limiter = make_limiter()
    limiter.open(OTHER, Loss(0, 5_000), 5_000)
    assert limiter._rooms[OTHER].releases(5_000) == []


# --- forgetting ---------------------------------------------------------------------------------


def test_an_idle_room_is_forgotten_once_its_permits_are_free() -> None:
    """Nothing is kept for a room without pending gifts."""
    limiter = make_limiter()
    ask(limiter, 0)
    limiter.close(ROOM, 100)
    limiter.forget_idle_rooms(1_105)
    assert (len(limiter), ROOM in limiter) == (1, True)
    limiter.forget_idle_rooms(1_106)
    assert (len(limiter), ROOM in limiter) == (0, False)


def test_a_room_with_another_window_is_not_forgotten() -> None:
    """A room is idle when its last game is."""
    limiter = make_limiter()
    limiter.open(ROOM, None, 0)
    limiter.close(ROOM, 0)
    limiter.forget_idle_rooms(99_999)
    assert ROOM in limiter


def test_a_room_that_was_idle_for_a_moment_is_not_forgotten() -> None:
    """It was opened again before its time came; closed twice, it is forgotten once."""
    limiter = make_limiter()
    limiter.close(ROOM, 0)
    limiter.open(ROOM, None, 500)
    limiter.forget_idle_rooms(1_006)
    assert ROOM in limiter
    limiter.close(ROOM, 1_100)
    limiter.open(ROOM, None, 1_200)
    limiter.close(ROOM, 1_300)
    limiter.forget_idle_rooms(99_999)
    assert ROOM not in limiter


def test_a_room_with_unknown_permits_is_kept() -> None:
    """Forgetting it would give its permits back while requests may still travel."""
    limiter = make_limiter()
    lose_all(limiter, 3_000)
    limiter.close(ROOM, 3_000)
    limiter.forget_idle_rooms(4_006)
    assert ROOM in limiter
    limiter.forget_idle_rooms(14_006)
    assert ROOM in limiter
    limiter.forget_idle_rooms(63_000)
    assert ROOM not in limiter


def test_a_room_with_a_check_in_flight_is_kept() -> None:
    """Its window may be gone with the partition; the request is not."""
    limiter = make_limiter()
    limiter.take(ROOM, 0)
    limiter.close(ROOM, 0)
    limiter.forget_idle_rooms(99_999)
    assert ROOM in limiter


def test_a_room_with_halved_permits_is_kept_until_they_have_recovered() -> None:
    """Else its next gift would be asked about at the full rate."""
    limiter = make_limiter()
    limit(limiter, 0, 10)
    limiter.close(ROOM, 10)
    limiter.forget_idle_rooms(90_000)
    assert ROOM in limiter
    limiter.forget_idle_rooms(100_010)
    assert ROOM not in limiter


def test_a_room_is_kept_for_as_long_as_retry_after_says() -> None:
    """A new gift in it must not break what the vendor asked for."""
    limiter = make_limiter(permits=1)
    ask(limiter, 0)
    limiter.block(ROOM, 30_010)
    limiter.close(ROOM, 10)
    limiter.forget_idle_rooms(30_009)
    assert ROOM in limiter
