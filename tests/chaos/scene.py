"""The whole of it: cluster, API, proxies, consumers, load, reader, and the ledger that judges."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from consumer.adapters.avro import decode_result, encode_sent
from consumer.core.model import GiftResult, GiftSent
from consumer.demo.kafka_broker import free_ports
from consumer.demo.load import Load, ProducedGift, planned_gifts
from consumer.demo.producer import GiftProducer
from consumer.demo.reader import ResultReader, VisibleResult
from consumer.demo.summary import Ledger
from consumer.simulator import (
    Gift,
    Simulator,
    SimulatorSettings,
    TruthSettings,
    false_verdict,
    serve,
)
from tests.chaos.cluster import Cluster, open_cluster
from tests.chaos.plan import BROKERS, PODS
from tests.chaos.pods import Pod
from tests.chaos.proxy import Proxy
from tests.chaos.waits import Waits
from tests.conftest import load_coordinators
from tests.kafka.topics import TopicNames

APP_ID: Final = 12_345
SECRET: Final = "secret-of-the-tests"
PARTITIONS: Final = 12
TIMEOUT_MS: Final = 10_000
SETTLE_MS: Final = 1_000
READY_S: Final = 90.0
DAY_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much chaos: seconds of it, then `alone` rounds of the faults that have a time.

    The first `alone_away` of these have a SIGKILL without return, too. With one broker (`brokers`
    is 1 or 3) nothing is replicated, and while it is away all of Kafka is.
    """

    seed: int
    duration_s: float = 600.0
    alone: int = 4
    alone_away: int = 3
    rate: float = 500.0
    alone_rate: float = 500.0
    rooms: int = 100
    every_s: tuple[float, float] = (2.0, 6.0)
    brokers: int = BROKERS


