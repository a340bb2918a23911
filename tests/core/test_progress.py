"""Which offsets are answered, and which one to commit (design §4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.answered import ANSWERED_OFFSETS_MAX
from consumer.core.progress import TRIM_BYTES, Progress
from tests.core.builders import PROPERTY


def answered_by(progress: Progress) -> set[int]:
    """The offsets that the committed offset and its map say are answered, up to the position."""
    base = progress.offset // 8 * 8
    bits = {
        base + index * 8 + bit
        for index, byte in enumerate(progress.bitmap())
        for bit in range(8)
        if byte >> bit & 1
    }
    return bits | set(range(progress.offset))


def test_a_partition_begins_with_nothing_answered_above_its_offset() -> None:
    """The offset to commit is the one it was assigned from."""
    progress = Progress(13)
    assert (progress.offset, progress.position, progress.bitmap()) == (13, 13, b"\x1f")


def test_the_offset_to_commit_is_the_oldest_pending() -> None:
    """It moves only when the oldest is answered, and then over all that is."""
    progress = Progress(10)
    progress.read([10, 11, 12, 13], 14)
    progress.answer([11, 12])
    assert progress.offset == 10
    progress.answer([10])
    assert progress.offset == 13
    progress.answer([13])
    assert progress.offset == 14


def test_gaps_count_as_answered() -> None:
    """Transaction markers, aborted and compacted records: offsets are not contiguous."""
    progress = Progress(10)
    progress.read([12, 15], 17)
    assert (progress.offset, progress.position) == (12, 17)
    progress.answer([12])
    assert progress.offset == 15
    progress.answer([15])
    assert progress.offset == 17


def test_a_read_without_records_is_one_gap() -> None:
    """Nothing in it is pending."""
    progress = Progress(10)
    progress.read([], 1_000)
    assert (progress.offset, progress.position) == (1_000, 1_000)


def test_gaps_above_the_last_answer_can_be_left_out() -> None:
    """Whoever reads on finds them again."""
    progress = Progress(10)
    progress.read([10, 12], 100)
    assert (b"", b"\xeb", 12) == (progress.bitmap(0), progress.bitmap(9), len(progress.bitmap()))


def bits_set_up_to(progress: Progress) -> int:
    """The end of the bitmap, in bytes; it never exceeds what a map may speak of."""
    assert len(progress._bits) <= ANSWERED_OFFSETS_MAX // 8
    return len(progress._bits)


def test_a_gap_without_end_costs_neither_bytes_nor_time() -> None:
    """A billion offsets that never come are passed over once what lies before them is answered."""
    far = 10**9 + 5
    progress = Progress(5)
    progress.read([5, 6, far, far + 3], far + 4)
    bits_set_up_to(progress)
    assert (5, far + 4, ANSWERED_OFFSETS_MAX) == (
        progress.offset,
        progress.position,
        progress.horizon,
    )
    progress.answer([5, 6])
    assert progress.offset == progress.horizon
    progress.trim()
    assert far == progress.offset
    assert far + 3 < progress.horizon
    assert bits_set_up_to(progress) <= 2
    progress.answer([far])
    assert far + 3 == progress.offset


def test_a_gap_without_end_at_the_end_of_a_read_is_passed_over_too() -> None:
    """Nothing is pending beyond it: all that was read is answered."""
    progress = Progress(0)
    progress.read([0], 10**9)
    progress.answer([0])
    progress.trim()
    assert (10**9, 10**9) == (progress.offset, progress.position)
    progress.read([10**9 + 1], 10**9 + 2)
    assert (10**9 + 1, b"\x01") == (progress.offset, progress.bitmap(10**9 + 2)[:1])
    assert bits_set_up_to(progress) < 9


def test_before_the_horizon_moves_answers_can_be_withdrawn() -> None:
    """A cut may still abort."""
    progress = Progress(0)
    progress.read([0, 10**9], 10**9 + 1)
    progress.answer([0])
    progress.withdraw([0])
    assert progress.offset == 0


def test_what_lies_beyond_the_horizon_comes_in_as_the_oldest_gifts_are_answered() -> None:
    """In steps, while others are still pending this side of it."""
    step = 10 * TRIM_BYTES
    progress = Progress(0)
    far = ANSWERED_OFFSETS_MAX + 8 * step
    pending = [*range(0, far, step)]
    progress.read(pending[:50], pending[50])
    progress.read(pending[50:], far)
    assert pending[-1] > progress.horizon
    for number, offset in enumerate(pending):
        assert (offset, True) == (progress.offset, offset < progress.horizon)
        progress.answer([offset])
        progress.trim()
        bits, base = progress._bits, progress.horizon - ANSWERED_OFFSETS_MAX
        shown = [one - base for one in pending[number + 1 :] if one < progress.horizon]
        assert not any(bits[one // 8] >> one % 8 & 1 for one in shown)
    assert far == progress.offset


def test_a_record_out_of_order_is_a_programming_error() -> None:
    """Kafka delivers a partition in order."""
    progress = Progress(10)
    with pytest.raises(AssertionError, match="out of order"):
        progress.read([11, 11], 12)
    with pytest.raises(AssertionError, match="out of order"):
        Progress(10).read([12], 12)


def test_withdrawn_answers_are_pending_again() -> None:
    """A cut could not hold them."""
    progress = Progress(10)
    progress.read([10, 11, 12, 13], 14)
    progress.answer([10, 11, 13])
    progress.withdraw([10, 11, 13])
    assert (10, set(range(10))) == (progress.offset, answered_by(progress))
    progress.answer([10])
    assert progress.offset == 11


def test_a_successor_goes_on_from_the_committed_offset_and_map() -> None:
    """It reads from the committed offset and is not shown what is answered."""
    before = Progress(10)
    before.read(range(10, 40), 40)
    before.answer([12, 13, 30])
    after = Progress(before.offset, before.bitmap())
    after.read([offset for offset in range(10, 40) if offset not in {12, 13, 30}], 40)
    assert (before.offset, before.bitmap()) == (after.offset, after.bitmap())


def test_a_map_reaches_above_what_was_read_again() -> None:
    """A successor that has read little so far forgets nothing its predecessor answered."""
    after = Progress(16, b"\xf0\xff\x01")
    after.read([16], 17)
    after.answer([16])
    assert after.offset == 17
    after.read([17, 18, 19], 20)
    after.answer([17, 18, 19])
    assert after.offset == 33


def test_trimming_changes_nothing_that_is_seen() -> None:
    """The bitmap is cut at its front once enough of it is done with."""
    end = TRIM_BYTES * 8 + 100
    progress = Progress(3)
    progress.read(range(3, end), end)
    progress.answer(range(3, end - 50))
    progress.answer([end - 1])
    seen = progress.offset, progress.bitmap()
    progress.trim()
    assert seen == (progress.offset, progress.bitmap())
    assert len(progress._bits) < 32
    progress.answer([end - 50])
    assert end - 49 == progress.offset


def test_little_is_not_trimmed() -> None:
    """Rare, and worth it when it happens."""
    progress = Progress(0)
    progress.read([], 800)
    progress.trim()
    assert len(progress._bits) == 100


@PROPERTY
@given(
    start=st.integers(0, 50),
    steps=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200),
    trims=st.booleans(),
)
def test_any_set_of_answers_is_told_exactly(
    start: int, steps: list[tuple[bool, bool]], *, trims: bool
) -> None:
    """Whatever is a gap, pending or answered: offset and map say just that, and come back so."""
    records = [start + n for n, (is_record, _) in enumerate(steps) if is_record]
    answers = [start + n for n, step in enumerate(steps) if step == (True, True)]
    end = start + len(steps)
    progress = Progress(start)
    progress.read(records, end)
    progress.answer(reversed(answers))
    if trims:
        progress.trim()
    pending = set(records) - set(answers)
    assert min(pending, default=end) == progress.offset
    assert set(range(end)) - pending == answered_by(progress)
    again = Progress(progress.offset, progress.bitmap())
    again.read(sorted(pending), max(end, again.position))
    assert answered_by(progress) == answered_by(again)
    progress.withdraw(answers)
    assert set(range(end)) - set(records) == answered_by(progress)
