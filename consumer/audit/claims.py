"""What a group's progress claims: which records of gift-sent it calls answered (design §4).

Progress and results are one transaction, so a record called answered must have its answer among
the results that were committed when the progress was read.
"""

from dataclasses import dataclass

from consumer.core.model import PartitionMetadata


@dataclass(frozen=True, slots=True)
class Claim:
    """One partition's committed offset and the map beside it; `since_wall_ms` as in the map."""

    offset: int
    answered: bytes = b""
    since_wall_ms: int = 0

    @classmethod
    def of(cls, offset: int, metadata: PartitionMetadata) -> "Claim":
        """The claim of a committed offset and its metadata."""
        return cls(offset, metadata.answered, metadata.since_wall_ms)

    def says_answered(self, offset: int) -> bool:
        """Whether it calls this record answered."""
        if offset < self.offset:
            return True
        byte, bit = divmod(offset - self.offset // 8 * 8, 8)
        return byte < len(self.answered) and bool(self.answered[byte] >> bit & 1)
