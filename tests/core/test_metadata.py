"""A partition's progress as text (design §4)."""

import functools
import operator
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.metadata import (
    INSTANCE_CHARACTERS_MAX,
    LIMIT_CHARACTERS_MIN,
    METADATA_CHARACTERS_MAX,
    MetadataUnreadable,
    TextLimit,
    decode_metadata,
    draft_metadata,
)
from consumer.core.model import PartitionMetadata
from tests.core.builders import encode_metadata, make_metadata

SEED = 20_240_229
LIMIT = TextLimit()
INSTANCES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789._-", min_size=1, max_size=100)
LIMITS = st.sampled_from((LIMIT, TextLimit(LIMIT_CHARACTERS_MIN)))
METADATA = st.builds(
    PartitionMetadata,
    instance=INSTANCES,
    cut_wall_ms=st.integers(0, 10**14),
    since_wall_ms=st.integers(0, 10**14),
    drained=st.booleans(),
    answered=st.binary(max_size=180).map(lambda bitmap: bitmap.rstrip(b"\0")),
)
"""Each fits the least limit, if need be in wide characters."""


HOLES = b"\xfe" + b"\xff" * 60 + b"\x7f" + b"\xff" * 9
WRITTEN_BY_VERSION_1 = (
    ("1 - 1 0 pod-0 . b46fc3ca", b""),
    ("1 d 1 2 pod-0 blm8C@ 0b599bf5", b"\x1f\xff"),
    ("1 - 1 0 pod-0 pWBC8x0{{ c0d2f85f", HOLES),
    ("1 - 1 0 pod-0 p\uac63\u71ff\u340f\u3408 5d33ead2", HOLES),
    ("1 - 1 0 pod-0 a`~MIC 98ad4380", b"\0" * 60 + b"\1"),
    ("1 - 1 0 pod-0 a\ub3fb\u3421\u3404 38e6ec72", b"\0" * 60 + b"\1"),
)


def decode_or_refuse(text: str) -> PartitionMetadata | None:
    """What a text says, or None if it is refused as unreadable."""
    try:
        return decode_metadata(text)
    except MetadataUnreadable:
        return None


def checked(line: str) -> str:
    """A line with the checksum that belongs to it."""
    return f"{line} {zlib.crc32(line.encode()):08x}"


def random_metadata(size_bytes: int, instance: str = "pod-0") -> PartitionMetadata:
    """A progress whose map cannot be packed."""
    print(f"seed {SEED}")
    answered = random.Random(SEED).randbytes(size_bytes - 1) + b"\x01"
    return make_metadata(instance=instance, answered=answered)


def test_the_text_is_a_line_that_people_can_read() -> None:
    """The format is a promise: the next release, and the last one, must read it."""
    metadata = PartitionMetadata("pod-0", 1_700_000_000_000, 0, drained=False)
    assert encode_metadata(metadata) == checked("1 - 1700000000000 0 pod-0 .")
    drained = PartitionMetadata("pod-0", 1, 2, drained=True, answered=b"\x1f\xff")
    assert encode_metadata(drained).startswith("1 d 1 2 pod-0 b")


def test_what_is_written_today_can_be_read_for_ever() -> None:
    """One text of each form and alphabet, as the first release wrote it."""
    for text, answered in WRITTEN_BY_VERSION_1:
        assert answered == decode_metadata(text).answered


@given(METADATA, LIMITS)
def test_every_progress_comes_back_as_it_was(metadata: PartitionMetadata, limit: TextLimit) -> None:
    """Written and read, in both alphabets."""
    assert metadata == decode_metadata(encode_metadata(metadata, limit))


