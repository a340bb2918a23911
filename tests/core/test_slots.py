"""How many checks may be in flight, over all rooms, and for whom (design §5)."""

import itertools

import pytest

from consumer.core.fair_queue import Standing
from consumer.core.lease import Lease
from consumer.core.slots import GRANT_MS, OVERRUN_MS, OVERRUN_PAUSE_MS, RECOVERY_MS, Slots
from consumer.core.window import Window
from tests.core.builders import NOW_MS, make_window_key


def make_slots(slots_max: int) -> Slots:
    """Slots for windows whose waiting does not matter."""
    return Slots(slots_max, lambda _, now_ms: Standing(0, now_ms + 1_000), lambda _: slots_max)


def make_windows(count: int, game: str = "game") -> list[Window]:
    """Windows of one game, in as many rooms."""
    lease = Lease(opens_ms=0)
    return [Window(make_window_key(f"{game}-{n}", game), lease) for n in range(count)]


def asking(slots: Slots, windows: list[Window], now_ms: int = NOW_MS) -> list[Window]:
    """Those that get a slot; the others queue."""
    return [window for window in windows if slots.take(window, now_ms)]


def going_on(slots: Slots, now_ms: int = NOW_MS) -> list[Window]:
    """Those that queued and ask now."""
    windows = []
    while (window := slots.next(now_ms)) is not None:
        assert slots.take(window, now_ms)
        windows.append(window)
    return windows


def test_a_slot_for_each_and_no_more() -> None:
    """Four games share four slots; who comes later queues, and goes on when one ends."""
    slots = make_slots(4)
    windows = [make_windows(1, game)[0] for game in "abcde"]
    assert windows[:4] == asking(slots, windows)
    assert (1, True, True) == (slots.waiting(), slots.crowded, windows[4].queued_ms is not None)
    slots.end(windows[2], NOW_MS, answered=True)
    assert windows[4:] == going_on(slots)
    assert (0, False, None) == (slots.waiting(), slots.crowded, windows[4].queued_ms)


def test_a_game_that_does_not_answer_gets_a_quarter() -> None:
    """The others have the rest; that it waits for itself is not a crowd."""
    slots = make_slots(16)
    hanging = make_windows(10, "hanging")
    assert hanging[:4] == asking(slots, hanging)
    assert (6, False, []) == (slots.waiting(), slots.crowded, going_on(slots))
    others = [window for game in "abc" for window in make_windows(4, game)]
    assert others == asking(slots, others)


def test_a_game_that_still_does_not_answer_gets_no_more() -> None:
    """Each that ends without an answer makes place for one other."""
    slots = make_slots(16)
    hanging = make_windows(10)
    asking(slots, hanging)
    for n in range(3):
        slots.end(hanging[n], NOW_MS, answered=False)
        assert [hanging[4 + n]] == going_on(slots)
    assert slots.waiting() == 3


def test_answers_give_a_game_more_one_each_while_it_uses_all() -> None:
    """Alone it comes to all slots; what it has not used for a second it gives back."""
    slots = make_slots(16)
    windows = make_windows(60)
    in_flight = asking(slots, windows)
    sizes = []
    for _ in range(14):
        slots.end(in_flight.pop(0), NOW_MS, answered=True)
        in_flight += going_on(slots)
        sizes.append(len(in_flight))
    assert [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 16, 16] == sizes
    for window in windows:
        slots.forget(window, NOW_MS)
    later_ms = NOW_MS + GRANT_MS
    while len(in_flight) > 4:
        slots.end(in_flight.pop(), NOW_MS, answered=True)
    slots.end(in_flight.pop(), later_ms, answered=True)
    assert len(asking(slots, make_windows(9), later_ms)) == 1


def test_a_missing_answer_takes_a_game_back_to_its_quarter_until_the_next_one() -> None:
    """What is in flight stays so; nothing is added."""
    slots = make_slots(16)
    in_flight = asking(slots, make_windows(60))
    for _ in range(4):
        slots.end(in_flight.pop(0), NOW_MS, answered=True)
        in_flight += going_on(slots)
    assert len(in_flight) == 8
    slots.end(in_flight.pop(), NOW_MS, answered=False)
    assert [] == going_on(slots)
    slots.end(in_flight.pop(), NOW_MS, answered=True)
    assert len(going_on(slots)) == 2


