"""The consumer under two loads: a backlog to drain, and a rate to hold.

Gifts are sent, results read and judged here; the consumer and the simulated API are processes of
their own. Delay is what the demo's ledger means by it: from the later of "consumed" and
"produced" until a `read_committed` reader has the result.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import aiohttp

from consumer.adapters.avro import decode_result, encode_sent
from consumer.core.model import GiftResult, Status
from consumer.demo.load import Load, PlannedGift, ProducedGift, gift_of, planned_gifts
from consumer.demo.percentiles import Percentiles
from consumer.demo.process import ConsumerProcess
from consumer.demo.producer import GiftProducer
from consumer.demo.reader import ResultReader, VisibleResult
from consumer.demo.summary import Ledger
from consumer.simulator import Gift, Truth
from tests.bench.api import APP_ID, SECRET, TRUTH
from tests.bench.usage import usage_of
from tests.kafka.topics import TopicNames, create

PARTITIONS: Final = 8
TIMEOUT_MS: Final = 30_000
SETTLE_MS: Final = 1_000

BACKLOG_AGE_MS: Final = 60_000
"""Every gift of a backlog is past its deadline: nothing but work keeps its result from coming."""

WARM_UP_MS: Final = TIMEOUT_MS + SETTLE_MS + 1_000
"""Until then no gift has been found unconsumed, and fewer are pending than later on."""

DRAIN_MAX_S: Final = 300.0
SAMPLE_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and how much."""

    bootstrap_servers: str
    folder: Path
    rooms: int
    request_price: float


class Mark(NamedTuple):
    """How far everything has come at an instant; what a run measured lies between two."""

    at_us: int
    gifts: int
    delays: int
    lates: int
    checks: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to between two marks; `ledger` says whether all of it was right."""

    begin: Mark
    end: Mark
    ledger: Ledger
    resident_mib_max: float
    room_requests_per_second_max: int
    load_late_ms_max: int = 0

    def as_json(self) -> dict[str, Any]:
        """The figures by their names; delays in milliseconds."""
        begin, end, ledger = self.begin, self.end, self.ledger
        gifts, elapsed_s = end.gifts - begin.gifts, (end.at_us - begin.at_us) / 1_000_000
        return {
            "gifts": gifts,
            "elapsed_s": round(elapsed_s, 2),
            "gifts_per_s": round(gifts / elapsed_s),
            "cpu_s_per_1000_gifts": round((end.cpu_s - begin.cpu_s) / gifts * 1_000, 4),
            "resident_mib_max": round(self.resident_mib_max),
            "checks_per_gift": round((end.checks - begin.checks) / gifts, 3),
            "delay_ms": Percentiles.of(ledger.delay_ms[begin.delays : end.delays])._asdict(),
            "unconsumed_late_ms": Percentiles.of(
                ledger.unconsumed_late_ms[begin.lates : end.lates]
            )._asdict(),
            "room_requests_per_second_max": self.room_requests_per_second_max,
            "missing": ledger.missing,
            "duplicates": ledger.duplicates,
            "false_verdicts": ledger.false_verdicts,
            "load_late_ms_max": self.load_late_ms_max,
        }


class Watched:
    """One consumer's topics, its gifts and its results; made by `watched`."""

    def __init__(self, bench: Bench, topics: TopicNames, api_url: str) -> None:
        self.bench = bench
        self.topics = topics
        self.api_url = api_url
        self.truth = Truth(TRUTH)
        self.ledger = Ledger(timeout_ms=TIMEOUT_MS, settle_ms=SETTLE_MS, judge=self._judge)
        self.last_visible_us = 0
        self._changed = asyncio.Event()
        self._failure: Exception | None = None

    def consumer(self) -> ConsumerProcess:
        """The consumer to measure: not started yet."""
        names = self.topics
        configuration = {
            "kafka": {
                "bootstrap_servers": self.bench.bootstrap_servers,
                "group_id": names.group_id,
                "instance_id": "bench-0",
            },
            "topics": {
                "gift_sent": names.gift_sent,
                "gift_result": names.gift_result,
                "dead_letters": names.dead_letters,
            },
            "apps": [{"app_id": APP_ID, "server_secret": SECRET}],
            "check": {
                "base_url": self.api_url,
                "timeout": f"{TIMEOUT_MS}ms",
                "settle": f"{SETTLE_MS}ms",
                "request_price": self.bench.request_price,
            },
        }
        return ConsumerProcess(configuration, self.bench.folder, embedded_broker=False)

    def producer(self) -> GiftProducer:
        """The sender of this consumer's gifts."""
        return GiftProducer(
            self.topics.gift_sent,
            {
                "bootstrap.servers": self.bench.bootstrap_servers,
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
            },
            encode=encode_sent,
            on_error=lambda reason: self._on_error(RuntimeError(f"gift-sent: {reason}")),
        )

    def reader(self) -> ResultReader:
        """The reader of its results, which hands them to the ledger."""
        return ResultReader(
            self.topics.gift_result,
            {"bootstrap.servers": self.bench.bootstrap_servers},
            decode=decode_result,
            clock_us=_now_us,
            on_results=self._on_results,
            on_error=self._on_error,
        )

    async def all_results(self, within_s: float) -> None:
        """Wait until no gift is without a result, or until the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while self.ledger.missing:
                    if self._failure is not None:
                        raise self._failure
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            print(f"{self.ledger.missing} results are missing", file=sys.stderr)

    async def requests(self) -> dict[str, int]:
        """What the simulated API has seen so far."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.api_url}/summary") as response,
        ):
            seen: dict[str, int] = await response.json()
            return seen

    async def mark(self, pid: int) -> Mark:
        """How far everything has come now."""
        ledger, requests = self.ledger, await self.requests()
        return Mark(
            _now_us(),
            ledger.gifts,
            len(ledger.delay_ms),
            len(ledger.unconsumed_late_ms),
            requests["requests"],
            usage_of(pid).cpu_s,
        )

    def _judge(self, gift: Gift, result: GiftResult) -> str | None:
        """By the truth alone; the record of arrivals is in the API's process."""
        fate = self.truth.fate(gift)
        if fate is None or fate.consumed_wall_ms is None:
            expected = Status.UNCONSUMED
        else:
            expected = Status.FAILED if fate.result_code else Status.SUCCEEDED
        return None if result.status is expected else f"{result.status} instead of {expected}"

    def _on_results(self, results: Sequence[VisibleResult]) -> None:
        for visible in results:
            self.ledger.visible(*visible)
        self.last_visible_us = results[-1].visible_us
        self._changed.set()

    def _on_error(self, error: Exception) -> None:
        self._failure = error
        self._changed.set()


