"""The answered offsets of a partition as text: as short as it goes, and quickly (design §4).

A bitmap, lowest bit first, 1 for answered, becomes one word without spaces: its *form*, one
letter, and then what that form packed, written in one of two alphabets.

Forms, all raw deflate inside:

- `b`: the bitmap's bytes. Deflate with Huffman codes alone or with runs (Z_RLE), the smaller: the
  first is best for random holes, the second where long stretches are alike (a backlog). Matches
  longer ago never pay (level 6: eight times the time, and larger).
- `p`: how many answered offsets lie before each *pending* one, a byte each (255: and go on).
  Deflate gives a byte of the bitmap one bit at least; where holes are rare, counting the distance
  between them is shorter by a tenth (5 % pending) up to a half (1 %). It takes 1 to 2 ms, ten
  times as long, so it is tried only where holes are rare and runs do not fit base85.
- `a`: the same the other way round, between *answered* ones: the beginning of a large backlog.

Alphabets: base85 (ASCII: any tool and any broker) and, where that does not fit, 15 bits a
character from U+3400 on: brokers in Java count characters, not bytes. None of them is a space, a
control character or half of a surrogate pair.
"""

import zlib
from base64 import b85decode, b85encode
from collections.abc import Callable
from typing import Final, NamedTuple

ANSWERED_OFFSETS_MAX: Final = 4 * 1024 * 1024
"""What a map may speak of, in offsets: four times `limits.replay_records_max`, so gaps have room;
a bitmap of 512 KiB. What lies above waits until the partition's oldest offsets are answered."""

ANSWERED_BYTES_MAX: Final = ANSWERED_OFFSETS_MAX // 8
"""What a text may unpack to: just that, so damage cannot fill the memory."""

WIDE_CHARACTERS_MAX: Final = 4_096
"""The longest text of wide characters that is written or read; a power of 2."""

_WIDE_FIRST: Final = "\u3400"
_WIDE_LAST: Final = "\ub3ff"
_WIDE_BITS: Final = 15

_RARE: Final = 16
"""Distances are shorter than deflated bytes if fewer than one offset in 16 differs (measured)."""

_RUN_MAX: Final = 255
_BITS: Final = {"p": ("0", "1"), "a": ("1", "0")}
"""Of each form that counts distances: the rare bit, and the other."""

_DEFLATE_BLOCK: Final = 7
"""zlib's memLevel: a new Huffman code every 8 KiB. The young end of a map is denser than the old
one; smaller blocks pay for their tables, larger ones mix the two (up to 6 %)."""


class AnsweredDamaged(ValueError):
    """A text that is no map of answered offsets; the message says why."""


class PackedAnswered(NamedTuple):
    """A map whose length is known before it is written."""

    form: str
    data: bytes

    def ascii_characters(self) -> int:
        """How long the text is in base85."""
        words, rest = divmod(len(self.data), 4)
        return 1 + 5 * words + (rest + 1 if rest else 0)

    def wide_characters(self) -> int:
        """How long it is in characters of 15 bits."""
        return 1 + len(self.data) * 8 // _WIDE_BITS + 1

    def text(self, *, wide: bool) -> str:
        """The map in one alphabet or the other; wide, it must not be over the longest."""
        return self.form + (_write_wide(self.data) if wide else b85encode(self.data).decode())


def pack_answered(bitmap: bytes, ascii_characters_max: int) -> PackedAnswered:
    """The shortest form found; what it costs follows from what it has to fit into.

    A few microseconds for a map of the ordinary kind, 0.3 ms for the largest dense one (14 KB
    of bitmap) and 2.5 ms for the largest sparse one (60 KB), which base85 cannot hold.
    """
    value = int.from_bytes(bitmap, "little")
    answered_count, bits_count = value.bit_count(), value.bit_length()
    bitmap = bitmap[: (bits_count + 7) // 8]
    pending_count = bits_count - answered_count
    rare = "p" if pending_count < answered_count else "a"
    if min(pending_count, answered_count) * _RARE >= bits_count:
        return PackedAnswered("b", min(_huffman(bitmap), _runs(bitmap), key=len))
    in_runs = PackedAnswered("b", _runs(bitmap))
    if in_runs.ascii_characters() <= ascii_characters_max:
        return in_runs
    return PackedAnswered(rare, _huffman(_distances(value, *_BITS[rare])))


def unpack_answered(text: str) -> bytes:
    """The bitmap that was packed, without zero bytes at its end.

    Raises:
        AnsweredDamaged: another form, another alphabet, damage, or more than `ANSWERED_BYTES_MAX`.
    """
    form, written = text[:1], text[1:]
    if form not in {"b", *_BITS}:
        raise AnsweredDamaged(f"form {form!r} is unknown")
    data = _inflate(_read(written))
    if form == "b":
        return data.rstrip(b"\0")
    return _bitmap(data, *_BITS[form])


def _huffman(data: bytes) -> bytes:
    return _deflate(data, zlib.Z_HUFFMAN_ONLY)


def _runs(data: bytes) -> bytes:
    return _deflate(data, zlib.Z_RLE)


def _deflate(data: bytes, strategy: int) -> bytes:
    deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, _DEFLATE_BLOCK, strategy)
    return deflate.compress(data) + deflate.flush()


