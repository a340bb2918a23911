"""What this process owns: partitions, pauses and cuts (design §4, P5)."""

import random

import pytest

from consumer.core.assignment import Assignment
from consumer.core.lease import Lease
from consumer.core.limits import Limit, pause_reason
from consumer.core.model import (
    CheckRules,
    Cut,
    CutAborted,
    CutCommitted,
    DeadLetter,
    PauseIntake,
    ResumeIntake,
)
from consumer.core.overdue import OverdueGifts
from consumer.core.partition import Partition, Said
from tests.core.builders import NOW_MS, WALL_MS, make_assigned, make_refused

SEED = 20_240_229
MAP_FULL = pause_reason((Limit.MAP,))
PENDING_FULL = pause_reason((Limit.PENDING,))


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
    """Its gaps alone fill the map: the others are committed, and its intake pauses."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    assignment = make_assignment(0, 1)
    assignment.wake(NOW_MS)
    owner = assignment.owner_of(0)
    owner.progress.read([n for n in range(80_000) if dice.random() < 0.5], 80_000)
    assignment.say(owner, Said([79_999], DeadLetter(0, make_refused(79_999))))
    say(assignment, 1)
    assert partitions_of(commit(assignment)) == [1]
    assert [PauseIntake(0, 1, MAP_FULL)] == assignment.wake(NOW_MS)
    assert assignment.wants_cut()
    assert assignment.cut(NOW_MS, WALL_MS, None) is None


def answered(owner: Partition, offset: int) -> bool:
    """Whether the partition's map says that this offset is answered."""
    index = offset // 8 - owner.progress.offset // 8
    return index < 0 or bool(owner.progress.bitmap()[index] >> offset % 8 & 1)
