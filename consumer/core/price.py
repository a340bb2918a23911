"""What a request is worth: the configured price, and more under load (design §6).

At a higher price windows ask later, and each check carries more gifts: fewer, fuller checks. It
rises while checks wait for slots, or while the loop is late with its own timers (each check costs
half a millisecond of it), and falls when neither holds. In between it comes to rest where there
is just enough load, so there is nothing to tune. Without a bound it would ruin the tail: at the
hazard's floor an old gift would wait for minutes (10 s at a gift-second; simulated).
"""

from typing import Final

LATE_MS: Final = 20
"""A loop that is later than this with its timers has more to do than it can."""

RISE_MS: Final = 500
"""Under load the price doubles in this time: it is ten times as high in under two seconds, while
a burst that fills the slots for a round trip of 30 ms moves it by 4 %."""

FALL_MS: Final = 2_000
"""Without load it halves in this time: four times as slow as it rises, so that it rests where
there is load in one turn of five, and does not swing."""

FACTOR_MAX: Final = 10
PRICE_MAX_MS: Final = 1_000.0
"""At most ten times the configured price, and a gift-second: gifts past their deadline wait for as
long for a verdict that is due."""

STEP_MS: Final = 100
"""What one turn under load counts at most: nothing is known of the time between two turns."""


class Price:
    """The price in gift-milliseconds; owns its rise and fall."""

    def __init__(self, configured_ms: float) -> None:
        self._lowest_ms = configured_ms
        self._highest_ms = max(configured_ms, min(FACTOR_MAX * configured_ms, PRICE_MAX_MS))
        self._seen_ms: int | None = None
        self.current_ms = configured_ms

    def observe(self, now_ms: int, *, crowded: bool, late_ms: int) -> None:
        """Once a turn: whether checks wait for slots, and how late the loop's timer was."""
        elapsed_ms = 0 if self._seen_ms is None else now_ms - self._seen_ms
        self._seen_ms = now_ms
        if crowded or late_ms > LATE_MS:
            factor = 2 ** (min(elapsed_ms, STEP_MS) / RISE_MS)
            self.current_ms = min(self._highest_ms, self.current_ms * factor)
        elif self.current_ms > self._lowest_ms:
            factor = 2 ** -(elapsed_ms / FALL_MS)
            self.current_ms = max(self._lowest_ms, self.current_ms * factor)