def _inflate(data: bytes) -> bytes:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more: at the bound itself the end could not be seen.
        inflated = inflate.decompress(data, ANSWERED_BYTES_MAX + 1)
    except zlib.error as error:
        raise AnsweredDamaged(str(error)) from error
    if not inflate.eof or inflate.unused_data or len(inflated) > ANSWERED_BYTES_MAX:
        raise AnsweredDamaged("cut short or too long")
    return inflated


def _distances(value: int, rare: str, other: str) -> bytes:
    """How many `other` bits lie before each `rare` one, for a bitmap whose last bit is a 1.

    A string of bits, so that all loops run in C. A distance of 255 or more gets a rare bit in
    its midst after every 255th: its byte means "go on".
    """
    bits = bin(value)[:1:-1]
    if rare == "1":
        bits = bits[:-1]  # the last bit ends the last distance
    bits = bits.replace(other * _RUN_MAX, other * _RUN_MAX + rare)
    return bytes(map(len, bits.split(rare)))


def _bitmap(distances: bytes, rare: str, other: str) -> bytes:
    """What `_distances` was made of."""
    if sum(distances) + len(distances) > ANSWERED_BYTES_MAX * 8:
        raise AnsweredDamaged("too long")
    spelt = [other * distance + rare for distance in range(_RUN_MAX)] + [other * _RUN_MAX]
    bits = "".join(map(spelt.__getitem__, distances))
    value = int(bits[::-1] or "0", 2)
    return value.to_bytes((value.bit_length() + 7) // 8, "little")


# --- alphabets -----------------------------------------------------------------------------------


def _read(text: str) -> bytes:
    if text[:1] >= _WIDE_FIRST:
        return _read_wide(text)
    try:
        return b85decode(text)
    except ValueError as error:
        raise AnsweredDamaged(f"no base85: {error}") from error


def _spreading() -> tuple[tuple[int, int], ...]:
    """The steps that move digits of 15 bits apart, to 16: halves first, single digits last.

    Each step moves the upper half of every block up by as many bits as the lower half has
    digits; its mask covers the lower halves. So `WIDE_CHARACTERS_MAX` digits take 12 steps on
    one large integer (0.1 ms) instead of 4,096 on small ones (0.7 ms and more).
    """
    steps = []
    half = WIDE_CHARACTERS_MAX // 2
    while half:
        block = ((1 << half * _WIDE_BITS) - 1).to_bytes(half * 4, "little")
        mask = int.from_bytes(block * (WIDE_CHARACTERS_MAX // (2 * half)), "little")
        steps.append((half, mask))
        half //= 2
    return tuple(steps)


_SPREADING: Final = _spreading()


def _in_each(count: int) -> int:
    """The alphabet's first character in `count` digits of 16 bits."""
    return int.from_bytes(_WIDE_FIRST.encode("utf-16-le") * count, "little")


def _write_wide(data: bytes) -> str:
    """Fifteen bits a character, lowest first; a 1 above the last bit tells where the data ends."""
    value = int.from_bytes(data, "little") | 1 << len(data) * 8
    count = len(data) * 8 // _WIDE_BITS + 1
    assert count <= WIDE_CHARACTERS_MAX, "too long for wide characters"
    for shift, mask in _SPREADING:
        value = _moved(value, mask, shift, int.__lshift__)
    return (value + _in_each(count)).to_bytes(2 * count, "little").decode("utf-16-le")


def _read_wide(text: str) -> bytes:
    if len(text) > WIDE_CHARACTERS_MAX or not _WIDE_FIRST <= min(text) <= max(text) <= _WIDE_LAST:
        raise AnsweredDamaged("characters of another alphabet, or too many")
    value = int.from_bytes(text.encode("utf-16-le"), "little") - _in_each(len(text))
    for shift, mask in reversed(_SPREADING):
        value = _moved(value, mask, shift, int.__rshift__)
    bytes_count, rest = divmod(value.bit_length() - 1, 8)
    if rest or bytes_count * 8 // _WIDE_BITS + 1 != len(text):
        raise AnsweredDamaged("the last character is none that is written")
    return (value ^ 1 << bytes_count * 8).to_bytes(bytes_count, "little")


def _moved(value: int, mask: int, shift: int, move: Callable[[int, int], int]) -> int:
    """Move the bits outside the mask."""
    stay = value & mask
    return stay | move(value ^ stay, shift)
