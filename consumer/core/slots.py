"""How many checks may be in flight, over all rooms, and for whom (design §5).

- `check.requests_in_flight_max` slots bound all rooms together. Who waits for one queues fairly.
- **One game cannot take them all.** A game (app and mini-game) has a quarter of the slots to
  itself. Beyond it only answers give more: one each, while it uses all it has. So a game whose
  requests hang gets no further than its quarter, or than it had come in health; a check that
  ends without one takes it back to the quarter, until the next answer.
- **Too frequent, everywhere.** One room that is refused has somebody else asking in it: that is
  the limiter's affair. Many at once are refused for what all ask together: then the slots shrink,
  to half of the most in flight in that second, at most once a round trip, and double in
  `RECOVERY_MS`.
- **Too much for our own loop.** What is in flight waits for the loop, too: to be written, and its
  answer to be read. A loop far behind with hundreds of them answers none in time, and writes some
  only after the lease is over: all its work is for nothing. So the slots shrink then as well, to
  half of what is in flight, though not under a quarter of all.

Whoever waits for a slot is looked at when a check ends. Whoever waits for its game is let go when
one of that game's ends, and joins those who wait for a slot: as many as the game has room for,
and another after one that was called and has not used it all up, for who is called need not ask
any more. So while some of a game wait for it, it has a check in flight or one of them waits for a
slot. Nothing else is needed: with nobody in flight nobody waits, unless the host's breaker leaves
no slot, who says itself when there is one again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consumer.core.fair_queue import FairQueue, Measure
from consumer.core.model import RoomKey
from consumer.core.window import Window

GAME_SHARE: Final = 4
"""A game without answers holds a quarter: three games may hang, and the others still ask."""

GRANT_MS: Final = 1_000
"""What a game was given beyond its quarter and has not used up for so long, it gives back: should
it hang, it is not to take what it needed once. A second is some thirty round trips."""

REFUSED_WINDOW_MS: Final = 1_000
"""The vendor limits by the second."""

REFUSED_ROOMS_MIN: Final = 8
REFUSED_SHARE: Final = 4
"""Refused together: eight rooms, and a quarter of the checks of a second. Where one check in
twenty is refused for reasons of its room, that comes about once in ten thousand seconds; and what
is asked in vain below it costs less than halving would."""

OVERRUN_MS: Final = 250
"""A loop this late is far behind: a request has a few seconds, and waits for it at least twice."""

OVERRUN_PAUSE_MS: Final = 1_000
"""Between two such shrinkings, so that the first one shows: checks in flight end within that."""

OVERRUN_SHARE: Final = 4
"""Not under a quarter: 64 of 256 in flight are two thousand checks a second at 30 ms each, more
than a loop can do, and a slow host's checks are not to wait for one stall of ours."""

RECOVERY_MS: Final = 15_000
"""After shrinking the slots double in this time: the round trip that is refused when they have
grown too far is then one in hundreds, and from 1 to 256 it takes two minutes."""


@dataclass(eq=False, slots=True)
class _Share:
    """One game's checks in flight, how many it may have, and who waits for that."""

    queue: FairQueue
    quarter: int
    granted: int
    used_up_ms: int
    in_flight: int = 0
    answer_missing: bool = False

    @property
    def free(self) -> int:
        allowed = self.quarter if self.answer_missing else self.granted
        return max(0, allowed - self.in_flight)

    def end(self, slots_max: int, now_ms: int, *, answered: bool) -> None:
        if answered and self.in_flight >= self.granted:
            self.granted = min(slots_max, self.granted + 1)
            self.used_up_ms = now_ms
        elif now_ms - self.used_up_ms >= GRANT_MS:
            self.granted = max(self.quarter, self.in_flight)
        self.answer_missing = not answered
        self.in_flight -= 1


