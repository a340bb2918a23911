"""Which window asks next: heap, slots, leases and permits together (design §5 and §6)."""

from dataclasses import replace

from consumer.core.breaker import Breaker
from consumer.core.dispatch import Dispatcher
from consumer.core.gift import Gift
from consumer.core.hazard import PRIOR
from consumer.core.learning import LearnedHazards
from consumer.core.lease import Lease
from consumer.core.limiter import Limiter
from consumer.core.model import Check, CheckRules, Trouble
from consumer.core.reaction import Backoffs
from consumer.core.window import Window
from tests.core.builders import NOW_MS, RULES, make_gift, make_window_key


class Desk:
    """A dispatcher with a hand-written rest of the world around it."""

    def __init__(self, rules: CheckRules = RULES) -> None:
        self.backoffs = Backoffs(lambda: 0.0)
        self.limiter = Limiter(
            permits=rules.room_permits,
            unknown_hold_min_ms=rules.unknown_hold_min_ms,
            unknown_hold_max_ms=rules.unknown_hold_max_ms,
        )
        self.breaker = Breaker(rules.requests_in_flight_max, lambda: 0.0)
        self.dispatcher = Dispatcher(
            rules, self.limiter, self.backoffs, LearnedHazards(), self.breaker
        )
        self.lease = Lease(opens_ms=NOW_MS, until_ms=NOW_MS + 3_000)

    def open(
        self, room: str = "room", game: str = "game", *, lease: Lease | None = None, gifts: int = 1
    ) -> Window:
        """A window with gifts so old that each of them is worth a request at once."""
        window = Window(make_window_key(room, game), lease or self.lease)
        self.dispatcher.open(window, NOW_MS)
        for n in range(gifts):
            window.add(old_gift(f"{room}{n}"), NOW_MS)
        self.dispatcher.touch([window], NOW_MS)
        return window

    def end(self, check: Check, now_ms: int) -> None:
        """A check is answered and says nothing about its gifts."""
        flight = self.dispatcher.answered(check.check_id, now_ms)
        flight.window.give_back(flight.gifts, flight.sent_ms)
        self.dispatcher.touch_room(flight.window.key.room, now_ms)

    def decide(self, check: Check, now_ms: int) -> None:
        """A check is answered and decides its gifts."""
        flight = self.dispatcher.answered(check.check_id, now_ms)
        for gift in flight.gifts:
            flight.window.remove(gift)
        self.dispatcher.touch_room(flight.window.key.room, now_ms)

    def lose(self, check: Check, now_ms: int) -> None:
        """A check gets no answer."""
        flight = self.dispatcher.lost(check.check_id, now_ms, probing=True)
        flight.window.give_back(flight.gifts, None)
        self.dispatcher.touch_room(flight.window.key.room, now_ms)


def old_gift(msg_id: str) -> Gift:
    """A gift that is overdue, and has been for a minute."""
    return replace(make_gift(msg_id=msg_id, now_ms=NOW_MS - 100_000), since_ms=NOW_MS - 60_000)


def rooms_of(checks: list[Check]) -> list[str]:
    """Whom these checks ask about."""
    return [check.room_id for check in checks]


def test_a_check_carries_all_waiting_gifts_of_its_window() -> None:
    """One room, one game, its ids, and until when it may be written."""
    desk = Desk()
    desk.open(gifts=3)
    [check] = desk.dispatcher.poll(NOW_MS)
    expected = Check(1, 7, "room", "game", ("room0", "room1", "room2"), NOW_MS + 3_000)
    assert expected == check
    assert (
        desk.dispatcher.in_flight,
        desk.lease.in_flight,
        desk.dispatcher.next_wakeup(),
    ) == (1, 1, None)


def test_twins_of_one_msg_id_are_asked_about_once() -> None:
    """The vendor is asked for ids, not for gifts."""
    desk = Desk()
    window = desk.open()
    window.add(replace(old_gift("room0"), offsets=[5]), NOW_MS)
    [check] = desk.dispatcher.poll(NOW_MS)
    assert check.msg_ids == ("room0",)
    assert len(desk.dispatcher.answered(check.check_id, NOW_MS).gifts) == 2


def test_more_gifts_than_fit_go_in_several_checks() -> None:
    """Up to four at once, as the room's permits allow; the rest when one of them ends."""
    desk = Desk(CheckRules(batch_size_max=2))
    desk.open(gifts=11)
    checks = desk.dispatcher.poll(NOW_MS)
    assert [len(check.msg_ids) for check in checks] == [2, 2, 2, 2]
    assert len({msg_id for check in checks for msg_id in check.msg_ids}) == 8


