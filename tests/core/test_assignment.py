"""What this process owns: partitions, pauses and cuts (design §4, P5)."""

import random

import pytest

from consumer.core.assignment import Assignment
from consumer.core.lease import Lease
from consumer.core.limits import Limit, pause_reason
from consumer.core.messages import CutAborted, CutCommitted, PauseIntake, ResumeIntake
from consumer.core.model import CheckRules, Cut, DeadLetter
from consumer.core.overdue import OverdueGifts
from consumer.core.partition import Partition, Said
from consumer.core.volume import BYTES_PER_S, CUT_BYTES_MAX
from tests.core.builders import NOW_MS, WALL_MS, make_assigned, make_metadata, make_refused

SEED = 20_240_229
MAP_FULL = pause_reason((Limit.MAP,))
PENDING_FULL = pause_reason((Limit.PENDING,))
MAPS_FULL = pause_reason((Limit.VOLUME,))


def make_assignment(*partitions: int, pending_gifts_max: int = 100) -> Assignment:
    """An assignment whose partitions have each been committed once."""
    rules = CheckRules(pending_gifts_max=pending_gifts_max)
    assignment = Assignment(rules, OverdueGifts(), instance="pod-0")
    for partition in partitions:
        assignment.add(make_assigned(partition), Lease(opens_ms=NOW_MS))
    if partitions:
        commit(assignment)
    return assignment


def cut(
    assignment: Assignment, now_ms: int = NOW_MS, partitions: frozenset[int] | None = None
) -> Cut:
    """The cut made now, which must not be empty."""
    made = assignment.cut(now_ms, WALL_MS, partitions)
    assert made is not None
    return made


def commit(
    assignment: Assignment, now_ms: int = NOW_MS, partitions: frozenset[int] | None = None
) -> Cut:
    """Cut and commit, now."""
    made = cut(assignment, now_ms, partitions)
    assignment.end_cut(CutCommitted(made.cut_id))
    return made


def say(assignment: Assignment, partition: int, offset: int = 0) -> DeadLetter:
    """A record of a partition is read and refused."""
    owner = assignment.owner_of(partition)
    event = DeadLetter(partition, make_refused(offset))
    owner.progress.read([offset], offset + 1)
    assignment.say(owner, Said([offset], event))
    return event


def partitions_of(made: Cut) -> list[int]:
    """The partitions for which a cut holds an offset."""
    return [offset.partition for offset in made.offsets]


# --- cuts ---------------------------------------------------------------------------------------


def test_an_assignment_wants_to_be_committed_at_once() -> None:
    """Also without a single record."""
    assignment = make_assignment()
    assert not assignment.wants_cut()
    assignment.add(make_assigned(3), Lease(opens_ms=NOW_MS))
    assert assignment.wants_cut()
    assert partitions_of(commit(assignment)) == [3]
    assert not assignment.wants_cut()


def test_an_aborted_assignment_is_committed_with_the_next_cut() -> None:
    """An idle partition too: before its commit nothing holds its place, and no check may go out."""
    assignment = make_assignment()
    assignment.add(make_assigned(3), Lease(opens_ms=NOW_MS))
    assignment.end_cut(CutAborted(cut(assignment).cut_id))
    assert assignment.wants_cut()
    assert partitions_of(cut(assignment)) == [3]


def test_an_aborted_renewal_is_repeated_at_once() -> None:
    """The lease goes on running out meanwhile."""
    assignment = make_assignment(0)
    owner = assignment.owner_of(0)
    assignment.count_pending(owner, 1)
    assignment.end_cut(CutAborted(cut(assignment, NOW_MS + 1_000).cut_id))
    assert assignment.wants_cut()
    assert partitions_of(cut(assignment, NOW_MS + 1_001)) == [0]


def test_a_cut_holds_an_offset_for_every_partition_it_speaks_of() -> None:
    """It is the only fence there is; the others stay out of it."""
    assignment = make_assignment(0, 1, 2)
    events = (say(assignment, 0), say(assignment, 2))
    made = commit(assignment)
    assert ([0, 2], events, ()) == (partitions_of(made), made.dead_letters, made.results)


