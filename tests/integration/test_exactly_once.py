"""Promises P1, P2 and P3 with real processes, a real Kafka and somebody who kills.

Everything random comes from one seed, which is printed. What is asserted is what a downstream
reader sees: exactly one result for each gift, each verdict true, no room above its limit.
"""

import asyncio
import signal
from dataclasses import replace
from random import Random

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from consumer.demo.kafka_broker import KafkaBroker
from consumer.simulator import Fault, Kind
from tests.integration.fleet import PARTITIONS, Fleet, Scene, fleet

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@pytest.fixture
def seed() -> int:
    """Of everything random; printed, so that a failure can be looked at again."""
    seed = Random().randrange(1_000_000)
    print(f"seed {seed}")
    return seed


def assert_promises_kept(run: Fleet, gifts_min: int) -> None:
    """Exactly one true result for each gift, and no room above its limit."""
    print(run.report())

    assert run.ledger.gifts >= gifts_min
    assert (0, 0, []) == (run.ledger.missing, run.ledger.duplicates, run.ledger.false_reasons)
    assert run.requests_per_second_max() <= 20


async def test_processes_killed_one_after_the_other_lose_and_repeat_nothing(
    scene: Scene, seed: int
) -> None:
    """Three processes, SIGKILL at random moments, 500 gifts/s in 500 rooms: one result each."""
    async with fleet(replace(scene, seed=seed)) as run:
        async with run.killing_at_random(Random(seed), every_s=(2, 4)):
            await run.send_gifts(duration_ms=20_500)
        await run.settle(within_s=90)

        assert_promises_kept(run, gifts_min=9_500)
        assert sum(member.exits.count(-signal.SIGKILL) for member in run.members) >= 4


async def test_a_process_stopped_beyond_its_session_does_no_harm(scene: Scene) -> None:
    """SIGSTOP for 12 s, beyond the session time-out, then SIGCONT: one result for each gift."""
    async with fleet(scene) as run:
        sending = asyncio.create_task(run.send_gifts(duration_ms=16_000))
        await asyncio.sleep(3)
        run.members[0].send(signal.SIGSTOP)
        await asyncio.sleep(12)
        run.members[0].send(signal.SIGCONT)
        await sending
        await run.settle(within_s=90)

        assert_promises_kept(run, gifts_min=7_000)


async def test_rooms_at_their_limit_keep_it_while_they_change_hands(
    scene: Scene, seed: int
) -> None:
    """Eight rooms at 20 requests a second, two processes, kills: never 21 in any second."""
    # So cheap a request is always worth it: permits alone hold the rooms back.
    cheap = {"request_price": 0.0001}
    two = replace(scene, members=2, rate=480, rooms=8, seed=seed, check=cheap)
    async with fleet(two) as run:
        with run.simulator.faults.holding(
            Fault(kind=Kind.LATENCY_IN, jitter_ms=20),
            Fault(kind=Kind.LATENCY_IN, share=0.15, delay_ms=900),
        ):
            async with run.killing_at_random(Random(seed), every_s=(4, 6)):
                await run.send_gifts(duration_ms=15_000)
            await run.settle(within_s=90)

        assert_promises_kept(run, gifts_min=6_500)
        assert run.requests_per_second_max() >= 18, "the rooms were not saturated"


async def test_a_process_killed_while_it_hands_over_leaves_no_partition_without_owner(
    scene: Scene,
) -> None:
    """Revoked from the one and not yet given to the other: somebody must notice, and does."""
    two = replace(scene, members=2, late=1, rate=100, rooms=50, timeout_ms=5_000)
    async with fleet(two) as run:
        # So the drain before the hand-over takes most of a second: time enough to be killed in.
        with run.simulator.faults.holding(Fault(kind=Kind.LATENCY_OUT, delay_ms=900)):
            await run.send_gifts(duration_ms=4_000)
            run.members[1].begin.set()
            sending = asyncio.create_task(run.send_gifts(duration_ms=10_000))
            await asyncio.to_thread(wait_until_nobody_owns_some, two)
            run.members[0].send(signal.SIGKILL)
            await sending
        await run.settle(within_s=60)

        assert_promises_kept(run, gifts_min=1_200)


def wait_until_nobody_owns_some(scene: Scene) -> None:
    """Wait until the group is in between: revoked from the one, not yet given to the other."""
    admin = AdminClient({"bootstrap.servers": scene.bootstrap_servers})
    group_id = scene.topics.group_id
    while True:
        group = admin.describe_consumer_groups([group_id])[group_id].result(10)
        owned = [at for member in group.members for at in member.assignment.topic_partitions]
        if group.state is ConsumerGroupState.STABLE and len(owned) < PARTITIONS:
            return


async def test_nobody_is_called_unconsumed_while_the_api_cannot_be_asked(scene: Scene) -> None:
    """The API down for three time-outs: no verdict meanwhile, every right one afterwards."""
    async with fleet(replace(scene, members=1, rate=50, rooms=20, timeout_ms=2_000)) as run:
        await run.send_gifts(duration_ms=2_000)
        await run.settle(within_s=30)
        settled = dict(run.ledger.results)
        with run.simulator.faults.holding(Fault(kind=Kind.OUTAGE)):
            await run.send_gifts(duration_ms=2_000)
            await asyncio.sleep(6)

            assert settled == dict(run.ledger.results)

        await run.settle(within_s=30)

        assert_promises_kept(run, gifts_min=150)


async def test_the_broker_may_be_away_for_half_a_minute(
    scene: Scene, kafka_broker: KafkaBroker
) -> None:
    """The broker stops for 30 s and comes back: results flow again by themselves, one each."""
    async with fleet(replace(scene, members=2, rate=100, rooms=50, timeout_ms=5_000)) as run:
        sending = asyncio.create_task(run.send_gifts(duration_ms=36_000))
        await asyncio.sleep(4)
        await asyncio.to_thread(kafka_broker.kill)
        await asyncio.sleep(30)
        await asyncio.to_thread(kafka_broker.start)
        await sending
        await run.settle(within_s=150)

        assert_promises_kept(run, gifts_min=3_200)
