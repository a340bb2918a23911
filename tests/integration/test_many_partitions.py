"""Several hundred partitions in one process, on a real Kafka (design §4: big maps; §5: the lease)."""

import asyncio
import math
from dataclasses import replace

import aiohttp
import pytest

from consumer.demo.kafka_broker import free_ports
from consumer.demo.percentiles import Percentiles
from tests.integration.fleet import Scene, fleet

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

PARTITIONS = 300
SENDING_MS = 12_000

LOOK_EVERY_S = 0.5
LOOKS_MAX = 4
"""A lease is there after a commit, which takes no longer than a result, which takes a check, too: so
many looks as the slowest results take in this run, but never as many as the 3 s of a lease."""


async def unleased(status_url: str, until: asyncio.Event) -> list[set[int]]:
    """The partitions with pending gifts and without a lease, twice a second until told to stop."""
    seen: list[set[int]] = []
    async with aiohttp.ClientSession() as session:
        while not until.is_set():
            async with session.get(status_url) as response:
                partitions = (await response.json())["core"]["partitions"]
            assert len(partitions) == PARTITIONS
            pending = [one for one in partitions if one["pending_gifts"]]
            seen.append({one["partition"] for one in pending if not one["lease_left_ms"]})
            await asyncio.sleep(LOOK_EVERY_S)
    return seen


async def test_three_hundred_partitions_keep_their_leases(scene: Scene) -> None:
    """An idle one has none; its first gift gets it one at once, and it lasts while gifts pend."""
    [port] = free_ports(1)
    scene = replace(
        scene,
        members=1,
        partitions=PARTITIONS,
        rate=200,
        rooms=1_000,
        settings={"http": {"host": "127.0.0.1", "port": port}},
    )
    async with fleet(scene) as run:
        await run.send_gifts(duration_ms=3_000)  # until it has joined, and a little more
        await run.settle(within_s=60)
        joined, over = len(run.ledger.delay_ms), asyncio.Event()
        looking = asyncio.create_task(unleased(f"http://127.0.0.1:{port}/status", over))
        await run.send_gifts(duration_ms=SENDING_MS)
        over.set()
        seen = await looking
        await run.settle(within_s=60)
        delay_ms = Percentiles.of(run.ledger.delay_ms[joined:])
        print(f"{run.report()}, delay {delay_ms}, without a lease {[len(one) for one in seen]}")
        assert (0, 0, 0) == (run.ledger.missing, run.ledger.duplicates, run.ledger.false_verdicts)
    assert len(seen) >= SENDING_MS // 1_000
    assert delay_ms.p99 is not None
    looks = min(LOOKS_MAX, 1 + math.ceil(delay_ms.p99 / 1_000 / LOOK_EVERY_S))
    for begin in range(len(seen) - looks + 1):
        assert set.intersection(*seen[begin : begin + looks]) == set(), (begin, looks)
