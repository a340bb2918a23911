"""A partition's progress as text (design §4)."""

import zlib
from base64 import b85encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.metadata import (
    ANSWERED_BYTES_MAX,
    METADATA_CHARACTERS_MAX,
    MetadataUnreadable,
    decode_metadata,
    encode_metadata,
)
from consumer.core.model import PartitionMetadata
from consumer.core.progress import Progress
from tests.core.builders import PROPERTY, make_metadata

INSTANCES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789._-", min_size=1, max_size=100)
METADATA = st.builds(
    PartitionMetadata,
    instance=INSTANCES,
    cut_wall_ms=st.integers(0, 10**14),
    since_wall_ms=st.integers(0, 10**14),
    drained=st.booleans(),
    answered=st.binary(max_size=300).map(lambda bitmap: bitmap.rstrip(b"\0")),
)


def decode_or_refuse(text: str) -> PartitionMetadata | None:
    """What a text says, or None if it is refused as unreadable."""
    try:
        return decode_metadata(text)
    except MetadataUnreadable:
        return None


def deflated(bitmap: bytes) -> str:
    """A bitmap as another writer of the same format might write it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b85encode(deflate.compress(bitmap) + deflate.flush()).decode("ascii")


def test_the_text_is_a_line_that_people_can_read() -> None:
    """The format is a promise: the next release, and the last one, must read it."""
    metadata = PartitionMetadata("pod-0", 1_700_000_000_000, 0, drained=False)
    assert encode_metadata(metadata) == "1 - 1700000000000 0 pod-0 ."
    drained = PartitionMetadata("pod-0", 1, 2, drained=True, answered=b"\x1f\xff")
    assert "1 d 1 2 pod-0 " + deflated(b"\x1f\xff") == encode_metadata(drained)


@PROPERTY
@given(METADATA)
def test_every_progress_comes_back_as_it_was(metadata: PartitionMetadata) -> None:
    """Written and read."""
    assert metadata == decode_metadata(encode_metadata(metadata))


@PROPERTY
@given(start=st.integers(0, 10**12), answers=st.sets(st.integers(0, 2_000), max_size=300))
def test_any_set_of_answered_offsets_round_trips(start: int, answers: set[int]) -> None:
    """From one owner's progress through the text into the next owner's."""
    progress = Progress(start)
    progress.read(range(start, start + 2_001), start + 2_001)
    progress.answer(start + delta for delta in answers)
    text = encode_metadata(make_metadata(answered=progress.bitmap()))
    again = Progress(progress.offset, decode_metadata(text).answered)
    assert progress.bitmap().rstrip(b"\0") == again.bitmap().rstrip(b"\0")
    assert progress.offset == again.offset


def test_a_text_padded_with_nul_is_read() -> None:
    """Some clients hand over the NUL that ends it."""
    metadata = make_metadata(answered=b"\x1f")
    assert metadata == decode_metadata(encode_metadata(metadata) + "\0")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "version '' is unknown"),
        ("2 - 1 1 pod-0 .", "version '2' is unknown"),
        ("kafka-streams", "version 'kafka-st' is unknown"),
        ("1", "not of the form"),
        ("1 - 1 1 pod-0", "not of the form"),
        ("1 - 1 1 pod-0 . .", "not of the form"),
        ("1 x 1 1 pod-0 .", "not of the form"),
        ("1 - -1 1 pod-0 .", "times are not numbers"),
        ("1 - 1 1.5 pod-0 .", "times are not numbers"),
        ("1 - 1 ² pod-0 .", "times are not numbers"),
        (f"1 - {'9' * 5_000} 1 pod-0 .", "times are not numbers"),
        ("1 - 1 1 pod-0 ", "cut short or too long"),
        ("1 - 1 1 pod-0 abc", "cut short or too long"),
        ("1 - 1 1 pod-0 ~~~~~", "damaged"),
        ("1 - 1 1 pod-0 é", "damaged"),
        (f"1 - 1 1 pod-0 {deflated(b'')}", "cut short or too long"),
        (f"1 - 1 1 pod-0 {deflated(b'1' * 99)[:-5]}", "cut short or too long"),
    ],
)
def test_what_this_release_did_not_write_is_refused_with_a_reason(
    text: str, complaint: str
) -> None:
    """Guessing would lose or repeat results."""
    with pytest.raises(MetadataUnreadable, match=complaint):
        decode_metadata(text)


def test_a_bomb_is_refused() -> None:
    """A short text must not fill the memory."""
    bomb = deflated(b"\xff" * (ANSWERED_BYTES_MAX + 1))
    with pytest.raises(MetadataUnreadable, match="cut short or too long"):
        decode_metadata(f"1 - 1 1 pod-0 {bomb}")
    largest = deflated(b"\xff" * (ANSWERED_BYTES_MAX - 1))
    assert len(decode_metadata(f"1 - 1 1 pod-0 {largest}").answered) == ANSWERED_BYTES_MAX - 1


def test_something_after_the_map_is_refused() -> None:
    """A map that ends early is no map of ours."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    text = b85encode(deflate.compress(b"\x1f") + deflate.flush() + b"more").decode("ascii")
    with pytest.raises(MetadataUnreadable, match="cut short or too long"):
        decode_metadata(f"1 - 1 1 pod-0 {text}")


@PROPERTY
@given(METADATA)
def test_every_prefix_is_refused_or_says_something(metadata: PartitionMetadata) -> None:
    """No other exception, whatever is cut off; no prefix claims to be the whole."""
    text = encode_metadata(metadata)
    read = [decode_or_refuse(text[:length]) for length in range(len(text))]
    assert all(found is None or found != metadata for found in read)


@PROPERTY
@given(metadata=METADATA, data=st.data())
def test_damage_is_refused_or_says_something(
    metadata: PartitionMetadata, data: st.DataObject
) -> None:
    """No other exception, and never more than the bound, whatever the damage."""
    letters = list(encode_metadata(metadata))
    places = st.tuples(st.integers(0, len(letters) - 1), st.characters())
    for place, letter in data.draw(st.lists(places, min_size=1, max_size=5)):
        letters[place] = letter
    read = decode_or_refuse("".join(letters))
    assert read is None or len(read.answered) <= ANSWERED_BYTES_MAX


@PROPERTY
@given(st.text(max_size=METADATA_CHARACTERS_MAX))
def test_any_text_is_refused_or_says_something(text: str) -> None:
    """Somebody else's metadata may be anything."""
    decode_or_refuse(text)
    decode_or_refuse(f"1 d 1 1 pod-0 {text}")
