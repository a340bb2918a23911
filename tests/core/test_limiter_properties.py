"""The limiter beside a server that counts (design §5): whatever happens, never above the limit.

Time is steered to the instants at which permits come back, ± 1 ms.
"""

from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from consumer.core.limiter import ROOM_IN_FLIGHT_MAX, Limiter
from consumer.core.model import RoomKey
from tests.core.builders import EXAMPLES, NOW_MS
from tests.core.travel import SECOND_MS, Travel, most_in_a_second

ROOMS: Final = (RoomKey(7, "one"), RoomKey(7, "two"))
HOLD_MIN_MS: Final = 2_000


class Rooms(RuleBasedStateMachine):
    """Two rooms of one host; whatever a dispatcher may do with them, in any order."""

    @initialize(permits=st.integers(1, 6), hold_max_ms=st.sampled_from((3_000, 20_000)))
    def begin(self, permits: int, hold_max_ms: int) -> None:
        """Both rooms have a window."""
        self.permits, self.hold_max_ms = permits, hold_max_ms
        self.now_ms = NOW_MS
        self.limiter = Limiter(
            permits=permits, unknown_hold_min_ms=HOLD_MIN_MS, unknown_hold_max_ms=hold_max_ms
        )
        self.travels: list[Travel] = []
        self.troubled: set[RoomKey] = set()
        self.windows = dict.fromkeys(ROOMS, 0)
        for room in ROOMS:
            self.open_again(room)

    # --- what happens ---------------------------------------------------------------------------

    @rule(after_ms=st.one_of(st.integers(0, 50), st.integers(0, 5_000)))
    def wait(self, after_ms: int) -> None:
        """Time passes."""
        self.now_ms += after_ms
        self.limiter.forget_idle_rooms(self.now_ms)

    @rule(room=st.sampled_from(ROOMS), off_ms=st.integers(-1, 1))
    def wait_for_a_permit(self, room: RoomKey, off_ms: int) -> None:
        """Up to the instant that is named for the next check, or just not, or just after."""
        ready_ms = self.limiter.ready_at(room, self.now_ms) if room in self.limiter else None
        if ready_ms is not None:
            self.now_ms = max(self.now_ms, ready_ms + off_ms)

    @rule(room=st.sampled_from(ROOMS), count=st.integers(1, 6))
    def ask(self, room: RoomKey, count: int) -> None:
        """As many checks as may be sent now, up to `count`."""
        for _ in range(count if self.windows[room] else 0):
            if self.limiter.ready_at(room, self.now_ms) != self.now_ms:
                break
            self.limiter.take(room, self.now_ms)
            self.travels.append(Travel(room, self.now_ms))

    @rule(room=st.sampled_from(ROOMS), off_ms=st.integers(-1, 1), after_ms=st.integers(0, 40))
    def ask_in_turns(self, room: RoomKey, off_ms: int, after_ms: int) -> None:
        """A whole second's worth of checks, each answered before the next is sent."""
        for _ in range(self.permits + 1):
            self.wait_for_a_permit(room, off_ms)
            self.ask(room, 1)
            self.now_ms += after_ms
            self.end_all(room, lost=False)

    @rule(room=st.sampled_from(ROOMS), lost=st.booleans())
    def end_all(self, room: RoomKey, *, lost: bool) -> None:
        """All checks of a room end now."""
        for travel in [t for t in self.travels if t.in_flight and t.room == room]:
            self._end(travel, lost=lost, probing=True)

    @precondition(lambda self: any(travel.in_flight for travel in self.travels))
    @rule(
        data=st.data(), how=st.sampled_from(("answered", "lost", "stale", "unwritten", "limited"))
    )
    def end_one(self, data: st.DataObject, how: str) -> None:
        """One check ends, in whichever way."""
        travel = data.draw(st.sampled_from([t for t in self.travels if t.in_flight]))
        if how == "unwritten":
            self.limiter.unwritten(travel.room)
            self.travels.remove(travel)
            return
        self._end(travel, lost=how in {"lost", "stale"}, probing=how == "lost")
        if how == "limited":
            self.limiter.limited(travel.room, travel.sent_ms, self.now_ms)
            self.limiter.block(travel.room, self.now_ms + 500)
            self.troubled.add(travel.room)

    @rule(
        room=st.sampled_from(ROOMS),
        other=st.sampled_from(ROOMS),
        gap_ms=st.sampled_from((-1, 0, 1, 30, 990, HOLD_MIN_MS)),
        off_ms=st.integers(-1, 1),
    )
    def lose_and_hear(self, room: RoomKey, other: RoomKey, gap_ms: int, off_ms: int) -> None:
        """Checks are lost, and one sent just before, just then or later is answered."""
        self.ask(room, 2)
        lost = [t for t in self.travels if t.in_flight and t.room == room]
        if gap_ms < 0:
            self.ask(other, 1)
        for travel in lost:
            self._end(travel, lost=True, probing=True)
        self.now_ms += abs(gap_ms)
        if gap_ms >= 0:
            self.ask(other, 1)
        self.end_all(other, lost=False)
        self.ask_in_turns(room, off_ms, 0)

    @rule(room=st.sampled_from(ROOMS))
    def close(self, room: RoomKey) -> None:
        """A window of the room ends; its requests go on travelling."""
        if self.windows[room]:
            self.windows[room] -= 1
            self.limiter.close(room, self.now_ms)

    @rule(room=st.sampled_from(ROOMS))
    def open_again(self, room: RoomKey) -> None:
        """A window of the room begins."""
        self.windows[room] += 1
        self.limiter.open(room, None, self.now_ms)

    @rule(room=st.sampled_from(ROOMS), off_ms=st.integers(-1, 1), lost=st.booleans())
    def come_back(self, room: RoomKey, off_ms: int, *, lost: bool) -> None:
        """The room's last gift is decided, and a second later there is another."""
        self.ask(room, 2)
        self.end_all(room, lost=lost)
        while self.windows[room]:
            self.close(room)
        self.wait(1 + SECOND_MS + off_ms)
        self.open_again(room)
        self.ask_in_turns(room, off_ms, 0)

    @rule(room=st.sampled_from(ROOMS), after_ms=st.integers(0, 50))
    def take_over(self, room: RoomKey, after_ms: int) -> None:
        """A room comes from a predecessor whose requests may still arrive: all but one permit's."""
        while self.windows[room]:
            self.close(room)
        opens_ms = self.now_ms
        hand_over = self.limiter.hand_over(opens_ms)
        taken = sum(
            t.room == room and (t.over_ms is None or t.over_ms > opens_ms) for t in self.travels
        )
        self.now_ms += after_ms
        lost_ms = opens_ms - 1
        over_ms = lost_ms + self.hold_max_ms
        for _ in range(self.permits - 1 - taken):
            travel = Travel(room, opens_ms, lost_ms=lost_ms, over_ms=over_ms)
            self.travels.append(travel)
        self.troubled.add(room)
        self.windows[room] += 1
        self.limiter.open(room, hand_over, self.now_ms)
        self.ask(room, 2)

    def _end(self, travel: Travel, *, lost: bool, probing: bool) -> None:
        if lost:
            self.limiter.lost(travel.room, travel.sent_ms, self.now_ms, probing=probing)
            travel.lose(self.now_ms, hold_max_ms=self.hold_max_ms)
            self.troubled.add(travel.room)
            return
        self.limiter.answered(travel.room, travel.sent_ms, self.now_ms)
        travel.answer(self.now_ms, self.travels, hold_min_ms=HOLD_MIN_MS)

    # --- what holds -----------------------------------------------------------------------------

    @invariant()
    def no_second_has_more_than_the_limit(self) -> None:
        """Wherever between its sending and its end each request arrives."""
        for room in ROOMS:
            own = [travel for travel in self.travels if travel.room == room]
            assert most_in_a_second(own, self.now_ms) <= self.permits

    @invariant()
    def nobody_waits_without_a_reason(self) -> None:
        """A room never in trouble waits for its permits alone, and exactly as long as for them."""
        for room in ROOMS:
            if room not in self.limiter or room in self.troubled:
                continue
            own = [travel for travel in self.travels if travel.room == room]
            flying = sum(travel.in_flight for travel in own)
            back = sorted(t.over_ms for t in own if t.over_ms is not None)
            back = [over_ms for over_ms in back if over_ms > self.now_ms]
            surplus = flying + len(back) - self.permits + 1
            expected: int | None = self.now_ms
            if flying >= ROOM_IN_FLIGHT_MAX or surplus > len(back):
                expected = None
            elif surplus > 0:
                expected = back[surplus - 1]
            assert expected == self.limiter.ready_at(room, self.now_ms)

    @invariant()
    def an_instant_that_was_named_stays(self) -> None:
        """If nothing happens before, it is not put off, and it is then."""
        for room in ROOMS:
            ready_ms = self.limiter.ready_at(room, self.now_ms) if room in self.limiter else None
            if ready_ms is not None:
                for at_ms in {self.now_ms, (self.now_ms + ready_ms) // 2, ready_ms - 1, ready_ms}:
                    if at_ms >= self.now_ms:
                        assert ready_ms == self.limiter.ready_at(room, at_ms)

    def teardown(self) -> None:
        """When all has ended and calmed down, both rooms have all their permits, or are forgotten."""
        if not hasattr(self, "limiter"):
            return
        for room in ROOMS:
            self.end_all(room, lost=True)
        self.now_ms += self.hold_max_ms + 10_000 * self.permits + 8_000
        self.limiter.forget_idle_rooms(self.now_ms)
        for room in ROOMS:
            if not self.windows[room]:
                continue
            for _ in range(self.permits):
                assert self.now_ms == self.limiter.ready_at(room, self.now_ms)
                self.limiter.take(room, self.now_ms)
                self.limiter.answered(room, self.now_ms, self.now_ms)
            assert self.limiter.ready_at(room, self.now_ms) == self.now_ms + 1 + SECOND_MS


@pytest.mark.timeout(600)  # a story that fails is made short for up to five minutes
def test_never_above_the_limit_and_never_waiting_without_a_reason() -> None:
    """Whatever a dispatcher does with two rooms, and whatever becomes of their requests."""
    stories = settings(max_examples=EXAMPLES, stateful_step_count=40)
    run_state_machine_as_test(Rooms, settings=stories)
