"""How far a partition is: which offsets are answered, which one to commit (design §4).

Committed is the oldest pending offset; which offsets above it are already answered goes into its
metadata as a bitmap, so that the next owner reads from there and skips the answered ones. Gaps
(transaction markers, aborted and compacted records) count as answered: offsets are not contiguous.

The bitmap is a bytearray in which one bit is set per answer; it is never rebuilt, only trimmed at
the front as the oldest pending offset moves on.
"""

from collections.abc import Iterable
from typing import Final

TRIM_BYTES: Final = 4_096
"""Trim when this much is done with: rare, and cheap when it happens."""


class Progress:
    """One partition's answered offsets from `offset` on; owns the bitmap and the position."""

    def __init__(self, offset: int, answered: bytes = b"") -> None:
        self._base = offset // 8 * 8
        self._bits = bytearray(answered)
        self._position = self._oldest = offset
        self._fill(self._base, offset)
        self._settle()

    @property
    def position(self) -> int:
        """The offset after the last one read."""
        return self._position

    @property
    def offset(self) -> int:
        """The offset to commit: the oldest that is not answered."""
        return self._oldest

    def bitmap(self) -> bytes:
        """The answered offsets from `offset // 8 * 8` on, lowest bit first."""
        return bytes(self._bits[(self._oldest - self._base) // 8 :])

    def read(self, pending: Iterable[int], next_offset: int) -> None:
        """Records were read up to `next_offset` (exclusive), of which `pending` want an answer.

        `pending` ascends and does not lie below the position; all other offsets are answered.
        """
        at = self._position
        for offset in pending:
            assert at <= offset < next_offset, "a record out of order"
            self._fill(at, offset)
            at = offset + 1
        self._fill(at, next_offset)
        self._position = next_offset
        self._settle()

    def answer(self, offsets: Iterable[int]) -> None:
        """These offsets have an answer, in the cut being made."""
        for offset in offsets:
            self._fill(offset, offset + 1)
        self._settle()

    def withdraw(self, offsets: Iterable[int]) -> None:
        """Undo `answer` for these offsets: the cut could not hold them."""
        for offset in offsets:
            index, bit = divmod(offset - self._base, 8)
            self._bits[index] &= ~(1 << bit)
            self._oldest = min(self._oldest, offset)

    def trim(self) -> None:
        """Drop what lies below the oldest pending offset; `withdraw` cannot reach back behind it."""
        done = (self._oldest - self._base) // 8
        if done >= TRIM_BYTES:
            del self._bits[:done]
            self._base += done * 8

    def _fill(self, begin: int, end: int) -> None:
        """Set the bits of [begin, end)."""
        if begin >= end:
            return
        missing = (end - 1 - self._base) // 8 + 1 - len(self._bits)
        if missing > 0:
            self._bits.extend(bytes(missing))
        first, last = begin - self._base, end - self._base
        whole_first, whole_last = -(-first // 8), last // 8
        if whole_first >= whole_last:
            for index in range(first, last):
                self._bits[index >> 3] |= 1 << (index & 7)
            return
        for index in (*range(first, whole_first * 8), *range(whole_last * 8, last)):
            self._bits[index >> 3] |= 1 << (index & 7)
        self._bits[whole_first:whole_last] = b"\xff" * (whole_last - whole_first)

    def _settle(self) -> None:
        """Move the oldest pending offset over everything that is answered."""
        index, bit = divmod(self._oldest - self._base, 8)
        bits = self._bits
        while index < len(bits):
            if bits[index] == 0xFF:  # noqa: PLR2004  a byte without a hole
                index, bit = index + 1, 0
            elif bits[index] >> bit & 1:
                bit += 1
            else:
                break
        self._oldest = max(self._oldest, self._base + index * 8 + bit)
