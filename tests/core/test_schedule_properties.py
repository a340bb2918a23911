"""The scheduler beside the plainest account of its duties, with time steered to where it hurts.

Gifts are read, time goes to deadlines, class borders, permits, leases and wake-ups ± 1 ms, checks
end in any order and in any way, cuts are made late or abort, partitions go and come back. What
must hold (design §2, §5, §6):

- `UNCONSUMED` comes from a check sent at or after deadline + settle, and of no gift consumed;
- no room's second has more requests than permits, wherever on its way each arrives;
- whatever is due is asked in that turn, and `next_wakeup` is not later than that;
- before `next_wakeup` there is nothing to do, and no turn asks to be repeated at once;
- every gift gets its result once all is calm, and then nobody wakes up any more.
"""

from dataclasses import dataclass, replace
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from consumer.core.gift import Gift
from consumer.core.hazard import AGE_BORDERS_MS, PRIOR, Hazard
from consumer.core.messages import (
    CheckAnswered,
    CheckNotWritten,
    CutAborted,
    CutCommitted,
    Input,
    PartitionAssigned,
    PartitionRevoked,
    RecordsRead,
    SendCheck,
)
from consumer.core.metadata import decode_metadata
from consumer.core.model import (
    Answer,
    Check,
    CheckRules,
    Cut,
    GiftRead,
    GiftResult,
    Status,
    WindowKey,
)
from consumer.core.scheduler import Scheduler
from tests.core.builders import (
    EXAMPLES,
    NOW_MS,
    WALL_MS,
    make_entry,
    make_loss,
    make_record,
    waiting,
)
from tests.core.traffic import FixedHazards
from tests.core.travel import Travel, most_in_a_second

RULES: Final = CheckRules(
    timeout_ms=2_000,
    settle_ms=200,
    give_up_after_ms=0,
    request_timeout_ms=1_000,
    batch_size_max=3,
    room_permits=3,
    unknown_hold_max_ms=8_000,
)
RISING: Final = Hazard(tuple(0.0002 * (n + 1) for n in range(len(AGE_BORDERS_MS) + 1)))
PARTITIONS: Final = 2
CALM_MS: Final = 240_000

ENDINGS: Final = ("truth", "truth", "truth", "partial", "busy", "many", "refused", "lost", "stale")
NEAR: Final = st.sampled_from((-1, 0, 0, 1))


@dataclass(eq=False)
class Told:
    """A gift-sent record, and what the game makes of it."""

    record: GiftRead
    partition: int
    proof_ms: int
    consumed_ms: int | None


