"""The vendor's clock: microseconds of Unix time that never go back.

The limit is judged to the microsecond, so the milliseconds of `consumer.clock` are too coarse,
and the event loop's own time may be as coarse and stands still within a turn. The axis is the
machine's wall clock when the simulator started, plus the monotonic time since: nobody who sets
the clock can make two requests look closer together than they were.
"""

import time


class VendorClock:
    """Reads the simulator's axis; call it for the time in integer microseconds."""

    __slots__ = ("_base_ns",)

    def __init__(self) -> None:
        self._base_ns = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        """Unix time in microseconds, rounded down."""
        return (self._base_ns + time.monotonic_ns()) // 1000