@asynccontextmanager
async def watched(bench: Bench, run: str) -> AsyncIterator[Watched]:
    """Topics of its own, and an API that knows their gifts."""
    topics = TopicNames.of_a_run(run)
    create(bench.bootstrap_servers, topics, partitions=PARTITIONS)
    api = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.api", bench.bootstrap_servers, topics.gift_sent,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert api.stdout is not None
    try:
        yield Watched(bench, topics, (await api.stdout.readline()).decode().strip())
    finally:
        api.terminate()
        await api.wait()


async def drain(watched: Watched) -> Outcome:
    """Start the consumer on what is waiting; the clock runs from before it is started."""
    began = Mark(_now_us(), 0, 0, 0, 0, 0.0)
    async with watched.consumer() as consumer:
        with watched.reader():
            async with _Memory(consumer.pid) as memory:
                await watched.all_results(DRAIN_MAX_S)
        ended = await watched.mark(consumer.pid)
    return await _outcome(watched, began, ended._replace(at_us=watched.last_visible_us), memory)


async def hold(watched: Watched, rate: float, seconds: int) -> Outcome:
    """Send at a rate to a consumer that is ready; measured once deadlines have begun to pass."""
    async with watched.consumer() as consumer:
        await consumer.ready()
        with watched.producer() as producer, watched.reader():
            load = Load(
                planned_gifts(app_id=APP_ID, rate=rate, rooms=watched.bench.rooms, seed=1),
                truth=watched.truth,
                produce=producer.produce,
                clock_us=_now_us,
                on_produced=watched.ledger.produced,
            )
            async with _Memory(consumer.pid) as memory:
                await load.run(WARM_UP_MS)
                began = await watched.mark(consumer.pid)
                await load.run(seconds * 1_000)
                ended = await watched.mark(consumer.pid)
            await watched.all_results(WARM_UP_MS / 1_000 + 30)
    return await _outcome(watched, began, ended, memory, load.late_us_max // 1_000)


async def _outcome(
    watched: Watched, begin: Mark, end: Mark, memory: "_Memory", load_late_ms_max: int = 0
) -> Outcome:
    requests = await watched.requests()
    return Outcome(
        begin=begin,
        end=end,
        ledger=watched.ledger,
        resident_mib_max=memory.highest_mib,
        room_requests_per_second_max=requests["room_requests_per_second_max"],
        load_late_ms_max=load_late_ms_max,
    )


def fill(watched: Watched, count: int) -> None:
    """Send gifts as if a while ago: their deadlines are over."""
    plan: Iterator[PlannedGift] = planned_gifts(
        app_id=APP_ID, rate=1, rooms=watched.bench.rooms, seed=1
    )
    sent_us = _now_us() - BACKLOG_AGE_MS * 1_000
    with watched.producer() as producer:
        for planned in islice(plan, count):
            sent = planned.sent._replace(sent_at=sent_us // 1_000)
            gift = gift_of(sent)
            fate = watched.truth.send(gift, sent.sent_at)
            producer.produce(sent)
            watched.ledger.produced(ProducedGift(gift, fate, sent_us))
        producer.flush()


class _Memory:
    """Looks at a process's memory twice a second within an `async with` block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.highest_mib = 0.0

    async def __aenter__(self) -> Self:
        """Begin."""
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End; the process may be gone by now."""
        self._task.cancel()

    async def _look(self) -> None:
        while True:
            self.highest_mib = max(self.highest_mib, usage_of(self._pid).resident_mib)
            await asyncio.sleep(SAMPLE_EVERY_S)


def _now_us() -> int:
    return time.time_ns() // 1_000
