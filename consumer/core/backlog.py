"""A backlog is read before it is asked about (design §6).

After an outage or a hand-over a partition's log holds records not yet read, and more gifts of
the same rooms are among them. Asked about as they come, they take a check for each batch; asked
about when all are read, a check takes a hundred of them. So while its backlog is being read, a
partition's windows wait, but not for long: gifts of a backlog are late already.
"""

from typing import Final

BACKLOG_RECORDS: Final = 2_000
"""Fewer unread records are no backlog: one turn of the Kafka thread takes as many."""

CAUGHT_UP_RECORDS: Final = 100
"""What is left of a backlog when it counts as read; in a busy partition something always is."""

WAIT_MS: Final = 3_000
"""As long as its windows wait at most, while batches keep coming. At the measured rates some
hundred thousand records are read by then; a longer backlog is read and asked about side by side,
until it has been caught up with."""

PAUSE_MS: Final = 300
"""Without another batch for so long nothing is being read (intake is paused, or the broker is
away): waiting would be for nothing."""


class Backlog:
    """How far one partition is behind; owns until when its windows wait for that."""

    def __init__(self) -> None:
        self._began_ms: int | None = None
        self.over_ms = -1

    def read(self, unread_count: int, now_ms: int) -> bool:
        """A batch was read; returns whether it ended a wait: the windows may ask now."""
        if self._began_ms is None:
            if unread_count < BACKLOG_RECORDS:
                return False
            self._began_ms = now_ms
        elif unread_count < CAUGHT_UP_RECORDS:
            waited = self.over_ms > now_ms
            self._began_ms, self.over_ms = None, -1
            return waited
        self.over_ms = min(now_ms + PAUSE_MS, self._began_ms + WAIT_MS)
        return False