def test_games_of_one_room_share_its_permits() -> None:
    """The second game's check waits until the first one's has cooled."""
    desk = Desk(CheckRules(room_permits=1))
    desk.open(game="a")
    desk.open(game="b")
    [check] = desk.dispatcher.poll(NOW_MS)
    assert (check.mini_game_id, desk.dispatcher.poll(NOW_MS + 10)) == ("a", [])
    desk.decide(check, NOW_MS + 20)
    assert desk.dispatcher.next_wakeup() == NOW_MS + 1_026
    assert desk.dispatcher.poll(NOW_MS + 1_025) == []
    assert [check.mini_game_id for check in desk.dispatcher.poll(NOW_MS + 1_026)] == ["b"]


def test_games_of_one_room_take_turns() -> None:
    """However much one of them has to ask, the other is not starved by a room at its limit."""
    desk = Desk(CheckRules(room_permits=1))
    for game in "ab":
        desk.open(game=game, lease=Lease(opens_ms=NOW_MS, until_ms=NOW_MS + 10**6))
    asked, now_ms = [], NOW_MS
    for _ in range(6):
        [check] = desk.dispatcher.poll(now_ms)
        asked.append(check.mini_game_id)
        desk.end(check, now_ms + 20)
        now_ms += 1_026
    assert "".join(asked) == "ababab"


def test_windows_without_a_slot_queue_for_one() -> None:
    """Those alike get it in the order in which they became due."""
    desk = Desk(CheckRules(requests_in_flight_max=2))
    for room in "abcde":
        desk.open(room, game=room)
    first = desk.dispatcher.poll(NOW_MS)
    assert (rooms_of(first), desk.dispatcher.queued()) == (["a", "b"], 3)
    desk.end(first[1], NOW_MS + 10)
    assert rooms_of(desk.dispatcher.poll(NOW_MS + 10)) == ["c"]
    desk.end(first[0], NOW_MS + 20)
    assert (rooms_of(desk.dispatcher.poll(NOW_MS + 20)), desk.dispatcher.queued()) == (["d"], 1)


def test_a_window_that_ended_while_it_queued_is_passed_over() -> None:
    """Its partition was revoked; the next in the queue gets the slot."""
    desk = Desk(CheckRules(requests_in_flight_max=1))
    windows = [desk.open(room) for room in "abc"]
    [check] = desk.dispatcher.poll(NOW_MS)
    desk.dispatcher.close(windows[1], NOW_MS)
    desk.end(check, NOW_MS + 10)
    assert rooms_of(desk.dispatcher.poll(NOW_MS + 10)) == ["c"]


def test_a_window_that_ended_is_not_met_in_the_heap() -> None:
    """It is due, but gone."""
    desk = Desk()
    window = desk.open()
    desk.dispatcher.close(window, NOW_MS)
    desk.dispatcher.touch([window], NOW_MS)
    assert (desk.dispatcher.poll(NOW_MS), desk.dispatcher.next_wakeup()) == ([], None)


def test_a_window_that_is_due_earlier_than_it_stood_asks_earlier_and_once() -> None:
    """What it stood for later is passed over when it comes up."""
    desk = Desk()
    window = Window(make_window_key(), desk.lease)
    desk.dispatcher.open(window, NOW_MS)
    window.add(make_gift(), NOW_MS)
    desk.dispatcher.touch([window], NOW_MS)
    later_ms = desk.dispatcher.next_wakeup()
    assert later_ms is not None
    assert later_ms > NOW_MS
    window.add(old_gift("old"), NOW_MS)
    desk.dispatcher.touch([window], NOW_MS)
    assert len(desk.dispatcher.poll(NOW_MS)) == 1
    assert desk.dispatcher.poll(later_ms) == []
    assert desk.dispatcher.next_wakeup() is None


def test_a_window_that_is_due_later_than_it_stands_looks_again() -> None:
    """An answer has made it less urgent."""
    desk = Desk()
    window = Window(make_window_key(), desk.lease)
    desk.dispatcher.open(window, NOW_MS)
    gift = make_gift()
    window.add(gift, NOW_MS)
    desk.dispatcher.touch([window], NOW_MS)
    early_ms = desk.dispatcher.next_wakeup()
    assert early_ms is not None
    desk.backoffs.failed(Trouble.TRANSIENT, "busy", window.key, NOW_MS, NOW_MS + 100)
    desk.dispatcher.touch([window], NOW_MS + 100)
    assert (early_ms, []) == (desk.dispatcher.next_wakeup(), desk.dispatcher.poll(early_ms))
    assert desk.dispatcher.next_wakeup() == NOW_MS + 300