@dataclass(slots=True)
class Scene:
    """What faults are done to, and what tells how it went."""

    options: Options
    cluster: Cluster
    topics: TopicNames
    simulator: Simulator
    api: Proxy
    pods: tuple[Pod, ...]
    ledger: Ledger
    waits: Waits
    produce: Callable[[GiftSent], None]
    changed: asyncio.Event
    failures: list[str] = field(default_factory=list)
    load_late_ms_max: int = 0

    def now_us(self) -> int:
        """Unix time, as load and reader take it."""
        return self.simulator.clock_us()

    @asynccontextmanager
    async def sending(self, rate: float, name: str) -> AsyncIterator[None]:
        """Gifts are sent within the block, so many a second; none of another name is the same."""
        plan = planned_gifts(
            app_id=APP_ID, rate=rate, rooms=self.options.rooms, seed=self.options.seed, name=name
        )
        load = Load(
            plan,
            truth=self.simulator.truth,
            produce=self.produce,
            clock_us=self.simulator.clock_us,
            on_produced=self._produced,
        )
        task = asyncio.create_task(load.run(DAY_MS))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.load_late_ms_max = max(self.load_late_ms_max, load.late_us_max // 1_000)

    def _produced(self, produced: ProducedGift) -> None:
        self.ledger.produced(produced)
        self.waits.produced(produced)

    async def all_ready(self) -> None:
        """Wait until the pods own all partitions between them."""
        async with asyncio.timeout(READY_S):
            while True:
                owned = await asyncio.gather(*(pod.assigned() for pod in self.pods))
                if sum(map(len, owned)) == PARTITIONS and all(pod.running for pod in self.pods):
                    return
                await asyncio.sleep(0.2)

    async def settle(self, within_s: float) -> None:
        """Wait until every gift has its result, or the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while self.ledger.missing and not self.failures:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            self.failures.append(
                f"{self.ledger.missing} gifts without a result {within_s:.0f} s"
                " after the last fault was over"
            )
        await asyncio.sleep(1)  # for a result too many to show


@asynccontextmanager
async def open_scene(options: Options, folder: Path) -> AsyncIterator[Scene]:
    """Everything started and ready, within an `async with` block.

    Raises:
        ConfigurationError: there is no Kafka to be had.
    """
    topics = TopicNames.of_a_run("chaos")
    simulator = Simulator(
        SimulatorSettings(
            apps={APP_ID: SECRET}, truth=TruthSettings(seed=options.seed), seed=options.seed
        )
    )
    ledger = Ledger(timeout_ms=TIMEOUT_MS, settle_ms=SETTLE_MS, judge=_judge_of(simulator))
    waits = Waits(SETTLE_MS)
    changed = asyncio.Event()
    failures: list[str] = []

    def on_results(results: Sequence[VisibleResult]) -> None:
        for visible in results:
            ledger.visible(*visible)
            waits.visible(*visible)
        changed.set()

    def fail(reason: object) -> None:
        failures.append(f"the watcher itself failed: {reason}")
        changed.set()

    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_cluster(options.seed, options.brokers))
        await asyncio.to_thread(load_coordinators, cluster.bootstrap_servers)
        await asyncio.to_thread(cluster.create, topics, PARTITIONS)
        server = await stack.enter_async_context(serve(simulator))
        api = await stack.enter_async_context(Proxy(server.port, seed=options.seed))
        client: dict[str, str | int | float | bool] = {
            "bootstrap.servers": cluster.bootstrap_servers,
            "log_level": 2,
        }
        reader = ResultReader(
            topics.gift_result,
            client,
            decode=decode_result,
            clock_us=simulator.clock_us,
            on_results=on_results,
            on_error=fail,
        )
        stack.enter_context(reader)
        producer = GiftProducer(
            topics.gift_sent, {**client, "linger.ms": 5}, encode=encode_sent, on_error=fail
        )
        stack.enter_context(producer)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        )
        pods = tuple(
            _pod(number, folder, http, cluster.proxied_servers, topics, api.port)
            for number in range(PODS)
        )
        await stack.enter_async_context(_supervised(pods))
        scene = Scene(
            options,
            cluster,
            topics,
            simulator,
            api,
            pods,
            ledger,
            waits,
            producer.produce,
            changed,
            failures,
        )
        await scene.all_ready()
        yield scene


def configuration(bootstrap_servers: str, topics: TopicNames, **groups: Any) -> dict[str, Any]:
    """A consumer's configuration file, or an audit's."""
    kafka = {"bootstrap_servers": bootstrap_servers, "group_id": topics.group_id}
    return {
        "kafka": {**kafka, **groups.pop("kafka", {})},
        "topics": {
            "gift_sent": topics.gift_sent,
            "gift_result": topics.gift_result,
            "dead_letters": topics.dead_letters,
        },
        "apps": [{"app_id": APP_ID, "server_secret": SECRET}],
        **groups,
    }


def _pod(  # noqa: PLR0917  where it is, and whom it talks to
    number: int,
    folder: Path,
    http: aiohttp.ClientSession,
    servers: str,
    topics: TopicNames,
    api_port: int,
) -> Pod:
    name = f"giftcheck-{number}"
    [port] = free_ports(1)
    document = configuration(
        servers,
        topics,
        kafka={"instance_id": name},
        check={
            "base_url": f"http://127.0.0.1:{api_port}",
            "timeout": f"{TIMEOUT_MS}ms",
            "settle": f"{SETTLE_MS}ms",
        },
        http={"host": "127.0.0.1", "port": port},
    )
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    return Pod(name, file, folder / f"{name}.log", port, http)


@asynccontextmanager
async def _supervised(pods: tuple[Pod, ...]) -> AsyncIterator[None]:
    supervising = [asyncio.create_task(pod.supervise()) for pod in pods]
    for pod in pods:
        pod.start()
    try:
        yield
    finally:
        await asyncio.gather(*(pod.close() for pod in pods))
        for task in supervising:
            task.cancel()
        await asyncio.gather(*supervising, return_exceptions=True)


def _judge_of(simulator: Simulator) -> Callable[[Gift, GiftResult], str | None]:
    def judge(gift: Gift, result: GiftResult) -> str | None:
        return false_verdict(
            simulator.truth,
            simulator.arrivals,
            gift,
            status=result.status.value,
            result_code=result.result_code,
            request_id=result.request_id,
        )

    return judge
