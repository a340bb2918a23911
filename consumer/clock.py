"""The only reader of the machine's clocks (the simulator, being somebody else's machine, has its own).

Two axes, never mixed (design §8): *monotonic* milliseconds order everything that happens in
this process (permits, schedules, leases), *wall* milliseconds are compared with what others
wrote down (record timestamps, `Date` headers, the time in a partition's metadata).
"""

import time
from typing import Final, Protocol

PROCESS_BEGAN_MS: Final = time.monotonic_ns() // 1_000_000
"""When this process began, near enough and never too early: the package imports this module before
anything else, and everything else takes a second (several on a busy machine)."""


class Clock(Protocol):
    """Reads both axes; tests hand in their own."""

    def now_ms(self) -> int:
        """Monotonic milliseconds, rounded down; the origin means nothing."""
        ...

    def wall_ms(self) -> int:
        """Unix milliseconds; may step when somebody sets the machine's clock."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """Monotonic milliseconds, rounded down."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """Unix milliseconds, rounded down."""
        return time.time_ns() // 1_000_000
