"""A partition's progress as the text that Kafka keeps beside its committed offset (design §4).

One line, readable with any Kafka tool but for a map that ASCII cannot hold:

    1 <drained: d or -> <cut, Unix ms> <since, Unix ms> <instance> <answered offsets> <checksum>

The first character is the version. A release reads version n+1 before any release writes it:
rolling upgrades move partitions both ways. The answered offsets are a bitmap that starts at the
committed offset rounded down to a multiple of 8, as `consumer.core.answered` writes it; `.`
stands for an empty map. The checksum is the CRC-32 of all before it, in UTF-8, as hexadecimal
digits: deflate itself notices little, and one changed character of a map would be gifts without
a result, or with two. It sees every change of a character into another of as many bytes, and of
other changes all but one in 4 billion.

A text is first drafted, which tells how long it will be, and written once it is known to fit.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

from consumer.core.answered import (
    AnsweredDamaged,
    PackedAnswered,
    pack_answered,
    unpack_answered,
)
from consumer.core.model import PartitionMetadata

METADATA_CHARACTERS_MAX: Final = 4_095
"""The broker's `offset.metadata.max.bytes` is 4,096 and the client adds a NUL (seen: 4,095 pass,
at 4,096 the commit fails with OFFSET_METADATA_TOO_LARGE, which poisons the group on some brokers,
KAFKA-16371). Hence the guard lies before the sending."""

METADATA_BYTES_MAX: Final = 3 * METADATA_CHARACTERS_MAX
"""What a text takes in UTF-8, at most: three bytes for each wide character."""

INSTANCE_CHARACTERS_MAX: Final = 100
"""The longest name of an instance (`kafka.instance_id`). The map must leave room for it: a
successor with a longer name than ours has to write the same map."""

LIMIT_CHARACTERS_MIN: Final = 255
"""A limit is not lowered further: the line without a map takes 144, with the longest name. Where
even this is refused, transactions go on being aborted, which ends the process visibly."""

_VERSION: Final = "1"
_EMPTY: Final = "."
_FIELDS: Final = 7
_CHECKSUM_CHARACTERS: Final = 8

_TIME_DIGITS_MAX: Final = 15
"""Unix milliseconds until the year 33658; Python refuses to read thousands of digits."""


class MetadataUnreadable(ValueError):
    """A text that this release did not write and cannot read; the message says why."""


@dataclass(frozen=True, slots=True)
class TextLimit:
    """What a broker takes, as far as is known: so many characters, `wide` ones or ASCII alone."""

    characters_max: int = METADATA_CHARACTERS_MAX
    wide: bool = True

    def lowered(self, refused: Iterable[str]) -> Self:
        """The limit after a broker refused these texts for their size.

        Was one of them wide, the broker may count bytes (those not in Java), and in bytes wide
        characters say less than ASCII: do without them. Else the limit halves.
        """
        if self.wide and not all(text.isascii() for text in refused):
            return replace(self, wide=False)
        return replace(self, characters_max=max(LIMIT_CHARACTERS_MIN, self.characters_max // 2))


class MetadataDraft(NamedTuple):
    """A text not yet written. `reserve` are characters kept free for a successor's name."""

    head: str
    answered: PackedAnswered | None
    reserve: int

    def characters(self, limit: TextLimit) -> int:
        """The least characters it needs within this limit, the reserve included."""
        if self.answered is None:
            return self._around() + len(_EMPTY)
        ascii_characters = self.answered.ascii_characters()
        if not limit.wide:
            return self._around() + ascii_characters
        return self._around() + min(ascii_characters, self.answered.wide_characters())

    def text(self, limit: TextLimit) -> str | None:
        """The text, in ASCII if it fits so; None if it is over the limit."""
        if self.characters(limit) > limit.characters_max:
            return None
        answered = _EMPTY
        if self.answered is not None:
            room = limit.characters_max - self._around()
            answered = self.answered.text(wide=self.answered.ascii_characters() > room)
        line = f"{self.head}{answered}"
        return f"{line} {_checksum(line)}"

    def _around(self) -> int:
        return len(self.head) + 1 + _CHECKSUM_CHARACTERS + self.reserve


def draft_metadata(metadata: PartitionMetadata, limit: TextLimit) -> MetadataDraft:
    """Pack a partition's progress for a text within this limit."""
    drained = "d" if metadata.drained else "-"
    head = (
        f"{_VERSION} {drained} {metadata.cut_wall_ms} {metadata.since_wall_ms} {metadata.instance} "
    )
    reserve = max(0, INSTANCE_CHARACTERS_MAX - len(metadata.instance))
    draft = MetadataDraft(head, None, reserve)
    if not metadata.answered.strip(b"\0"):
        return draft
    room = limit.characters_max - draft.characters(limit)
    return draft._replace(answered=pack_answered(metadata.answered, room))


def decode_metadata(text: str) -> PartitionMetadata:
    """Read what a draft wrote.

    Raises:
        MetadataUnreadable: another version, or damage of any kind.
    """
    line, _, checksum = text.rstrip("\0").rpartition(" ")
    version = text.partition(" ")[0]
    if version != _VERSION:
        raise MetadataUnreadable(f"version {version[:8]!r} is unknown to this release")
    fields = line.split(" ")
    if len(fields) != _FIELDS - 1 or fields[1] not in {"d", "-"}:
        raise MetadataUnreadable(f"not of the form of version {_VERSION}: {text[:80]!r}")
    if checksum != _checksum(line):
        raise MetadataUnreadable(f"damaged, its checksum is another: {text[:80]!r}")
    _, drained, cut_wall_ms, since_wall_ms, instance, answered = fields
    if not (_is_time(cut_wall_ms) and _is_time(since_wall_ms)):
        raise MetadataUnreadable(f"times are not numbers: {text[:80]!r}")
    try:
        bitmap = b"" if answered == _EMPTY else unpack_answered(answered)
    except AnsweredDamaged as error:
        raise MetadataUnreadable(f"the map of answered offsets is damaged: {error}") from error
    return PartitionMetadata(
        instance=instance,
        cut_wall_ms=int(cut_wall_ms),
        since_wall_ms=int(since_wall_ms),
        drained=drained == "d",
        answered=bitmap,
    )


def _is_time(text: str) -> bool:
    return text.isdecimal() and len(text) <= _TIME_DIGITS_MAX


def _checksum(line: str) -> str:
    return f"{zlib.crc32(line.encode('utf-8', 'surrogatepass')):08x}"
