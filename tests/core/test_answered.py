"""The answered offsets of a partition as text (design §4)."""

import random
import zlib
from base64 import b85encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.answered import (
    ANSWERED_BYTES_MAX,
    WIDE_CHARACTERS_MAX,
    AnsweredDamaged,
    PackedAnswered,
    pack_answered,
    unpack_answered,
)

SEED = 20_240_229
ASCII_MAX = 3_900

BITMAPS = st.one_of(
    st.binary(max_size=400),
    st.binary(max_size=40).map(lambda bitmap: b"\xff" * 900 + bitmap + b"\xff" * 99 + bitmap),
    st.builds(
        lambda length, fill, flips: flipped(bytes([fill]) * length, flips),
        st.integers(0, 3_000),
        st.sampled_from((0, 0xFF, 0xAA)),
        st.lists(st.integers(0, 10**6), max_size=50),
    ),
)


def flipped(bitmap: bytes, places: list[int]) -> bytes:
    """A bitmap with these bits inverted."""
    bits = bytearray(bitmap)
    for place in places if bits else ():
        bits[place // 8 % len(bits)] ^= 1 << place % 8
    return bytes(bits)


def random_bitmap(offsets: int, pending: float) -> bytes:
    """So many offsets, of which a share is pending at random."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    bits = "".join("0" if dice.random() < pending else "1" for _ in range(offsets))
    return int(bits, 2).to_bytes(offsets // 8 + 1, "little").rstrip(b"\0")


def deflated(data: bytes) -> bytes:
    """Data as another writer of the same format might pack it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


@given(BITMAPS, st.sampled_from((0, ASCII_MAX)))
def test_any_bitmap_comes_back_in_both_alphabets(bitmap: bytes, ascii_max: int) -> None:
    """Whatever form was chosen; and each text is as long as was foretold."""
    packed = pack_answered(bitmap, ascii_max)
    for wide in (False, True):
        text = packed.text(wide=wide)
        foretold = packed.wide_characters() if wide else packed.ascii_characters()
        assert foretold == len(text)
        assert bitmap.rstrip(b"\0") == unpack_answered(text)
        assert not set(" \0\n") & set(text)


@given(st.binary(max_size=200))
def test_any_bytes_pass_through_wide_characters(data: bytes) -> None:
    """Also those that end with zero bytes; nothing of the text has 16 bits or is a surrogate."""
    text = PackedAnswered("b", deflated(data) + b"\0").text(wide=True)
    assert all("\u3400" <= character <= "\ub3ff" for character in text[1:])
    with pytest.raises(AnsweredDamaged, match="cut short or too long"):
        unpack_answered(text)


@pytest.mark.parametrize(
    ("offsets", "pending", "form", "bytes_max"),
    [
        (108_500, 0.10, "b", 6_640),  # entropy 6,361
        (108_500, 0.90, "b", 6_640),  # the beginning of a backlog: as many, the other way round
        (180_000, 0.05, "p", 6_560),  # 6,444; Huffman alone 6,950
        (300_000, 0.02, "p", 5_400),  # 5,304; Huffman alone 7,300
        (480_000, 0.005, "p", 2_850),  # 2,726; runs 4,191
        (480_000, 0.995, "a", 2_850),
        (480_000, 0.001, "b", 1_200),  # fits base85 in runs: not worth counting
    ],
)
def test_a_random_map_comes_close_to_its_entropy(
    offsets: int, pending: float, form: str, bytes_max: int
) -> None:
    """In whichever form suits it: within 5 %, where it matters."""
    packed = pack_answered(random_bitmap(offsets, pending), ASCII_MAX)
    assert form == packed.form
    assert len(packed.data) <= bytes_max


def test_long_stretches_cost_next_to_nothing() -> None:
    """A backlog is read in order and answered in order, but for its oldest gift."""
    backlog = b"\xfe" + b"\xff" * 30_000 + b"\xaa" * 30_000
    assert len(pack_answered(backlog, ASCII_MAX).data) < 200


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "form '' is unknown"),
        ("x1234", "form 'x' is unknown"),
        ("b", "cut short"),
        ("babc", "cut short|invalid"),
        ("b" + b85encode(b"\x07").decode(), "invalid block type"),
        ("b~~~~~", "no base85"),
        ("bé", "no base85"),
        ("b\u33ff", "no base85"),
        ("b\u3400\u33ff", "another alphabet"),
        ("b\u3400\ub400", "another alphabet"),
        ("b" + "\u3401" * (WIDE_CHARACTERS_MAX + 1), "too many"),
        ("b\u3400", "none that is written"),
        ("b\u3400\u3400", "none that is written"),
        ("b\u3401\u3400", "none that is written"),
        ("p" + b85encode(deflated(b"\xff" * (ANSWERED_BYTES_MAX // 8))).decode(), "too long"),
    ],
)
def test_what_was_not_written_here_is_refused(text: str, complaint: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(AnsweredDamaged, match=complaint):
        unpack_answered(text)


@pytest.mark.parametrize("form", ["b", "p", "a"])
def test_a_bomb_is_refused(form: str) -> None:
    """A short text must not fill the memory; what may be said is read."""
    bomb = b85encode(deflated(b"\xff" * (ANSWERED_BYTES_MAX + 1))).decode()
    with pytest.raises(AnsweredDamaged, match="too long"):
        unpack_answered(form + bomb)
    largest = b85encode(deflated(b"\xff" * ANSWERED_BYTES_MAX)).decode()
    assert len(unpack_answered("b" + largest)) == ANSWERED_BYTES_MAX