class Slots:
    """All slots; owns who holds them and who waits for them.

    `breaker_slots` says how many of `slots_max` the host's circuit breaker leaves.
    """

    def __init__(
        self, slots_max: int, measure: Measure, breaker_slots: Callable[[int], int]
    ) -> None:
        self._max = slots_max
        self._breaker_slots = breaker_slots
        self._measure = measure
        self._queue = FairQueue(measure)
        self._shares: dict[tuple[int, str], _Share] = {}
        self._called: tuple[int, str] | None = None
        self._in_flight = 0
        self._shrunk_to = slots_max
        self._shrunk_ms: int | None = None
        self._second_ms = 0
        self._ended = 0
        self._peak = 0
        self._refused: set[RoomKey] = set()

    @property
    def crowded(self) -> bool:
        """Whether a window waits for any slot, rather than for its game's share."""
        return bool(self._queue)

    def waiting(self) -> int:
        """Windows that are due and wait for a slot, or for their game's share of them."""
        return len(self._queue) + sum(len(share.queue) for share in self._shares.values())

    def limit(self, now_ms: int) -> int:
        """The slots there are now: all, or fewer after a shrinking or by the host's breaker."""
        slots = self._breaker_slots(now_ms)
        if self._shrunk_ms is None:
            return slots
        doublings = (now_ms - self._shrunk_ms) / RECOVERY_MS
        return int(min(slots, self._shrunk_to * 2 ** min(doublings, 32.0)))

    def take(self, window: Window, now_ms: int) -> bool:
        """Take a slot for a check of this window, or else let it queue for one."""
        share = self._shares.get(_game(window))
        if share is not None and not share.free:
            share.queue.add(window, now_ms, now_ms)
        elif self._in_flight >= self.limit(now_ms):
            self._queue.add(window, now_ms, now_ms)
        else:
            if share is None:
                quarter = max(1, self._max // GAME_SHARE)
                share = _Share(FairQueue(self._measure), quarter, quarter, now_ms)
                self._shares[_game(window)] = share
            share.in_flight += 1
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
            return True
        window.queued_ms = now_ms
        return False

    def next(self, now_ms: int) -> Window | None:
        """Who may ask now, of those that wait; None: nobody waits, or there is no slot.

        It is called until there is nobody, whether or not those called ask.
        """
        called = self._shares.get(self._called) if self._called is not None else None
        self._called = None
        if called is not None and called.free:
            self._release(called, 1, now_ms)
        while self._in_flight < self.limit(now_ms):
            window = self._queue.pop(now_ms)
            if window is None:
                return None
            share = self._shares.get(_game(window))
            if share is None or share.free:
                self._called = _game(window)
                window.queued_ms = None
                return window
            assert window.queued_ms is not None, "a window waits that has not queued"
            share.queue.add(window, window.queued_ms, now_ms)
        return None

    def forget(self, window: Window, now_ms: int) -> None:
        """A window has ended."""
        was_let_go = self._queue.discard(window)
        share = self._shares.get(_game(window))
        if share is None:
            return
        share.queue.discard(window)
        if was_let_go:
            self._release(share, 1, now_ms)
        self._drop_idle(share, window)

    def end(self, window: Window, now_ms: int, *, answered: bool) -> None:
        """A check of this window ended: its slot is free, and those who wait for its game go on."""
        if now_ms - self._second_ms >= REFUSED_WINDOW_MS:
            self._second_ms, self._ended, self._peak = now_ms, 0, self._in_flight
            self._refused.clear()
        self._ended += 1
        self._in_flight -= 1
        share = self._shares[_game(window)]
        share.end(self._max, now_ms, answered=answered)
        self._release(share, share.free, now_ms)
        self._drop_idle(share, window)

    def refused(self, room: RoomKey, sent_ms: int, now_ms: int) -> bool:
        """A check that has ended was "too frequent"; returns whether so were many others.

        Then the slots shrink, unless the check was sent before they last did: it knew nothing.
        """
        self._refused.add(room)
        count = len(self._refused)
        if count < REFUSED_ROOMS_MIN or count * REFUSED_SHARE < self._ended:
            return False
        if self._shrunk_ms is None or sent_ms > self._shrunk_ms:
            self._shrink(min(self.limit(now_ms), self._peak) // 2, now_ms)
        return True

    def observe(self, late_ms: int, now_ms: int) -> None:
        """Once a turn: how late the loop is; far behind, it has fewer slots."""
        if late_ms < OVERRUN_MS:
            return
        if self._shrunk_ms is not None and now_ms < self._shrunk_ms + OVERRUN_PAUSE_MS:
            return
        least = min(self.limit(now_ms), self._max // OVERRUN_SHARE)
        self._shrink(max(least, min(self.limit(now_ms), self._in_flight) // 2), now_ms)

    def _shrink(self, slots: int, now_ms: int) -> None:
        self._shrunk_to, self._shrunk_ms = max(1, slots), now_ms

    def _release(self, share: _Share, count: int, now_ms: int) -> None:
        """So many of those who wait for this game wait for a slot from now on."""
        while count > 0 and (window := share.queue.pop(now_ms)) is not None:
            assert window.queued_ms is not None, "a window waits that has not queued"
            self._queue.add(window, window.queued_ms, now_ms)
            count -= 1

    def _drop_idle(self, share: _Share, window: Window) -> None:
        if not (share.in_flight or share.queue):
            del self._shares[_game(window)]


def _game(window: Window) -> tuple[int, str]:
    return window.key.app_id, window.key.mini_game_id
