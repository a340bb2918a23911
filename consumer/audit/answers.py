"""Which source has which answer: two flat arrays over all audited offsets, and a table of ids.

An offset of gift-sent has one *index* over all partitions. At it lie the identity its answer
claims (64 bits of the `result_id`; `NO_ANSWER`, `LETTER` or `VOID` where there is none) and, packed
into 64 bits, where the answer lies and what it says. The table finds the lowest index of an
identity in each partition: open addressing, linear probing, one 4-byte place an entry, which holds
the index and no key, for the key lies at the index. All is taken at the start and never grows.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from consumer.audit.model import Range
from consumer.core.model import Status

NO_ANSWER: Final = 0
LETTER: Final = 1
VOID: Final = 2
"""An answer that has turned out to be another record's."""

_RESERVED: Final = 3

_OFFSET_BITS: Final = 46
_PARTITION_BITS: Final = 15
_STATUSES: Final = tuple(Status)
_LETTER_STATUS: Final = len(_STATUSES)


class Answer(NamedTuple):
    """An answer: where it lies, and what it says; `status` is None for a dead letter."""

    partition: int
    offset: int
    status: Status | None


def identity_bits(result_id: str) -> int:
    """64 bits of a gift's `result_id`; never one of the reserved values.

    Raises:
        ValueError: it does not begin with 16 hexadecimal digits.
    """
    bits = int(result_id[:16], 16)
    return bits if bits >= _RESERVED else bits + _RESERVED


class Answers:
    """The answers to the audited sources, at most one each."""

    def __init__(self, sources: Mapping[int, Range]) -> None:
        self._sources = dict(sorted(sources.items()))
        self._partitions = tuple(self._sources)
        counts = [source.offsets_count for source in self._sources.values()]
        *self._firsts, count = accumulate(counts, initial=0)
        self._first_of = dict(zip(self._partitions, self._firsts, strict=True))
        self._identities = array("Q", bytes(8 * count))
        self._answers = array("Q", bytes(8 * count))
        # At most 3/4 full, so that a search ends soon, and always at an empty place.
        size = 1 << (max(4, count * 4 // 3)).bit_length()
        self._mask = size - 1
        self._table = array("I", bytes(4 * size))

    @property
    def size_bytes(self) -> int:
        """What the three arrays take."""
        return sum(
            len(each) * each.itemsize for each in (self._identities, self._answers, self._table)
        )

    def index(self, partition: int, offset: int) -> int | None:
        """The index of a source; None if it is not audited."""
        source = self._sources.get(partition)
        if source is None or not source.begin <= offset < source.end:
            return None
        return self._first_of[partition] + offset - source.begin

    def source(self, index: int) -> tuple[int, int]:
        """The partition and offset at an index."""
        partition = self._partition_at(index)
        return partition, self._sources[partition].begin + index - self._first_of[partition]

    def identity(self, index: int) -> int:
        """What the answer at an index claims to be of, or a reserved value."""
        return self._identities[index]

    def answer(self, index: int) -> Answer:
        """The answer at an index that has one."""
        packed = self._answers[index]
        status = packed >> (_OFFSET_BITS + _PARTITION_BITS)
        return Answer(
            packed >> _OFFSET_BITS & ((1 << _PARTITION_BITS) - 1),
            packed & ((1 << _OFFSET_BITS) - 1),
            None if status == _LETTER_STATUS else _STATUSES[status],
        )

    def put(self, index: int, identity: int, answer: Answer) -> None:
        """Keep the first answer to a source."""
        status = _LETTER_STATUS if answer.status is None else _STATUSES.index(answer.status)
        self._identities[index] = identity
        self._answers[index] = (
            status << _PARTITION_BITS | answer.partition
        ) << _OFFSET_BITS | answer.offset

    def void(self, index: int) -> None:
        """The answer at an index is not one to that record: nobody shares it."""
        self._identities[index] = VOID

    def enter(self, index: int) -> int | None:
        """Enter the result at an index under its identity.

        Returns the index of another result of that identity, if one was entered before.
        """
        identity = self._identities[index]
        partition = self._partition_at(index)
        other: int | None = None
        for place in self._places(identity):
            held = self._table[place] - 1
            if held < 0:
                self._table[place] = index + 1
                break
            if self._identities[held] != identity:
                continue
            other = held if other is None else other
            if self._partition_at(held) == partition:
                self._table[place] = min(held, index) + 1
                break
        return other

    def lowest(self, identity: int, partition: int) -> int | None:
        """The index of the lowest source in a partition whose result has this identity."""
        for place in self._places(identity):
            held = self._table[place] - 1
            if held < 0:
                return None
            if self._identities[held] == identity and self._partition_at(held) == partition:
                return held
        return None

    def answered(self, partition: int, begin: int, end: int) -> Iterator[int]:
        """The indices of those audited offsets in [begin, end) that have an answer."""
        source = self._sources[partition]
        first = self._first_of[partition] - source.begin
        for index in range(first + max(begin, source.begin), first + min(end, source.end)):
            if self._identities[index] != NO_ANSWER:
                yield index

    def _places(self, identity: int) -> Iterator[int]:
        """Where an identity may be in the table, likeliest first; it is never full."""
        place = identity & self._mask
        while True:
            yield place
            place = (place + 1) & self._mask

    def _partition_at(self, index: int) -> int:
        return self._partitions[bisect_right(self._firsts, index) - 1]
