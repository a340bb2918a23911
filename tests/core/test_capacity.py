"""What one partition and one process hold, with the real texts (design §4, "Capacity")."""

import random
from collections import defaultdict

import pytest

from consumer.core.limits import BOUNDS, Limit
from consumer.core.metadata import INSTANCE_CHARACTERS_MAX, METADATA_CHARACTERS_MAX
from consumer.core.model import DeadLetter
from consumer.core.partition import Said
from consumer.core.volume import CUT_BYTES_MAX
from tests.core.builders import (
    NOW_MS,
    RULES,
    Harness,
    make_assigned,
    make_metadata,
    make_record,
    make_refused,
    never_answer,
    say_consumed,
)
from tests.core.test_partition import cut, make_partition

SEED = 20_240_229
PENDING_MS = 30_000
STEP_MS = 250


def load(gifts_per_s: int, pending: float, answered_after_ms: float) -> float:
    """How full one partition's metadata gets, at most, once its window is full.

    A share of the gifts is answered after `PENDING_MS`, the others after so long on average.
    """
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    partition = make_partition()
    due: defaultdict[int, list[int]] = defaultdict(list)
    count = gifts_per_s * STEP_MS // 1_000
    fills = []
    for step in range(3 * PENDING_MS // STEP_MS // 2):
        read = range(step * count, (step + 1) * count)
        partition.progress.read(read, read.stop)
        for offset in read:
            late = dice.random() < pending
            after_ms = PENDING_MS if late else dice.expovariate(1) * answered_after_ms
            due[step + int(after_ms // STEP_MS)].append(offset)
        for offset in due.pop(step, []):
            partition.say(Said([offset], DeadLetter(0, make_refused(offset))))
        share = cut(partition, NOW_MS + step * STEP_MS)
        partition.committed()
        characters = len(share.offset.metadata) - len("pod-0") + INSTANCE_CHARACTERS_MAX
        assert characters <= METADATA_CHARACTERS_MAX
        if step >= PENDING_MS // STEP_MS:
            fills.append(partition.fill)
    return max(fills)


@pytest.mark.parametrize(
    ("pending", "gifts_per_s"), [(0.02, 12_000), (0.05, 6_000), (0.10, 3_600), (0.20, 2_300)]
)
def test_one_partition_holds_so_many_gifts_a_second(pending: float, gifts_per_s: int) -> None:
    """With this share pending for 30 s, its intake never pauses; README has the table."""
    fill = load(gifts_per_s, pending, 0)
    print(f"{pending:.0%} pending, {gifts_per_s}/s: full to {fill:.3f}")
    assert fill < BOUNDS[Limit.MAP].pause_at


PARTITIONS = 300


@pytest.mark.parametrize("map_bytes", [0, 6_500])
def test_three_hundred_partitions_keep_their_leases(map_bytes: int) -> None:
    """Busy, and with empty maps or with 300 that are all but full: four times too much."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    harness = Harness(api=never_answer)
    for partition in range(PARTITIONS):
        answered = b"\xfe" + dice.randbytes(map_bytes)
        metadata = make_metadata(instance="pod-0", answered=answered) if map_bytes else None
        harness.handle(make_assigned(partition, metadata=metadata))
        harness.read(make_record(0, room_id=f"room-{partition}"), partition=partition)
    harness.run(2_000)
    left_ms = []
    for _ in range(80):
        harness.run(100)
        left_ms += [
            one.lease_left_ms for one in harness.scheduler.status(harness.now_ms).partitions
        ]
    cuts = len(harness.cuts)
    widest = max(len(made.offsets) for made in harness.cuts)
    print(f"{cuts} cuts, {widest} partitions in one, {min(left_ms)} ms of a lease left, at least")
    assert min(left_ms) > RULES.lease_ms / 3
    assert all(
        sum(len(offset.metadata.encode()) for offset in made.offsets) <= CUT_BYTES_MAX
        for made in harness.cuts
    )


def test_what_hundreds_of_partitions_have_to_say_is_said() -> None:
    """Every gift of each has its result, with an offset of its partition beside it."""
    harness = Harness(api=say_consumed)
    for partition in range(PARTITIONS):
        harness.handle(make_assigned(partition))
    for offset in range(5):
        for partition in range(PARTITIONS):
            record = make_record(offset, room_id=f"room-{partition}")
            harness.read(record, partition=partition)
        harness.run(2_000)
    harness.run(5_000)
    said = sorted((result.source_partition, result.source_offset) for result in harness.results)
    assert [(number, offset) for number in range(PARTITIONS) for offset in range(5)] == said
    for made in harness.cuts:
        speakers = {result.source_partition for result in made.results}
        assert speakers <= {offset.partition for offset in made.offsets}