def test_with_nothing_to_say_there_is_no_cut() -> None:
    """No empty transactions."""
    assignment = make_assignment(0)
    assert assignment.cut(NOW_MS, WALL_MS, None) is None
    assert not assignment.wants_cut()


def test_one_cut_is_open_at_a_time() -> None:
    """What is said meanwhile waits for the next; asking for two is a programming error."""
    assignment = make_assignment(0)
    first = say(assignment, 0)
    made = cut(assignment)
    second = say(assignment, 0, 1)
    assert not assignment.wants_cut()
    with pytest.raises(AssertionError, match="still open"):
        assignment.cut(NOW_MS, WALL_MS, None)
    assignment.end_cut(CutCommitted(made.cut_id))
    assert assignment.wants_cut()
    assert ((first,), (second,)) == (made.dead_letters, commit(assignment).dead_letters)


def test_only_the_open_cut_can_end() -> None:
    """Anything else is a programming error."""
    assignment = make_assignment(0)
    with pytest.raises(AssertionError, match="not open"):
        assignment.end_cut(CutCommitted(1))
    say(assignment, 0)
    made = cut(assignment)
    with pytest.raises(AssertionError, match="another cut"):
        assignment.end_cut(CutCommitted(made.cut_id + 1))


def test_after_an_abort_the_next_cut_holds_everything_again() -> None:
    """Under a new number, and with what was said meanwhile."""
    assignment = make_assignment(0, 1)
    first = say(assignment, 0)
    aborted = cut(assignment)
    second = say(assignment, 1)
    assert assignment.end_cut(CutAborted(aborted.cut_id)) == (NOW_MS, [])
    assert assignment.wants_cut()
    again = commit(assignment)
    assert ((first, second), [0, 1]) == (again.dead_letters, partitions_of(again))
    assert aborted.cut_id != again.cut_id


def test_a_restricted_cut_leaves_the_others_news_alone() -> None:
    """Results of an aborted cut included: they still want a cut after the revocation's."""
    assignment = make_assignment(0, 1)
    kept, handed_over = say(assignment, 0), say(assignment, 1)
    assignment.end_cut(CutAborted(cut(assignment).cut_id))
    made = commit(assignment, partitions=frozenset({1}))
    assert ((handed_over,), [1]) == (made.dead_letters, partitions_of(made))
    assert assignment.wants_cut()
    assert (kept,) == commit(assignment).dead_letters


def test_a_draining_partition_is_in_every_cut() -> None:
    """Idle or not: its successor wants to know that it is drained."""
    assignment = make_assignment(0, 1)
    assignment.owner_of(1).lease.draining = True
    assert partitions_of(commit(assignment)) == [1]


def test_a_partition_revoked_while_a_cut_is_open_is_not_renewed() -> None:
    """Committed or not is its successor's affair; the others' shares count."""
    assignment = make_assignment(0, 1)
    say(assignment, 0)
    say(assignment, 1)
    made = cut(assignment, NOW_MS + 70)
    assignment.remove(assignment.owner_of(1))
    made_ms, committed = assignment.end_cut(CutCommitted(made.cut_id))
    assert (made_ms, [partition.partition for partition in committed]) == (NOW_MS + 70, [0])


def test_the_end_of_a_cut_says_nothing_about_a_later_assignment() -> None:
    """The partition came back under a new epoch before the cut ended."""
    assignment = make_assignment(0)
    say(assignment, 0)
    made = cut(assignment)
    assignment.remove(assignment.owner_of(0))
    assignment.add(make_assigned(epoch=2), Lease(opens_ms=NOW_MS))
    assert assignment.end_cut(CutCommitted(made.cut_id)) == (NOW_MS, [])
    assert assignment.owner_of(0).has_uncut()


