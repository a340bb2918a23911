"""From pending into the outbox: verdicts, and gifts that are given up (design §6, P3, P5).

A gift leaves its window in one place, `Decisions.decide`, whoever found the verdict: an answer, a
refusal of it alone, its time (`check.give_up_after`), or a limit that local trouble has reached.
"""

from collections.abc import Iterable

from consumer.core.assignment import Assignment
from consumer.core.dispatch import Dispatcher
from consumer.core.gift import Gift
from consumer.core.limits import GIVE_UP_AFTER, given_up_reason
from consumer.core.model import Status
from consumer.core.overdue import OverdueGifts
from consumer.core.partition import Said
from consumer.core.relief import Relief
from consumer.core.tally import Tally
from consumer.core.verdict import Verdict, gift_result
from consumer.core.window import Window


class Decisions:
    """Takes gifts out of their windows; owns nothing but the way from there."""

    def __init__(
        self,
        assignment: Assignment,
        dispatcher: Dispatcher,
        overdue: OverdueGifts,
        relief: Relief,
        tally: Tally,
    ) -> None:
        self._assignment = assignment
        self._dispatcher = dispatcher
        self._overdue = overdue
        self._relief = relief
        self._tally = tally

    def decide(
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
        self._tally.results[verdict.status.value] += 1
        self._assignment.count_pending(partition, -1)
        self._assignment.say(partition, Said(gift.offsets, result, gift.identity))

    def give_up_due(
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

    def relieve(self, now_ms: int, wall_ms: int) -> None:
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
                self.close_if_empty(window, now_ms)

    def close_if_empty(self, window: Window, now_ms: int) -> None:
        """A window without pending gifts has ended."""
        if window.open and not window:
            self._dispatcher.close(window, now_ms)
            del self._assignment.owner_of(window.key.partition).windows[window.key]

    def _give_up(self, window: Window, gift: Gift, wall_ms: int) -> None:
        limit = gift.given_up_for
        self._tally.given_up[limit.value if limit is not None else GIVE_UP_AFTER] += 1
        reason = f"{given_up_reason(limit)}: {window.last_error}"
        self.decide(window, gift, Verdict(Status.UNVERIFIED, reason), wall_ms, None)
