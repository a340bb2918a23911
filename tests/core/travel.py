"""Requests under way, as an adversary sees them who lets them arrive when it hurts (design §5).

The server counts a request where it arrives, which is anywhere between its sending and its end.
So for each second everything may arrive in it that was under way then.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from consumer.core.model import RoomKey

SECOND_MS: Final = 1_005
"""A second of the server's on our clock, where ours runs 0.5 % fast."""


@dataclass(eq=False)
class Travel:
    """A request: when it was decided, and when it ended, in milliseconds that are rounded down.

    From `over_ms` on its permit is free again, by the plainest reading of the rules.
    """

    room: RoomKey
    sent_ms: int
    answered_ms: int | None = None
    lost_ms: int | None = None
    over_ms: int | None = None

    def lose(self, now_ms: int, *, hold_max_ms: int) -> None:
        """It ends without an answer."""
        self.lost_ms, self.over_ms = now_ms, now_ms + hold_max_ms

    def answer(self, now_ms: int, travels: "Iterable[Travel]", *, hold_min_ms: int) -> None:
        """It ends with an answer, which tells of those lost before it was sent."""
        self.answered_ms, self.over_ms = now_ms, now_ms + 1 + SECOND_MS
        for other in travels:
            if other.lost_ms is not None and other.lost_ms < self.sent_ms:
                assert other.over_ms is not None
                proven_ms = max(self.over_ms, other.lost_ms + hold_min_ms)
                other.over_ms = min(other.over_ms, proven_ms)

    @property
    def in_flight(self) -> bool:
        """Whether it has not ended."""
        return self.answered_ms is None and self.lost_ms is None

    def last_arrival_ms(self, now_ms: int) -> int:
        """It arrives before this instant, at the latest.

        The answer came within the millisecond that `answered_ms` names. A lost one arrives before
        a check sent later is answered, or its hold is over but for the second that follows.
        """
        if self.answered_ms is not None:
            return self.answered_ms + 1
        if self.over_ms is not None:
            return self.over_ms - SECOND_MS
        return now_ms + 1


def most_in_a_second(travels: Iterable[Travel], now_ms: int) -> int:
    """The most of one room's requests that a server may count in any half-open second."""
    changes: list[tuple[int, int]] = []
    for travel in travels:
        # [t, t + second) holds it for t from sent − second to its arrival, both exclusive.
        changes.append((travel.sent_ms - SECOND_MS, 1))
        changes.append((travel.last_arrival_ms(now_ms), -1))
    return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)
