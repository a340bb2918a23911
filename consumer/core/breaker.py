"""The host's circuit breaker: when nobody gets answers, ask with single probes (design §7).

It opens after a run of failures (no answer, 5xx, HTML, transient codes) in `ROOMS_MIN` rooms with
no success between. Two things keep rooms that hang from opening it for the healthy ones beside
them: a check that was under way when somebody else's was answered says nothing about the host,
and a room that was in trouble already says nothing new.

Open, it has no slot for checks, and one for a probe at growing intervals. The first answer closes
it. Everybody has waited by then, so the slots grow by one with each answer: they double every
round trip, and a host that has just come back is not trampled.
"""

from collections.abc import Callable
from typing import Final

from consumer.core.model import RoomKey

ROOMS_MIN: Final = 5
"""Fewer rooms in trouble are kept apart by their own back-off and cost the host little."""

PROBE_INTERVAL_MS: Final = 1_000
PROBE_DOUBLINGS_MAX: Final = 3
"""Probes while open: 1, 2, 4, 8, 8 … s after the last has failed."""

JITTER: Final = 0.25
"""Each interval is lengthened by up to this share, so that pods do not probe in step."""


class Breaker:
    """How many of the slots there are may be used now; owns no slot itself."""

    def __init__(self, slots: int, jitter: Callable[[], float]) -> None:
        self._slots_max = slots
        self._slots = slots
        self._jitter = jitter
        self._rooms: set[RoomKey] = set()
        self._worked_ms = -1
        self._round_ms = -1
        self._rounds = 0
        self.probe_ms: int | None = None
        """When the next probe may go out; None: closed."""

    @property
    def has_all_slots(self) -> bool:
        """Whether it is closed, and no longer coming back: trouble now is not the host's."""
        return self.probe_ms is None and self._slots == self._slots_max

    def slots(self, now_ms: int) -> int:
        """How many checks may be in flight now."""
        if self.probe_ms is None:
            return self._slots
        return 1 if now_ms >= self.probe_ms else 0

    def worked(self, now_ms: int) -> bool:
        """The host has answered a check; returns whether that has closed the breaker."""
        self._rooms.clear()
        self._worked_ms = now_ms
        if self.probe_ms is not None:
            self.probe_ms = None
            self._slots = min(2, self._slots_max)
            return True
        if self._slots < self._slots_max:
            self._slots += 1
        return False

    def failed(self, room: RoomKey, sent_ms: int, now_ms: int, *, news: bool) -> bool:
        """The host has not, or not sensibly; returns whether that has opened the breaker.

        `news` is whether the room was in no such trouble before.
        """
        if self.probe_ms is not None:
            if sent_ms > self._round_ms:
                self._wait(now_ms)
            return False
        if not news or sent_ms < self._worked_ms:
            return False
        self._rooms.add(room)
        if len(self._rooms) < ROOMS_MIN:
            return False
        self._rounds = 0
        self._wait(now_ms)
        return True

    def _wait(self, now_ms: int) -> None:
        """Until the next probe; failures of checks that are out now belong to this round."""
        interval_ms = PROBE_INTERVAL_MS << min(self._rounds, PROBE_DOUBLINGS_MAX)
        self._rounds += 1
        self._round_ms = now_ms
        self.probe_ms = now_ms + interval_ms + int(interval_ms * JITTER * self._jitter())