class Schedule(RuleBasedStateMachine):
    """One core, its log, its group's committed progress, and a vendor who knows the truth."""

    @initialize(hazard=st.sampled_from((PRIOR, RISING)), slots=st.sampled_from((1, 2, 8)))
    def begin(self, hazard: Hazard, slots: int) -> None:
        """All partitions are assigned for the first time, and that is committed."""
        self.now_ms = NOW_MS
        self.hazard = hazard
        self.price_ms = RULES.request_price_ms
        rules = replace(RULES, requests_in_flight_max=slots)
        self.core = Scheduler(
            rules, instance="pod-0", hazards=FixedHazards(hazard), jitter=lambda: 0.0
        )
        self.log: dict[int, list[Told]] = {number: [] for number in range(PARTITIONS)}
        self.committed = dict.fromkeys(range(PARTITIONS), 0)
        self.metadata: dict[int, str] = {}
        self.epochs: dict[int, int] = {}
        self.epoch = 0
        self.flights: dict[int, tuple[Check, Travel]] = {}
        self.travels: list[Travel] = []
        self.sent_ms: dict[str, int] = {}
        self.results: list[GiftResult] = []
        self.open_cut: Cut | None = None
        for number in range(PARTITIONS):
            self._assign(number, "pod-0")
        self.commit()

    # --- what happens ---------------------------------------------------------------------------

    @rule(
        where=st.sampled_from(("0ag", "0ag", "0ah", "0bg", "1ag", "1bh")),
        count=st.integers(1, 5),
        age_ms=st.sampled_from((0, 0, 0, 40, 1_900, 2_199, 2_200, 2_201, 9_000)),
        lives_ms=st.sampled_from((0, 700, 1_999, 2_000, None, None, None)),
    )
    def gifts(self, where: str, count: int, age_ms: int, lives_ms: int | None) -> None:
        """Gifts of a room and game, sent a while ago, are consumed so long after that, or never."""
        partition, room, game = int(where[0]), where[:2], where[2]
        log = self.log[partition]
        for _ in range(count):
            sent_at = self.wall_ms - age_ms
            offset = log[-1].record.offset + 1 if log else 0
            name = f"p{partition}-{offset}"
            record = make_record(offset, msg_id=name, room_id=room, game=game, sent_at=sent_at)
            start_ms = self.now_ms - age_ms
            proof_ms = start_ms + RULES.timeout_ms + RULES.settle_ms
            consumed_ms = None if lives_ms is None else start_ms + lives_ms
            log.append(Told(record, partition, proof_ms, consumed_ms))
        if partition in self.epochs:
            self._read(partition, [told.record for told in log[-count:]])
        self.turn()

    @rule(which=st.integers(0, 50), off_ms=NEAR, stalled=st.booleans(), commits=st.booleans())
    def go_to(self, which: int, off_ms: int, *, stalled: bool, commits: bool) -> None:
        """Time goes to one of the next instants that mean something, or just not, or just past."""
        near = range(self.now_ms - 1, self.now_ms + 20_000)
        instants = sorted({at_ms for at_ms in self._instants() if at_ms in near})
        if instants:
            until_ms = max(self.now_ms, instants[which % len(instants)] + off_ms)
            self._pass(until_ms, stalled=stalled, commits=commits)

    @rule(for_ms=st.integers(1, 1_500), stalled=st.booleans(), commits=st.booleans())
    def wait(self, for_ms: int, *, stalled: bool, commits: bool) -> None:
        """Time passes."""
        self._pass(self.now_ms + for_ms, stalled=stalled, commits=commits)

    @rule(
        off_ms=st.sampled_from((-1, -1, 0, 1)),
        after_ms=st.sampled_from((1, 300)),
        late=st.floats(0, 1),
    )
    def ask_about_proof(self, off_ms: int, after_ms: int, late: float) -> None:
        """A check that holds a gift goes out just when it may prove absence, or just not."""
        self.gifts("1bh", 1, 0, None)
        proof_ms = self.log[1][-1].proof_ms
        self._pass(proof_ms - 800, stalled=False, commits=True)
        while self.flights:  # what has waited is asked about at once, and then nothing has
            self._end_all(1.0)
        self._pass(proof_ms + off_ms, stalled=True, commits=False)
        self.now_ms += after_ms
        self._end_all(late)

    @precondition(lambda self: self.flights)
    @rule(which=st.integers(0, 7), how=st.sampled_from(ENDINGS), late=st.floats(0, 1))
    def end_check(self, which: int, how: str, late: float) -> None:
        """A check ends; an answer tells what was true at some instant on its way."""
        self._end(sorted(self.flights)[which % len(self.flights)], how, late)
        self.turn()

    @precondition(lambda self: self.flights)
    @rule(lease_over=st.booleans())
    def not_written(self, *, lease_over: bool) -> None:
        """The last check was never written."""
        check_id = max(self.flights)
        _, travel = self.flights.pop(check_id)
        self.travels.remove(travel)
        self._handle(CheckNotWritten(check_id, "no connection", lease_over=lease_over))
        self.turn()

    @rule()
    def commit(self) -> None:
        """What there is to say is committed now."""
        self._end_cut(commits=True)
        if self.core.wants_cut():
            self._cut()
            self._end_cut(commits=True)
        self.turn()

    @rule(commits=st.booleans())
    def cut_or_end_cut(self, *, commits: bool) -> None:
        """A cut is made, and stays open for a while."""
        if self.open_cut is not None:
            self._end_cut(commits=commits)
        elif self.core.wants_cut():
            self._cut()
        self.turn()

    @rule()
    def abort(self) -> None:
        """What there is to say is cut, and that is not to be."""
        if self.open_cut is None and self.core.wants_cut():
            self._cut()
        self._end_cut(commits=False)
        self.turn()

    @rule(loses=st.booleans())
    def busy_room(self, *, loses: bool) -> None:
        """A room uses all its permits within a second, perhaps after its last check was lost."""
        self.gifts("0ag", 3, 2_201, None)
        self._pass(self.now_ms + 1_100, stalled=False, commits=True)
        for check_id in sorted(self.flights):
            self._end(check_id, "lost" if loses else "truth", 1.0)
        self._pass(self.now_ms + 1_000, stalled=False, commits=True)
        for _ in range(4):
            self._end_all(1.0)
            self.gifts("0ag", 3, 2_201, None)
            self._pass(self.now_ms + 12, stalled=False, commits=False)

    @rule(partition=st.integers(0, PARTITIONS - 1), instance=st.sampled_from(("pod-0", "pod-1")))
    def move(self, partition: int, instance: str) -> None:
        """A partition is lost without a last cut; or comes back, as from itself or another."""
        if partition in self.epochs:
            self._handle(PartitionRevoked(partition, self.epochs.pop(partition)))
        elif self.open_cut is None:
            self._assign(partition, instance)
        self.turn()

    def teardown(self) -> None:
        """All is calm: each gift gets its result, and then nobody wakes up."""
        if not hasattr(self, "core"):
            return
        until_ms = self.now_ms + CALM_MS
        self._end_cut(commits=True)
        for number in self.log:
            if number not in self.epochs:
                self._assign(number, "pod-0")
        records = sum(map(len, self.log.values()))
        self.commit()
        while len(self.results) < records and self.now_ms < until_ms:
            if self.flights:
                self.now_ms += 10
                self._end_all(1.0)
            else:
                at_ms = self.core.next_wakeup()
                assert at_ms is not None
                self.now_ms = max(self.now_ms, at_ms)
                self.turn()
            self.commit()
        self._judge(records)
        for _ in range(200):
            at_ms = self.core.next_wakeup()
            if at_ms is None:
                break
            self.now_ms = max(self.now_ms, at_ms)
            self.turn()
            self.commit()
        assert self.core.next_wakeup() is None
        assert not self.core.wants_cut()

    # --- what it takes --------------------------------------------------------------------------

    @property
    def wall_ms(self) -> int:
        """Unix time; it goes as the monotonic clock does."""
        return self.now_ms - NOW_MS + WALL_MS

    def turn(self) -> None:
        """What is to be done now; afterwards nothing is, until the next wake-up."""
        self._look()
        self._poll()
        assert not self._due()
        dispatcher = self.core._dispatcher
        assert not dispatcher._slots.crowded or dispatcher.in_flight >= dispatcher.slots(
            self.now_ms
        )
        at_ms = self.core.next_wakeup()
        assert at_ms is None or at_ms > self.now_ms
        assert not self._poll()

    def _poll(self) -> list[Check]:
        checks = [
            action.check for action in self.core.poll(self.now_ms) if isinstance(action, SendCheck)
        ]
        for check in checks:
            assert self.now_ms < check.write_before_ms
            assert len(check.msg_ids) <= RULES.batch_size_max
            window = WindowKey(-1, check.app_id, check.room_id, check.mini_game_id)
            travel = Travel(window.room, self.now_ms)
            self.travels.append(travel)
            self.flights[check.check_id] = check, travel
            self.sent_ms[str(check.check_id)] = self.now_ms
            own = [other for other in self.travels if other.room == travel.room]
            assert most_in_a_second(own, self.now_ms) <= RULES.room_permits
        return checks

    def _look(self) -> None:
        """Whoever is due now, the core must not sleep."""
        if self._due():
            at_ms = self.core.next_wakeup()
            assert at_ms is not None
            assert at_ms <= self.now_ms

    def _due(self) -> list[WindowKey]:
        """The windows that may ask, and whose waiting is worth it, gift by gift.

        Those that queue for a slot are not among them: they are asked for at the next end. Where
        slots were full the price has risen, and is not looked at again when it falls.
        """
        dispatcher = self.core._dispatcher
        self.price_ms = max(self.price_ms, dispatcher.price_ms)
        due = []
        for partition in self.core._assignment:
            lease = partition.lease
            if not lease.held(self.now_ms) or self.now_ms < lease.opens_ms:
                continue
            for window in partition.windows.values():
                key = window.key
                if window.queued_ms is not None or self.now_ms < dispatcher._backoffs.until(key):
                    continue
                if self.now_ms != dispatcher._limiter.ready_at(key.room, self.now_ms):
                    continue
                collected = waiting(list(window), self.hazard, self.now_ms)
                if collected >= self.price_ms * (1 + 1e-9):
                    due.append(key)
        return due

    def _instants(self) -> list[int]:
        """Deadlines, class borders, permits, ends of leases and the next wake-up."""
        instants = []
        for partition in self.core._assignment:
            instants += [partition.lease.until_ms, partition.lease.opens_ms]
            for window in partition.windows.values():
                key = window.key
                ready_ms = self.core._dispatcher._limiter.ready_at(key.room, self.now_ms)
                instants += [] if ready_ms is None else [ready_ms]
                instants.append(self.core._dispatcher._backoffs.until(key))
                for gift in list(window)[:2]:
                    instants += self._instants_of(gift)
        at_ms = self.core.next_wakeup()
        return instants if at_ms is None else [*instants, at_ms]

    def _instants_of(self, gift: Gift) -> list[int]:
        age_ms = self.now_ms - gift.start_ms
        borders = [gift.start_ms + border for border in AGE_BORDERS_MS if border > age_ms]
        return [gift.proof_ms - RULES.settle_ms, gift.proof_ms, *borders[:1]]

    def _pass(self, until_ms: int, *, stalled: bool, commits: bool) -> None:
        """Time passes, with a turn at each wake-up, or none where the loop is stalled."""
        while not stalled:
            if commits:
                self.commit()
            at_ms = self.core.next_wakeup()
            if at_ms is None or at_ms > until_ms:
                break
            self.now_ms = max(self.now_ms, at_ms - 1)
            self._look()
            self.now_ms = max(self.now_ms, at_ms)
            self.turn()
        asleep = stalled or self.core.next_wakeup() == until_ms
        self.now_ms = until_ms
        self._look()
        assert not self._poll() or asleep
        self.turn()

    def _handle(self, event: Input) -> None:
        self.core.handle(event, self.now_ms, self.wall_ms)

    def _read(self, partition: int, records: list[GiftRead]) -> None:
        end = self.log[partition][-1].record.offset + 1 if self.log[partition] else 0
        self._handle(RecordsRead(partition, self.epochs[partition], tuple(records), end))

    def _assign(self, partition: int, instance: str) -> None:
        """A partition comes, with what its last owner left written, and is read anew from there."""
        self.epoch += 1
        self.epochs[partition] = self.epoch
        offset, metadata, answered = self.committed[partition], None, b""
        if partition in self.metadata:
            written = decode_metadata(self.metadata[partition])
            metadata, answered = replace(written, instance=instance), written.answered
        self._handle(PartitionAssigned(partition, self.epoch, offset, 0, metadata))
        bits, base = int.from_bytes(answered, "little"), offset // 8 * 8
        fresh = [
            told.record
            for told in self.log[partition]
            if told.record.offset >= offset and not bits >> told.record.offset - base & 1
        ]
        self._read(partition, fresh)

    def _cut(self) -> None:
        self.open_cut = self.core.cut(self.now_ms, self.wall_ms)

    def _end_cut(self, *, commits: bool) -> None:
        """The open cut ends; a partition that was lost meanwhile fences it."""
        cut, self.open_cut = self.open_cut, None
        if cut is None:
            return
        if not commits or any(self.epochs.get(o.partition) != o.epoch for o in cut.offsets):
            self._handle(CutAborted(cut.cut_id))
            return
        for offset in cut.offsets:
            self.committed[offset.partition] = offset.offset
            self.metadata[offset.partition] = offset.metadata
        self.results += cut.results
        self._handle(CutCommitted(cut.cut_id))

    def _end(self, check_id: int, how: str, late: float) -> None:
        check, travel = self.flights.pop(check_id)
        if how in {"lost", "stale"}:
            travel.lose(self.now_ms, hold_max_ms=RULES.unknown_hold_max_ms)
            self._handle(make_loss(check, stale_connection=how == "stale"))
            return
        travel.answer(self.now_ms, self.travels, hold_min_ms=RULES.unknown_hold_min_ms)
        code = {"busy": 1, "many": 7, "refused": 3}.get(how, 0)
        seen_ms = travel.sent_ms + int((self.now_ms - travel.sent_ms) * late)
        entries = tuple(
            make_entry(told.record.sent.msg_id, timestamp_ms=told.record.sent.sent_at)
            for told in self.log[int(check.room_id[0])]
            if told.record.sent.msg_id in check.msg_ids
            and told.consumed_ms is not None
            and told.consumed_ms <= seen_ms
        )
        answer = Answer(code, how, str(check_id), () if code else entries, how != "partial")
        self._handle(CheckAnswered(check_id, answer))

    def _end_all(self, late: float) -> None:
        for check_id in sorted(self.flights):
            self._end(check_id, "truth", late)
        self.turn()

    def _judge(self, records: int) -> None:
        """Each record has one result, and it is true."""
        sources = {(result.source_partition, result.source_offset) for result in self.results}
        assert records == len(self.results) == len(sources)
        for result in self.results:
            told = self.log[result.source_partition][result.source_offset]
            if result.status is Status.UNCONSUMED:
                assert told.consumed_ms is None
                assert result.request_id is not None
                assert self.sent_ms[result.request_id] >= told.proof_ms
            else:
                assert result.status is Status.SUCCEEDED
                assert told.consumed_ms is not None


@pytest.mark.timeout(600)  # a story that fails is made short for up to five minutes
def test_the_scheduler_does_its_duties_whatever_happens() -> None:
    """Those that the module names, in any story."""
    stories = settings(max_examples=EXAMPLES, stateful_step_count=40)
    run_state_machine_as_test(Schedule, settings=stories)
