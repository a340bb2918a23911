"""Faults, done: each a coroutine that takes as long as the fault lasts."""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from consumer.demo.kafka_broker import KafkaBroker
from consumer.errors import ConfigurationError
from consumer.simulator import Fault as ApiFault
from consumer.simulator import Kind as ApiKind
from tests.chaos.plan import Fault, Kind
from tests.chaos.pods import Pod
from tests.chaos.proxy import Proxy
from tests.chaos.scene import Scene

PASSES_ON_S: Final = 20.0
"""A rolling restart waits at most so long for each pod, amid other faults."""

BROKER_STARTS_MAX: Final = 5

CHART_VALUES: Final = Path(__file__).parents[2] / "helm" / "giftcheck" / "values.yaml"

READY_FOR_S: Final = float(yaml.safe_load(CHART_VALUES.read_text("utf-8"))["minReadySeconds"]) - 1
"""So long at least a pod is ready before the next one is restarted, as the chart's StatefulSet has it:
Kubernetes counts from the whole second in which it became ready (`tests/cluster`). It is what a
hand-over takes; else rooms change hands anew before the last hand-over is through."""


class Injected(NamedTuple):
    """A fault that was done: when (Unix time), to what, and whose partitions it struck.

    `partitions` is None where all are concerned.
    """

    kind: Kind
    at_us: int
    partitions: frozenset[int] | None