def test_who_waits_for_its_game_is_not_forgotten_when_nothing_is_in_flight() -> None:
    """No other end will come: whoever is called and does not ask lets another go on."""
    slots = make_slots(8)
    windows = make_windows(9)
    for window in asking(slots, windows):
        slots.end(window, NOW_MS, answered=False)
    first = slots.next(NOW_MS)
    assert windows[2] is first  # and it is not due any more: it takes no slot
    assert windows[3:5] == going_on(slots)
    assert slots.waiting() == 4


@pytest.mark.parametrize("slots_max", [1, 2, 3, 8])
def test_a_room_with_few_gifts_is_not_starved_by_busy_ones_of_its_game(slots_max: int) -> None:
    """Seven collect twenty times as much; a round trip takes 800 ms, and each is due at once again."""
    windows = make_windows(8)
    seldom, since_ms = windows[0], dict.fromkeys(windows, NOW_MS)

    def standing(window: Window, now_ms: int) -> Standing:
        speed = 1 if window is seldom else 20
        level = int(speed * (now_ms - since_ms[window])).bit_length()
        return Standing(level, max(now_ms + 1, since_ms[window] + 2**level // speed))

    slots = Slots(slots_max, standing, lambda _: slots_max)
    asked_ms = [NOW_MS]
    in_flight = [(NOW_MS + 800, window) for window in asking(slots, windows)]
    for now_ms in range(NOW_MS, NOW_MS + 40_000, 10):
        ended = [window for at_ms, window in in_flight if at_ms <= now_ms]
        in_flight = [(at_ms, window) for at_ms, window in in_flight if at_ms > now_ms]
        for window in ended:
            since_ms[window] = now_ms
            slots.end(window, now_ms, answered=True)
        begun = [*going_on(slots, now_ms), *asking(slots, ended, now_ms)]
        in_flight += [(now_ms + 800, window) for window in begun]
        asked_ms += [now_ms] * (seldom in begun)
    gaps_ms = [later - before for before, later in itertools.pairwise([*asked_ms, now_ms])]
    assert max(gaps_ms) <= 8 * 800, gaps_ms


def test_who_is_called_and_ends_lets_another_of_its_game_go_on() -> None:
    """It is called by the end of its game's only check, and ends before it can ask."""
    slots = make_slots(4)
    hanging, waiting, last = make_windows(3)
    others = [window for game in "abc" for window in make_windows(1, game)]
    assert [hanging, *others] == asking(slots, [hanging, waiting, last, *others])
    slots.end(hanging, NOW_MS, answered=False)
    slots.forget(waiting, NOW_MS)
    assert [last] == going_on(slots)


def test_who_is_released_may_meet_its_game_at_its_quarter_again() -> None:
    """Another window of it was faster: back it goes."""
    slots = make_slots(8)
    windows = make_windows(6)
    asking(slots, windows[:4])
    slots.end(windows[0], NOW_MS, answered=False)
    assert slots.take(windows[5], NOW_MS)
    assert ([], 2, False) == (going_on(slots), slots.waiting(), slots.crowded)


def test_a_window_that_ended_is_waited_for_by_nobody() -> None:
    """Neither among all, nor in its game, nor if it did not wait."""
    slots = make_slots(4)
    windows = [*make_windows(2, "a"), *(make_windows(1, game)[0] for game in "bcde")]
    asking(slots, windows)
    assert slots.waiting() == 2
    for window in windows[1:]:
        slots.forget(window, NOW_MS)
    slots.forget(make_windows(1, "unknown")[0], NOW_MS)
    assert slots.waiting() == 0


# --- too frequent, everywhere --------------------------------------------------------------------


def refuse(slots: Slots, windows: list[Window], sent_ms: int, now_ms: int) -> list[bool]:
    """Checks of these windows, sent then, are answered "too frequent" now."""
    told = []
    for window in windows:
        slots.end(window, now_ms, answered=True)
        told.append(slots.refused(window.room, sent_ms, now_ms))
    return told


def answer(slots: Slots, windows: list[Window], now_ms: int) -> None:
    """Checks of these windows are answered well."""
    for window in windows:
        slots.end(window, now_ms, answered=True)


def test_a_few_rooms_refused_are_those_rooms_affair() -> None:
    """Seven, or the same one again and again."""
    slots = make_slots(256)
    windows = asking(slots, make_windows(40))
    again = [windows[0]] * 10
    assert not any(refuse(slots, windows[:7], 0, NOW_MS))
    assert not any(refuse(slots, again, 0, NOW_MS + 1_000))
    assert slots.limit(NOW_MS) == 256


def test_many_rooms_refused_among_many_more_that_are_not_are_their_own_affair() -> None:
    """Eight of a hundred in one second."""
    slots = make_slots(256)
    windows = [w for game in "abc" for w in asking(slots, make_windows(60, game))]
    answer(slots, windows[:92], NOW_MS)
    assert not any(refuse(slots, windows[92:100], 0, NOW_MS))


def test_many_refused_at_once_shrink_the_slots_to_half_of_what_was_in_flight() -> None:
    """Once a round trip: who was sent before that knew nothing of it."""
    slots = make_slots(256)
    windows = asking(slots, make_windows(48))
    told = refuse(slots, windows[:16], NOW_MS - 30, NOW_MS)
    assert [False] * 7 + [True] * 9 == told
    assert slots.limit(NOW_MS) == 24
    told = refuse(slots, windows[16:24], NOW_MS, NOW_MS + 10)
    assert (True, 24) == (any(told), slots.limit(NOW_MS + 10))
    refuse(slots, windows[24:32], NOW_MS + 1, NOW_MS + 20)
    assert slots.limit(NOW_MS + 20) == 12


def test_slots_never_shrink_to_nothing_and_recover_by_doubling() -> None:
    """One is left to find out by; all are back after eight doublings."""
    slots = make_slots(256)
    now_ms = NOW_MS - 20
    for sent_ms in range(now_ms, NOW_MS, 4):
        refuse(slots, asking(slots, make_windows(8)), sent_ms, sent_ms + 1)
    found = [slots.limit(NOW_MS + n * RECOVERY_MS) for n in (0, 1, 2, 7, 8, 100)]
    assert found == [1, 2, 4, 128, 256, 256]


def test_a_loop_far_behind_has_fewer_slots() -> None:
    """Half of what is in flight each second, until a quarter of all is left; then they grow."""
    slots = make_slots(64)
    for game in "abcd":
        asking(slots, make_windows(12, game))
    slots.observe(OVERRUN_MS - 1, NOW_MS)
    assert 64 == slots.limit(NOW_MS)
    slots.observe(OVERRUN_MS, NOW_MS)
    slots.observe(OVERRUN_MS, NOW_MS + OVERRUN_PAUSE_MS - 1)
    assert 24 == slots.limit(NOW_MS)
    later_ms = NOW_MS + OVERRUN_PAUSE_MS
    slots.observe(OVERRUN_MS, later_ms)
    assert 16 == slots.limit(later_ms)
    assert 32 == slots.limit(later_ms + RECOVERY_MS)
    assert 64 == slots.limit(later_ms + 2 * RECOVERY_MS)


def test_a_stall_of_the_loop_gives_no_slot_back() -> None:
    """Where refusals have left fewer than a quarter, it stays at that."""
    slots = make_slots(64)
    windows = [make_windows(1, f"game-{n}")[0] for n in range(8)]
    asking(slots, windows)
    for window in windows:
        slots.end(window, NOW_MS, answered=True)
        slots.refused(window.room, NOW_MS, NOW_MS)
    assert 4 == slots.limit(NOW_MS)
    slots.observe(10 * OVERRUN_MS, NOW_MS + OVERRUN_PAUSE_MS)
    assert 4 == slots.limit(NOW_MS + OVERRUN_PAUSE_MS)
