"""Composes the rules: inputs in, actions and cuts out (design §8).

    handle(input)   what happened; verdicts that follow from it go into the outbox
    poll()          what is to be done now; deciding is reserving
    cut()           what the next transaction commits
    next_wakeup()   when to come back if nothing happens

`now_ms` and `wall_ms` are read once a turn and handed to every call of that turn. Queries change
nothing; iteration follows insertion, or a heap with an explicit tie-break.
"""

from collections.abc import Callable, Iterable
from typing import Final, assert_never

from consumer.core.assignment import Assignment
from consumer.core.dispatch import Dispatcher, Flight
from consumer.core.gift import Gift, Identity, pending_gift
from consumer.core.hazard import Hazards, Sighting
from consumer.core.lease import take_over
from consumer.core.limiter import Limiter
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
    GiftRead,
    Input,
    PartitionAssigned,
    PartitionRevoked,
    RecordRefused,
    RecordsRead,
    ReportTrouble,
    SendCheck,
    Status,
    Trouble,
    WindowKey,
)
from consumer.core.partition import Partition, Said
from consumer.core.reaction import Backoffs, trouble_of
from consumer.core.tally import CoreStatus, Tally
from consumer.core.verdict import Clause, Verdict, gift_result, judge
from consumer.core.window import Window

_FOR_PEOPLE: Final = frozenset(
    (Trouble.THIS_GAME, Trouble.CREDENTIALS, Trouble.CONFIGURATION, Trouble.CLOCK)
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
        self._dispatcher = Dispatcher(rules, self._limiter, self._backoffs, hazards)
        self._assignment = Assignment(instance=instance, pending_gifts_max=rules.pending_gifts_max)
        self._reports: list[ReportTrouble] = []
        self.tally = Tally()

    def handle(self, event: Input, now_ms: int, wall_ms: int) -> None:
        """Take in what happened."""
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

    def poll(self, now_ms: int, late_ms: int = 0) -> list[Action]:
        """What is to be done now; each check returned already has its permit and its slot.

        `late_ms` is how late this turn comes after the last `next_wakeup`, as far as that has
        passed: how much more there is to do than the loop can.
        """
        checks = self._dispatcher.poll(now_ms, late_ms)
        reports, self._reports = self._reports, []
        return [*map(SendCheck, checks), *self._assignment.wake(now_ms), *reports]

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
        return self._assignment.cut(now_ms, wall_ms, partitions)

    def in_flight_of(self, partitions: frozenset[int] | None) -> int:
        """Checks in flight for these partitions; None means all."""
        selected = self._assignment.select(partitions)
        return sum(partition.lease.in_flight for partition in selected)

    def status(self, now_ms: int) -> CoreStatus:
        """The core as people want to see it."""
        return CoreStatus(
            pending_gifts=self._assignment.pending_count,
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
        gift = pending_gift(record, now_ms=now_ms, wall_ms=wall_ms, rules=self._rules)
        window.add(gift, now_ms)
        self._assignment.count_pending(partition, 1)
        return window

    # --- checks --------------------------------------------------------------------------------

    def _on_answer(self, event: CheckAnswered, now_ms: int, wall_ms: int) -> None:
        answer = event.answer
        flight = self._dispatcher.answered(event.check_id, now_ms)
        self.tally.answers[answer.code] += 1
        self.tally.answers_incomplete += not answer.complete
        trouble = trouble_of(answer.code)
        if trouble is Trouble.RATE_LIMITED:
            self._dispatcher.limited(flight, now_ms, answer.retry_after_ms)
        if flight.window.open:
            if trouble is None:
                self._judge(flight, answer, now_ms, wall_ms)
            else:
                error = f"Code {answer.code}: {answer.message}"
                self._back_off(flight, trouble, error, now_ms)
                self._retry(flight, error, now_ms, wall_ms)
        self._look_again(flight, now_ms)

    def _on_loss(self, event: CheckLost, now_ms: int, wall_ms: int) -> None:
        probing = not event.stale_connection
        flight = self._dispatcher.lost(event.check_id, now_ms, probing=probing)
        self.tally.checks_lost[event.trouble.value] += 1
        if event.trouble is Trouble.RATE_LIMITED:
            self._dispatcher.limited(flight, now_ms, event.retry_after_ms)
        if flight.window.open:
            if probing:
                self._back_off(flight, event.trouble, event.detail, now_ms)
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

    def _back_off(self, flight: Flight, trouble: Trouble, error: str, now_ms: int) -> None:
        key = flight.window.key
        begins = self._backoffs.failed(trouble, error, key, flight.sent_ms, now_ms)
        if begins and trouble in _FOR_PEOPLE:
            game = key.mini_game_id if trouble is Trouble.THIS_GAME else None
            self._reports.append(ReportTrouble(trouble, key.app_id, game, error))

    def _retry(
        self, flight: Flight, error: str | None, now_ms: int, wall_ms: int, *, asked: bool = True
    ) -> None:
        """A check told nothing about its gifts: they wait again, or are given up."""
        flight.window.last_error = error
        for gift in flight.gifts:
            gift.asked = gift.asked or asked
        self._wait_on(flight, flight.gifts, None, now_ms, wall_ms)

    def _look_again(self, flight: Flight, now_ms: int) -> None:
        """A check has ended: its window may be empty, and its room has other permits."""
        window = flight.window
        if window.open and not window:
            self._dispatcher.close(window, now_ms)
            del self._assignment.owner_of(window.key.partition).windows[window.key]
        self._dispatcher.touch_room(window.room, now_ms)

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
            verdict = judge(gift, entries[gift.read.sent.msg_id], answer, flight.sent_ms)
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
            self._back_off(flight, Trouble.TRANSIENT, unproven.value, now_ms)
        elif self._backoffs.succeeded(flight.window.key):
            self._dispatcher.touch_all(now_ms)
        self._wait_on(flight, undecided, flight.sent_ms, now_ms, wall_ms)

    def _wait_on(
        self,
        flight: Flight,
        gifts: Iterable[Gift],
        since_ms: int | None,
        now_ms: int,
        wall_ms: int,
    ) -> None:
        """Gifts without a verdict wait again, or are given up when it is time (promise P3)."""
        window = flight.window
        waiting: list[Gift] = []
        for gift in gifts:
            if gift.may_be_given_up(now_ms):
                verdict = Verdict(Status.UNVERIFIED, f"gave up: {window.last_error}")
                self._decide(window, gift, verdict, wall_ms, None)
            else:
                waiting.append(gift)
        window.give_back(waiting, since_ms)

    def _decide(
        self, window: Window, gift: Gift, verdict: Verdict, wall_ms: int, request_id: str | None
    ) -> None:
        """A gift has its verdict: from pending into the outbox."""
        partition = self._assignment.owner_of(window.key.partition)
        result = gift_result(
            gift, verdict, partition=partition.partition, wall_ms=wall_ms, request_id=request_id
        )
        window.remove(gift)
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
