"""Which window asks next: the heap of due windows, the slots, the checks in flight (design §5, §6).

A window may be kept from asking by its lease, a back-off, its room's permits or a lack of slots.
Each of these knows when it ends, or which event ends it:

- lease not yet open, backlog being read, back-off, permits cooling: an instant; the window stands
  in the heap for it;
- permits or probes that wait for an answer: `ended` looks at the room's windows again;
- no lease: the commit that renews it does;
- no slot: the window queues for one (`slots`);
- an open circuit breaker: there is no slot before its next probe.

Which back-offs are passed over `restraint` says.

So nothing is polled, and no room has a timer or a task. Deciding is reserving: a check that
`poll` returns already has its permit and its slot.
"""

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from consumer.core.batch import BatchLimit
from consumer.core.breaker import Breaker
from consumer.core.fair_queue import Standing
from consumer.core.gift import Gift, duration_days
from consumer.core.hazard import Hazard, Hazards
from consumer.core.lease import Lease
from consumer.core.limiter import Limiter
from consumer.core.model import Check, CheckRules, RoomKey
from consumer.core.price import Price
from consumer.core.reaction import Backoffs
from consumer.core.restraint import Restraint, group_due_ms
from consumer.core.slots import Slots
from consumer.core.split import Group, Splits
from consumer.core.window import Window

STANDING_MS: Final = 1_000
"""A queueing window is looked at again so long after, at the earliest."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A check in flight: what was asked, from which window, decided when; `group`: of suspects.

    `told_ms` is when the latest check that was answered with success had been sent, of those
    answered before this one was decided; -1 for none.
    """

    check: Check
    window: Window
    gifts: tuple[Gift, ...]
    sent_ms: int
    told_ms: int
    group: Group | None = None


