"""How much metadata is written: a transaction, and a second (design §4, "The map") [R 12].

All maps of one commit share one batch of `__consumer_offsets`. Over the broker's
`max.message.bytes`, 1,048,588, it is refused as an abortable UNKNOWN, for ever: 80 full maps pass,
100 do not (seen). So a transaction holds `CUT_BYTES_MAX` of them, and the partitions take turns.

And all of it goes into one partition of that topic, replicated: 32 full maps in every cut would
be 8 MB/s. So cuts move apart as they grow, up to `ROUND_MS_MAX` for the maps of all partitions
together, which their leases allow. What is more than that is for more processes: intake pauses.
"""

from typing import Final

CUT_BYTES_MAX: Final = 512 * 1024
"""Metadata of one transaction, in UTF-8: half of what a batch holds."""

BYTES_PER_S: Final = 1_000_000
"""Metadata of one process; some 80 full maps (12 KB each) once a second."""

ROUND_MS_MAX: Final = 1_000
"""How far apart a partition's cuts may come to lie: a third of the lease, as its renewal."""

ROUND_BYTES_MAX: Final = BYTES_PER_S * ROUND_MS_MAX // 1_000


class Volume:
    """Judges the size of all partitions' texts together."""

    def __init__(self) -> None:
        self._bytes = 0

    def note(self, total_bytes: int) -> None:
        """So large are the last texts of all partitions together."""
        self._bytes = total_bytes

    @property
    def level(self) -> float:
        """How much of what may be written in a round of all partitions is; over 1 intake pauses."""
        return self._bytes / ROUND_BYTES_MAX

    def interval_ms(self, cut_bytes: int) -> int:
        """How long after a cut with so much metadata the next one may be made, at the earliest.

        Where the volume is exceeded, a round of all partitions takes `ROUND_MS_MAX` all the same:
        their leases must not lapse.
        """
        per_round_bytes = max(ROUND_BYTES_MAX, self._bytes)
        return cut_bytes * ROUND_MS_MAX // per_round_bytes
