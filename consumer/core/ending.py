"""A check has ended: what that means for its gifts, its window, its game and its host (design §7).

    answered, Code 0     each gift is judged; silence proves absence, or not yet
    answered otherwise   its trouble (`reaction`): who waits, and for how long
    called bad           its gifts are suspects (`split`)
    lost                 transient trouble, as far as we know; the limiter knows what may still come
    not written          nobody was asked: as if nothing had happened

Whatever it was, gifts without a verdict wait again or are given up when it is time, and the
room's windows look anew when they ask. What people have to mend is reported once.
"""

from collections.abc import Sequence
from typing import Final

from consumer.core.assignment import Assignment
from consumer.core.breaker import Breaker
from consumer.core.decision import Decisions
from consumer.core.dispatch import Dispatcher, Flight
from consumer.core.gift import Gift
from consumer.core.hazard import Hazards, Sighting
from consumer.core.learning import sightings
from consumer.core.messages import (
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    Fault,
    ReportFault,
    ReportTrouble,
)
from consumer.core.model import Answer, Entry, Status, Trouble
from consumer.core.overdue import OverdueGifts
from consumer.core.reaction import Backoffs, trouble_of
from consumer.core.split import Finding
from consumer.core.tally import Tally
from consumer.core.verdict import Clause, Verdict, judge
from consumer.core.wall_clock import WallClock

_FOR_PEOPLE: Final = frozenset(
    (Trouble.BAD_REQUEST, Trouble.THIS_GAME, Trouble.CREDENTIALS, Trouble.CONFIGURATION)
)
"""What somebody has to mend, for a whole game or app."""


class Endings:
    """Draws the conclusions from ended checks; owns the faults and what people should hear.

    Attributes:
        faults: what is wrong with the host or the clock, None where nothing is.
    """

    def __init__(
        self,
        *,
        assignment: Assignment,
        dispatcher: Dispatcher,
        backoffs: Backoffs,
        breaker: Breaker,
        wall_clock: WallClock,
        hazards: Hazards,
        overdue: OverdueGifts,
        decisions: Decisions,
        tally: Tally,
    ) -> None:
        self._assignment = assignment
        self._dispatcher = dispatcher
        self._backoffs = backoffs
        self._breaker = breaker
        self._wall_clock = wall_clock
        self._hazards = hazards
        self._overdue = overdue
        self._decisions = decisions
        self._tally = tally
        self._reports: list[ReportTrouble | ReportFault] = []
        self.faults: dict[Fault, str | None] = dict.fromkeys(Fault)

    def answered(self, event: CheckAnswered, now_ms: int, wall_ms: int) -> None:
        """The vendor answered."""
        answer = event.answer
        flight = self._dispatcher.answered(event.check_id, now_ms)
        self._tally.answers[answer.code] += 1
        self._tally.answers_incomplete += not answer.complete
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

    def lost(self, event: CheckLost, now_ms: int, wall_ms: int) -> None:
        """No answer came, or not the vendor's."""
        # A host that refuses a request for its size does answer.
        answers = event.stale_connection or event.trouble is Trouble.BAD_REQUEST
        flight = self._dispatcher.lost(event.check_id, now_ms, probing=not answers)
        self._tally.checks_lost[event.trouble.value] += 1
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

    def not_written(self, event: CheckNotWritten, now_ms: int, wall_ms: int) -> None:
        """It never left this process."""
        flight = self._dispatcher.unwritten(event.check_id, now_ms)
        self._tally.checks_unwritten += 1
        if flight.window.open:
            error = flight.window.last_error
            if not event.lease_over:
                error = event.detail
                self._back_off(flight, Trouble.TRANSIENT, error, now_ms)
            self._retry(flight, error, now_ms, wall_ms, asked=False)
        self._look_again(flight, now_ms)

    def note(self, fault: Fault, detail: str | None) -> None:
        """People are told when a fault begins and when it ends; `/status` shows it as it is."""
        if (detail is None) is not (self.faults[fault] is None):
            self._reports.append(ReportFault(fault, detail))
        self.faults[fault] = detail

    def reports(self) -> list[ReportTrouble | ReportFault]:
        """What people should hear since the last call."""
        reports, self._reports = self._reports, []
        return reports

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
                self._decisions.decide(
                    window, gift, Verdict(Status.UNVERIFIED, error), wall_ms, None
                )
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
            self.note(Fault.HOST_DOWN, f"the API does not answer; the last error: {error}")
            for partition in self._assignment:
                self._overdue.unmark(partition.windows.values())
        if begun in _FOR_PEOPLE:
            of_game = begun in {Trouble.BAD_REQUEST, Trouble.THIS_GAME}
            game = key.mini_game_id if of_game else None
            self._reports.append(ReportTrouble(begun, key.app_id, game, error))

    def _host_worked(self, now_ms: int) -> None:
        if self._breaker.worked(now_ms):
            self.note(Fault.HOST_DOWN, None)

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
        return self._decisions.give_up_due(flight.window, flight.gifts, now_ms, wall_ms)

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
        self._decisions.close_if_empty(flight.window, now_ms)
        self._dispatcher.touch_room(flight.window.room, now_ms)

    def _judge(self, flight: Flight, answer: Answer, now_ms: int, wall_ms: int) -> None:
        """A check was answered with success: a verdict for each of its gifts, or not yet."""
        entries = self._entries_by_id(flight, answer)
        undecided: list[Gift] = []
        told: list[Sighting] = []
        unproven: Clause | None = None
        in_doubt, sent_ms = self._wall_clock.doubt is not None, flight.sent_ms
        for gift in flight.gifts:
            found = entries.get(gift.read.sent.msg_id, ())
            verdict = judge(gift, found, answer, sent_ms, clock_in_doubt=in_doubt)
            if answer.complete or isinstance(verdict, Verdict):
                told += sightings(gift, verdict, sent_ms)
            gift.asked = True
            gift.checks += 1
            if isinstance(verdict, Verdict):
                self._decisions.decide(flight.window, gift, verdict, wall_ms, answer.request_id)
                continue
            if verdict is not Clause.TOO_EARLY:
                self._tally.clauses_open[verdict.name.lower()] += 1
                unproven = verdict
            undecided.append(gift)
        self._hazards.learn(flight.check.app_id, flight.check.mini_game_id, told)
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
        still_pending = self._decisions.give_up_due(flight.window, undecided, now_ms, wall_ms)
        flight.window.give_back(still_pending, flight.sent_ms)
        self._dispatcher.batch.good(len(flight.check.msg_ids))
        released = self._dispatcher.splits.answered(
            flight.window, flight.group, flight.sent_ms, now_ms
        )
        self._dispatcher.touch(released, now_ms)

    def _entries_by_id(self, flight: Flight, answer: Answer) -> dict[str, list[Entry]]:
        """The answer's entries by the MsgIds asked for; those of others are counted."""
        asked = frozenset(flight.check.msg_ids)
        entries: dict[str, list[Entry]] = {}
        for entry in answer.entries:
            if entry.msg_id in asked:
                entries.setdefault(entry.msg_id, []).append(entry)
            else:
                self._tally.entries_foreign += 1
        return entries
