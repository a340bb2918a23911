"""Overdue gifts: past deadline + settle, asked about, and the last check told nothing (P3, P5).

Only trouble costs anything here: a gift comes in when a check that held it fails, O(log n) once,
and healthy gifts never do. Gifts that failed earlier are watched until their deadline + settle;
then, if their window still fails, they are overdue, and stand in a heap of their partition with
the lowest offset on top. That is the order in which they hold back the partition's progress.

**Local or global.** Giving up early is for trouble that others do not have. A window *fails alone*
if it failed, then another window's check was sent and answered with success, and then a check of
this window was sent and failed again. So neither the beginning of a global outage marks anyone
(nobody succeeds after the first failure), nor its end (whoever fails is asked again first). What
others were told must be fresh, or a stuttering beginning would mark rooms for the whole outage.
"""

import heapq
import itertools
from collections.abc import Iterable
from typing import Final

from consumer.core.gift import Gift
from consumer.core.window import Window

LATELY_MS: Final = 20_000
"""How fresh another's success must be when a failing check is sent. At the default time-out a gift
is overdue after 31 s; a window retries at least every 10 s unless its game has trouble of its own:
one that only the beginning of an outage has marked is unmarked before its gifts are overdue."""

COMPACT_MIN: Final = 64
"""A heap this small is not worth tidying."""

_Entry = tuple[int, int, Gift, Window]

Chosen = tuple[Window, Gift]
"""A gift to be given up, and its window."""


class OverdueGifts:
    """All overdue gifts of the process; owns their marks and the order of their offsets.

    `count` is exact as of the last `advance`; gifts chosen to be given up no longer count.
    """

    def __init__(self) -> None:
        self.count = 0
        self._counts: dict[int, int] = {}
        self._heaps: dict[int, list[_Entry]] = {}
        self._watched: list[_Entry] = []
        self._order = itertools.count()

    def count_of(self, partition: int) -> int:
        """The overdue gifts of one partition."""
        return self._counts.get(partition, 0)

    def told(self, window: Window) -> None:
        """A check of this window was answered with success: its trouble is over."""
        window.failing_since_ms = None
        window.fails_alone = False

    def unmark(self, windows: Iterable[Window]) -> None:
        """The host is in trouble: nobody fails alone."""
        for window in windows:
            window.fails_alone = False

    def failed(
        self,
        window: Window,
        gifts: Iterable[Gift],
        *,
        sent_ms: int,
        told_ms: int,
        paused_ms: int | None,
        now_ms: int,
    ) -> None:
        """A check of this window told nothing about these gifts, which stay pending.

        `told_ms` is when the latest check that was answered with success had been sent, of those
        answered before this one was sent; -1 while the host is in trouble. `paused_ms` is since
        when intake pauses: nothing new can succeed for a partition that reads nothing, so what is
        fresh counts from there.
        """
        began_ms = window.failing_since_ms
        until_ms = sent_ms if paused_ms is None else min(sent_ms, paused_ms)
        window.fails_alone = began_ms is not None and told_ms >= max(began_ms, until_ms - LATELY_MS)
        if began_ms is None:
            window.failing_since_ms = now_ms
        for gift in gifts:
            if not gift.asked or gift.overdue or gift.given_up_for is not None:
                continue
            if now_ms >= gift.proof_ms:
                self._enter(gift, window)
            elif not gift.watched:
                gift.watched = True
                heapq.heappush(self._watched, (gift.proof_ms, next(self._order), gift, window))

    def advance(self, now_ms: int) -> None:
        """Gifts that have come to deadline + settle in a window that fails are overdue now."""
        while self._watched and self._watched[0][0] <= now_ms:
            _, _, gift, window = heapq.heappop(self._watched)
            gift.watched = False
            failing = window.open and window.failing_since_ms is not None
            if failing and not (gift.decided or gift.overdue):
                self._enter(gift, window)

    def decided(self, gift: Gift, window: Window) -> None:
        """A gift has its verdict."""
        if gift.overdue:
            self._leave(gift, window.key.partition)
            self._compact(window.key.partition)

    def choose(self, partition: int, below_offset: int | None, count_max: int) -> list[Chosen]:
        """Take out the overdue gifts that are to be given up, lowest offset first.

        At most `count_max`, with offsets below `below_offset`, and only while the lowest is in a
        window that fails alone.
        """
        chosen: list[Chosen] = []
        heap = self._heaps.get(partition, [])
        while heap and len(chosen) < count_max:
            offset, _, gift, window = heap[0]
            if gift.overdue:
                if not window.fails_alone or (below_offset is not None and offset >= below_offset):
                    break
                self._leave(gift, partition)
                chosen.append((window, gift))
            heapq.heappop(heap)
        return chosen

    def forget(self, partition: int) -> None:
        """A partition is gone."""
        self._heaps.pop(partition, None)
        self.count -= self._counts.pop(partition, 0)

    def _enter(self, gift: Gift, window: Window) -> None:
        partition = window.key.partition
        gift.overdue = True
        entry = (gift.offsets[0], next(self._order), gift, window)
        heapq.heappush(self._heaps.setdefault(partition, []), entry)
        self._counts[partition] = self._counts.get(partition, 0) + 1
        self.count += 1

    def _leave(self, gift: Gift, partition: int) -> None:
        gift.overdue = False
        self._counts[partition] -= 1
        self.count -= 1

    def _compact(self, partition: int) -> None:
        """Drop the decided behind the top once they are most: O(1) for each on average."""
        heap = self._heaps[partition]
        if len(heap) > COMPACT_MIN + 2 * self._counts[partition]:
            heap[:] = [entry for entry in heap if entry[2].overdue]
            heapq.heapify(heap)
