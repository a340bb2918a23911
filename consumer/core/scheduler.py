"""Composes the rules: inputs in, actions and cuts out (design §8).

    handle(input)   what happened; verdicts that follow from it go into the outbox
    poll()          what is to be done now; deciding is reserving
    cut()           what the next transaction commits
    next_wakeup()   when to come back if nothing happens

`now_ms` and `wall_ms` are read once a turn and handed to every call of that turn. Queries change
nothing; iteration follows insertion, or a heap with an explicit tie-break.
"""

from collections.abc import Callable
from typing import assert_never

from consumer.core.assignment import Assignment
from consumer.core.breaker import Breaker
from consumer.core.decision import Decisions
from consumer.core.dispatch import Dispatcher
from consumer.core.ending import Endings
from consumer.core.gift import pending_gift
from consumer.core.hazard import Hazards
from consumer.core.lease import take_over
from consumer.core.limiter import Limiter
from consumer.core.messages import (
    Action,
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    CutAborted,
    CutCommitted,
    DrainStarted,
    Fault,
    Input,
    PartitionAssigned,
    PartitionRevoked,
    RecordsRead,
    SendCheck,
)
from consumer.core.model import CheckRules, Cut, DeadLetter, GiftRead, RecordRefused, WindowKey
from consumer.core.overdue import OverdueGifts
from consumer.core.partition import Partition, Said
from consumer.core.reaction import Backoffs
from consumer.core.relief import Relief
from consumer.core.tally import CoreStatus, Tally
from consumer.core.wall_clock import WallClock
from consumer.core.window import Window


