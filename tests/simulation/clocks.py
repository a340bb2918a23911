"""A pod's clocks: they drift, and somebody may set the wall clock."""

from typing import Final

from tests.simulation.hub import MS, Hub

READING_US: Final = 20
READINGS_MAX: Final = 50
"""Between two readings of one instant some computation lies: up to a millisecond together."""


class PodClock:
    """Both axes of one machine; the monotonic one begins anywhere and runs at its own rate.

    Args:
        drift: by how much a second of this machine is shorter than a real one.
        skew_us: how far the wall clock is ahead.
    """

    def __init__(self, hub: Hub, *, origin_us: int, drift: float, skew_us: int) -> None:
        self._hub = hub
        self._began_us = hub.now_us
        self._origin_us = origin_us
        self._rate = 1 + drift
        self.skew_us = skew_us
        self._read_us = -1
        self._readings = 0

    def now_ms(self) -> int:
        """Monotonic milliseconds."""
        now_us = self._hub.now_us
        if now_us != self._read_us:
            self._read_us, self._readings = now_us, 0
        self._readings += 1
        elapsed_us = now_us - self._began_us + min(self._readings, READINGS_MAX) * READING_US
        return (self._origin_us + int(elapsed_us * self._rate)) // MS

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return (self._hub.now_us + self.skew_us) // MS
