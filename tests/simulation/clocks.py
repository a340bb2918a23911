"""A pod's clocks: they drift, and somebody may set the wall clock."""

from tests.simulation.hub import MS, Hub


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

    def now_ms(self) -> int:
        """Monotonic milliseconds."""
        return (self._origin_us + int((self._hub.now_us - self._began_us) * self._rate)) // MS

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return (self._hub.now_us + self.skew_us) // MS
