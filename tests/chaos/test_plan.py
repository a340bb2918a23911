"""The plan: the same for the same seed, all kinds of trouble, never two that exclude each other."""

from itertools import pairwise

import pytest

from tests.chaos.cluster import COORDINATOR_PARTITIONS, coordinating_partition
from tests.chaos.plan import BROKERS, PODS, Kind, plan

TEN_MINUTES_S = 600.0
SEEDS = range(20)
BROKER_KINDS = {
    Kind.BROKER_KILL,
    Kind.GROUP_COORDINATOR_KILL,
    Kind.TRANSACTION_COORDINATOR_KILL,
    Kind.BROKER_TERM,
}


def test_the_same_seed_plans_the_same_faults() -> None:
    """And another one others."""
    assert plan(7, TEN_MINUTES_S) == plan(7, TEN_MINUTES_S)
    assert plan(7, TEN_MINUTES_S) != plan(8, TEN_MINUTES_S)


@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_a_fault_every_two_to_six_seconds(seed: int) -> None:
    """From the beginning to the end."""
    at_s = [0.0, *(fault.at_s for fault in plan(seed, TEN_MINUTES_S))]
    gaps_s = [later - earlier for earlier, later in pairwise(at_s)]
    assert 2.0 <= min(gaps_s) <= max(gaps_s) <= 6.0
    assert TEN_MINUTES_S - 6.0 <= at_s[-1] < TEN_MINUTES_S


@pytest.mark.parametrize("seed", SEEDS)
def test_one_broker_is_down_at_a_time_and_has_time_to_catch_up(seed: int) -> None:
    """With two down nothing could be written, and that would be no fault of the consumer."""
    downs = [fault for fault in plan(seed, TEN_MINUTES_S) if fault.kind in BROKER_KINDS]
    assert downs
    for earlier, later in pairwise(downs):
        assert later.at_s - (earlier.at_s + earlier.hold_s) >= 12.0


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_strike_pods_and_brokers_that_exist(seed: int) -> None:
    """By their numbers."""
    for fault in plan(seed, TEN_MINUTES_S):
        count = BROKERS if "broker" in fault.kind or "Kafka" in fault.kind else PODS
        assert 0 <= fault.target < count


def test_ten_minutes_hold_every_kind_of_fault_for_most_seeds() -> None:
    """Those that are drawn seldom, too."""
    kinds = [{fault.kind for fault in plan(seed, TEN_MINUTES_S)} for seed in SEEDS]
    assert sum(len(seen) == len(Kind) for seen in kinds) >= len(SEEDS) // 2


@pytest.mark.parametrize(
    ("name", "java_hash"),
    [
        ("", 0),
        ("a", 97),
        ("chaos", 94_623_616),
        ("Hello, World!", 1_498_789_909),
        ("polygenelubricants", 0),  # its hash is the lowest number, which has no positive
    ],
)
def test_a_coordinator_is_found_as_kafka_finds_it(name: str, java_hash: int) -> None:
    """By Java's hash of the name, as `Utils.abs(hashCode) % partitions`."""
    assert java_hash % COORDINATOR_PARTITIONS == coordinating_partition(name)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_single_broker_is_the_only_target_of_what_strikes_one(seed: int) -> None:
    """Faults of brokers and of their connections are planned for broker 0 alone."""
    faults = plan(seed, TEN_MINUTES_S, brokers=1)
    struck = {fault.target for fault in faults if "broker" in fault.kind or "Kafka" in fault.kind}
    assert {0} == struck
