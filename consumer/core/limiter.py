"""A room's permits: free, in flight, unknown, cooling (design §5).

The vendor counts requests where they arrive: at most 20 for each room in any second. What this
process knows is when a check was sent and when its answer came; the arrival lies somewhere in
between. So a room has 20 permits and

- a check takes one when it is *decided* (in flight),
- an answer ends it, and the permit comes back `PERMIT_WINDOW_MS` later (cooling). Whatever the
  jitter, two uses of one permit then arrive more than a second apart, and there are only 20;
- no answer is no end: the request may still travel, or wait in a stalled server's queue. The
  permit is *unknown* until the first answer to a check sent later to this host shows that the
  queue is empty, and one window more; never before `unknown_hold_min`, at the latest after
  `unknown_hold_max`;
- a check that was never written gives its permit back at once.

So that something is left to probe with, a room has at most `ROOM_IN_FLIGHT_MAX` checks in flight,
and one while its last got no answer; those probes are 1, 2, 4, 8 s apart. "Too frequent" (somebody
else asks too) halves the permits, at most once a round trip.

Counting request starts, a token bucket, or giving permits back at a time-out all break the limit
under jitter: `tests/integration/test_limit.py` shows each of them doing so.
"""

import bisect
import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from consumer.core.model import RoomKey

PERMIT_WINDOW_MS: Final = 1_005
"""The vendor's second, and 5 ms because our clock may run up to 0.5 % faster than its [R 3]."""

ROUNDING_MS: Final = 1
"""`now_ms` is rounded down, so an end lies up to this much later than it reads."""

ROOM_IN_FLIGHT_MAX: Final = 4
"""With more, a stall could turn all 20 permits unknown and leave none to probe with [R 1]."""

PROBE_INTERVAL_MS: Final = 1_000
PROBE_DOUBLINGS_MAX: Final = 3
"""Probes after checks without answer: 1, 2, 4, 8, 8 … s apart."""

PERMIT_RECOVERY_MS: Final = 10_000
"""After a "too frequent" one permit comes back each ten seconds."""


@dataclass(eq=False, slots=True)
class Loss:
    """One or more permits whose requests may still travel; they come back at `release_ms`.

    A lost check has a Loss of its own; the rooms of a partition taken over share one.
    """

    lost_ms: int
    release_ms: int
    rooms: list[RoomKey] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Room:
    cap: int
    windows: int = 0
    in_flight: int = 0
    cooling: deque[int] = field(default_factory=deque)
    unknown: list[Loss] = field(default_factory=list)
    losses_in_a_row: int = 0
    spared: bool = False
    last_loss_ms: int = -1
    capped_ms: int = -1
    blocked_until_ms: int = -1

    def releases(self, now_ms: int) -> list[int]:
        """When the permits that are neither free nor in flight come back, ascending."""
        releases = [at for at in self.cooling if at > now_ms]
        releases += [loss.release_ms for loss in self.unknown if loss.release_ms > now_ms]
        releases.sort()
        return releases

    def probe_ms(self) -> int:
        """The earliest instant for the next check after checks without answer."""
        if not self.losses_in_a_row:
            return -1
        doublings = min(self.losses_in_a_row - 1, PROBE_DOUBLINGS_MAX)
        return self.last_loss_ms + (PROBE_INTERVAL_MS << doublings)


