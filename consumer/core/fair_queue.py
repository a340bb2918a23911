"""Who gets the next free slot, of the windows that wait for one (design §5 and §6).

By turns it is the window that has collected the most waiting, and the one that has been due for
longest. The most waiting alone starves rooms with few gifts (43 s against 3 s [R 8]); the longest
due alone asks about a room with a gift a minute as often as about one with a thousand.

Waiting grows while a window waits, at a speed of its own, so no order of it lasts. Windows
therefore stand in *levels*, each twice as much waiting as the one below; each says when it will
have reached the next, and moves when somebody is to be picked. It does so a few times in its
stay: a pick costs O(log n).

How long a window has been due it brings along: one that comes from another queue, where it waited
for something else, keeps its turn.
"""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from consumer.core.window import Window


class Standing(NamedTuple):
    """The level of the waiting a window has collected, and when to look at it again."""

    level: int
    look_ms: int


Measure = Callable[[Window, int], Standing]
"""A window's standing at an instant; `look_ms` lies after it."""


class FairQueue:
    """Windows that wait for a slot; owns their order and nothing else."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._standings: dict[Window, Standing] = {}
        self._levels: dict[int, OrderedDict[Window, None]] = {}
        self._looks: list[tuple[int, int, Window]] = []
        self._longest: list[tuple[int, int, Window]] = []  # due since; some wait no longer
        self._entries: dict[Window, int] = {}
        self._order = itertools.count()
        self._most_was_last = False

    def __len__(self) -> int:
        return len(self._standings)

    def add(self, window: Window, due_ms: int, now_ms: int) -> None:
        """A window that has been due since `due_ms` waits here from now on."""
        self._entries[window] = entry = next(self._order)
        heapq.heappush(self._longest, (due_ms, entry, window))
        self._stand(window, now_ms)

    def discard(self, window: Window) -> bool:
        """A window waits no longer; returns whether it did."""
        standing = self._standings.pop(window, None)
        if standing is None:
            return False
        del self._entries[window]
        self._leave(window, standing.level)
        return True

    def pop(self, now_ms: int) -> Window | None:
        """The next one; None: nobody waits."""
        if not self._standings:
            self._looks.clear()
            self._longest.clear()
            return None
        while self._looks and self._looks[0][0] <= now_ms:
            look_ms, _, window = heapq.heappop(self._looks)
            standing = self._standings.get(window)
            if standing is not None and standing.look_ms == look_ms:
                self._leave(window, standing.level)
                self._stand(window, now_ms)
        window = self._longest_due() if self._most_was_last else self._most_waiting()
        self._most_was_last = not self._most_was_last
        self.discard(window)
        return window

    def _most_waiting(self) -> Window:
        return next(iter(self._levels[max(self._levels)]))

    def _longest_due(self) -> Window:
        while True:
            _, entry, window = self._longest[0]
            if self._entries.get(window) == entry:
                return window
            heapq.heappop(self._longest)

    def _stand(self, window: Window, now_ms: int) -> None:
        standing = self._standings[window] = self._measure(window, now_ms)
        self._levels.setdefault(standing.level, OrderedDict())[window] = None
        heapq.heappush(self._looks, (standing.look_ms, next(self._order), window))

    def _leave(self, window: Window, level: int) -> None:
        windows = self._levels[level]
        del windows[window]
        if not windows:
            del self._levels[level]
