"""Giving up early: which overdue gifts go when a limit is reached and others are answered (P5).

Trouble that is local must not stop the others. When overdue gifts reach their own limit, or hold
back a partition until its map or the records to replay reach theirs, the oldest overdue gifts of
windows that fail alone (`overdue`) are given up, the lowest offsets of their partition first: so
many that the level falls to `RELIEVED_AT`. A partition's level goes with the span from the offset
to commit to its position, so there it is all below a bound in that span, `GIVE_UPS_MAX` at a time
and as long as cuts show the level where giving up begins.

Where nobody fails alone there is nobody to give up: the limit's pause is all that is left.
"""

from collections import Counter
from typing import Final, NamedTuple

from consumer.core.assignment import Assignment
from consumer.core.limits import BOUNDS, RELIEVED_AT, Limit
from consumer.core.messages import ReportGiveUps
from consumer.core.overdue import Chosen, OverdueGifts

GIVE_UPS_MAX: Final = 500
"""Gifts given up for one input of the core: some 10 ms of the loop. The next input goes on."""

QUIET_MS: Final = 300_000
"""Giving up has ended when nobody was given up for so long. A broken game is asked about every 75 s
at most, and comes back to its limit again and again: that is one story."""


class Relief:
    """Chooses who is given up early, and tells when that begins and ends."""

    def __init__(self, assignment: Assignment, overdue: OverdueGifts, gifts_max: int) -> None:
        self._assignment = assignment
        self._overdue = overdue
        self._gifts_max = gifts_max
        self._unfinished = False
        self._stories: dict[Limit, _Story] = {}
        self._reports: list[ReportGiveUps] = []

    def choose(self, now_ms: int) -> list[tuple[Limit, Chosen]]:
        """Take out the overdue gifts that are to be given up now, and for which limit."""
        chosen: list[tuple[Limit, Chosen]] = []
        for partition in self._assignment.pressed():
            for limit, below_offset in partition.relief_bounds():
                room = GIVE_UPS_MAX - len(chosen)
                found = self._overdue.choose(partition.partition, below_offset, room)
                partition.relieved = partition.relieved or bool(found)
                chosen += ((limit, each) for each in found)
        chosen += ((Limit.OVERDUE, each) for each in self._surplus(GIVE_UPS_MAX - len(chosen)))
        for limit, count in Counter(limit for limit, _ in chosen).items():
            self._note(limit, count, now_ms)
        return chosen

    def reports(self, now_ms: int) -> list[ReportGiveUps]:
        """What people should hear since the last call."""
        for limit, story in list(self._stories.items()):
            if now_ms - story.last_ms >= QUIET_MS:
                del self._stories[limit]
                self._reports.append(ReportGiveUps(limit, story.gifts))
        reports, self._reports = self._reports, []
        return reports

    def _surplus(self, room: int) -> list[Chosen]:
        """Overdue gifts beyond their own limit, of each partition by its share in them."""
        count = self._overdue.count
        limit = BOUNDS[Limit.OVERDUE].relieve_at * self._gifts_max
        if not count or (count < limit and not self._unfinished):
            return []
        wanted = min(room, count - int(RELIEVED_AT * self._gifts_max))
        found: list[Chosen] = []
        for partition in self._assignment:
            share = self._overdue.count_of(partition.partition) * wanted
            found += self._overdue.choose(partition.partition, None, -(-share // count))
        self._unfinished = (
            len(found) >= wanted and self._overdue.count > RELIEVED_AT * self._gifts_max
        )
        return found

    def _note(self, limit: Limit, count: int, now_ms: int) -> None:
        story = self._stories.get(limit)
        if story is None:
            self._reports.append(ReportGiveUps(limit, None))
        self._stories[limit] = _Story((story.gifts if story else 0) + count, now_ms)


class _Story(NamedTuple):
    gifts: int
    last_ms: int