class Scheduler:
    """The core: the assignment, the dispatcher, and what connects them.

    Args:
        rules: the numbers.
        instance: this process' name; no two processes of one name run at a time.
        hazards: what is known of when gifts are consumed.
        jitter: draws from [0, 1).
        began_ms: when this process began; None: not known (`lease.take_over`).
    """

    def __init__(
        self,
        rules: CheckRules,
        *,
        instance: str,
        hazards: Hazards,
        jitter: Callable[[], float],
        began_ms: int | None = None,
    ) -> None:
        self._rules = rules
        self._instance = instance
        self._began_ms = began_ms
        self._limiter = Limiter(
            permits=rules.room_permits,
            unknown_hold_min_ms=rules.unknown_hold_min_ms,
            unknown_hold_max_ms=rules.unknown_hold_max_ms,
        )
        self._backoffs = Backoffs(jitter)
        self._wall_clock = WallClock()
        breaker = Breaker(rules.requests_in_flight_max, jitter)
        self._dispatcher = Dispatcher(rules, self._limiter, self._backoffs, hazards, breaker)
        self._overdue = OverdueGifts()
        self._assignment = Assignment(rules, self._overdue, instance=instance)
        self._relief = Relief(self._assignment, self._overdue, rules.overdue_gifts_max)
        self.tally = Tally()
        self._decisions = Decisions(
            self._assignment, self._dispatcher, self._overdue, self._relief, self.tally
        )
        self._endings = Endings(
            assignment=self._assignment,
            dispatcher=self._dispatcher,
            backoffs=self._backoffs,
            breaker=breaker,
            wall_clock=self._wall_clock,
            hazards=hazards,
            overdue=self._overdue,
            decisions=self._decisions,
            tally=self.tally,
        )

    def handle(self, event: Input, now_ms: int, wall_ms: int) -> None:
        """Take in what happened."""
        self._wall_clock.read(now_ms, wall_ms)
        match event:
            case RecordsRead():
                self._on_records(event, now_ms, wall_ms)
            case CheckAnswered():
                self._endings.answered(event, now_ms, wall_ms)
            case CheckLost():
                self._endings.lost(event, now_ms, wall_ms)
            case CheckNotWritten():
                self._endings.not_written(event, now_ms, wall_ms)
            case CutCommitted() | CutAborted():
                self._on_cut_ended(event, now_ms)
            case PartitionAssigned():
                self._on_assigned(event, now_ms, wall_ms)
            case PartitionRevoked():
                self._on_revoked(event, now_ms)
            case DrainStarted():
                for partition in self._assignment.select(event.partitions):
                    partition.lease.draining = True
            case _:
                assert_never(event)
        self._decisions.relieve(now_ms, wall_ms)
        self._endings.note(Fault.WALL_CLOCK, self._wall_clock.doubt)

    def poll(self, now_ms: int, late_ms: int = 0) -> list[Action]:
        """What is to be done now; each check returned already has its permit and its slot.

        `late_ms` is how late this turn comes after the last `next_wakeup`, as far as that has
        passed: how much more there is to do than the loop can.
        """
        checks = self._dispatcher.poll(now_ms, late_ms)
        pauses = self._assignment.wake(now_ms)
        reports = (*self._endings.reports(), *self._relief.reports(now_ms))
        return [*map(SendCheck, checks), *pauses, *reports]

    def next_wakeup(self) -> int | None:
        """When to call `poll` if nothing happens before; may lie in the past."""
        wakeups = (self._dispatcher.next_wakeup(), self._assignment.renewal_ms)
        return min((at_ms for at_ms in wakeups if at_ms is not None), default=None)

    def wants_cut(self) -> bool:
        """Whether there is something to commit, and no cut is open."""
        return self._assignment.wants_cut()

    def cut(
        self, now_ms: int, wall_ms: int, partitions: frozenset[int] | None = None
    ) -> Cut | None:
        """What the next transaction commits, of these partitions or of all; None if nothing.

        It stays open until CutCommitted or CutAborted; one is open at a time.
        """
        made = self._assignment.cut(now_ms, wall_ms, partitions)
        self._decisions.relieve(now_ms, wall_ms)  # only now is known how full the maps are
        return made

    def in_flight_of(self, partitions: frozenset[int] | None) -> int:
        """Checks in flight for these partitions; None means all."""
        selected = self._assignment.select(partitions)
        return sum(partition.lease.in_flight for partition in selected)

    def status(self, now_ms: int) -> CoreStatus:
        """The core as people want to see it."""
        return CoreStatus(
            pending_gifts=self._assignment.pending_count,
            pending_gifts_max=self._rules.pending_gifts_max,
            overdue_gifts=self._overdue.count,
            overdue_gifts_max=self._rules.overdue_gifts_max,
            replay_records_max=self._rules.replay_records_max,
            windows=sum(len(partition.windows) for partition in self._assignment),
            rooms=len(self._limiter),
            requests_in_flight=self._dispatcher.in_flight,
            request_price_ms=self._dispatcher.price_ms,
            slots=self._dispatcher.slots(now_ms),
            windows_queued=self._dispatcher.queued(),
            scopes_in_trouble=len(self._backoffs),
            troubles=tuple(
                f"{scope}: {wait.trouble.value}: {wait.detail}"
                for scope, wait in self._backoffs.shared().items()
            ),
            faults={fault.value: detail for fault, detail in self._endings.faults.items()},
            batch_size_max=self._dispatcher.batch.learned,
            partitions=tuple(partition.status(now_ms) for partition in self._assignment),
            tally=self.tally,
        )

    # --- partitions ----------------------------------------------------------------------------

    def _on_assigned(self, event: PartitionAssigned, now_ms: int, wall_ms: int) -> None:
        lease = take_over(
            event.metadata,
            instance=self._instance,
            began_ms=self._began_ms,
            now_ms=now_ms,
            wall_ms=wall_ms,
            rules=self._rules,
            limiter=self._limiter,
        )
        self._assignment.add(event, lease)

    def _on_revoked(self, event: PartitionRevoked, now_ms: int) -> None:
        partition = self._assignment.find(event.partition, event.epoch)
        if partition is None:
            return
        for window in partition.windows.values():
            self._dispatcher.close(window, now_ms)
        self._dispatcher.end(partition.lease)
        self._assignment.remove(partition)

    def _on_cut_ended(self, event: CutCommitted | CutAborted, now_ms: int) -> None:
        made_ms, committed = self._assignment.end_cut(event)
        for partition in committed:
            until_ms = made_ms + self._rules.lease_ms
            self._dispatcher.renew(partition.lease, until_ms, now_ms)

    # --- records -------------------------------------------------------------------------------

    def _on_records(self, event: RecordsRead, now_ms: int, wall_ms: int) -> None:
        partition = self._assignment.find(event.partition, event.epoch)
        if partition is None:
            return
        touched: dict[Window, None] = {}
        for record in event.records:
            if isinstance(record, RecordRefused):
                self.tally.dead_letters[record.reason.value] += 1
                letter = DeadLetter(partition.partition, record)
                self._assignment.say(partition, Said([record.offset], letter))
                continue
            window = self._take_in(partition, record, now_ms, wall_ms)
            if window is not None:
                touched[window] = None
        partition.progress.read((record.offset for record in event.records), event.next_offset)
        caught_up = partition.lease.backlog.read(event.next_offset, event.unread_count, now_ms)
        self._dispatcher.touch(partition.windows.values() if caught_up else touched, now_ms)
        self._assignment.note_renewal(partition)
        self._assignment.note_levels(partition)

    def _note_keys(self, partition: Partition, record: GiftRead, what: str) -> None:
        """People are told of the first record alone; all may be wrong, so no other costs a word."""
        if self._endings.faults[Fault.INPUT_KEYS] is not None:
            return
        where = f"partition {partition.partition}, offset {record.offset}"
        detail = f"{where}, room {record.sent.room_id!r}: {what}; key gift-sent by room_id, murmur2"
        self._endings.note(Fault.INPUT_KEYS, detail)

    def _take_in(
        self, partition: Partition, record: GiftRead, now_ms: int, wall_ms: int
    ) -> Window | None:
        """The window of a new gift; None if the record tells of a gift that is still pending."""
        self.tally.gifts_read += 1
        sent = record.sent
        if not record.keyed_by_room:
            self.tally.keys_foreign += 1
            self._note_keys(partition, record, "the key is not the room id")
        # Plain tuples find what was put there by name, and cost a tenth of making the names.
        room = record.app_id, sent.room_id, sent.mini_game_id
        window = partition.windows.get((partition.partition, *room))
        known = window.find(sent.msg_id, sent.sent_at) if window is not None else None
        pending = known or partition.find_uncut((*room, sent.msg_id, sent.sent_at))
        if pending is not None:
            self.tally.records_shared += 1
            pending.offsets.append(record.offset)
            return None
        if window is None:
            key = WindowKey(partition.partition, *room)
            window = partition.windows[key] = Window(key, partition.lease)
            if self._dispatcher.open(window, now_ms):
                self.tally.rooms_in_two_partitions += 1
                self._note_keys(partition, record, "the room has gifts in another partition, too")
        gift = pending_gift(
            record,
            now_ms=now_ms,
            wall_ms=wall_ms,
            rules=self._rules,
            clock_lead_ms=self._wall_clock.may_lead_ms,
        )
        window.add(gift, now_ms)
        self._assignment.count_pending(partition, 1)
        return window
