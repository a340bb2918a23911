"""One partition: records and control records in one sequence of offsets.

A `read_committed` reader sees what lies below the *last stable offset*, the first offset of the
oldest open transaction, and of that what is not aborted. Markers take an offset of their own: so
offsets have gaps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

Headers = tuple[tuple[str, bytes | None], ...]

Owner = tuple[int, int]
"""Whose transaction: producer id and epoch."""


@dataclass(slots=True)
class Record:
    """A record; `owner` is set while its transaction is open, `aborted` once it is."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    owner: Owner | None = None
    aborted: bool = False


class Log:
    """A partition's log; listeners hear when the last stable offset has moved on."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self._slots: list[Record | None] = []  # None: a marker
        self._open: dict[Owner, int] = {}
        self._listeners: dict[Callable[[], None], None] = {}

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self._slots)

    @property
    def stable_end(self) -> int:
        """The last stable offset."""
        return min(self._open.values(), default=len(self._slots))

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there may be more to read."""
        self._listeners[listener] = None

    def forget(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners.pop(listener, None)

    def append(
        self,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        owner: Owner | None = None,
    ) -> Record:
        """Add a record, within `owner`'s transaction if given."""
        record = Record(
            self.topic, self.partition, self.end, timestamp_ms, key, value, headers, owner
        )
        if owner is not None:
            self._open.setdefault(owner, record.offset)
        self._slots.append(record)
        self._tell()
        return record

    def mark(self, owner: Owner, *, commit: bool) -> None:
        """Write the marker that ends a transaction here."""
        first = self._open.pop(owner, None)
        if first is not None:
            for record in self._slots[first:]:
                if record is not None and record.owner == owner:
                    record.owner, record.aborted = None, not commit
        self._slots.append(None)
        self._tell()

    def open_records(self, owner: Owner) -> list[Record]:
        """What an open transaction has written here."""
        first = self._open.get(owner)
        return [
            record
            for record in (self._slots[first:] if first is not None else ())
            if record is not None and record.owner == owner
        ]

    def committed(self, begin: int, end: int) -> Iterator[Record]:
        """What a `read_committed` reader sees in [begin, end), `end` being stable."""
        return (
            record
            for record in self._slots[begin:end]
            if record is not None and not record.aborted and record.owner is None
        )

    def at(self, offset: int) -> Record | None:
        """The record with this offset; None: a marker."""
        return self._slots[offset]

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()