def test_an_aborted_cut_of_a_partition_that_is_gone_is_no_news() -> None:
    """Its successor redoes the work."""
    assignment = make_assignment(0)
    say(assignment, 0)
    made = cut(assignment)
    assignment.remove(assignment.owner_of(0))
    assignment.end_cut(CutAborted(made.cut_id))
    assert not assignment.wants_cut()


def test_partitions_are_found_by_number_and_epoch() -> None:
    """What belongs to an older assignment belongs to nobody."""
    assignment = make_assignment(0, 1)
    found = assignment.find(0, 1)
    assert found is not None
    assert (assignment.find(0, 2), assignment.find(9, 1)) == (None, None)
    assert [
        [partition.partition for partition in assignment.select(chosen)]
        for chosen in (None, frozenset({1, 9}))
    ] == [[0, 1], [1]]


def test_a_partition_is_assigned_once() -> None:
    """A second time without a revocation is a programming error."""
    assignment = make_assignment(0)
    with pytest.raises(AssertionError, match="assigned twice"):
        assignment.add(make_assigned(0), Lease(opens_ms=NOW_MS))


# --- renewals -----------------------------------------------------------------------------------


def test_leases_with_something_pending_are_renewed_once_a_second() -> None:
    """The earliest of them wakes; those half-way there come along, the idle ones do not."""
    assignment = make_assignment(0, 1, 2)
    for number in (0, 1):
        assignment.count_pending(assignment.owner_of(number), 1)
        assignment.note_renewal(assignment.owner_of(number))
    assert assignment.renewal_ms == NOW_MS + 1_000
    assignment.wake(NOW_MS + 999)
    assert not assignment.wants_cut()
    assignment.wake(NOW_MS + 1_000)
    assert assignment.wants_cut()
    assert partitions_of(commit(assignment, NOW_MS + 1_000)) == [0, 1]
    assert assignment.renewal_ms == NOW_MS + 2_000


def test_an_idle_partition_renews_nothing() -> None:
    """No timer for what has nothing pending."""
    assignment = make_assignment(0)
    assignment.note_renewal(assignment.owner_of(0))
    assert assignment.renewal_ms is None


def test_an_earlier_renewal_is_not_put_off_by_a_later_one() -> None:
    """The earliest counts, in whichever order they are noted."""
    assignment = make_assignment(0, 1)
    for number in (0, 1):
        assignment.count_pending(assignment.owner_of(number), 1)
    say(assignment, 1)
    commit(assignment, NOW_MS + 300)
    for number in (0, 1):
        assignment.note_renewal(assignment.owner_of(number))
    assert assignment.renewal_ms == NOW_MS + 1_000


# --- pauses -------------------------------------------------------------------------------------


def test_intake_pauses_at_pending_gifts_max_and_resumes_under_four_fifths() -> None:
    """All partitions, with the reason; each change is told once."""
    assignment = make_assignment(0, 1)
    owner = assignment.owner_of(0)
    assignment.wake(NOW_MS)
    told = []
    for change in (99, 1, 50, -70, -1, 5):
        assignment.count_pending(owner, change)
        told.append(assignment.wake(NOW_MS))
    pauses = [PauseIntake(number, 1, PENDING_FULL) for number in (0, 1)]
    assert [[], pauses, [], [], [ResumeIntake(0, 1), ResumeIntake(1, 1)], []] == told


def test_a_partition_assigned_while_intake_is_paused_is_paused_too() -> None:
    """The limit is the process's, not the partition's."""
    assignment = make_assignment(0)
    assignment.count_pending(assignment.owner_of(0), 100)
    assignment.wake(NOW_MS)
    assignment.add(make_assigned(1), Lease(opens_ms=NOW_MS))
    assert [PauseIntake(1, 1, PENDING_FULL)] == assignment.wake(NOW_MS)


