"""A run from end to end: chaos, then each timed fault alone, then the reckoning."""

import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public

from tests.chaos.inject import Injector
from tests.chaos.plan import PODS, Fault, Kind, plan
from tests.chaos.pods import IN_ORDER
from tests.chaos.report import BOUNDS_S, OPEN_BOUND_S, Recovery, Report
from tests.chaos.scene import Options, Scene, configuration, open_scene
from tests.chaos.waits import DUE_WITHIN_US

WARM_S: Final = 5.0

CALM_S: Final = 20.0
"""After the mixed faults, before one is measured alone: sessions end, brokers catch up."""

PAUSE_S: Final = 5.0
"""Between two that are measured alone."""

SETTLE_S: Final = 180.0
CALL_S: Final = 10.0
_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Found(NamedTuple):
    """How many faults were mixed, what those alone did, and what the audit said."""

    mixed_count: int
    alone: list[Recovery]
    audit: dict[str, Any]
    audit_exit_code: int


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


async def run(options: Options, folder: Path) -> Report:
    """Everything; the report says what was broken."""
    say(f"seed {options.seed}")
    async with open_scene(options, folder) as scene:
        injector = Injector(scene)
        faults = plan(options.seed, options.duration_s, options.every_s, brokers=options.brokers)
        say(f"{len(faults)} faults in {options.duration_s:.0f} s, {options.rate:.0f} gifts/s")
        async with scene.sending(options.rate, "mixed"):
            await asyncio.sleep(WARM_S)
            await injector.run(faults)
            mixed = len(injector.injected)
        async with scene.sending(options.alone_rate, "alone"):
            alone = await _alone(scene, injector)
        say("no more gifts; every one must get its result")
        await scene.settle(SETTLE_S)
        await asyncio.gather(*(pod.close() for pod in scene.pods))
        say("giftcheck audit")
        audit, audit_exit_code = await _audit(scene, folder)
        found = Found(mixed, alone, audit, audit_exit_code)
        return _report(scene, injector, found)


# --- one fault at a time ---------------------------------------------------------------------------


def timed_faults(rounds: int, away_rounds: int) -> Iterator[Fault]:
    """Those that have a time, in rounds; the pods take turns."""
    for number in range(rounds):
        target = number % PODS
        yield Fault(0.0, Kind.KILL, target, 2.0, 0.0)
        yield Fault(0.0, Kind.TERM, (target + 1) % PODS, 0.0, 0.0)
        yield Fault(0.0, Kind.ROLL, 0, 0.0, 0.0)
        if number < away_rounds:
            # Away until after the longest time allowed: nobody of that name helps.
            yield Fault(0.0, Kind.KILL_AND_STAY, (target + 2) % PODS, OPEN_BOUND_S + 1, 0.0)


async def _alone(scene: Scene, injector: Injector) -> list[Recovery]:
    recoveries: list[Recovery] = []
    pause_s = CALM_S
    for fault in timed_faults(scene.options.alone, scene.options.alone_away):
        await scene.all_ready()
        await asyncio.sleep(pause_s)
        recoveries.append(await _measured(scene, injector, fault))
        pause_s = PAUSE_S
    return recoveries


async def _measured(scene: Scene, injector: Injector, fault: Fault) -> Recovery:
    done = len(injector.injected)
    injecting = asyncio.create_task(injector.inject(fault))
    open_transaction = False
    if fault.kind is Kind.KILL_AND_STAY:
        await asyncio.sleep(2)
        struck = injector.injected[done].partitions or frozenset()
        open_transaction = await asyncio.to_thread(_held_back, scene, struck)
    await injecting
    ended_us = scene.now_us()
    await asyncio.sleep(BOUNDS_S[fault.kind] + PAUSE_S)
    kind, at_us, partitions = injector.injected[done]
    # A rolling restart strikes one room after the other: all that was due meanwhile counts.
    until_us = DUE_WITHIN_US + (ended_us if kind is Kind.ROLL else at_us)
    rooms = scene.waits.of_rooms(at_us, until_us, partitions)
    for room, waited_s in list(rooms.items())[-1:]:
        say(f"          {room} waited {waited_s:.2f} s, {_asked(scene, room, at_us, waited_s)}")
    return Recovery(kind, tuple(rooms.values()), open_transaction)


def _asked(scene: Scene, room_id: str, from_us: int, seconds: float) -> str:
    """When the API was asked about a room meanwhile: where a long wait comes from."""
    asked_s = [
        (arrival.time_us - from_us) / 1_000_000
        for arrival in scene.simulator.arrivals
        if arrival.room_id == room_id and 0 <= arrival.time_us - from_us <= seconds * 1_000_000
    ]
    return "asked at " + ", ".join(f"{at_s:.2f}" for at_s in asked_s)


def _held_back(scene: Scene, partitions: frozenset[int]) -> bool:
    """Whether readers of these rooms' results wait for a transaction that nobody ends."""
    admin = AdminClient({"bootstrap.servers": scene.cluster.bootstrap_servers})
    asked = [TopicPartition(scene.topics.gift_result, partition) for partition in partitions]
    ends: list[list[int]] = []
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        answers = admin.list_offsets(dict.fromkeys(asked, _LATEST), isolation_level=level)
        ends.append([future.result(CALL_S).offset for future in answers.values()])
    return ends[0] != ends[1]


# --- the reckoning ---------------------------------------------------------------------------------


async def _audit(scene: Scene, folder: Path) -> tuple[dict[str, Any], int]:
    """What `giftcheck audit --json` says, and its exit code."""
    file = folder / "audit.yaml"
    document = configuration(scene.cluster.bootstrap_servers, scene.topics)
    file.write_text(yaml.safe_dump(document))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumer", "audit", "--config", str(file), "--json",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    exit_code = process.returncode
    assert exit_code is not None
    return (json.loads(out) if out else {}), exit_code


def _report(scene: Scene, injector: Injector, found: Found) -> Report:
    ledger = scene.ledger
    mixed: defaultdict[Kind, list[float]] = defaultdict(list)
    for kind, at_us, partitions in injector.injected[: found.mixed_count]:
        if kind in BOUNDS_S:
            rooms = scene.waits.of_rooms(at_us, at_us + DUE_WITHIN_US, partitions)
            mixed[kind] += rooms.values()
    return Report(
        seed=scene.options.seed,
        rate=scene.options.rate,
        duration_s=scene.options.duration_s,
        gifts=ledger.gifts,
        results={status.value: count for status, count in ledger.results.items()},
        missing=ledger.missing,
        duplicates=ledger.duplicates,
        false_verdicts=ledger.false_verdicts,
        false_reasons=ledger.false_reasons,
        requests=scene.simulator.arrivals.count,
        room_requests_per_second_max=scene.simulator.arrivals.room_requests_per_second_max(),
        load_late_ms_max=scene.load_late_ms_max,
        exits={pod.name: tuple(pod.exits) for pod in scene.pods},
        needed_a_person=tuple(
            f"{pod.name} ended with {code}; the end of its log:\n{pod.log_tail()}"
            for pod in scene.pods
            for code in set(pod.exits) - IN_ORDER
        ),
        injected=Counter(each.kind for each in injector.injected[: found.mixed_count]),
        missed=injector.missed,
        mixed=mixed,
        alone=found.alone,
        audit=found.audit,
        audit_exit_code=found.audit_exit_code,
        failures=scene.failures,
    )
