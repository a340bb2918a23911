"""How many ids a check may carry: the vendor states no maximum, so one is learned (design §7).

A check whose two halves are both good although it was refused as a whole was too large: the
maximum becomes half of it, never under `FLOOR`, for so small a check is hardly ever the reason.

It grows back by trial. Once a minute one check, if a room has so many ids, may carry a tenth more;
if it is good that is the new maximum, and if not the proven one stays: a vendor's real maximum
just above it costs one refused check a minute. (Halving again at each failed trial would cost
half of the size as well, and growing by the clock alone would try it in all rooms at once.)
"""

from typing import Final

FLOOR: Final = 10
"""With fewer ids a check the room limit would keep busy rooms from ever catching up."""

TRIAL_INTERVAL_MS: Final = 60_000
TRIAL_DIVISOR: Final = 10
"""A trial carries a tenth more than what is proven, at least one id more."""


class BatchLimit:
    """The host's maximum of ids a check, between `FLOOR` and `most`, as far as it is known."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._trial_ms = 0
        self.learned = most

    def size(self, now_ms: int) -> int:
        """How many ids a check decided now may carry; `decided` must hear of it."""
        if self.learned == self._most or now_ms < self._trial_ms:
            return self.learned
        return min(self._most, self.learned + max(1, self.learned // TRIAL_DIVISOR))

    def decided(self, count: int, now_ms: int) -> None:
        """A check with so many ids goes out; if that is a trial, there is no other for a minute."""
        if count > self.learned:
            self._trial_ms = now_ms + TRIAL_INTERVAL_MS

    def good(self, count: int) -> None:
        """A check with so many ids was answered with Code 0."""
        self.learned = max(self.learned, min(count, self._most))

    def too_large(self, count: int, now_ms: int) -> None:
        """A check with so many ids was refused, and both its halves were good.

        One above the maximum was a trial, or older than the maximum: it tells nothing new.
        """
        if FLOOR < count <= self.learned:
            self.learned = max(FLOOR, count // 2)
            self._trial_ms = now_ms + TRIAL_INTERVAL_MS
