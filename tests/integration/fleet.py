"""Several real consumers, a real Kafka, the simulated API, and somebody who kills and supervises.

The parts are those of the demo: the same load, the same reader, the same ledger that judges every
result. A supervisor restarts what was killed and what ends with exit code 70, as Kubernetes would;
any other exit fails the test.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import yaml

from consumer.adapters.avro import decode_result, encode_sent
from consumer.core.model import GiftResult, GiftSent
from consumer.demo.load import Load, planned_gifts
from consumer.demo.producer import GiftProducer
from consumer.demo.reader import ResultReader, VisibleResult
from consumer.demo.summary import Ledger
from consumer.simulator import Simulator, SimulatorServer, SimulatorSettings, false_verdict, serve
from consumer.simulator.truth import Gift, TruthSettings
from tests.kafka.topics import TopicNames, create

APP_ID: Final = 12345
SECRET: Final = "secret-of-the-tests"
RESTART_NEEDED: Final = 70
SETTLE_MS: Final = 1_000
STOP_S: Final = 15
PARTITIONS: Final = 8


@dataclass(slots=True)
class Member:
    """One consumer under supervision: its process may come and go, its name stays."""

    name: str
    configuration: Path
    log: Path
    begin: asyncio.Event
    exits: list[int] = field(default_factory=list)
    stopping: bool = False
    process: asyncio.subprocess.Process | None = None

    async def supervise(self) -> None:
        """Start it when `begin` is set, and again whenever it was killed or wants a restart."""
        await self.begin.wait()
        while not self.stopping:
            with self.log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "consumer", "run", "--config", str(self.configuration),
                    stdout=log, stderr=log,
                )  # fmt: skip
            code = await self.process.wait()
            self.exits.append(code)
            if self.stopping:
                return
            if code not in {-signal.SIGKILL, RESTART_NEEDED}:
                raise AssertionError(f"{self.name} ended with {code}:\n{self.log_tail()}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if one runs now."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def stop(self) -> None:
        """End it for good: gracefully, or at once if it does not let itself be ended."""
        self.stopping = True
        self.begin.set()
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                if self.process is not None:
                    await self.process.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)

    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-15:])


@dataclass(slots=True)
class Fleet:
    """What a test sees: members to hurt, a simulator to hurt, and the ledger of it all."""

    members: list[Member]
    server: SimulatorServer
    ledger: Ledger
    load: Load
    changed: asyncio.Event
    failure: "asyncio.Future[None]"

    @property
    def simulator(self) -> Simulator:
        """The simulated API."""
        return self.server.simulator

    @asynccontextmanager
    async def killing_at_random(
        self, random: Random, *, every_s: tuple[float, float]
    ) -> AsyncIterator[None]:
        """SIGKILL one member after the other within the block."""

        async def kill() -> None:
            while True:
                await asyncio.sleep(random.uniform(*every_s))
                random.choice(self.members).send(signal.SIGKILL)

        killing = asyncio.create_task(kill())
        try:
            yield
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)

    async def send_gifts(self, duration_ms: int) -> None:
        """Send gifts for so long."""
        await self.load.run(duration_ms)

    async def settle(self, within_s: float) -> None:
        """Wait until every gift has its result, and a moment more for one too many to show."""
        async with asyncio.timeout(within_s):
            while self.ledger.missing:
                if self.failure.done():
                    self.failure.result()
                self.changed.clear()
                await self.changed.wait()
        await asyncio.sleep(1)

    def report(self) -> dict[str, object]:
        """What came of it."""
        ledger = self.ledger
        return {
            "gifts": ledger.gifts,
            "results": {status.value: count for status, count in ledger.results.items()},
            "missing": ledger.missing,
            "duplicates": ledger.duplicates,
            "false": ledger.false_reasons,
            "requests": self.simulator.arrivals.count,
            "room_requests_per_second_max": self.requests_per_second_max(),
            "exits": {member.name: member.exits for member in self.members},
        }

    def requests_per_second_max(self) -> int:
        """Most requests in any half-open second of any room, as the server saw them."""
        return self.simulator.arrivals.room_requests_per_second_max()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a fleet is made of.

    `check` are settings of that group on top of the usual ones, `settings` are other groups, and
    `gift_sent` is that topic's configuration. The last `late` of the members start when the test
    sets their `begin`. The API knows the `apps` by their secrets; `adapt` may change what is sent.
    """

    bootstrap_servers: str
    topics: TopicNames
    folder: Path
    members: int = 3
    late: int = 0
    partitions: int = PARTITIONS
    rate: float = 500
    rooms: int = 500
    seed: int = 1
    timeout_ms: int = 10_000
    check: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    gift_sent: Mapping[str, str] = field(default_factory=dict)
    apps: Mapping[int, str] = field(default_factory=lambda: {APP_ID: SECRET})
    adapt: Callable[[GiftSent], GiftSent] = field(default=lambda sent: sent)

    def member(self, number: int, base_url: str) -> Member:
        """A member with its configuration written."""
        name = f"giftcheck-{number}"
        document = {
            "kafka": {
                "bootstrap_servers": self.bootstrap_servers,
                "group_id": self.topics.group_id,
                "instance_id": name,
                "outage_max": "60s",  # a hanging client call then ends the process after 90 s
            },
            "topics": {
                "gift_sent": self.topics.gift_sent,
                "gift_result": self.topics.gift_result,
                "dead_letters": self.topics.dead_letters,
            },
            "apps": [{"app_id": APP_ID, "server_secret": SECRET}],
            "check": {"base_url": base_url, "timeout": f"{self.timeout_ms}ms", **self.check},
            "http": {"host": "127.0.0.1", "port": 0},
            **self.settings,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        member = Member(name, path, self.folder / f"{name}.log", asyncio.Event())
        if number < self.members - self.late:
            member.begin.set()
        return member


@asynccontextmanager
async def fleet(scene: Scene) -> AsyncIterator[Fleet]:
    """Members that run, a reader that reads, a load that may be sent."""
    create(
        scene.bootstrap_servers,
        scene.topics,
        partitions=scene.partitions,
        gift_sent=scene.gift_sent,
    )
    truth = TruthSettings(seed=scene.seed)
    simulator = Simulator(SimulatorSettings(apps=scene.apps, truth=truth, seed=scene.seed))
    ledger = Ledger(timeout_ms=scene.timeout_ms, settle_ms=SETTLE_MS, judge=_judge_of(simulator))
    changed = asyncio.Event()
    failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_results(results: Sequence[VisibleResult]) -> None:
        for visible in results:
            ledger.visible(*visible)
        changed.set()

    def on_error(error: Exception) -> None:
        if not failure.done():
            failure.set_exception(error)
        changed.set()

    def not_sent(text: str) -> None:
        on_error(AssertionError(f"a gift was not sent: {text}"))

    reader = ResultReader(
        scene.topics.gift_result,
        {"bootstrap.servers": scene.bootstrap_servers},
        decode=decode_result,
        clock_us=simulator.clock_us,
        on_results=on_results,
        on_error=on_error,
    )
    async with serve(simulator) as server:
        crew = [scene.member(number, server.base_url) for number in range(scene.members)]
        with reader, _load(scene, simulator, ledger, not_sent) as load:
            async with _supervised(crew):
                yield Fleet(crew, server, ledger, load, changed, failure)


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


@contextmanager
def _load(
    scene: Scene, simulator: Simulator, ledger: Ledger, on_error: Callable[[str], None]
) -> Iterator[Load]:
    client: dict[str, str | int | float | bool] = {
        "bootstrap.servers": scene.bootstrap_servers,
        "linger.ms": 5,
    }
    plan = planned_gifts(app_id=APP_ID, rate=scene.rate, rooms=scene.rooms, seed=scene.seed)
    with GiftProducer(
        scene.topics.gift_sent, client, encode=encode_sent, on_error=on_error
    ) as producer:
        yield Load(
            (planned._replace(sent=scene.adapt(planned.sent)) for planned in plan),
            truth=simulator.truth,
            produce=producer.produce,
            clock_us=simulator.clock_us,
            on_produced=ledger.produced,
        )
        producer.flush()


@asynccontextmanager
async def _supervised(crew: list[Member]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        for member in crew:
            group.create_task(member.supervise())
        try:
            yield
        finally:
            await asyncio.gather(*(member.stop() for member in crew))