def test_without_a_lease_windows_wait_for_the_commit() -> None:
    """No instant is named, and none of them is forgotten."""
    desk = Desk()
    desk.lease.until_ms = -1
    for room in "ab":
        desk.open(room)
    assert (desk.dispatcher.poll(NOW_MS), desk.dispatcher.next_wakeup()) == ([], None)
    desk.dispatcher.renew(desk.lease, NOW_MS + 3_000, NOW_MS + 5)
    assert rooms_of(desk.dispatcher.poll(NOW_MS + 5)) == ["a", "b"]


def test_a_commit_that_comes_too_late_renews_nothing() -> None:
    """The lease counts from when the cut was made: the windows go on waiting."""
    desk = Desk()
    desk.lease.until_ms = -1
    desk.open()
    desk.dispatcher.renew(desk.lease, NOW_MS + 3_000, NOW_MS + 3_000)
    assert desk.dispatcher.poll(NOW_MS + 3_000) == []
    desk.dispatcher.renew(desk.lease, NOW_MS + 6_000, NOW_MS + 3_100)
    assert len(desk.dispatcher.poll(NOW_MS + 3_100)) == 1


def test_an_older_commit_does_not_shorten_a_lease() -> None:
    """The latest counts."""
    desk = Desk()
    desk.dispatcher.renew(desk.lease, NOW_MS + 1, NOW_MS)
    assert desk.lease.until_ms == NOW_MS + 3_000


def test_a_lease_that_runs_out_stops_a_window_that_is_due() -> None:
    """It came up too late; the renewal brings it back."""
    desk = Desk()
    desk.open()
    assert desk.dispatcher.poll(NOW_MS + 3_000) == []
    desk.dispatcher.renew(desk.lease, NOW_MS + 6_000, NOW_MS + 3_010)
    assert len(desk.dispatcher.poll(NOW_MS + 3_010)) == 1


def test_a_draining_partition_asks_nothing() -> None:
    """Neither what is due nor what comes up later, whatever is committed."""
    desk = Desk()
    desk.open()
    desk.lease.draining = True
    assert desk.dispatcher.poll(NOW_MS) == []
    desk.open("another")
    desk.dispatcher.renew(desk.lease, NOW_MS + 9_000, NOW_MS)
    assert (desk.dispatcher.poll(NOW_MS), desk.dispatcher.next_wakeup()) == ([], None)


def test_a_lease_that_is_gone_is_waited_for_by_nobody() -> None:
    """Its partition was revoked before anything of it was committed."""
    desk = Desk()
    desk.lease.until_ms = -1
    window = desk.open()
    desk.dispatcher.close(window, NOW_MS)
    desk.dispatcher.end(desk.lease)
    desk.dispatcher.end(desk.lease)
    assert desk.dispatcher._unleased == {}


def test_a_hand_over_opens_at_its_instant() -> None:
    """The window stands in the heap for it."""
    desk = Desk()
    desk.open(lease=Lease(opens_ms=NOW_MS + 1_006, until_ms=NOW_MS + 3_000))
    assert desk.dispatcher.next_wakeup() == NOW_MS + 1_006
    assert desk.dispatcher.poll(NOW_MS + 1_005) == []
    assert len(desk.dispatcher.poll(NOW_MS + 1_006)) == 1


def test_a_check_that_was_never_written_leaves_no_trace() -> None:
    """Permit and slot are free, and the room may ask again at once."""
    desk = Desk(CheckRules(room_permits=1, requests_in_flight_max=1))
    window = desk.open()
    [check] = desk.dispatcher.poll(NOW_MS)
    flight = desk.dispatcher.unwritten(check.check_id, NOW_MS + 1)
    window.give_back(flight.gifts, None)
    desk.dispatcher.touch_room(window.key.room, NOW_MS + 1)
    assert len(desk.dispatcher.poll(NOW_MS + 1)) == 1


