"""One assigned partition: its outbox, its map and the cuts it is in (design §4)."""

import random

from consumer.core.answered import ANSWERED_OFFSETS_MAX
from consumer.core.gift import Identity
from consumer.core.lease import Lease
from consumer.core.metadata import METADATA_CHARACTERS_MAX, TextLimit, decode_metadata
from consumer.core.model import DeadLetter, PartitionMetadata
from consumer.core.partition import (
    RENEWAL_ALONG_MS,
    SAID_MAX,
    Partition,
    PartitionCut,
    Said,
)
from consumer.core.progress import Progress
from tests.core.builders import NOW_MS, WALL_MS, make_assigned, make_metadata, make_refused


def make_partition(offset: int = 0, metadata: PartitionMetadata | None = None) -> Partition:
    """A partition assigned now, whose lease is held."""
    assigned = make_assigned(offset=offset, metadata=metadata)
    lease = Lease(opens_ms=NOW_MS, until_ms=NOW_MS + 3_000)
    return Partition(assigned, lease, "pod-0", replay_records_max=1_000_000)


def letter(*offsets: int, identity: Identity | None = None) -> Said:
    """Something to say that answers these offsets."""
    return Said(list(offsets), DeadLetter(0, make_refused(offsets[0])), identity)


def cut(partition: Partition, now_ms: int = NOW_MS) -> PartitionCut:
    """The partition's share of a cut made now."""
    share = partition.cut(now_ms, WALL_MS, TextLimit())
    assert share is not None
    return share