class Limiter:
    """All rooms' permits at one API host; owns every permit and nothing else.

    A room is known from `open` until its last window is closed and all its permits are free.
    """

    def __init__(self, *, permits: int, unknown_hold_min_ms: int, unknown_hold_max_ms: int) -> None:
        self._permits = permits
        self._hold_min_ms = unknown_hold_min_ms
        self._hold_max_ms = unknown_hold_max_ms
        self._rooms: dict[RoomKey, _Room] = {}
        self._losses: list[tuple[int, int, Loss]] = []  # a heap by lost_ms
        self._order = itertools.count()
        self._idle: deque[tuple[int, RoomKey]] = deque()

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, room: RoomKey) -> bool:
        return room in self._rooms

    def open(self, room: RoomKey, hand_over: Loss | None, now_ms: int) -> None:
        """A window of this room begins.

        With a `hand_over` that is not over, the room has one free permit and the others are
        unknown: an answer first has to show that the server is done with the predecessor's. So are
        those that were unknown before, and for as long: its requests may be among theirs.
        """
        state = self._rooms.get(room)
        if state is None:
            state = self._rooms[room] = _Room(cap=self._permits)
        state.windows += 1
        if hand_over is not None and hand_over.release_ms > now_ms:
            taken = state.in_flight + len(state.releases(now_ms))
            missing = max(0, self._permits - 1 - taken)
            unknown = [loss for loss in state.unknown if loss.release_ms > now_ms]
            later = [loss for loss in unknown if loss.lost_ms >= hand_over.lost_ms]
            older = len(unknown) - len(later)
            if older or missing:
                state.unknown = later + [hand_over] * (older + missing)
                hand_over.rooms.append(room)

    def close(self, room: RoomKey, now_ms: int) -> None:
        """A window of this room ended; the room is forgotten once all its permits are free."""
        state = self._rooms[room]
        state.windows -= 1
        if not state.windows:
            self._idle.append((now_ms + ROUNDING_MS + PERMIT_WINDOW_MS, room))

    def hand_over(self, from_ms: int) -> Loss:
        """A loss for rooms taken over: what their predecessor sent may still travel.

        The answer to a check sent at `from_ms` or later shows that it no longer does.
        """
        return self._register(from_ms - 1, from_ms)

    def ready_at(self, room: RoomKey, now_ms: int) -> int | None:
        """The earliest instant, `now_ms` or later, for this room's next check.

        None: not before a check in flight has ended.
        """
        state = self._rooms[room]
        if state.in_flight >= (1 if state.losses_in_a_row else ROOM_IN_FLIGHT_MAX):
            return None
        earliest = max(now_ms, state.blocked_until_ms, state.probe_ms())
        if state.in_flight + len(state.cooling) + len(state.unknown) < self._cap(state, now_ms):
            return earliest  # enough of them without looking which are over already
        releases = state.releases(now_ms)
        for at_ms in sorted((earliest, *releases, *self._recoveries(state))):
            taken = state.in_flight + len(releases) - bisect.bisect_right(releases, at_ms)
            if at_ms >= earliest and taken < self._cap(state, at_ms):
                return at_ms
        return None

    def take(self, room: RoomKey, now_ms: int) -> None:
        """Take a permit for a check decided now; `ready_at` must have said `now_ms`."""
        assert self.ready_at(room, now_ms) == now_ms, "a check was decided without a permit"
        state = self._rooms[room]
        while state.cooling and state.cooling[0] <= now_ms:
            state.cooling.popleft()
        state.unknown = [loss for loss in state.unknown if loss.release_ms > now_ms]
        state.in_flight += 1

    def answered(self, room: RoomKey, sent_ms: int, now_ms: int) -> list[RoomKey]:
        """A check sent at `sent_ms` ended with an answer of the vendor's.

        Returns the rooms whose unknown permits now have an instant to come back at.
        """
        state = self._rooms[room]
        state.in_flight -= 1
        state.losses_in_a_row = 0
        state.spared = False
        state.cooling.append(now_ms + ROUNDING_MS + PERMIT_WINDOW_MS)
        return self._resolve(sent_ms, now_ms)

    def lost(self, room: RoomKey, sent_ms: int, now_ms: int, *, probing: bool) -> Loss:
        """A check got no answer: its permit is unknown until the returned loss is released.

        With `probing` it counts as a sign that the server does not answer: one check at a time
        until one is answered. Checks lost together count once. Without, it is spared, but only
        once until an answer: at once, again and again, would leave no permit to probe with.
        """
        state = self._rooms[room]
        state.in_flight -= 1
        loss = self._register(now_ms, now_ms)
        loss.rooms.append(room)
        state.unknown.append(loss)
        if not probing and not state.spared:
            state.spared = True
        elif sent_ms >= state.last_loss_ms:
            state.losses_in_a_row += 1
            state.last_loss_ms = now_ms
        return loss

    def unwritten(self, room: RoomKey) -> None:
        """Not one byte of a check was written: its permit is free at once."""
        self._rooms[room].in_flight -= 1

    def limited(self, room: RoomKey, sent_ms: int, now_ms: int) -> None:
        """The vendor says "too frequent" of this room: halve its permits.

        Halves at most once a round trip: a check sent before the last halving knew nothing of it.
        """
        state = self._rooms[room]
        if sent_ms > state.capped_ms:
            state.cap = max(1, self._cap(state, now_ms) // 2)
            state.capped_ms = now_ms

    def block(self, room: RoomKey, until_ms: int) -> None:
        """The vendor says when to come back (Retry-After): nothing is asked before."""
        state = self._rooms[room]
        state.blocked_until_ms = max(state.blocked_until_ms, until_ms)

    def forget_idle_rooms(self, now_ms: int) -> None:
        """Drop rooms without windows whose permits are all free; costs O(1) for each closing."""
        while self._idle and self._idle[0][0] <= now_ms:
            _, room = self._idle.popleft()
            state = self._rooms.get(room)
            if state is None or state.windows:
                continue
            if self._is_free(state, now_ms):
                del self._rooms[room]
            else:
                self._idle.append((now_ms + PERMIT_RECOVERY_MS, room))

    def _cap(self, state: _Room, now_ms: int) -> int:
        if state.cap == self._permits:
            return self._permits
        recovered = (now_ms - state.capped_ms) // PERMIT_RECOVERY_MS
        return min(self._permits, state.cap + recovered)

    def _recoveries(self, state: _Room) -> Iterator[int]:
        """When each of the permits that "too frequent" has cost comes back."""
        for count in range(1, self._permits - state.cap + 1):
            yield state.capped_ms + count * PERMIT_RECOVERY_MS

    def _is_free(self, state: _Room, now_ms: int) -> bool:
        return (
            not state.in_flight
            and now_ms >= state.blocked_until_ms
            and not state.releases(now_ms)
            and self._cap(state, now_ms) == self._permits
        )

    def _register(self, lost_ms: int, now_ms: int) -> Loss:
        while self._losses and self._losses[0][2].release_ms <= now_ms:
            heapq.heappop(self._losses)  # over anyhow: a long outage must not pile them up
        loss = Loss(lost_ms, lost_ms + self._hold_max_ms)
        heapq.heappush(self._losses, (lost_ms, next(self._order), loss))
        return loss

    def _resolve(self, sent_ms: int, now_ms: int) -> list[RoomKey]:
        """Give every loss older than this answered check its instant to come back."""
        rooms: list[RoomKey] = []
        while self._losses and self._losses[0][0] < sent_ms:
            _, _, loss = heapq.heappop(self._losses)
            proven_ms = max(
                now_ms + ROUNDING_MS + PERMIT_WINDOW_MS, loss.lost_ms + self._hold_min_ms
            )
            loss.release_ms = min(loss.release_ms, proven_ms)
            rooms += loss.rooms
        return rooms