def test_an_answer_anywhere_brings_back_the_permits_lost_elsewhere() -> None:
    """A room that waits for hold_max is looked at again when another one is answered."""
    desk = Desk(CheckRules(room_permits=1))
    lease = Lease(opens_ms=NOW_MS, until_ms=NOW_MS + 10**9)
    desk.open("a", lease=lease)
    [check] = desk.dispatcher.poll(NOW_MS)
    desk.lose(check, NOW_MS + 3_000)
    assert desk.dispatcher.next_wakeup() == NOW_MS + 63_000
    window = Window(make_window_key("b"), lease)
    desk.dispatcher.open(window, NOW_MS)
    window.add(old_gift("b"), NOW_MS)
    desk.dispatcher.touch([window], NOW_MS + 9_000)
    [probe] = desk.dispatcher.poll(NOW_MS + 9_000)
    desk.decide(probe, NOW_MS + 9_010)
    assert desk.dispatcher.next_wakeup() == NOW_MS + 9_000 + 1_016
    assert len(lease.losses) == 1


def test_a_room_seen_in_two_partitions_is_noticed() -> None:
    """The input is not keyed by room; two games in one partition are nothing strange."""
    desk = Desk()
    keys = (
        make_window_key(game="a"),
        make_window_key(game="b"),
        make_window_key(game="a", partition=1),
    )
    said = [desk.dispatcher.open(Window(key, desk.lease), NOW_MS) for key in keys]
    assert said == [False, False, True]


def test_a_room_without_windows_is_nobodys() -> None:
    """Its permits change without anyone to look at them."""
    desk = Desk()
    window = desk.open()
    [check] = desk.dispatcher.poll(NOW_MS)
    desk.dispatcher.close(window, NOW_MS + 1)
    desk.dispatcher.answered(check.check_id, NOW_MS + 2)
    desk.dispatcher.touch_room(window.key.room, NOW_MS + 2)
    assert (desk.dispatcher.in_flight, desk.lease.in_flight) == (0, 0)
    desk.dispatcher.poll(NOW_MS + 1_008)
    assert len(desk.limiter) == 0


def test_too_frequent_in_one_room_is_that_rooms_affair() -> None:
    """Its permits halve, and Retry-After holds it back; the slots stay."""
    desk = Desk(CheckRules(room_permits=2))
    desk.open()
    [check] = desk.dispatcher.poll(NOW_MS)
    flight = desk.dispatcher.answered(check.check_id, NOW_MS + 10)
    desk.dispatcher.limited(flight, NOW_MS + 10, 20_000)
    assert desk.limiter.ready_at(flight.window.room, NOW_MS + 10) == NOW_MS + 20_010
    assert desk.dispatcher.slots(NOW_MS + 10) == 256


def test_too_frequent_in_many_rooms_at_once_shrinks_the_slots() -> None:
    """The rooms refused from then on keep their permits."""
    desk = Desk(CheckRules(room_permits=2))
    for n in range(10):
        desk.open(f"r{n}")
    for check in desk.dispatcher.poll(NOW_MS):
        flight = desk.dispatcher.answered(check.check_id, NOW_MS + 10)
        desk.dispatcher.limited(flight, NOW_MS + 10, None)
    assert desk.dispatcher.slots(NOW_MS + 10) == 5
    rooms = [make_window_key(f"r{n}").room for n in range(10)]
    free = [desk.limiter.ready_at(room, NOW_MS + 10) == NOW_MS + 10 for room in rooms]
    assert free == [False] * 7 + [True] * 3


def test_while_windows_queue_for_slots_or_the_loop_is_late_a_request_is_worth_more() -> None:
    """Then they ask later, for more gifts at once."""
    desk = Desk(CheckRules(requests_in_flight_max=1))
    desk.open("a", "a")
    desk.open("b", "b")
    [check] = desk.dispatcher.poll(NOW_MS)
    assert desk.dispatcher.price_ms == RULES.request_price_ms
    desk.dispatcher.poll(NOW_MS + 100)
    crowded = desk.dispatcher.price_ms
    assert crowded > RULES.request_price_ms
    desk.decide(check, NOW_MS + 110)
    desk.dispatcher.poll(NOW_MS + 110)
    desk.dispatcher.poll(NOW_MS + 200, 21)
    assert desk.dispatcher.price_ms > crowded
    window = Window(make_window_key("c", "c"), desk.lease)
    desk.dispatcher.open(window, NOW_MS + 200)
    window.add(make_gift(now_ms=NOW_MS + 200), NOW_MS + 200)
    desk.dispatcher.touch([window], NOW_MS + 200)
    usual_ms = window.ask_at(PRIOR, RULES.request_price_ms, NOW_MS + 200)
    found_ms = desk.dispatcher.next_wakeup()
    assert usual_ms is not None
    assert found_ms is not None
    assert found_ms > usual_ms