class Dispatcher:
    """Decides when windows ask; owns the heap, the slots and the flights."""

    def __init__(
        self,
        rules: CheckRules,
        limiter: Limiter,
        backoffs: Backoffs,
        hazards: Hazards,
        breaker: Breaker,
    ) -> None:
        self._rules = rules
        self._breaker = breaker
        self.batch = BatchLimit(rules.batch_size_max)
        self.splits = Splits(self.batch)
        self._limiter = limiter
        self._backoffs = backoffs
        self._hazards = hazards
        self._due: list[tuple[int, int, Window]] = []
        self._order = itertools.count()
        self._check_ids = itertools.count(1)
        self._price = Price(rules.request_price_ms)
        self._slots = Slots(rules.requests_in_flight_max, self._standing, breaker.slots)
        self._flights: dict[int, Flight] = {}
        self._rooms: dict[RoomKey, list[Window]] = {}
        self._unleased: dict[Lease, dict[Window, None]] = {}
        self._restraint = Restraint(rules, backoffs)

    @property
    def in_flight(self) -> int:
        """Checks that have neither ended nor been lost."""
        return len(self._flights)

    def queued(self) -> int:
        """Windows that are due and wait for a slot."""
        return self._slots.waiting()

    def slots(self, now_ms: int) -> int:
        """How many checks may be in flight now; fewer than configured after many refusals."""
        return self._slots.limit(now_ms)

    @property
    def price_ms(self) -> float:
        """What a request is worth now, in gift-milliseconds."""
        return self._price.current_ms

    def open(self, window: Window, now_ms: int) -> bool:
        """A window begins; `touch` it once it has gifts.

        Returns whether its room has windows of another partition: the input is not keyed by room.
        """
        room = window.room
        self._limiter.open(room, window.lease.hand_over, now_ms)
        others = self._rooms.setdefault(room, [])
        elsewhere = any(other.key.partition != window.key.partition for other in others)
        others.append(window)
        self._backoffs.open(window.key)
        return elsewhere

    def close(self, window: Window, now_ms: int) -> None:
        """A window has ended: empty, or its partition is gone."""
        window.open = False
        room = window.room
        windows = self._rooms[room]
        windows.remove(window)
        if not windows:
            del self._rooms[room]
        self._slots.forget(window, now_ms)
        self._limiter.close(room, now_ms)
        self._backoffs.close(window.key)
        self.splits.close(window)

    def touch(self, windows: Iterable[Window], now_ms: int) -> None:
        """Something about these windows has changed: find out when they ask next."""
        for window in windows:
            if window.open and window.queued_ms is None:
                at_ms = self._ask_at(window, now_ms)
                # Later than it stands in the heap: it will look again when it comes up.
                if at_ms is not None and (window.due_ms is None or at_ms < window.due_ms):
                    self._push(window, at_ms)

    def poll(self, now_ms: int, late_ms: int = 0) -> list[Check]:
        """The checks to write now; their permits and slots are taken.

        `late_ms` is how late the loop was with the timer of this turn.
        """
        # A host that is down, or coming back, has few slots whatever a request costs.
        crowded = self._slots.crowded and self._breaker.has_all_slots
        self._price.observe(now_ms, crowded=crowded, late_ms=late_ms)
        self._slots.observe(late_ms, now_ms)
        checks: list[Check] = []
        while (queued := self._slots.next(now_ms)) is not None:
            checks += self._ask(queued, now_ms)
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, window = heapq.heappop(self._due)
            if window.open and window.due_ms == due_ms:
                window.due_ms = None
                checks += self._ask(window, now_ms)
        self._limiter.forget_idle_rooms(now_ms)
        return checks

    def next_wakeup(self) -> int | None:
        """When `poll` has something to look at, if nothing else happens before."""
        due_ms = self._due[0][0] if self._due else None
        probe_ms = self._breaker.probe_ms
        if probe_ms is None or not self._slots.waiting() or self._flights:
            return due_ms
        return probe_ms if due_ms is None else min(due_ms, probe_ms)

    def answered(self, check_id: int, now_ms: int) -> Flight:
        """A check ended with an answer: its permit cools, its slot is free."""
        flight = self._end(check_id, now_ms, answered=True)
        room = flight.window.room
        for released in self._limiter.answered(room, flight.sent_ms, now_ms):
            self.touch_room(released, now_ms)
        return flight

    def told(self, flight: Flight) -> None:
        """A check was answered with success; later flights know of it."""
        self._restraint.told(flight.sent_ms)

    def lost(self, check_id: int, now_ms: int, *, probing: bool) -> Flight:
        """A check got no answer: its permit is unknown, its slot is free."""
        flight = self._end(check_id, now_ms, answered=False)
        room = flight.window.room
        loss = self._limiter.lost(room, flight.sent_ms, now_ms, probing=probing)
        flight.window.lease.losses.append(loss)
        return flight

    def unwritten(self, check_id: int, now_ms: int) -> Flight:
        """A check was never written: permit and slot are free."""
        flight = self._end(check_id, now_ms, answered=False)
        self._limiter.unwritten(flight.window.room)
        return flight

    def limited(self, flight: Flight, now_ms: int, retry_after_ms: int | None) -> None:
        """A check that has ended was "too frequent": for its room, or for all of them."""
        room, sent_ms = flight.window.room, flight.sent_ms
        if not self._slots.refused(room, sent_ms, now_ms):
            self._limiter.limited(room, sent_ms, now_ms)
        if retry_after_ms is not None:
            self._limiter.block(room, now_ms + retry_after_ms)

    def renew(self, lease: Lease, until_ms: int, now_ms: int) -> None:
        """A cut with this lease's partition is committed: windows that waited for it go on."""
        lease.until_ms = max(lease.until_ms, until_ms)
        self.touch(self._unleased.pop(lease, ()), now_ms)

    def end(self, lease: Lease) -> None:
        """A lease is gone with its partition; its windows are closed."""
        self._unleased.pop(lease, None)

    def touch_all(self, now_ms: int) -> None:
        """The trouble of a game or an app is over: whoever waited for that may ask."""
        for windows in self._rooms.values():
            self.touch(windows, now_ms)

    def touch_room(self, room: RoomKey, now_ms: int) -> None:
        """A room's permits have changed."""
        self.touch(self._rooms.get(room, ()), now_ms)

    def _ask_at(self, window: Window, now_ms: int) -> int | None:
        """When this window can and should ask; None: an event will say."""
        lease = window.lease
        if not lease.held(now_ms):
            if not lease.draining:
                self._unleased.setdefault(lease, {})[window] = None
            return None
        window.advance(now_ms)
        at_ms = window.ask_at(self._hazard(window), self._price.current_ms, now_ms)
        group = self.splits.next_group(window)
        if group is not None:
            due_ms = group_due_ms(group)
            at_ms = due_ms if at_ms is None else min(at_ms, due_ms)
        if at_ms is None:
            return None
        trouble_ms = self._restraint.until_ms(window, group, now_ms)
        until_ms = max(now_ms, lease.opens_ms, lease.backlog.over_ms, trouble_ms)
        return self._limiter.ready_at(window.room, max(at_ms, until_ms))

    def _ask(self, window: Window, now_ms: int) -> list[Check]:
        """Let a window ask as often as it is due, for as long as there are slots."""
        checks: list[Check] = []
        while (at_ms := self._ask_at(window, now_ms)) is not None:
            if at_ms > now_ms:
                self._push(window, at_ms)
                break
            if not self._slots.take(window, now_ms):
                break
            checks.append(self._send(window, now_ms))
        return checks

    def _send(self, window: Window, now_ms: int) -> Check:
        key = window.key
        group = self.splits.next_group(window)
        if group is not None and group_due_ms(group) <= now_ms:
            self.splits.take(window, group)
            gifts = list(group.gifts)
        else:
            group = None
            count = 1 if self._restraint.only_probes(window, now_ms) else self.batch.size(now_ms)
            gifts = window.take(count, self._hazard(window), now_ms)
        msg_ids = tuple(dict.fromkeys(gift.read.sent.msg_id for gift in gifts))
        self.batch.decided(len(msg_ids), now_ms)
        self._backoffs.asked(key, now_ms + self._rules.request_timeout_ms)
        self._limiter.take(window.room, now_ms)
        window.lease.in_flight += 1
        games = self._rooms[window.room]
        games.append(games.pop(games.index(window)))  # they take turns at their room's permits
        check = Check(
            check_id=next(self._check_ids),
            app_id=key.app_id,
            room_id=key.room_id,
            mini_game_id=key.mini_game_id,
            msg_ids=msg_ids,
            write_before_ms=window.lease.until_ms,
            duration_days=duration_days(gifts, now_ms),
        )
        flight = Flight(check, window, tuple(gifts), now_ms, self._restraint.told_ms, group)
        self._flights[check.check_id] = flight
        return check

    def _end(self, check_id: int, now_ms: int, *, answered: bool) -> Flight:
        flight = self._flights.pop(check_id)
        flight.window.lease.in_flight -= 1
        self._slots.end(flight.window, now_ms, answered=answered)
        return flight

    def _standing(self, window: Window, now_ms: int) -> Standing:
        """How much waiting a queueing window has collected, in doublings of the price.

        An estimate, which is all that an order needs. To move each gift into the class of its age
        at each look, as those who are about to ask do, was a fifth of the CPU in a crowd; only
        those past deadline + settle are moved, who collect the most.
        """
        hazard, price_ms = self._hazard(window), self._rules.request_price_ms
        if window.has_new_proof(now_ms):
            window.advance(now_ms)
        level = int(window.collected(hazard, now_ms) / price_ms).bit_length()
        look_ms = window.reaches_at(hazard, price_ms * 2**level, now_ms)
        # None: only suspects of a split wait, who collect nothing
        return Standing(level, max(look_ms or 0, now_ms + STANDING_MS))

    def _hazard(self, window: Window) -> Hazard:
        return self._hazards.of(window.key.app_id, window.key.mini_game_id)

    def _push(self, window: Window, at_ms: int) -> None:
        window.due_ms = at_ms
        heapq.heappush(self._due, (at_ms, next(self._order), window))
