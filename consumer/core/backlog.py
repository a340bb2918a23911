"""A backlog is read before it is asked about (design §6).

After an outage or a hand-over a partition's log holds records not yet read, and more gifts of
the same rooms are among them. Asked about as they come, they take a check for each batch; asked
about when all are read, a check takes a hundred of them. So while its backlog is being read, a
partition's windows wait, but not for long: gifts of a backlog are late already.

Where the rooms begin with *one permit* (the predecessor did not drain, `lease`), however little is
unread is a backlog: what the first check leaves out waits for another second (seen: of forty gifts
of a room that began again, the first check asked about five).
"""

from typing import Final

BACKLOG_RECORDS: Final = 2_000
"""Fewer unread records are no backlog: one turn of the Kafka thread takes as many."""

WAIT_MS: Final = 3_000
"""As long as its windows wait at most, while batches keep coming. At the measured rates some
hundred thousand records are read by then; a longer backlog is read and asked about side by side,
until it has been caught up with."""

PAUSE_MS: Final = 300
"""Without another batch for so long nothing is being read (intake is paused, the broker is away,
or what is left are markers of transactions): waiting would be for nothing."""


class Backlog:
    """How far one partition is behind; owns until when its windows wait for that.

    It begins with a batch that leaves enough unread, and is over when that much has been read and
    not enough has come meanwhile to be another. `one_permit`: any record is enough for the first.

    Attributes:
        over_ms: when the windows need wait no longer, whatever happens; -1: they need not.
    """

    def __init__(self, *, one_permit: bool = False) -> None:
        self._enough = 1 if one_permit else BACKLOG_RECORDS
        self._began_ms = -1
        self._end_offset: int | None = None
        self.over_ms = -1

    def read(self, next_offset: int, unread_count: int, now_ms: int) -> bool:
        """A batch up to `next_offset` (exclusive) was read, and so much is unread after it.

        Returns whether it ended a wait: the windows may ask now.
        """
        if self._end_offset is None:
            enough, self._enough = self._enough, BACKLOG_RECORDS
            if unread_count < enough:
                return False
            self._began_ms, self._end_offset = now_ms, next_offset + unread_count
        elif next_offset >= self._end_offset:
            if unread_count < BACKLOG_RECORDS:
                waited = self.over_ms > now_ms
                self._end_offset, self.over_ms = None, -1
                return waited
            self._end_offset = next_offset + unread_count
        self.over_ms = min(now_ms + PAUSE_MS, self._began_ms + WAIT_MS)
        return False