def test_a_text_padded_with_nul_is_read() -> None:
    """Some clients hand over the NUL that ends it."""
    metadata = make_metadata(answered=b"\x1f")
    assert metadata == decode_metadata(encode_metadata(metadata) + "\0")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "version '' is unknown"),
        (checked("2 - 1 1 pod-0 ."), "version '2' is unknown"),
        ("kafka-streams", "version 'kafka-st' is unknown"),
        ("1", "not of the form"),
        (checked("1 - 1 1 pod-0"), "not of the form"),
        (checked("1 - 1 1 pod-0 . ."), "not of the form"),
        (checked("1 x 1 1 pod-0 ."), "not of the form"),
        ("1 - 1 1 pod-0 . 00000000", "checksum"),
        (checked("1 - 1 1 pod-0 .").upper(), "checksum"),
        (checked("1 - -1 1 pod-0 ."), "times are not numbers"),
        (checked("1 - 1 1.5 pod-0 ."), "times are not numbers"),
        (checked("1 - 1 ² pod-0 ."), "times are not numbers"),
        (checked(f"1 - {'9' * 5_000} 1 pod-0 ."), "times are not numbers"),
        (checked("1 - 1 1 pod-0 "), "the map of answered offsets is damaged: form ''"),
        (checked("1 - 1 1 pod-0 babc"), "the map of answered offsets is damaged"),
    ],
)
def test_what_this_release_did_not_write_is_refused_with_a_reason(
    text: str, complaint: str
) -> None:
    """Guessing would lose or repeat results."""
    with pytest.raises(MetadataUnreadable, match=complaint):
        decode_metadata(text)


# --- the size ------------------------------------------------------------------------------------


def test_a_map_is_ascii_while_it_fits_and_wide_from_there_on() -> None:
    """Up to 4,095 characters, the room for a successor's longer name included."""
    texts = [encode_metadata(random_metadata(size)) for size in (3_070, 3_145, 3_175, 7_300)]
    assert [True, True, False, False] == [text.isascii() for text in texts]
    assert all(len(text) <= METADATA_CHARACTERS_MAX - 95 for text in texts)


def test_a_text_that_does_not_fit_is_not_written() -> None:
    """With the longest name it has exactly as many characters as fit, or one byte less does."""
    name = "n" * INSTANCE_CHARACTERS_MAX
    fitting = [
        size
        for size in range(7_380, 7_480)
        if draft_metadata(random_metadata(size, name), LIMIT).text(LIMIT)
    ]
    assert list(range(7_380, fitting[-1] + 1)) == fitting
    longest = random_metadata(fitting[-1], name)
    text = encode_metadata(longest)
    assert METADATA_CHARACTERS_MAX - 1 <= len(text) <= METADATA_CHARACTERS_MAX
    assert longest == decode_metadata(text)


def test_the_size_is_known_before_anything_is_written() -> None:
    """Which says how full a map is, whatever its alphabet: it does not halve where that changes."""
    fills = [
        draft_metadata(random_metadata(size), LIMIT).characters(LIMIT)
        for size in range(2_900, 3_400, 20)
    ]
    assert sorted(fills) == fills


def test_a_refused_wide_text_leaves_ascii() -> None:
    """The broker may count bytes, and in bytes wide characters say less."""
    limit = LIMIT.lowered(["1 - ascii", "1 - \u3400"])
    assert TextLimit(METADATA_CHARACTERS_MAX, wide=False) == limit
    assert encode_metadata(random_metadata(3_100), limit).isascii()
    draft = draft_metadata(random_metadata(3_200), limit)
    assert draft.text(limit) is None
    assert draft.characters(limit) > METADATA_CHARACTERS_MAX


def test_a_refused_ascii_text_halves_the_limit_down_to_what_a_line_needs() -> None:
    """Wide characters stay: a broker that counts characters may have a lower limit."""
    limits = [LIMIT]
    for _ in range(5):
        limits.append(limits[-1].lowered(["1 - ascii"]))
    assert [4_095, 2_047, 1_023, 511, 255, 255] == [limit.characters_max for limit in limits]
    assert all(limit.wide for limit in limits)
    longest = make_metadata(instance="n" * INSTANCE_CHARACTERS_MAX)
    assert len(encode_metadata(longest, limits[-1])) < LIMIT_CHARACTERS_MIN


def holed(size: int, rarity: int, seed: int) -> bytes:
    """A map of so many bytes in which one offset in 2 ** rarity is pending."""
    dice = random.Random(seed)
    drawn = [int.from_bytes(dice.randbytes(size)) for _ in range(rarity)]
    pending = functools.reduce(operator.and_, drawn)
    return (~pending & (1 << 8 * size) - 1 | 1).to_bytes(size)