def test_a_lost_partition_takes_its_pending_gifts_along() -> None:
    """Intake of the others resumes."""
    assignment = make_assignment(0, 1)
    assignment.count_pending(assignment.owner_of(0), 100)
    assignment.wake(NOW_MS)
    assignment.remove(assignment.owner_of(0))
    assert (0, [ResumeIntake(1, 1)]) == (assignment.pending_count, assignment.wake(NOW_MS))


def fill_map(assignment: Assignment, owner: Partition, fill: float) -> None:
    """Answers are cut, at random offsets, until the partition's map is this full."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    while owner.fill < fill:
        begin = owner.progress.position
        owner.progress.read(range(begin, begin + 500), begin + 500)
        for offset in range(begin + 1, begin + 500):
            if dice.random() < 0.5:
                event = DeadLetter(owner.partition, make_refused(offset))
                assignment.say(owner, Said([offset], event))
        commit(assignment)


def test_intake_of_a_partition_pauses_while_its_map_is_nearly_full() -> None:
    """At 90 %; the gifts already read need room for their answers. Under 80 % it resumes."""
    assignment = make_assignment(0, 1)
    assignment.wake(NOW_MS)
    owner = assignment.owner_of(0)
    fill_map(assignment, owner, 0.85)
    told = [assignment.wake(NOW_MS)]
    fill_map(assignment, owner, 0.90)
    told.append(assignment.wake(NOW_MS))
    owner.fill = 0.80
    assignment.note_levels(owner)
    told.append(assignment.wake(NOW_MS))
    pending = [n for n in range(owner.progress.position) if not answered(owner, n)]
    for offset in pending:
        assignment.say(owner, Said([offset], DeadLetter(0, make_refused(offset))))
    commit(assignment)
    told.append(assignment.wake(NOW_MS))
    assert [[], [PauseIntake(0, 1, MAP_FULL)], [], [ResumeIntake(0, 1)]] == told


def test_a_partition_whose_progress_does_not_fit_stays_out_of_the_cut() -> None:
    """A predecessor packed it better than we can: the others are committed, its intake pauses."""
    assignment = make_assignment(1)
    assignment.wake(NOW_MS)
    add_with_map(assignment, 0, size_bytes=9_000)
    say(assignment, 1)
    assert partitions_of(commit(assignment)) == [1]
    assert [PauseIntake(0, 1, MAP_FULL)] == assignment.wake(NOW_MS)
    assert assignment.wants_cut()
    assert assignment.cut(NOW_MS, WALL_MS, None) is None


# --- how much metadata --------------------------------------------------------------------------


FULL_BYTES = 6_500
"""Random bytes of a map whose text takes 10.5 KB, and leaves the partition's intake alone."""


def add_with_map(assignment: Assignment, partition: int, *, size_bytes: int) -> None:
    """A partition whose predecessor left a map of so many random bytes; its first offsets pend."""
    print(f"seed {SEED}")
    answered = b"\xfc" + random.Random(SEED + partition).randbytes(size_bytes - 1)
    assigned = make_assigned(partition, metadata=make_metadata(answered=answered))
    assignment.add(assigned, Lease(opens_ms=NOW_MS))
    assignment.count_pending(assignment.owner_of(partition), 1)


def make_full(count: int) -> Assignment:
    """So many partitions with full maps, none of them committed yet."""
    assignment = make_assignment(pending_gifts_max=10_000)
    for partition in range(count):
        add_with_map(assignment, partition, size_bytes=FULL_BYTES)
    return assignment


def bytes_of(made: Cut) -> int:
    """The metadata of a cut as the broker stores it."""
    return sum(len(offset.metadata.encode()) for offset in made.offsets)


def test_a_transaction_holds_so_much_metadata_and_the_next_one_the_rest() -> None:
    """Those that were cut longest ago come first, so none is forgotten."""
    assignment = make_full(110)
    first, second, third = (commit(assignment, NOW_MS + n) for n in range(3))
    assert all(bytes_of(made) <= CUT_BYTES_MAX for made in (first, second, third))
    assert (True, True, False) == (first.rest, second.rest, third.rest)
    assert list(range(110)) == partitions_of(first) + partitions_of(second) + partitions_of(third)
    assert not assignment.wants_cut()


