"""When nobody gets answers, single probes ask (design §7)."""

from consumer.core.breaker import Breaker
from consumer.core.model import RoomKey

SLOTS = 8


def room(number: int) -> RoomKey:
    """One of many."""
    return RoomKey(7, f"room-{number}")


def fail(breaker: Breaker, rooms: range, *, sent_ms: int = 0, news: bool = True) -> list[bool]:
    """A check of each of these rooms is lost three seconds after it was sent."""
    return [breaker.failed(room(n), sent_ms, sent_ms + 3_000, news=news) for n in rooms]


def opened() -> Breaker:
    """Open since 3,000 ms."""
    breaker = Breaker(SLOTS, lambda: 0.0)
    assert fail(breaker, range(5)) == [False] * 4 + [True]
    return breaker


def test_failures_in_five_rooms_without_a_success_open_it() -> None:
    """There is no slot until the probe, and then one."""
    breaker = opened()
    assert [0, 0, 1] == [breaker.slots(at_ms) for at_ms in (3_000, 3_999, 4_000)]


def test_one_room_that_fails_again_and_again_does_not_open_it() -> None:
    """Its own back-off takes care of it."""
    breaker = Breaker(SLOTS, lambda: 0.0)
    assert not any(breaker.failed(room(1), n, n + 1, news=True) for n in range(99))
    assert breaker.slots(0) == SLOTS


def test_what_was_under_way_at_a_success_and_what_was_in_trouble_before_says_nothing() -> None:
    """Rooms that hang beside healthy ones."""
    breaker = Breaker(SLOTS, lambda: 0.0)
    breaker.worked(1)
    assert not any(fail(breaker, range(20), sent_ms=0))
    assert not any(fail(breaker, range(20), sent_ms=5, news=False))
    assert breaker.probe_ms is None


def test_a_success_ends_a_run_of_failures() -> None:
    """Four, a success, and four more."""
    breaker = Breaker(SLOTS, lambda: 0.0)
    fail(breaker, range(4))
    breaker.worked(3_500)
    assert not any(fail(breaker, range(4, 8), sent_ms=4_000))


def test_probes_slow_down_to_eight_seconds() -> None:
    """What was sent before a round began does not count for it."""
    breaker, waits = opened(), []
    for _ in range(6):
        assert breaker.probe_ms is not None
        sent_ms = breaker.probe_ms
        breaker.failed(room(1), sent_ms, sent_ms + 50, news=False)
        breaker.failed(room(2), sent_ms - 1, sent_ms + 60, news=True)
        waits.append(breaker.probe_ms - sent_ms - 50)
    assert [2_000, 4_000, 8_000, 8_000, 8_000, 8_000] == waits


def test_an_answer_closes_it_and_the_slots_double_each_round_trip() -> None:
    """Those who waited go on without a stampede; it opens anew only after another run."""
    breaker = opened()
    assert breaker.worked(4_030)
    slots = [breaker.slots(4_030)]
    for _ in range(8):
        assert not breaker.worked(4_060)
        slots.append(breaker.slots(4_060))
    assert [2, 3, 4, 5, 6, 7, 8, 8, 8] == slots
    assert fail(breaker, range(5), sent_ms=5_000) == [False] * 4 + [True]
    assert breaker.probe_ms == 9_000


def test_pods_do_not_probe_in_step() -> None:
    """An interval is up to a quarter longer."""
    breaker = Breaker(SLOTS, lambda: 0.5)
    fail(breaker, range(5))
    assert breaker.probe_ms == 4_125
