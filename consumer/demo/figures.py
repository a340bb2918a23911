"""The figures of this moment, for the live view: rates, peaks, and the delays of late.

Nothing is counted twice: the ledger and the record of arrivals count, and a few times a second
a *mark* notes how far they have come. A rate is the difference between two marks, the delays of
the last seconds are what the ledger has got since one.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from consumer.core.model import Status
from consumer.demo.percentiles import Percentiles
from consumer.demo.process import Backlog
from consumer.demo.summary import Ledger
from consumer.simulator import Arrival, Arrivals

RATE_US: Final = 2_000_000
"""Rates are means over two seconds: over one, a Poisson process looks restless."""

DELAY_US: Final = 10_000_000
"""Delay percentiles are those of the results of the last ten seconds."""

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the live view shows; rates are per second, `room_` figures are requests a second.

    `waiting` is how many gifts sent have no visible result yet; `backlog` is what the consumer
    itself says, None until it has. `overdue` of those waiting are past their deadline, within
    `check.settle` as a rule. `wrong` counts duplicates and false verdicts.
    """

    gifts: int
    gifts_rate: float
    results: dict[Status, int]
    results_rate: float
    requests: int
    requests_rate: float
    room_now: int
    room_peak: int
    delay_ms: Percentiles
    unconsumed_late_ms: Percentiles
    waiting: int
    overdue: int
    wrong: int
    backlog: Backlog | None


class _Mark(NamedTuple):
    at_us: int
    gifts: int = 0
    results: int = 0
    requests: int = 0
    delays: int = 0
    lates: int = 0

    def rate(self, earlier: "_Mark", field: str) -> float:
        elapsed_us = self.at_us - earlier.at_us
        difference = getattr(self, field) - getattr(earlier, field)
        return difference * 1_000_000 / elapsed_us if elapsed_us else 0.0


class RoomRates:
    """Requests of each room in the last second, and the most there ever were in one."""

    def __init__(self) -> None:
        self._times_us: defaultdict[tuple[int, str], deque[int]] = defaultdict(deque)
        self.peak = 0

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """Count these, in order of arrival."""
        for arrival in arrivals:
            times_us = self._times_us[arrival.app_id, arrival.room_id]
            times_us.append(arrival.time_us)
            _forget(times_us, arrival.time_us)
            self.peak = max(self.peak, len(times_us))

    def busiest(self, now_us: int) -> int:
        """The most requests of a room in the second that ends now."""
        for times_us in self._times_us.values():
            _forget(times_us, now_us)
        return max(map(len, self._times_us.values()), default=0)


def _forget(times_us: deque[int], now_us: int) -> None:
    while times_us and now_us - times_us[0] >= _SECOND_US:
        times_us.popleft()


class Observer:
    """Turns what ledger and arrivals hold into figures, each time it is asked."""

    def __init__(self, ledger: Ledger, arrivals: Arrivals, start_us: int) -> None:
        self._ledger = ledger
        self._arrivals = arrivals
        self._rooms = RoomRates()
        self._marks = deque([_Mark(start_us)])

    def figures(self, now_us: int, backlog: Backlog | None) -> Figures:
        """The figures at `now_us`; times must not go back from call to call."""
        ledger, last = self._ledger, self._marks[-1]
        self._rooms.add(islice(self._arrivals, last.requests, None))
        mark = _Mark(
            now_us,
            ledger.gifts,
            ledger.results.total(),
            self._arrivals.count,
            len(ledger.delay_ms),
            len(ledger.unconsumed_late_ms),
        )
        self._marks.append(mark)
        # The oldest mark kept is the youngest one that is at least so old.
        while len(self._marks) > 1 and now_us - self._marks[1].at_us >= DELAY_US:
            self._marks.popleft()
        oldest = self._marks[0]
        recent = next(m for m in self._marks if now_us - m.at_us <= RATE_US)
        return Figures(
            gifts=mark.gifts,
            gifts_rate=mark.rate(recent, "gifts"),
            results=dict(ledger.results),
            results_rate=mark.rate(recent, "results"),
            requests=mark.requests,
            requests_rate=mark.rate(recent, "requests"),
            room_now=self._rooms.busiest(now_us),
            room_peak=self._rooms.peak,
            delay_ms=Percentiles.of(ledger.delay_ms[oldest.delays :]),
            unconsumed_late_ms=Percentiles.of(ledger.unconsumed_late_ms[oldest.lates :]),
            waiting=ledger.missing,
            overdue=ledger.overdue(now_us),
            wrong=ledger.duplicates + ledger.false_verdicts,
            backlog=backlog,
        )