def answered_in(share: PartitionCut) -> set[int]:
    """The offsets that a cut's offset and metadata say are answered."""
    answered = decode_metadata(share.offset.metadata).answered
    base = share.offset.offset // 8 * 8
    bits = {base + n for n in range(len(answered) * 8) if answered[n // 8] >> n % 8 & 1}
    return bits | set(range(share.offset.offset))


def test_an_assignment_is_something_to_commit() -> None:
    """Idle or not, and only once."""
    partition = make_partition(13)
    assert (partition.has_uncut(), partition.renewal_ms()) == (True, None)
    share = cut(partition)
    assert (share.offset.offset, share.said) == (13, ())
    partition.committed()
    assert not partition.belongs_into_cut(NOW_MS + 10**9)


def test_the_metadata_names_the_writer_the_time_and_the_start() -> None:
    """What the next owner needs for its hand-over."""
    metadata = decode_metadata(cut(make_partition()).offset.metadata)
    assert PartitionMetadata("pod-0", WALL_MS, 0, drained=False) == metadata


def test_drained_is_said_only_while_draining() -> None:
    """A committed renewal clears the flag of the hand-over before."""
    partition = make_partition(metadata=make_metadata(drained=True))
    said = [decode_metadata(cut(partition).offset.metadata).drained]
    partition.lease.draining = True
    said.append(decode_metadata(cut(partition).offset.metadata).drained)
    assert said == [False, True]


def test_a_result_stays_in_the_outbox_until_it_is_committed() -> None:
    """After an abort the next cut holds it again, together with what is new."""
    partition = make_partition()
    partition.progress.read([0, 1, 2], 3)
    first, second = letter(1), letter(0)
    partition.say(first)
    assert (first,) == cut(partition).said
    partition.aborted()
    partition.say(second)
    share = cut(partition)
    assert ((second, first), 2) == (share.said, share.offset.offset)
    partition.committed()
    assert cut(partition).said == ()


def test_bits_stay_after_an_abort() -> None:
    """No cut holds a bit whose result is neither in it nor committed: so the result stays too."""
    partition = make_partition()
    partition.progress.read([0, 1, 2], 3)
    partition.say(letter(1))
    before = answered_in(cut(partition))
    partition.aborted()
    share = cut(partition)
    assert {1} == before == answered_in(share)
    assert len(share.said) == 1


def test_after_an_abort_there_is_something_to_commit_at_once() -> None:
    """Even if the aborted cut held nothing but the assignment: it is not committed yet."""
    partition = make_partition()
    cut(partition)
    partition.aborted()
    assert (partition.has_uncut(), partition.belongs_into_cut(NOW_MS)) == (True, True)


def test_a_decided_gift_is_found_until_it_is_cut() -> None:
    """From then on a record of the same gift is a new one, also if the cut aborts."""
    identity = Identity(7, "room", "game", "m0", 1)
    partition = make_partition()
    partition.progress.read([0, 1], 2)
    said = letter(0, identity=identity)
    partition.say(said)
    assert said is partition.find_uncut(identity)
    said.offsets.append(1)
    assert cut(partition).offset.offset == 2
    assert partition.find_uncut(identity) is None
    partition.aborted()
    assert partition.find_uncut(identity) is None


def test_a_lease_is_renewed_once_a_second_while_something_is_pending() -> None:
    """A cut that is made anyway renews it from half-way on."""
    partition = make_partition()
    cut(partition)
    partition.committed()
    partition.pending_count = 1
    belongs = [partition.belongs_into_cut(NOW_MS + after_ms) for after_ms in (499, 500, 1_000)]
    assert (belongs, partition.renewal_ms()) == ([False, True, True], NOW_MS + 1_000)


def test_answered_offsets_of_the_predecessor_stay_answered() -> None:
    """Its map goes on into our first cut."""
    partition = make_partition(16, make_metadata(answered=b"\x06"))
    assert {*range(16), 17, 18} == answered_in(cut(partition))


# --- the size guard -----------------------------------------------------------------------------

SEED = 20_240_229


def crowded(pending: int) -> tuple[Partition, list[Said]]:
    """A partition in whose map not all that is said fits: every second answer, at random."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    partition = make_partition()
    partition.progress.read(range(pending), pending)
    said = [letter(offset) for offset in range(1, pending) if dice.random() < 0.5]
    for one in said:
        partition.say(one)
    return partition, said


def test_what_does_not_fit_the_metadata_is_held_back_highest_offsets_first() -> None:
    """The text never exceeds what the broker takes, and bits and results go together."""
    partition, said = crowded(60_000)
    share = cut(partition)
    held = len(share.said)
    assert len(share.offset.metadata) <= METADATA_CHARACTERS_MAX
    assert 0 < held < len(said)
    assert tuple(said[:held]) == share.said
    assert {offset for one in said[:held] for offset in one.offsets} == answered_in(share)
    assert partition.has_uncut()


def test_nothing_held_back_is_lost() -> None:
    """Once the oldest offset is answered, everything fits in the following cuts."""
    partition, said = crowded(60_000)
    seen = list(cut(partition).said)
    partition.committed()
    missing = set(range(60_000)) - {offset for one in said for offset in one.offsets}
    for offset in missing:
        partition.say(letter(offset))
    while partition.has_uncut():
        share = cut(partition)
        assert len(share.offset.metadata) <= METADATA_CHARACTERS_MAX
        seen += share.said
        partition.committed()
    assert list(range(60_000)) == sorted(offset for one in seen for offset in one.offsets)
    assert partition.progress.offset == 60_000


def read_between_gaps(partition: Partition, end: int) -> list[int]:
    """Every second offset up to `end` is a gap, at random: no map can tell of all of them."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    pending = [offset for offset in range(end) if dice.random() < 0.5]
    partition.progress.read(pending, end)
    return pending


def test_gaps_alone_do_not_fill_a_map() -> None:
    """Nobody must be told of a gap: the successor finds it again. So the lease is kept."""
    partition = make_partition()
    pending = read_between_gaps(partition, 80_000)
    assert len(cut(partition).offset.metadata) < 100
    partition.committed()
    partition.say(letter(pending[3]))
    share = cut(partition)
    assert {*range(share.offset.offset), pending[3]} <= answered_in(share)
    assert len(share.offset.metadata) < 100


def test_an_answer_too_far_above_the_oldest_gift_waits_while_the_lease_is_renewed() -> None:
    """A map that reached up to it, over all those gaps, would not fit."""
    partition = make_partition()
    pending = read_between_gaps(partition, 80_000)
    last = letter(pending[-1])
    partition.say(last)
    assert cut(partition).said == ()
    partition.committed()
    assert (False, NOW_MS + RENEWAL_ALONG_MS) == (partition.has_uncut(), partition.renewal_ms())
    for offset in pending[:-1]:
        partition.say(letter(offset))
    said: list[Said] = []
    for second in range(20):
        said += cut(partition, NOW_MS + second * 1_000).said
        partition.committed()
    assert [*pending] == [one.offsets[0] for one in said]
    assert partition.progress.offset == 80_000


def test_the_oldest_answer_is_tried_alone_where_nothing_else_fits() -> None:
    """It is the one that makes a map shorter."""
    partition = make_partition()
    pending = read_between_gaps(partition, 80_000)
    for offset in (pending[0], pending[-1]):
        partition.say(letter(offset))
    share = cut(partition)
    assert [pending[0]] == [one.offsets[0] for one in share.said]
    assert pending[1] == share.offset.offset


def test_so_many_answers_are_in_a_cut_and_the_rest_in_the_next_at_once() -> None:
    """A cut's time is bounded."""
    partition = make_partition()
    count = SAID_MAX + 1
    partition.progress.read(range(count), count)
    for offset in range(count):
        partition.say(letter(offset))
    assert len(cut(partition).said) == SAID_MAX
    partition.committed()
    assert partition.has_uncut()
    assert [SAID_MAX] == [one.offsets[0] for one in cut(partition).said]


def test_answers_beyond_the_horizon_wait_until_it_has_moved() -> None:
    """A gap of a billion offsets below a gift costs neither memory nor a longer map."""
    partition = make_partition()
    far = 10**9
    partition.progress.read([0, far], far + 1)
    partition.say(letter(far))
    assert (cut(partition).said, partition.has_uncut()) == ((), False)
    partition.committed()
    partition.say(letter(0))
    share = cut(partition)
    assert (1, ANSWERED_OFFSETS_MAX) == (len(share.said), share.offset.offset)
    partition.committed()
    share = cut(partition)
    assert (1, far + 1) == (len(share.said), share.offset.offset)


def test_an_aborted_cut_is_taken_back_whole() -> None:
    """Under a lower limit the next one holds less: no bit of the aborted one may remain."""
    partition, said = crowded(15_000)
    share = cut(partition)
    partition.aborted()
    low = TextLimit(1_023)
    again = partition.cut(NOW_MS, WALL_MS, low)
    assert again is not None
    assert 0 < len(again.said) < len(share.said)
    assert {offset for one in again.said for offset in one.offsets} == answered_in(again)
    assert len(again.offset.metadata) <= low.characters_max
    assert len(said) == len(share.said)


def test_what_was_accepted_before_the_limit_was_lowered_is_said_on() -> None:
    """Else the lease would lapse, and with it the checks that could shorten the map."""
    partition, _ = crowded(20_000)
    share = cut(partition)
    partition.committed()
    again = partition.cut(NOW_MS + 1_000, WALL_MS, TextLimit(1_023))
    assert again is not None
    assert (answered_in(share), ()) == (answered_in(again), again.said)
    assert partition.fill == 1


def test_a_predecessors_map_that_cannot_be_written_makes_the_cut_late() -> None:
    """It packed better than we do: nothing is committed, and nothing lost."""
    print(f"seed {SEED}")
    answered = random.Random(SEED).randbytes(9_000)
    partition = make_partition(metadata=make_metadata(answered=b"\xfe" + answered))
    partition.progress.read([0], 1)
    partition.say(letter(0))
    assert partition.cut(NOW_MS, WALL_MS, TextLimit()) is None
    assert partition.has_uncut()


def test_a_successor_sees_what_was_held_back_as_pending() -> None:
    """Its first read brings exactly the records whose results were not committed."""
    partition, _ = crowded(60_000)
    share = cut(partition)
    answered = answered_in(share)
    pending = [offset for offset in range(60_000) if offset not in answered]
    after = Progress(share.offset.offset, decode_metadata(share.offset.metadata).answered)
    after.read(pending, 60_000)
    after.answer(pending)
    assert (pending[0], 60_000) == (share.offset.offset, after.offset)


def test_the_status_says_where_the_partition_is() -> None:
    """Offset, position, what waits, how full the map is, how long the lease lasts."""
    partition = make_partition()
    partition.progress.read([0, 1], 2)
    partition.say(letter(0))
    cut(partition)
    status = partition.status(NOW_MS + 1_000)
    assert (
        status.partition,
        status.offset,
        status.position,
        status.pending_gifts,
        status.paused_for,
        status.lease_left_ms,
    ) == (0, 1, 2, 0, (), 2_000)
    assert 0 < status.fill < 0.05
    assert partition.status(NOW_MS + 9_000).lease_left_ms == 0
