"""Simulated time: what happens next, and processes with a thread that blocks.

One axis for the whole world, integer microseconds; what is due at the same instant happens in
the order in which it was planned. Everything runs in one thread of the machine: a process' own
thread is a greenlet that goes back to the hub whenever it would block.
"""

import heapq
import itertools
from collections.abc import Callable
from typing import Any, Final

from greenlet import GreenletExit, getcurrent, greenlet

MS: Final = 1_000
SECOND: Final = 1_000_000

START_US: Final = 1_700_000_000 * SECOND
"""When every world begins, in Unix time."""


EVENTS_MAX: Final = 100_000
"""In a second of a busy world some thousand things happen."""


class BusyLoopError(Exception):
    """Somebody does the same again and again without waiting."""


class Timer:
    """Something planned; `cancel` takes it back."""

    __slots__ = ("args", "call")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.call: Callable[..., object] | None = call
        self.args = args

    def cancel(self) -> None:
        """Nothing will happen."""
        self.call = None


class Hub:
    """The world's clock and its agenda."""

    def __init__(self, start_us: int) -> None:
        self.now_us = start_us
        self._agenda: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()

    def at(self, time_us: int, call: Callable[..., object], *args: object) -> Timer:
        """Plan a call for an instant; one that is over already means now."""
        timer = Timer(call, args)
        heapq.heappush(self._agenda, (max(time_us, self.now_us), next(self._order), timer))
        return timer

    def after(self, delay_us: int, call: Callable[..., object], *args: object) -> Timer:
        """Plan a call for so long from now."""
        return self.at(self.now_us + delay_us, call, *args)

    def run_until(self, end_us: int) -> None:
        """Let happen what is due before this instant, which is then now.

        Raises:
            BusyLoopError: more than `EVENTS_MAX` things happened.
        """
        agenda, pop = self._agenda, heapq.heappop
        left = EVENTS_MAX
        while agenda and agenda[0][0] < end_us:
            left -= 1
            if not left:
                raise BusyLoopError(f"{EVENTS_MAX} things happened and time stands still")
            time_us, _, timer = pop(agenda)
            call = timer.call
            if call is not None:
                self.now_us = time_us
                call(*timer.args)
        self.now_us = end_us

    def step(self, end_us: int) -> bool:
        """Let the next thing happen; False, and it is `end_us`, if that lies later."""
        while self._agenda and self._agenda[0][0] <= end_us:
            time_us, _, timer = heapq.heappop(self._agenda)
            if timer.call is not None:
                self.now_us = time_us
                timer.call(*timer.args)
                return True
        self.now_us = end_us
        return False


class Process:
    """Something that can be stopped (SIGSTOP), go on, and die at any instant.

    While it stands still, what would happen in it waits; when it is dead nothing does.
    """

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.alive = True
        self.stopped = False
        self._held: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._thread: greenlet | None = None
        self._wait = 0

    def at(self, time_us: int, call: Callable[..., object], *args: object) -> Timer:
        """Plan a call within this process."""
        return self.hub.at(time_us, self._deliver, call, args)

    def after(self, delay_us: int, call: Callable[..., object], *args: object) -> Timer:
        """Plan a call within this process for so long from now."""
        return self.hub.at(self.hub.now_us + delay_us, self._deliver, call, args)

    def stop(self) -> None:
        """Stand still."""
        self.stopped = True

    def go_on(self) -> None:
        """What was held happens now, in its order."""
        self.stopped = False
        held, self._held = self._held, []
        for call, args in held:
            self.hub.at(self.hub.now_us, self._deliver, call, args)

    def die(self) -> None:
        """End it where it stands; call it from outside of its own thread."""
        self.alive = False
        self._held.clear()
        if self._thread is not None and not self._thread.dead:
            self._thread.throw(GreenletExit)

    # --- its thread -----------------------------------------------------------------------------

    def start(self, run: Callable[[], object]) -> None:
        """Start the process' thread, now."""
        self._thread = greenlet(run)
        self.after(0, self._thread.switch)

    def block(self, until_us: int) -> None:
        """Block the thread until `wake`, or until that instant; to be called from the thread."""
        if not self.alive:
            raise GreenletExit
        assert getcurrent() is self._thread, "only the thread itself can block"
        self._wait += 1
        timer = self.at(until_us, self._resume, self._wait)
        getcurrent().parent.switch()
        timer.cancel()

    def wake(self) -> None:
        """Let the thread go on if it blocks; the process must be able to run."""
        self.after(0, self._resume, self._wait)

    def _resume(self, wait: int) -> None:
        if wait == self._wait and self._thread is not None and not self._thread.dead:
            self._wait += 1
            self._thread.switch()

    def _deliver(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        if not self.alive:
            return
        if self.stopped:
            self._held.append((call, args))
        else:
            call(*args)