def test_what_is_said_goes_with_the_offset_of_its_partition_or_waits() -> None:
    """The fence: a result never travels without it."""
    assignment = make_full(100)
    for partition in range(100):
        owner = assignment.owner_of(partition)
        owner.progress.read([0, 1], 2)
        assignment.say(owner, Said([1], DeadLetter(partition, make_refused(1))))
    made = commit(assignment)
    assert partitions_of(made) == [letter.partition for letter in made.dead_letters]
    assert assignment.wants_cut()


def test_full_maps_are_renewed_in_turn_before_their_leases_lapse() -> None:
    """As far apart as the metadata wants it, each partition is in a cut every 1.5 s or sooner."""
    assignment = make_full(90)
    now_ms, last_ms, gaps_ms, written = NOW_MS, dict.fromkeys(range(90), NOW_MS), [], 0
    while now_ms < NOW_MS + 10_000:
        assignment.wake(now_ms)
        interval_ms = 50
        if assignment.wants_cut() and (made := assignment.cut(now_ms, WALL_MS, None)):
            assignment.end_cut(CutCommitted(made.cut_id))
            interval_ms = max(50, made.interval_ms)
            written += bytes_of(made)
            for partition in partitions_of(made):
                gaps_ms.append(now_ms - last_ms[partition])
                last_ms[partition] = now_ms
        now_ms += interval_ms
    assert max(gaps_ms) < 1_500
    assert written < 1.1 * 10 * BYTES_PER_S


def test_intake_pauses_while_all_maps_together_are_too_much_to_commit() -> None:
    """More processes, or fewer partitions each, are the way on; the reason says so."""
    assignment = make_full(100)
    for _ in range(2):
        commit(assignment)
    paused = assignment.wake(NOW_MS)
    assert [PauseIntake(number, 1, MAPS_FULL) for number in range(100)] == paused
    for partition in range(30):
        assignment.remove(assignment.owner_of(partition))
    commit(assignment, NOW_MS + 1_000)
    resumed = assignment.wake(NOW_MS + 1_000)
    assert [ResumeIntake(number, 1) for number in range(30, 100)] == resumed


def test_a_draining_partition_is_in_one_more_cut_however_many_there_are() -> None:
    """So a process that stops asks for the rest until there is none."""
    assignment = make_full(100)
    for _ in range(2):
        commit(assignment)
    for partition in assignment:
        partition.lease.draining = True
    drained: list[int] = []
    while made := assignment.cut(NOW_MS, WALL_MS, None):
        assignment.end_cut(CutCommitted(made.cut_id))
        drained += partitions_of(made)
    assert list(range(100)) == sorted(drained)


def test_after_a_refusal_of_wide_text_only_ascii_is_written() -> None:
    """What does not fit any more is held back, the partition is committed all the same."""
    assignment = make_assignment()
    assignment.add(make_assigned(0), Lease(opens_ms=NOW_MS))
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    owner = assignment.owner_of(0)
    owner.progress.read(range(40_000), 40_000)
    for offset in range(1, 40_000):
        if dice.random() < 0.25:
            assignment.say(owner, Said([offset], DeadLetter(0, make_refused(offset))))
    texts, counts = [], []
    for _ in range(3):
        made = cut(assignment)
        texts.append(made.offsets[0].metadata)
        counts.append(len(made.dead_letters))
        assignment.end_cut(CutAborted(made.cut_id, metadata_refused=True))
    assert [False, True, True] == [text.isascii() for text in texts]
    assert counts[0] > counts[1] > counts[2] > 0
    assert len(texts[1]) <= 4_095
    assert len(texts[2]) <= 2_047


def answered(owner: Partition, offset: int) -> bool:
    """Whether the partition's map says that this offset is answered."""
    index = offset // 8 - owner.progress.offset // 8
    return index < 0 or bool(owner.progress.bitmap()[index] >> offset % 8 & 1)
