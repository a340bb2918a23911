"""Which offsets are answered, and which one to commit (design §4)."""

import bisect
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from consumer.core.answered import ANSWERED_OFFSETS_MAX
from consumer.core.metadata import TextLimit, decode_metadata, draft_metadata
from consumer.core.progress import TRIM_BYTES, Progress
from tests.core.builders import EXAMPLES, make_metadata


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


def test_an_offset_at_the_horizon_itself_waits_until_that_moves() -> None:
    """It is the first that cannot be answered yet, and it is not forgotten."""
    progress = Progress(0)
    progress.read([0, ANSWERED_OFFSETS_MAX - 1, ANSWERED_OFFSETS_MAX], ANSWERED_OFFSETS_MAX + 1)
    progress.answer([0, ANSWERED_OFFSETS_MAX - 1])
    assert ANSWERED_OFFSETS_MAX == progress.offset == progress.horizon
    progress.trim()
    assert ANSWERED_OFFSETS_MAX == progress.offset < progress.horizon
    progress.answer([ANSWERED_OFFSETS_MAX])
    assert ANSWERED_OFFSETS_MAX + 1 == progress.offset


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


GAPS = st.sampled_from((*[0] * 12, 1, 5, 8 * TRIM_BYTES))


class Partition(RuleBasedStateMachine):
    """A log that is read, answered in cuts and handed over, beside the plainest account of it.

    All of it lies below the horizon, which has tests of its own above.
    The account: where its records are, which of them are answered in a cut that is committed, and
    which in the one that is open.
    """

    @initialize(start=st.integers(0, 10**6))
    def begin(self, start: int) -> None:
        """The group starts in the midst of a log."""
        self.log: list[int] = []
        self.end = self.position = start
        self.answered: set[int] = set()
        self.cut: list[int] = []
        self.inherited = b"", start
        self.progress = Progress(start)

    def pending(self) -> list[int]:
        """What was read and wants an answer, or an end of the cut that holds it."""
        read = self.log[: bisect.bisect_left(self.log, self.position)]
        return [offset for offset in read if offset not in self.answered]

    def is_inherited(self, offset: int) -> bool:
        """Whether the predecessor's map calls it answered."""
        bitmap, base = self.inherited
        index, bit = divmod(offset - base, 8)
        return 0 <= index < len(bitmap) and bool(bitmap[index] >> bit & 1)

    @rule(gaps=st.lists(GAPS, min_size=1, max_size=12), behind=GAPS, count=st.integers(1, 20))
    def produce(self, gaps: list[int], behind: int, count: int) -> None:
        """Records come, with offsets left out before them and behind the last, and are read."""
        for gap in gaps:
            self.log.append(self.end + gap)
            self.end += gap + 1
        self.end += behind
        self.read(count)

    @rule(count=st.integers(1, 20))
    def read(self, count: int) -> None:
        """So many records, of which those that the map calls answered are passed over."""
        first = bisect.bisect_left(self.log, self.position)
        ahead = self.log[first : first + count]
        following = self.log[first + count : first + count + 1]
        end = following[0] if following else self.end
        fresh = [offset for offset in ahead if not self.is_inherited(offset)]
        assert fresh == [offset for offset in ahead if offset not in self.answered]
        self.progress.read(fresh, end)
        self.position = end

    @precondition(lambda self: not self.cut)
    @rule(share=st.sampled_from((0.1, 0.5, 0.9, 1.0)), seed=st.integers(0, 2**32))
    def answer(self, share: float, seed: int) -> None:
        """A cut is made of some answers."""
        dice = random.Random(seed)
        self.cut = [offset for offset in self.pending() if dice.random() < share]
        self.progress.answer(self.cut)

    @precondition(lambda self: self.cut)
    @rule(commits=st.booleans())
    def end_cut(self, *, commits: bool) -> None:
        """The cut is committed, or aborted."""
        if commits:
            self.answered.update(self.cut)
            self.progress.trim()
        else:
            self.progress.withdraw(self.cut)
        self.cut = []

    @precondition(lambda self: not self.cut)
    @rule()
    def hand_over(self) -> None:
        """The next owner has the committed offset and the text beside it, and nothing else."""
        offset = self.progress.offset
        reach = max([offset, *self.answered]) + 1
        bitmap = self.progress.bitmap(reach)
        text = draft_metadata(make_metadata(answered=bitmap), TextLimit()).text(TextLimit())
        read = bitmap if text is None else decode_metadata(text).answered
        self.inherited = read, offset // 8 * 8
        self.progress = Progress(offset, read)
        self.position = offset

    @invariant()
    def the_offset_to_commit_is_the_oldest_pending(self) -> None:
        """Or where nothing is pending, the end of what is known to be answered."""
        pending = [offset for offset in self.pending() if offset not in self.cut]
        expected = min(pending, default=self.position)
        if not pending and self.is_inherited(expected):
            bitmap, base = self.inherited
            open_bits = ~int.from_bytes(bitmap, "little") >> expected - base
            expected += (open_bits & -open_bits).bit_length() - 1
        assert expected == self.progress.offset

    @invariant()
    def the_map_says_of_every_offset_what_became_of_it(self) -> None:
        """A zero for each that is pending, a one for all others that were read."""
        base = self.progress.offset // 8 * 8
        bits = int.from_bytes(self.progress.bitmap(), "little")
        shown = [one for one in self.pending() if one not in self.cut]
        assert not any(bits >> one - base & 1 for one in shown)
        read = max(0, self.position - base)
        assert read - len(shown) == (bits & (1 << read) - 1).bit_count()


@pytest.mark.timeout(600)  # a story that fails is made short for up to five minutes
def test_offset_and_map_say_exactly_what_is_answered() -> None:
    """Through reads, cuts, aborts, trims and hand-overs in any order."""
    stories = settings(max_examples=EXAMPLES // 2, stateful_step_count=30)
    run_state_machine_as_test(Partition, settings=stories)
