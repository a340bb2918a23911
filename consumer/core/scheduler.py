"""Composes the rules: inputs in, actions and cuts out (design §8).

    handle(input)   what happened; verdicts that follow from it go into the outbox
    poll()          what is to be done now; deciding is reserving
    cut()           what the next transaction commits
    next_wakeup()   when to come back if nothing happens

`now_ms` and `wall_ms` are read once a turn and handed to every call of that turn. Queries change
nothing; iteration follows insertion, or a heap with an explicit tie-break.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, assert_never

from consumer.core.assignment import Assignment
from consumer.core.breaker import Breaker
from consumer.core.dispatch import Dispatcher, Flight
from consumer.core.gift import Gift, Identity, pending_gift
from consumer.core.hazard import Hazards, Sighting
from consumer.core.lease import take_over
from consumer.core.limiter import Limiter
from consumer.core.limits import GIVE_UP_AFTER, given_up_reason
from consumer.core.model import (
    Action,
    Answer,
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    CheckRules,
    Cut,
    CutAborted,
    CutCommitted,
    DeadLetter,
    DrainStarted,
    Entry,
    Fault,
    GiftRead,
    Input,
    PartitionAssigned,
    PartitionRevoked,
    RecordRefused,
    RecordsRead,
    ReportFault,
    ReportTrouble,
    SendCheck,
    Status,
    Trouble,
    WindowKey,
)
from consumer.core.overdue import OverdueGifts
from consumer.core.partition import Partition, Said
from consumer.core.reaction import Backoffs, trouble_of
from consumer.core.relief import Relief
from consumer.core.split import Finding
from consumer.core.tally import CoreStatus, Tally
from consumer.core.verdict import Clause, Verdict, gift_result, judge
from consumer.core.wall_clock import WallClock
from consumer.core.window import Window

_FOR_PEOPLE: Final = frozenset(
    (Trouble.BAD_REQUEST, Trouble.THIS_GAME, Trouble.CREDENTIALS, Trouble.CONFIGURATION)
)
"""What somebody has to mend, for a whole game or app."""


class Scheduler:
    """The core: the assignment, the dispatcher, and what connects them."""

    def __init__(
        self,
        rules: CheckRules,
        *,
        instance: str,
        hazards: Hazards,
        jitter: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._instance = instance
        self._limiter = Limiter(
            permits=rules.room_permits,
            unknown_hold_min_ms=rules.unknown_hold_min_ms,
            unknown_hold_max_ms=rules.unknown_hold_max_ms,
        )
        self._backoffs = Backoffs(jitter)
        self._hazards = hazards
        self._breaker = Breaker(rules.requests_in_flight_max, jitter)
        self._wall_clock = WallClock()
        self._faults: dict[Fault, str | None] = dict.fromkeys(Fault)
        self._dispatcher = Dispatcher(rules, self._limiter, self._backoffs, hazards, self._breaker)
        self._overdue = OverdueGifts()
        self._assignment = Assignment(rules, self._overdue, instance=instance)
        self._relief = Relief(self._assignment, self._overdue, rules.overdue_gifts_max)
        self._reports: list[ReportTrouble | ReportFault] = []
        self.tally = Tally()

    def handle(self, event: Input, now_ms: int, wall_ms: int) -> None:
        """Take in what happened."""
        self._wall_clock.read(now_ms, wall_ms)
        match event:
            case RecordsRead():
                self._on_records(event, now_ms, wall_ms)
            case CheckAnswered():
                self._on_answer(event, now_ms, wall_ms)
            case CheckLost():
                self._on_loss(event, now_ms, wall_ms)
            case CheckNotWritten():
                self._on_not_written(event, now_ms, wall_ms)
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
        self._relieve(now_ms, wall_ms)
        self._note(Fault.WALL_CLOCK, self._wall_clock.doubt)

    def poll(self, now_ms: int, late_ms: int = 0) -> list[Action]:
        """What is to be done now; each check returned already has its permit and its slot.

        `late_ms` is how late this turn comes after the last `next_wakeup`, as far as that has
        passed: how much more there is to do than the loop can.
        """
        checks = self._dispatcher.poll(now_ms, late_ms)
        reports, self._reports = self._reports, []
        pauses = self._assignment.wake(now_ms)
        return [*map(SendCheck, checks), *pauses, *reports, *self._relief.reports(now_ms)]

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
        self._relieve(now_ms, wall_ms)  # only now is known how full the maps are
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
            faults={fault.value: detail for fault, detail in self._faults.items()},
            batch_size_max=self._dispatcher.batch.learned,
            partitions=tuple(partition.status(now_ms) for partition in self._assignment),
            tally=self.tally,
        )

    # --- partitions ----------------------------------------------------------------------------

    def _on_assigned(self, event: PartitionAssigned, now_ms: int, wall_ms: int) -> None:
        lease = take_over(
            event.metadata,
            instance=self._instance,
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
        caught_up = partition.lease.backlog.read(event.unread_count, now_ms)
        self._dispatcher.touch(partition.windows.values() if caught_up else touched, now_ms)
        self._assignment.note_renewal(partition)
        self._assignment.note_levels(partition)

    def _take_in(
        self, partition: Partition, record: GiftRead, now_ms: int, wall_ms: int
    ) -> Window | None:
        """The window of a new gift; None if the record tells of a gift that is still pending."""
        self.tally.gifts_read += 1
        self.tally.keys_foreign += not record.keyed_by_room
        sent = record.sent
        key = WindowKey(partition.partition, record.app_id, sent.room_id, sent.mini_game_id)
        window = partition.windows.get(key)
        known = window.find(sent.msg_id, sent.sent_at) if window is not None else None
        pending = known or partition.find_uncut(Identity(*key[1:], sent.msg_id, sent.sent_at))
        if pending is not None:
            self.tally.records_shared += 1
            pending.offsets.append(record.offset)
            return None
        if window is None:
            window = partition.windows[key] = Window(key, partition.lease)
            self.tally.rooms_in_two_partitions += self._dispatcher.open(window, now_ms)
        gift = pending_gift(
            record,
            now_ms=now_ms,
            wall_ms=wall_ms,
            rules=self._rules,
            clock_error_ms=self._wall_clock.error_ms,
        )
        window.add(gift, now_ms)
        self._assignment.count_pending(partition, 1)
        return window

    # --- checks --------------------------------------------------------------------------------

    def _on_answer(self, event: CheckAnswered, now_ms: int, wall_ms: int) -> None:
        answer = event.answer
        flight = self._dispatcher.answered(event.check_id, now_ms)
        self.tally.answers[answer.code] += 1
        self.tally.answers_incomplete += not answer.complete
        if answer.date_wall_ms is not None:
            sent_wall_ms = wall_ms - (now_ms - flight.sent_ms)
            self._wall_clock.date(answer.date_wall_ms, sent_wall_ms, wall_ms)
        trouble = trouble_of(answer.code)
        if trouble is None:
            self._host_worked(now_ms)
            if flight.window.open:
                self._judge(flight, answer, now_ms, wall_ms)
        else:
            error = f"Code {answer.code}: {answer.message}"
            self._fail(
                flight, trouble, error, now_ms, wall_ms, retry_after_ms=answer.retry_after_ms
            )
        self._look_again(flight, now_ms)

    def _on_loss(self, event: CheckLost, now_ms: int, wall_ms: int) -> None:
        # A host that refuses a request for its size does answer.
        answers = event.stale_connection or event.trouble is Trouble.BAD_REQUEST
        flight = self._dispatcher.lost(event.check_id, now_ms, probing=not answers)
        self.tally.checks_lost[event.trouble.value] += 1
        if not event.stale_connection:
            self._fail(
                flight,
                event.trouble,
                event.detail,
                now_ms,
                wall_ms,
                retry_after_ms=event.retry_after_ms,
            )
        elif flight.window.open:
            self._retry(flight, event.detail, now_ms, wall_ms)
        self._look_again(flight, now_ms)

    def _on_not_written(self, event: CheckNotWritten, now_ms: int, wall_ms: int) -> None:
        flight = self._dispatcher.unwritten(event.check_id, now_ms)
        self.tally.checks_unwritten += 1
        if flight.window.open:
            error = flight.window.last_error
            if not event.lease_over:
                error = event.detail
                self._back_off(flight, Trouble.TRANSIENT, error, now_ms)
            self._retry(flight, error, now_ms, wall_ms, asked=False)
        self._look_again(flight, now_ms)

    def _fail(
        self,
        flight: Flight,
        trouble: Trouble,
        error: str,
        now_ms: int,
        wall_ms: int,
        *,
        retry_after_ms: int | None,
    ) -> None:
        """A check was written and met trouble: who waits, and what becomes of its gifts."""
        if trouble is Trouble.RATE_LIMITED:
            self._dispatcher.limited(flight, now_ms, retry_after_ms)
        if trouble is not Trouble.TRANSIENT:
            self._host_worked(now_ms)
        if not flight.window.open:
            return
        if trouble is Trouble.BAD_REQUEST:
            self._refuse(flight, error, now_ms, wall_ms, retry_after_ms=retry_after_ms)
        else:
            self._back_off(flight, trouble, error, now_ms, retry_after_ms=retry_after_ms)
            self._retry(flight, error, now_ms, wall_ms)

    def _refuse(
        self, flight: Flight, error: str, now_ms: int, wall_ms: int, *, retry_after_ms: int | None
    ) -> None:
        """A check was called bad: which of its gifts are to blame is for `split` to find out."""
        window = flight.window
        survivors = self._survivors(flight, error, now_ms, wall_ms, asked=True)
        finding, released = self._dispatcher.splits.refused(
            window,
            flight.group,
            survivors,
            now_ms,
            game_refused=self._backoffs.game_refused(window.key),
        )
        if finding is Finding.POISONED:
            for gift in survivors:
                self._decide(window, gift, Verdict(Status.UNVERIFIED, error), wall_ms, None)
        elif finding is Finding.GAME_REFUSED:
            self._back_off(
                flight, Trouble.BAD_REQUEST, error, now_ms, retry_after_ms=retry_after_ms
            )
        self._dispatcher.touch(released, now_ms)

    def _back_off(
        self,
        flight: Flight,
        trouble: Trouble,
        error: str,
        now_ms: int,
        *,
        retry_after_ms: int | None = None,
    ) -> None:
        key = flight.window.key
        begun = self._backoffs.failed(
            trouble, error, key, flight.sent_ms, now_ms, retry_after_ms=retry_after_ms
        )
        if trouble is Trouble.TRANSIENT and self._breaker.failed(
            key.room, flight.sent_ms, now_ms, news=begun is not None
        ):
            self._note(Fault.HOST_DOWN, f"the API does not answer; the last error: {error}")
            for partition in self._assignment:
                self._overdue.unmark(partition.windows.values())
        if begun in _FOR_PEOPLE:
            of_game = begun in {Trouble.BAD_REQUEST, Trouble.THIS_GAME}
            game = key.mini_game_id if of_game else None
            self._reports.append(ReportTrouble(begun, key.app_id, game, error))

    def _host_worked(self, now_ms: int) -> None:
        if self._breaker.worked(now_ms):
            self._note(Fault.HOST_DOWN, None)

    def _note(self, fault: Fault, detail: str | None) -> None:
        """People are told when a fault begins and when it ends; `/status` shows it as it is."""
        if (detail is None) is not (self._faults[fault] is None):
            self._reports.append(ReportFault(fault, detail))
        self._faults[fault] = detail

    def _retry(
        self, flight: Flight, error: str | None, now_ms: int, wall_ms: int, *, asked: bool = True
    ) -> None:
        """A check told nothing about its gifts: they wait again, or are given up."""
        survivors = self._survivors(flight, error, now_ms, wall_ms, asked=asked)
        if flight.group is None:
            flight.window.give_back(survivors, None)
        else:
            released = self._dispatcher.splits.unanswered(flight.window, flight.group, survivors)
            self._dispatcher.touch(released, now_ms)

    def _survivors(
        self, flight: Flight, error: str | None, now_ms: int, wall_ms: int, *, asked: bool
    ) -> tuple[Gift, ...]:
        """The gifts of a check that told nothing about them, but those given up."""
        flight.window.last_error = error
        for gift in flight.gifts:
            gift.asked = gift.asked or asked
        if asked:
            self._note_failure(flight, flight.gifts, now_ms)
        return self._give_up_due(flight.window, flight.gifts, now_ms, wall_ms)

    def _note_failure(self, flight: Flight, gifts: Sequence[Gift], now_ms: int) -> None:
        """A check was written and told nothing about these gifts, which are not decided."""
        told_ms = flight.told_ms if self._breaker.has_all_slots else -1
        self._overdue.failed(
            flight.window,
            gifts,
            sent_ms=flight.sent_ms,
            told_ms=told_ms,
            paused_ms=self._assignment.paused_ms,
            now_ms=now_ms,
        )

    def _look_again(self, flight: Flight, now_ms: int) -> None:
        """A check has ended: its window may be empty, and its room has other permits."""
        self._close_if_empty(flight.window, now_ms)
        self._dispatcher.touch_room(flight.window.room, now_ms)

    def _close_if_empty(self, window: Window, now_ms: int) -> None:
        if window.open and not window:
            self._dispatcher.close(window, now_ms)
            del self._assignment.owner_of(window.key.partition).windows[window.key]

    # --- verdicts ------------------------------------------------------------------------------

    def _judge(self, flight: Flight, answer: Answer, now_ms: int, wall_ms: int) -> None:
        """A check was answered with success: a verdict for each of its gifts, or not yet."""
        entries: dict[str, list[Entry]] = {msg_id: [] for msg_id in flight.check.msg_ids}
        for entry in answer.entries:
            if entry.msg_id in entries:
                entries[entry.msg_id].append(entry)
            else:
                self.tally.entries_foreign += 1
        undecided: list[Gift] = []
        sightings: list[Sighting] = []
        unproven: Clause | None = None
        for gift in flight.gifts:
            verdict = judge(
                gift,
                entries[gift.read.sent.msg_id],
                answer,
                flight.sent_ms,
                clock_in_doubt=self._wall_clock.doubt is not None,
            )
            if answer.complete or isinstance(verdict, Verdict):
                sightings.append(_sighting(gift, verdict, flight.sent_ms))
            gift.asked = True
            gift.checks += 1
            if isinstance(verdict, Verdict):
                self._decide(flight.window, gift, verdict, wall_ms, answer.request_id)
                continue
            if verdict is not Clause.TOO_EARLY:
                self.tally.clauses_open[verdict.name.lower()] += 1
                unproven = verdict
            undecided.append(gift)
        self._hazards.learn(flight.check.app_id, flight.check.mini_game_id, sightings)
        if unproven is not None:
            flight.window.last_error = unproven.value
            # A wait of this window alone: the host has answered, the breaker hears nothing of it.
            key, error = flight.window.key, unproven.value
            self._backoffs.failed(Trouble.TRANSIENT, error, key, flight.sent_ms, now_ms)
            self._note_failure(flight, undecided, now_ms)
        else:
            self._dispatcher.told(flight)
            self._overdue.told(flight.window)
            if self._backoffs.succeeded(flight.window.key):
                self._dispatcher.touch_all(now_ms)
        still_pending = self._give_up_due(flight.window, undecided, now_ms, wall_ms)
        flight.window.give_back(still_pending, flight.sent_ms)
        self._dispatcher.batch.good(len(flight.check.msg_ids))
        released = self._dispatcher.splits.answered(
            flight.window, flight.group, flight.sent_ms, now_ms
        )
        self._dispatcher.touch(released, now_ms)

    def _give_up_due(
        self, window: Window, gifts: Iterable[Gift], now_ms: int, wall_ms: int
    ) -> tuple[Gift, ...]:
        """Give up those whose time it is (promise P3); returns the others."""
        still_pending: list[Gift] = []
        for gift in gifts:
            if gift.may_be_given_up(now_ms):
                self._give_up(window, gift, wall_ms)
            else:
                still_pending.append(gift)
        return tuple(still_pending)

    def _relieve(self, now_ms: int, wall_ms: int) -> None:
        """Give up early those that local trouble makes stand in a limit's way (promise P5).

        The end of a check in flight is awaited: its answer may still decide.
        """
        self._overdue.advance(now_ms)
        for limit, (window, gift) in self._relief.choose(now_ms):
            gift.given_up_for = limit
            self._assignment.owner_of(window.key.partition).withheld += 1
            if not gift.in_flight:
                window.withdraw(gift)
                self._give_up(window, gift, wall_ms)
                self._close_if_empty(window, now_ms)

    def _give_up(self, window: Window, gift: Gift, wall_ms: int) -> None:
        limit = gift.given_up_for
        self.tally.given_up[limit.value if limit is not None else GIVE_UP_AFTER] += 1
        reason = f"{given_up_reason(limit)}: {window.last_error}"
        self._decide(window, gift, Verdict(Status.UNVERIFIED, reason), wall_ms, None)

    def _decide(
        self, window: Window, gift: Gift, verdict: Verdict, wall_ms: int, request_id: str | None
    ) -> None:
        """A gift has its verdict: from pending into the outbox."""
        partition = self._assignment.owner_of(window.key.partition)
        result = gift_result(
            gift, verdict, partition=partition.partition, wall_ms=wall_ms, request_id=request_id
        )
        window.remove(gift)
        self._overdue.decided(gift, window)
        partition.withheld -= gift.given_up_for is not None
        self.tally.results[verdict.status.value] += 1
        self._assignment.count_pending(partition, -1)
        self._assignment.say(partition, Said(gift.offsets, result, gift.identity))


def _sighting(gift: Gift, verdict: Verdict | Clause, sent_ms: int) -> Sighting:
    """What a check sent at `sent_ms` tells about when this gift was consumed.

    Before its first answered check it may have been at any age, also before it came to us.
    """
    status = verdict.status if isinstance(verdict, Verdict) else None
    return Sighting(
        from_ms=gift.since_ms - gift.start_ms if gift.checks else 0,
        until_ms=sent_ms - gift.start_ms,
        consumed=status in (Status.SUCCEEDED, Status.FAILED),
        ended=status is not None,
    )
