"""The vendor's limit, in its strictest sensible reading.

"20 times/second (at the room level)": in any half-open second [t, t + 1 s) a room gets at most
20 requests of one action, counted as they arrive. A refused request counts too: whoever goes on
asking stays refused. Nothing is forgiven at the turn of a second.
"""

from collections import deque
from typing import Final

SECOND_US: Final = 1_000_000


class RoomLimit:
    """Counts arrivals for each key (app, room, action); `None` as the limit counts nothing."""

    def __init__(self, per_second_max: int | None) -> None:
        self._per_second_max = per_second_max
        self._last: dict[tuple[int, str, str], deque[int]] = {}

    def arrive(self, key: tuple[int, str, str], now_us: int) -> bool:
        """Count an arrival; True if it is one too many."""
        if self._per_second_max is None:
            return False
        last = self._last.get(key)
        if last is None:
            last = self._last[key] = deque(maxlen=self._per_second_max)
        over = len(last) == self._per_second_max and now_us - last[0] < SECOND_US
        last.append(now_us)
        return over
