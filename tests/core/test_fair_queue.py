"""Who gets the next free slot, of the windows that wait for one (design §5 and §6)."""

import random

from consumer.core.fair_queue import FairQueue, Standing
from consumer.core.lease import Lease
from consumer.core.window import Window
from tests.core.builders import make_window_key


def make_window(room: str) -> Window:
    """A window of this room; its gifts do not matter here."""
    return Window(make_window_key(room), Lease(opens_ms=0))


class Growth:
    """Waiting that grows by so much each millisecond, for each room, since it became due."""

    def __init__(self, **speeds: int) -> None:
        self.speeds = speeds
        self.since_ms: dict[str, int] = {}

    def collected(self, window: Window, now_ms: int) -> int:
        """What a window has collected by now."""
        room = window.key.room_id
        return self.speeds[room] * (now_ms - self.since_ms.setdefault(room, now_ms))

    def __call__(self, window: Window, now_ms: int) -> Standing:
        """Levels that double from 1."""
        level = self.collected(window, now_ms).bit_length()
        wait_ms = (2**level - self.collected(window, now_ms)) / self.speeds[window.key.room_id]
        return Standing(level, now_ms + max(1, int(wait_ms)))


def popped(queue: FairQueue, now_ms: int) -> list[str]:
    """All that wait, in the order in which they get a slot now."""
    rooms = []
    while (window := queue.pop(now_ms)) is not None:
        rooms.append(window.key.room_id)
    return rooms


def test_nobody_waits() -> None:
    """The queue is empty."""
    queue = FairQueue(Growth())
    assert (0, None) == (len(queue), queue.pop(0))


def test_by_turns_it_is_the_one_with_the_most_waiting_and_the_one_longest_due() -> None:
    """The busy ones came last, and do not have to wait for all the others."""
    queue = FairQueue(Growth(a=1, b=1, c=1, x=100, y=1_000))
    for room in "abcxy":
        queue.add(make_window(room), 0, 0)
    assert popped(queue, 20) == ["y", "a", "x", "b", "c"]


def test_what_has_grown_since_it_queued_counts() -> None:
    """All were equal when they came."""
    for now_ms, expected in ((0, "a"), (1, "c"), (5_000, "c")):
        queue = FairQueue(Growth(a=1, b=3, c=40))
        for room in "abc":
            queue.add(make_window(room), 0, 0)
        first = queue.pop(now_ms)
        assert first is not None
        assert expected == first.key.room_id


def test_who_comes_from_another_queue_keeps_its_turn() -> None:
    """It came last, and has been due for longest."""
    queue = FairQueue(Growth(a=9, b=1, c=1))
    for due_ms, room in ((10, "a"), (20, "b"), (5, "c")):
        queue.add(make_window(room), due_ms, 30)
    assert popped(queue, 40) == ["a", "c", "b"]


def test_a_window_that_ended_waits_no_longer() -> None:
    """Whether it waited or not, and wherever it stood."""
    queue = FairQueue(Growth(a=1, b=1, c=1))
    windows = [make_window(room) for room in "abc"]
    for window in windows[:2]:
        queue.add(window, 0, 0)
    for window in (windows[0], windows[0], windows[2]):
        queue.discard(window)
    assert (1, ["b"], 0) == (len(queue), popped(queue, 10_000), len(queue))


def test_at_random_nobody_is_overtaken_for_ever_and_waiting_decides_to_a_factor_of_two() -> None:
    """The half by waiting is never worse than half of the best; the other is the longest due."""
    seed = 11
    dice = random.Random(seed)
    rooms = [f"r{n}" for n in range(60)]
    growth = Growth(**{room: dice.choice((1, 2, 5, 50, 500)) for room in rooms})
    queue = FairQueue(growth)
    waiting: dict[Window, int] = {}
    now_ms, picks = 0, 0
    for _ in range(3_000):
        now_ms += dice.randint(0, 20)
        idle = sorted(set(rooms) - {window.key.room_id for window in waiting})
        if idle and dice.random() < 0.7:
            window = make_window(dice.choice(idle))
            growth.since_ms.pop(window.key.room_id, None)
            queue.add(window, now_ms, now_ms)
            waiting[window] = now_ms
        elif waiting:
            longest_due = next(iter(waiting))
            best = max(growth.collected(window, now_ms) for window in waiting)
            picked = queue.pop(now_ms)
            assert picked is not None, f"seed {seed}"
            if picks % 2:
                assert longest_due is picked, f"seed {seed}"
            else:
                # a level doubles, and integer milliseconds round the instant it does so
                slack = growth.speeds[picked.key.room_id]
                assert 2 * (growth.collected(picked, now_ms) + slack) >= best, f"seed {seed}"
            del waiting[picked]
            picks += 1
        assert len(waiting) == len(queue)
    assert picks > 500
