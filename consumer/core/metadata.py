"""A partition's progress as the text that Kafka keeps beside its committed offset (design §4).

One line of printable ASCII, readable with any Kafka tool:

    1 <drained: d or -> <cut, Unix ms> <since, Unix ms> <instance> <answered offsets>

The first character is the version. The answered offsets are a bitmap (lowest bit first, 1 for
answered) that starts at the committed offset rounded down to a multiple of 8, deflated and
written in base85; `.` stands for an empty map.

Why deflate with Z_RLE: the map is long runs of ones with random holes. Z_RLE finds the runs and
Huffman-codes the rest; it costs about as little as Huffman coding alone (0.1 ms for 14 KB).
"""

import zlib
from base64 import b85decode, b85encode
from typing import Final

from consumer.core.model import PartitionMetadata

METADATA_CHARACTERS_MAX: Final = 4_095
"""The broker's `offset.metadata.max.bytes` is 4,096 and the client adds a NUL (seen: 4,095 pass,
at 4,096 the commit fails with OFFSET_METADATA_TOO_LARGE, which poisons the group on some brokers,
KAFKA-16371). Hence the guard lies before the sending."""

INSTANCE_CHARACTERS_MAX: Final = 100
"""The longest name of an instance (`kafka.instance_id`). The map must leave room for it: a
successor with a longer name than ours has to write the same map."""

ANSWERED_BYTES_MAX: Final = 16 * 1024 * 1024
"""What a map may inflate to: a damaged text must not fill the memory (4,095 characters of
deflate could say 3 MB of runs; 16 MiB leaves room for versions to come)."""

_VERSION: Final = "1"
_EMPTY: Final = "."
_FIELDS: Final = 6

_TIME_DIGITS_MAX: Final = 15
"""Unix milliseconds until the year 33658; Python refuses to read thousands of digits."""


class MetadataUnreadable(ValueError):
    """A text that this release did not write and cannot read; the message says why."""


def encode_metadata(metadata: PartitionMetadata) -> str:
    """Write a partition's progress as text; the caller checks it against the limit."""
    drained = "d" if metadata.drained else "-"
    return (
        f"{_VERSION} {drained} {metadata.cut_wall_ms} {metadata.since_wall_ms}"
        f" {metadata.instance} {_encode_bitmap(metadata.answered)}"
    )


def decode_metadata(text: str) -> PartitionMetadata:
    """Read what `encode_metadata` wrote.

    Raises:
        MetadataUnreadable: another version, or damage of any kind.
    """
    fields = text.rstrip("\0").split(" ")
    if fields[0] != _VERSION:
        raise MetadataUnreadable(f"version {fields[0][:8]!r} is unknown to this release")
    if len(fields) != _FIELDS or fields[1] not in {"d", "-"}:
        raise MetadataUnreadable(f"not of the form of version {_VERSION}: {text[:80]!r}")
    _, drained, cut_wall_ms, since_wall_ms, instance, bitmap = fields
    if not (_is_time(cut_wall_ms) and _is_time(since_wall_ms)):
        raise MetadataUnreadable(f"times are not numbers: {text[:80]!r}")
    return PartitionMetadata(
        instance=instance,
        cut_wall_ms=int(cut_wall_ms),
        since_wall_ms=int(since_wall_ms),
        drained=drained == "d",
        answered=_decode_bitmap(bitmap),
    )


def _is_time(text: str) -> bool:
    return text.isdecimal() and len(text) <= _TIME_DIGITS_MAX


def _encode_bitmap(bitmap: bytes) -> str:
    trimmed = bitmap.rstrip(b"\0")
    if not trimmed:
        return _EMPTY
    deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 8, zlib.Z_RLE)
    return b85encode(deflate.compress(trimmed) + deflate.flush()).decode("ascii")


def _decode_bitmap(text: str) -> bytes:
    if text == _EMPTY:
        return b""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        bitmap = inflate.decompress(b85decode(text), ANSWERED_BYTES_MAX)
    except (ValueError, zlib.error) as error:
        raise MetadataUnreadable(f"the map of answered offsets is damaged: {error}") from error
    if not inflate.eof or inflate.unused_data or not bitmap:
        raise MetadataUnreadable("the map of answered offsets is cut short or too long")
    return bitmap