@dataclass(slots=True)
class Injector:
    """Does planned faults to a scene; remembers which, and which found nothing to strike."""

    scene: Scene
    injected: list[Injected] = field(default_factory=list)
    missed: Counter[Kind] = field(default_factory=Counter)

    async def run(self, faults: Sequence[Fault]) -> None:
        """All of them at their times; returns when the last is over."""
        began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                late_s = asyncio.get_running_loop().time() - began_s
                await asyncio.sleep(max(0.0, fault.at_s - late_s))
                group.create_task(self.inject(fault))

    async def inject(self, fault: Fault) -> None:
        """One, now."""
        clock = time.strftime("%H:%M:%S", time.gmtime(self.scene.now_us() / 1_000_000))
        print(f"{clock}  {fault.kind}, {fault.hold_s:.1f} s", file=sys.stderr, flush=True)
        await self._acts()[fault.kind](fault)

    def _acts(self) -> dict[Kind, Callable[[Fault], Awaitable[None]]]:
        return {
            Kind.KILL: self._kill,
            Kind.KILL_AND_STAY: self._kill,
            Kind.TERM: self._term,
            Kind.STOP: self._stop,
            Kind.ROLL: self._roll,
            Kind.SCALE: self._scale,
            Kind.BROKER_KILL: self._kill_broker,
            Kind.GROUP_COORDINATOR_KILL: self._kill_broker,
            Kind.TRANSACTION_COORDINATOR_KILL: self._kill_broker,
            Kind.BROKER_TERM: self._restart_broker,
            Kind.API_OUTAGE: self._api,
            Kind.API_RESET: self._api,
            Kind.API_SLOW: self._api,
            Kind.API_HALVED: self._api,
            Kind.API_HANG: self._api_says_nothing_right,
            Kind.API_STALL: self._api,
            Kind.API_STATUS: self._api_says_nothing_right,
            Kind.KAFKA_CUT: self._kafka,
            Kind.KAFKA_REFUSED: self._kafka,
            Kind.KAFKA_SLOW: self._kafka,
            Kind.KAFKA_STALL: self._kafka,
        }

    def _note(self, kind: Kind, partitions: frozenset[int] | None = frozenset()) -> None:
        self.injected.append(Injected(kind, self.scene.now_us(), partitions))

    # --- consumers ---------------------------------------------------------------------------------

    async def _struck(self, fault: Fault) -> Pod | None:
        """The process that is meant, noted with its partitions; None: it is away, and missed."""
        pod = self.scene.pods[fault.target]
        owned = await pod.assigned()
        if not pod.running:
            self.missed[fault.kind] += 1
            return None
        self._note(fault.kind, owned)
        return pod

    async def _kill(self, fault: Fault) -> None:
        pod = await self._struck(fault)
        if pod is None:
            return
        pod.kill(fault.hold_s)
        await asyncio.sleep(fault.hold_s)

    async def _term(self, fault: Fault) -> None:
        pod = await self._struck(fault)
        if pod is None:
            return
        pod.send(signal.SIGTERM)

    async def _stop(self, fault: Fault) -> None:
        pod = await self._struck(fault)
        if pod is None:
            return
        pod.send(signal.SIGSTOP)
        await asyncio.sleep(fault.hold_s)
        pod.send(signal.SIGCONT)

    async def _roll(self, fault: Fault) -> None:
        """As a StatefulSet is updated: the highest number first, each one until it is ready."""
        self._note(fault.kind, None)
        for pod in reversed(self.scene.pods):
            try:
                async with asyncio.timeout(PASSES_ON_S):
                    await pod.restart()
            except TimeoutError:
                self.missed[fault.kind] += 1
            await asyncio.sleep(READY_FOR_S)

    async def _scale(self, fault: Fault) -> None:
        self._note(fault.kind, None)
        for pod in self.scene.pods[1:]:
            pod.scale_away()
        await asyncio.sleep(fault.hold_s)
        for pod in self.scene.pods[1:]:
            pod.start()

    # --- brokers -----------------------------------------------------------------------------------

    async def _kill_broker(self, fault: Fault) -> None:
        number = await self._broker_of(fault)
        broker = self.scene.cluster.brokers[number]
        self._note(fault.kind)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(fault.hold_s)
        await self._bring_back(broker)

    async def _restart_broker(self, fault: Fault) -> None:
        broker = self.scene.cluster.brokers[fault.target]
        self._note(fault.kind)
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(fault.hold_s)
        await self._bring_back(broker)

    async def _bring_back(self, broker: KafkaBroker) -> None:
        """Start it, again if need be: brokers are supervised, too (seen: one ended at its start)."""
        for _ in range(BROKER_STARTS_MAX - 1):
            try:
                await asyncio.to_thread(broker.start)
            except ConfigurationError:
                await asyncio.to_thread(broker.kill)
            else:
                return
        await asyncio.to_thread(broker.start)

    async def _broker_of(self, fault: Fault) -> int:
        """The broker that is meant; where it cannot be asked for, the one that was drawn."""
        group_id = self.scene.topics.group_id
        pod = self.scene.pods[fault.target]
        match fault.kind:
            case Kind.GROUP_COORDINATOR_KILL:
                wanted = "__consumer_offsets", group_id
            case Kind.TRANSACTION_COORDINATOR_KILL:
                wanted = "__transaction_state", f"{group_id}/{pod.name}"
            case _:
                return fault.target
        leader = await asyncio.to_thread(self.scene.cluster.leader, *wanted)
        return fault.target if leader is None else leader

    # --- connections -------------------------------------------------------------------------------

    async def _api(self, fault: Fault) -> None:
        self._note(fault.kind)
        await self._harm(self.scene.api, fault)

    async def _kafka(self, fault: Fault) -> None:
        self._note(fault.kind)
        await self._harm(self.scene.cluster.proxies[fault.target], fault)

    async def _harm(self, proxy: Proxy, fault: Fault) -> None:
        match fault.kind:
            case Kind.API_OUTAGE | Kind.KAFKA_REFUSED:
                harm = proxy.refusing()
            case Kind.API_SLOW:
                harm = proxy.slowing(0.1 + fault.strength)
            case Kind.KAFKA_SLOW:
                harm = proxy.slowing(0.02 + fault.strength * 0.3)
            case Kind.API_HALVED:
                harm = proxy.halving(0.1 + fault.strength * 0.5)
            case Kind.API_STALL | Kind.KAFKA_STALL:
                harm = proxy.holding()
            case _:
                proxy.cut()
                return
        with harm:
            await asyncio.sleep(fault.hold_s)

    async def _api_says_nothing_right(self, fault: Fault) -> None:
        self._note(fault.kind)
        kind = ApiKind.HANG if fault.kind is Kind.API_HANG else ApiKind.STATUS
        share = 0.1 + fault.strength * 0.6
        with self.scene.simulator.faults.holding(ApiFault(kind=kind, share=share)):
            await asyncio.sleep(fault.hold_s)
