"""When a partition's rooms may be checked, and what a new owner assumes (design §5)."""

import pytest

from consumer.core.lease import Lease, take_over
from consumer.core.limiter import Limiter
from consumer.core.model import PartitionMetadata, RoomKey
from tests.core.builders import NOW_MS, RULES, WALL_MS, make_metadata

ROOM = RoomKey(7, "room")


def make_limiter() -> Limiter:
    """A limiter with the rules' numbers."""
    return Limiter(permits=20, unknown_hold_min_ms=2_000, unknown_hold_max_ms=60_000)


def take(
    metadata: PartitionMetadata | None,
    limiter: Limiter | None = None,
    began_ms: int | None = None,
) -> Lease:
    """The lease of a partition that `pod-0` is assigned now."""
    return take_over(
        metadata,
        instance="pod-0",
        began_ms=began_ms,
        now_ms=NOW_MS,
        wall_ms=WALL_MS,
        rules=RULES,
        limiter=make_limiter() if limiter is None else limiter,
    )


@pytest.mark.parametrize(
    ("metadata", "wait_ms"),
    [
        pytest.param(None, 0, id="nobody has ever checked it"),
        pytest.param(make_metadata(drained=True), 1_006, id="drained: one window"),
        pytest.param(make_metadata(drained=True, instance="pod-0"), 1_006, id="drained by us"),
        pytest.param(make_metadata(instance="pod-0"), 1_006, id="our own name"),
        pytest.param(make_metadata(), 8_000, id="lease + request time-out + 2 s"),
        pytest.param(make_metadata(cut_wall_ms=WALL_MS - 2_500), 5_500, id="some of it over"),
        pytest.param(make_metadata(cut_wall_ms=WALL_MS - 8_000), 0, id="just over"),
        pytest.param(make_metadata(cut_wall_ms=WALL_MS - 10**9), 0, id="long over"),
        pytest.param(make_metadata(cut_wall_ms=WALL_MS + 900), 8_900, id="its clock is ahead"),
        pytest.param(make_metadata(cut_wall_ms=WALL_MS + 10**9), 10_000, id="far ahead"),
    ],
)
def test_a_new_owner_waits_until_its_predecessor_is_silent(
    metadata: PartitionMetadata | None, wait_ms: int
) -> None:
    """How long depends on how the predecessor left, and on who it was."""
    assert NOW_MS + wait_ms == take(metadata).opens_ms


@pytest.mark.parametrize(
    ("began_ago_ms", "wait_ms"), [(0, 1_006), (400, 606), (1_005, 1), (1_006, 0), (10**9, 0)]
)
def test_a_process_of_our_own_name_was_dead_before_we_began(
    began_ago_ms: int, wait_ms: int
) -> None:
    """So its last second has been running since then; its requests may still travel."""
    limiter = make_limiter()
    lease = take(make_metadata(instance="pod-0"), limiter, NOW_MS - began_ago_ms)
    assert NOW_MS + wait_ms == lease.opens_ms
    limiter.open(ROOM, lease.hand_over, NOW_MS)
    assert len(limiter._rooms[ROOM].releases(NOW_MS)) == 19


@pytest.mark.parametrize("metadata", [make_metadata(drained=True), make_metadata()])
def test_of_another_name_nothing_is_known_before_the_assignment(
    metadata: PartitionMetadata,
) -> None:
    """When we began says nothing about it."""
    assert take(metadata).opens_ms == take(metadata, began_ms=NOW_MS - 10**9).opens_ms


@pytest.mark.parametrize(
    ("metadata", "suspicious"),
    [
        (None, False),
        (make_metadata(drained=True), False),
        (make_metadata(instance="pod-0"), True),
        (make_metadata(), True),
        (make_metadata(cut_wall_ms=WALL_MS - 10**9), True),
    ],
)
def test_without_drained_the_predecessors_requests_may_still_travel(
    metadata: PartitionMetadata | None, *, suspicious: bool
) -> None:
    """Then new rooms have one free permit and nineteen unknown."""
    limiter = make_limiter()
    lease = take(metadata, limiter)
    limiter.open(ROOM, lease.hand_over, NOW_MS)
    assert (19 if suspicious else 0) == len(limiter._rooms[ROOM].releases(NOW_MS))


def test_only_an_answer_from_after_the_silence_ends_the_suspicion() -> None:
    """Before it, the predecessor may still have written something."""
    limiter = make_limiter()
    lease = take(make_metadata(), limiter)
    assert lease.hand_over is not None
    limiter.open(ROOM, None, NOW_MS)
    for sent_ms, release_ms in ((7_999, 67_999), (8_000, 9_999)):
        limiter.take(ROOM, NOW_MS + sent_ms)
        limiter.answered(ROOM, NOW_MS + sent_ms, NOW_MS + sent_ms)
        assert NOW_MS + release_ms == lease.hand_over.release_ms


def test_a_lease_is_held_until_its_end_and_not_before_the_first_commit() -> None:
    """The end is exclusive."""
    lease = Lease(opens_ms=0)
    assert not lease.held(0)
    lease.until_ms = 3_000
    assert [lease.held(2_999), lease.held(3_000)] == [True, False]


def test_a_draining_partition_holds_no_lease() -> None:
    """It is being handed over: nothing new is sent."""
    assert not Lease(opens_ms=0, until_ms=3_000, draining=True).held(0)


def test_drained_means_that_nothing_is_on_its_way_nor_will_be() -> None:
    """Not while it is not draining, a check is in flight, or a permit is unknown."""
    limiter = make_limiter()
    limiter.open(ROOM, None, 0)
    limiter.take(ROOM, 0)
    lease = Lease(opens_ms=0, until_ms=3_000, in_flight=1)
    said = [lease.is_drained(0)]
    lease.draining = True
    said.append(lease.is_drained(0))
    lease.losses.append(limiter.lost(ROOM, 0, 1_000, probing=True))
    lease.in_flight = 0
    said += [lease.is_drained(1_000), lease.is_drained(60_999), lease.is_drained(61_000)]
    assert said == [False, False, False, False, True]


def test_what_the_predecessor_left_on_its_way_is_not_drained_either() -> None:
    """The flag speaks for the rooms, not for who sent the requests."""
    limiter = make_limiter()
    lease = Lease(opens_ms=0, hand_over=limiter.hand_over(1_000), draining=True)
    assert [lease.is_drained(60_998), lease.is_drained(60_999)] == [False, True]
