"""The limits at which intake pauses, as one table, and which of them are reached (promise P5).

Every limit has a *level*: how much of it is used, 1 for all. A limit is reached at `pause_at` and
stays so until its level is under `resume_at`: that distance keeps intake from stuttering. Each
limit remembers this by itself, so that one that comes and goes leaves the others as they are.

Limits of the process (gifts in memory, metadata to commit) pause all partitions; those of a partition (what its
oldest pending gift holds back) pause that one.
"""

import math
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final, NamedTuple


class Limit(Enum):
    """What is limited; the value is a metric's label."""

    PENDING = "pending_gifts_max"
    OVERDUE = "overdue_gifts_max"
    REPLAY = "replay_records_max"
    MAP = "map"
    VOLUME = "metadata"


class Bounds(NamedTuple):
    """From which level on gifts are given up early, intake pauses, and resumes below; and a name.

    Giving up begins a little early where it can: the window of the lowest gift may just not be
    known to fail alone, and is by its next check.
    """

    relieve_at: float
    pause_at: float
    resume_at: float
    name: str


BOUNDS: Final[Mapping[Limit, Bounds]] = {
    Limit.PENDING: Bounds(math.inf, 1.0, 0.8, "limits.pending_gifts_max"),
    Limit.OVERDUE: Bounds(0.95, 1.0, 0.8, "limits.overdue_gifts_max"),
    Limit.REPLAY: Bounds(0.95, 1.0, 0.8, "limits.replay_records_max"),
    # The gifts already read need room for their answers.
    Limit.MAP: Bounds(0.9, 0.9, 0.8, "the map of answered offsets"),
    Limit.VOLUME: Bounds(math.inf, 1.0, 0.8, "the maps of all partitions for one process"),
}
"""In the order in which people are told of several at once."""

RELIEVED_AT: Final = 0.6
"""Giving up early goes on to this level: well under every `resume_at`, so that it is not needed
again at once."""

OVERRUN: Final = 1.05
"""While room is being made, a pause waits until the level is this much above `pause_at`: what was
given up leaves the map with the next cut, 50 ms later as a rule. Of the map it is 94.5 %."""


class Reached:
    """The limits that are reached, in one scope: the process, or a partition."""

    __slots__ = ("_limits",)

    def __init__(self) -> None:
        self._limits: tuple[Limit, ...] = ()

    def __iter__(self) -> Iterator[Limit]:
        """In the order of the table."""
        return iter(self._limits)

    def update(self, levels: Mapping[Limit, float], *, relieving: bool = False) -> bool:
        """Take in the levels of all the scope's limits; returns whether others are reached now."""
        before = self._limits
        self._limits = tuple(
            limit for limit, level in levels.items() if level >= self._bound(limit, relieving)
        )
        return before != self._limits

    def _bound(self, limit: Limit, relieving: bool) -> float:  # noqa: FBT001  private
        bounds = BOUNDS[limit]
        if limit in self._limits:
            return bounds.resume_at
        return bounds.pause_at * (OVERRUN if relieving else 1)


GIVE_UP_AFTER: Final = "give_up_after"
"""What a gift is given up for that is in no limit's way; beside the limits' values."""


def given_up_reason(limit: Limit | None) -> str:
    """Why a gift was given up, for people; None: its time was over."""
    return "gave up" if limit is None else f"gave up early for {BOUNDS[limit].name}"


def pause_reason(limits: tuple[Limit, ...]) -> str:
    """Why intake pauses, for people."""
    return " and ".join(BOUNDS[limit].name for limit in limits) + ": full"
