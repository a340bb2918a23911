"""How far a partition is: which offsets are answered, which one to commit (design §4).

Committed is the oldest pending offset; which offsets above it are already answered goes into its
metadata as a bitmap, so that the next owner reads from there and skips the answered ones. Gaps
(transaction markers, aborted and compacted records) count as answered: offsets are not contiguous.

The bitmap is a bytearray in which one bit is set per answer; it is never rebuilt, only trimmed at
the front as the oldest pending offset moves on. It reaches up to the *horizon* and no further,
however far a record or a gap lies above the oldest pending offset: of what lies beyond, only the
pending offsets are kept, and nothing of it can be answered until the horizon has moved there.
"""

from collections.abc import Iterable
from typing import Final

from consumer.core.answered import ANSWERED_OFFSETS_MAX

TRIM_BYTES: Final = 4_096
"""Trim when this much is done with: rare, and cheap when it happens."""


class Progress:
    """One partition's answered offsets from `offset` on; owns the bitmap and the position."""

    def __init__(self, offset: int, answered: bytes = b"") -> None:
        self._base = offset // 8 * 8
        self._bits = bytearray(answered)
        self._position = self._charted = self._oldest = offset
        self._beyond: list[int] = []
        self._fill(self._base, offset)
        self._settle()

    @property
    def position(self) -> int:
        """The offset after the last one read."""
        return self._position

    @property
    def offset(self) -> int:
        """The offset to commit: the oldest that is not answered, or the horizon."""
        return self._oldest

    @property
    def horizon(self) -> int:
        """Offsets from here on cannot be answered yet; it moves on when `trim` does."""
        return self._base + ANSWERED_OFFSETS_MAX

    def bitmap(self, end: int | None = None) -> bytes:
        """The answered offsets from `offset // 8 * 8` on, lowest bit first.

        Up to `end`, or all: gaps above the last answer need not be told, they will be found again.
        """
        last = None if end is None else max(0, end + 7 - self._base) // 8
        return bytes(self._bits[(self._oldest - self._base) // 8 : last])

    def read(self, pending: Iterable[int], next_offset: int) -> None:
        """Records were read up to `next_offset` (exclusive), of which `pending` want an answer.

        `pending` ascends and does not lie below the position; all other offsets are answered.
        """
        self._chart(pending, self._position, next_offset)
        self._position = next_offset
        self._settle()

    def answer(self, offsets: Iterable[int]) -> None:
        """These offsets, all below the horizon, have an answer, in the cut being made."""
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
        """Drop what lies below the oldest pending offset; `withdraw` cannot reach back behind it.

        The horizon moves on, and what was beyond it, as far as it can be answered now, is not.
        """
        if self._oldest == self._charted < self._position:
            # Nothing is pending this side of the horizon: on to what is, however far that is.
            self._oldest = self._charted = self._beyond[0] if self._beyond else self._position
            self._base = self._oldest // 8 * 8
            self._bits.clear()
            self._fill(self._base, self._oldest)
        else:
            done = (self._oldest - self._base) // 8
            if done < TRIM_BYTES:
                return
            del self._bits[:done]
            self._base += done * 8
        if self._charted < self._position:
            beyond, self._beyond = self._beyond, []
            self._chart(beyond, self._charted, self._position)
            self._settle()

    def _chart(self, pending: Iterable[int], begin: int, end: int) -> None:
        """Mark all of [begin, end) but `pending` as answered; keep for later what is beyond."""
        at, horizon = begin, self.horizon
        for offset in pending:
            assert at <= offset < end, "a record out of order"
            if offset < horizon:
                if at < offset:
                    self._fill(at, offset)
            else:
                self._fill(at, horizon)
                self._beyond.append(offset)
            at = offset + 1
        self._charted = min(end, horizon)
        self._fill(at, self._charted)

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