@given(
    bitmap=st.builds(
        holed,
        st.integers(500, 3_000) | st.integers(1, 12_000),
        st.integers(1, 7),
        st.integers(0, 2**32),
    ),
    names=st.tuples(INSTANCES, INSTANCES),
    anywhere=st.integers(LIMIT_CHARACTERS_MIN, METADATA_CHARACTERS_MAX),
    beside=st.none() | st.tuples(st.booleans(), st.sampled_from((-1, 0, 1))),
    wide=st.booleans(),
)
def test_no_text_is_over_its_limit_whoever_writes_it(
    bitmap: bytes,
    names: tuple[str, str],
    anywhere: int,
    beside: tuple[bool, int] | None,
    *,
    wide: bool,
) -> None:
    """It is written if and only if it fits; then so does a successor's, whatever its name is."""
    characters_max = anywhere
    if beside is not None:
        # Just where the text ends to fit: the one in ASCII, or the shorter one.
        shorter, more = beside
        free = draft_metadata(make_metadata(answered=bitmap), TextLimit(wide=False))
        characters_max = free.characters(TextLimit(wide=shorter)) + more
        characters_max = max(LIMIT_CHARACTERS_MIN, min(METADATA_CHARACTERS_MAX, characters_max))
    limit = TextLimit(characters_max, wide=wide)
    texts = []
    for name in names:
        metadata = make_metadata(instance=name, answered=bitmap)
        draft = draft_metadata(metadata, limit)
        text = draft.text(limit)
        assert (text is not None) == (draft.characters(limit) <= characters_max)
        if text is not None:
            assert len(text) + INSTANCE_CHARACTERS_MAX - len(name) <= characters_max
            assert wide or text.isascii()
            assert metadata == decode_metadata(text)
        texts.append(text)
    assert len({text is None for text in texts}) == 1


# --- damage --------------------------------------------------------------------------------------


@given(METADATA, LIMITS)
def test_every_prefix_is_refused(metadata: PartitionMetadata, limit: TextLimit) -> None:
    """None claims to be a whole."""
    text = encode_metadata(metadata, limit)
    assert [None] * len(text) == [decode_or_refuse(text[:length]) for length in range(len(text))]


@given(metadata=METADATA, limit=LIMITS, data=st.data())
def test_every_damage_is_refused(
    metadata: PartitionMetadata, limit: TextLimit, data: st.DataObject
) -> None:
    """Some characters are others than those that were written."""
    written = encode_metadata(metadata, limit)
    letters = list(written)
    places = st.tuples(st.integers(0, len(letters) - 1), st.characters())
    for place, letter in data.draw(st.lists(places, min_size=1, max_size=5)):
        letters[place] = letter
    text = "".join(letters).rstrip("\0")
    assert text == written or decode_or_refuse(text) is None


@pytest.mark.parametrize("text", [text for text, _ in WRITTEN_BY_VERSION_1])
def test_any_one_character_that_changes_is_noticed(text: str) -> None:
    """Every place, every ASCII character, and some of two, three and four bytes.

    CRC-32 sees every change within 32 neighbouring bits, so one of a character into another of as
    many bytes (four at most) cannot escape it. Where the length in bytes changes too, one in four
    billion could.
    """
    for place in range(len(text)):
        for other in (*map(chr, range(128)), "\xe9", "\u3400", "\ub3ff", "\U0001f381"):
            damaged = text[:place] + other + text[place + 1 :]
            assert other == text[place] or decode_or_refuse(damaged) is None


@pytest.mark.parametrize("size_bytes", [60, 4_000])
def test_any_one_bit_that_flips_is_noticed(size_bytes: int) -> None:
    """Deflate alone notices few of them, and a wrong map loses gifts or repeats them."""
    text = encode_metadata(random_metadata(size_bytes))
    places = range(len(text)) if size_bytes == 60 else range(0, len(text), 97)
    for place in places:
        for bit in range(7 if text.isascii() else 15):
            flipped = chr(ord(text[place]) ^ 1 << bit)
            damaged = text[:place] + flipped + text[place + 1 :]
            assert flipped == "\0" or decode_or_refuse(damaged) is None


@given(st.text(max_size=200))
def test_any_text_is_refused_or_says_something(text: str) -> None:
    """Somebody else's metadata may be anything, even with the right checksum."""
    decode_or_refuse(text)
    decode_or_refuse(checked(f"1 d 1 1 pod-0 {text}"))
    decode_or_refuse(checked(f"1 d 1 1 pod-0 b{text}"))
