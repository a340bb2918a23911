"""What one gift costs in each stage of the consumer, in microseconds of CPU.

`python -m tests.bench.gift` starts a Kafka and prints the table of README's "Measured". CPU time
of the whole process is counted, the Kafka client's own threads included, and only one stage runs
at a time: the figures bear a busy machine, and threads that wait for each other are not in them.

The core is driven in virtual time at 5,000 gifts/s in 2,000 rooms, from 32 s on, when deadlines
pass. A stage that is done for each check or each transaction is divided by its gifts.
"""

import argparse
import asyncio
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvloop
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from consumer.adapters.avro import AvroCodec, encode_sent
from consumer.adapters.check_api import CheckApi
from consumer.adapters.kafka.intake import decoded
from consumer.clock import SystemClock
from consumer.core.learning import LearnedHazards
from consumer.core.messages import (
    CheckAnswered,
    CutCommitted,
    PartitionAssigned,
    RecordsRead,
    SendCheck,
)
from consumer.core.model import Answer, Check, CheckRules, Entry, GiftRead, GiftResult, GiftSent
from consumer.core.scheduler import Scheduler
from consumer.demo.kafka_broker import KafkaBroker
from consumer.demo.load import gift_of, planned_gifts
from consumer.garbage import collect_seldom
from consumer.simulator import Truth
from tests.bench.api import APP_ID, SECRET, TRUTH
from tests.conftest import load_coordinators
from tests.kafka.topics import TopicNames, create

RATE: Final = 5_000
ROOMS: Final = 2_000
PARTITIONS: Final = 8
WARM_UP_MS: Final = 32_000
MEASURED_MS: Final = 8_000
TURN_MS: Final = 5
COMMIT_MS: Final = 50
ROUND_TRIP_MS: Final = 30
NOW_MS: Final = 1_000_000
WALL_MS: Final = 1_700_000_000_000
SAMPLE: Final = 20_000


class Costs:
    """CPU seconds by stage, while `on`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.on = True

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what the block uses."""
        began_s = time.process_time()
        yield
        if self.on:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - began_s


class CoreDrive:
    """The core under a steady load, its API answering from the truth after a round trip."""

    def __init__(self, price_ms: float, costs: Costs) -> None:
        self._costs = costs
        self._truth = Truth(TRUTH)
        rules = CheckRules(request_price_ms=price_ms)
        self._core = Scheduler(
            rules, instance="bench", hazards=LearnedHazards(), jitter=lambda: 0.0
        )
        self._plan = planned_gifts(app_id=APP_ID, rate=RATE, rooms=ROOMS, seed=1)
        self._next = next(self._plan)
        self._offsets = [0] * PARTITIONS
        self._sent_at: dict[str, int] = {}
        self._flights: deque[tuple[int, Check]] = deque()
        self.now_ms = NOW_MS
        self.gifts = self.checks = self.ids = 0
        self.results: list[GiftResult] = []
        for partition in range(PARTITIONS):
            self._core.handle(PartitionAssigned(partition, 1, 0, 0, None), NOW_MS, WALL_MS)
        self._commit()

    @property
    def wall_ms(self) -> int:
        """Unix time, in step with the monotonic."""
        return self.now_ms - NOW_MS + WALL_MS

    def run(self, for_ms: int) -> None:
        """Let time pass in turns."""
        self.gifts = self.checks = self.ids = 0
        for _ in range(0, for_ms, TURN_MS):
            self.now_ms += TURN_MS
            records, answers = list(self._records()), list(self._answers())
            with self._costs.of("core: take into its window"):
                for batch in records:
                    self._core.handle(batch, self.now_ms, self.wall_ms)
            with self._costs.of("core: match answers, decide"):
                for answer in answers:
                    self._core.handle(answer, self.now_ms, self.wall_ms)
            with self._costs.of("core: when to ask, which ids"):
                actions = self._core.poll(self.now_ms)
                self._core.next_wakeup()
            for action in actions:
                if isinstance(action, SendCheck):
                    self._flights.append((self.now_ms + ROUND_TRIP_MS, action.check))
                    self.checks += 1
                    self.ids += len(action.check.msg_ids)
            if (self.now_ms - NOW_MS) % COMMIT_MS == 0 and self._core.wants_cut():
                with self._costs.of("core: cut, maps encoded"):
                    self._commit()

    def _commit(self) -> None:
        cut = self._core.cut(self.now_ms, self.wall_ms)
        if cut is not None:
            self._core.handle(CutCommitted(cut.cut_id), self.now_ms, self.wall_ms)
            self.results += cut.results

    def _records(self) -> Iterator[RecordsRead]:
        batches: dict[int, list[GiftRead]] = {}
        while self._next.offset_us <= (self.now_ms - NOW_MS) * 1_000:
            sent = self._next.sent._replace(sent_at=self.wall_ms)
            self._next = next(self._plan)
            partition = int(sent.room_id[-4:]) % PARTITIONS
            record = GiftRead(self._offsets[partition], sent.sent_at, APP_ID, sent)
            self._offsets[partition] += 1
            batches.setdefault(partition, []).append(record)
            self._truth.send(gift_of(sent), sent.sent_at)
            self.gifts += 1
        for partition, records in batches.items():
            yield RecordsRead(partition, 1, tuple(records), self._offsets[partition])

    def _answers(self) -> Iterator[CheckAnswered]:
        while self._flights and self._flights[0][0] <= self.now_ms:
            _, check = self._flights.popleft()
            arrived_wall_ms = self.wall_ms - ROUND_TRIP_MS // 2
            consumed = self._truth.consumed(
                APP_ID, check.room_id, check.mini_game_id, check.msg_ids, arrived_wall_ms
            )
            entries = tuple(
                Entry(gift.msg_id, fate.result_code, None, gift.timestamp_ms)
                for gift, fate in consumed
            )
            yield CheckAnswered(check.check_id, Answer(0, "success", "request-1", entries))


def fill(servers: str, topics: TopicNames) -> list[GiftSent]:
    """Put a sample of gifts on gift-sent, all of them consumed long ago or never."""
    plan = planned_gifts(app_id=APP_ID, rate=RATE, rooms=ROOMS, seed=2)
    wall_ms = SystemClock().wall_ms() - 60_000
    sample = [next(plan).sent._replace(sent_at=wall_ms) for _ in range(SAMPLE)]
    producer = Producer({"bootstrap.servers": servers})
    for sent in sample:
        producer.produce(topics.gift_sent, encode_sent(sent), key=sent.room_id.encode())
    producer.flush(30)
    return sample


def read_and_decode(servers: str, topics: TopicNames, costs: Costs) -> None:
    """The Kafka thread's way in."""
    reader = Consumer({"bootstrap.servers": servers, "group.id": "bench-gift-reads"})
    reader.assign(
        [TopicPartition(topics.gift_sent, number, OFFSET_BEGINNING) for number in range(PARTITIONS)]
    )
    codec, count = AvroCodec(frozenset({APP_ID})), 0
    while count < SAMPLE:
        with costs.of("Kafka: read"):
            first = reader.poll(1)
            messages = [] if first is None else [first, *reader.consume(2_000, 0)]
        with costs.of("Avro: decode"):
            for message in messages:
                decoded(codec, message, message.offset() or 0)
        count += len(messages)
    reader.close()


def encode_and_commit(
    servers: str, topics: TopicNames, results: list[GiftResult], costs: Costs
) -> None:
    """The Kafka thread's way out: transactions of as many results as 50 ms bring."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": "bench-gift-writes",
            "partitioner": "murmur2_random",
        }
    )
    producer.init_transactions(30)
    group = Consumer({"bootstrap.servers": servers, "group.id": "bench-gift-writes"})
    offsets = [TopicPartition(topics.gift_sent, number, 1) for number in range(PARTITIONS)]
    codec, size = AvroCodec(frozenset({APP_ID})), RATE * COMMIT_MS // 1_000
    for begin in range(0, len(results), size):
        part = results[begin : begin + size]
        with costs.of("Avro: encode"):
            values = [codec.encode(result) for result in part]
        with costs.of("Kafka: produce, commit"):
            producer.begin_transaction()
            for result, value in zip(part, values, strict=True):
                producer.produce(topics.gift_result, value, key=result.sent.room_id.encode())
            producer.send_offsets_to_transaction(offsets, group.consumer_group_metadata(), 30)
            producer.flush(30)
            producer.commit_transaction(30)
    group.close()


async def ask(
    servers: str, topics: TopicNames, sample: list[GiftSent], *, ids: int, count: int, costs: Costs
) -> None:
    """Checks of so many ids, 20 at once, of the API in a process of its own."""
    api = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.api", servers, topics.gift_sent,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert api.stdout is not None
    base_url = (await api.stdout.readline()).decode().strip()
    await asyncio.sleep(2)  # it reads the sample
    clock, rooms = SystemClock(), {sent.room_id: sent.mini_game_id for sent in sample}
    gifts = {room: [sent.msg_id for sent in sample if sent.room_id == room] for room in rooms}
    checks = [
        Check(number, APP_ID, room, rooms[room], tuple(gifts[room][:ids]), clock.now_ms() + 60_000)
        for number, room in zip(range(count), rooms, strict=False)
    ]
    client = CheckApi(
        base_url=base_url,
        apps={APP_ID: SECRET},
        request_timeout_ms=3_000,
        requests_in_flight_max=20,
        clock=clock,
    )
    async with client:
        await asyncio.gather(*map(client.send, checks[:20]))  # connects
        with costs.of("HTTP: ask"):
            ended = await asyncio.gather(*map(client.send, checks))
    api.terminate()
    await api.wait()
    assert all(isinstance(outcome, CheckAnswered) for outcome in ended)


def table(price_s: float) -> str:
    """All stages, as README shows them."""
    core, sampled, asked = Costs(), Costs(), Costs()
    drive = CoreDrive(price_s * 1_000, core)
    core.on = False
    drive.run(WARM_UP_MS)
    core.on = True
    drive.run(MEASURED_MS)
    results = drive.results[-SAMPLE:]
    checks_per_gift, ids = drive.checks / drive.gifts, drive.ids / drive.checks
    topics, checks = TopicNames.of_a_run("bench-gift"), 1_500
    with KafkaBroker() as broker:
        servers = broker.bootstrap_servers
        load_coordinators(servers)
        create(servers, topics, partitions=PARTITIONS)
        sample = fill(servers, topics)
        read_and_decode(servers, topics, sampled)
        encode_and_commit(servers, topics, results, sampled)
        uvloop.run(ask(servers, topics, sample, ids=max(1, round(ids)), count=checks, costs=asked))
    costs = {stage: seconds / SAMPLE for stage, seconds in sampled.seconds.items()}
    costs |= {stage: seconds / drive.gifts for stage, seconds in core.seconds.items()}
    costs |= {stage: seconds / checks * checks_per_gift for stage, seconds in asked.seconds.items()}
    lines = [f"| {stage} | {1e6 * cost:.1f} |" for stage, cost in sorted(costs.items())]
    lines.append(f"| all | {1e6 * sum(costs.values()):.0f} |")
    head = f"price {price_s}: {checks_per_gift:.2f} checks per gift, {ids:.1f} ids a check"
    return "\n".join([head, "| stage | µs |", "|---|---|", *lines])


def main() -> None:
    """Print the table for the prices asked for."""
    collect_seldom()  # as the consumer does
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gift", description=__doc__)
    parser.add_argument("--request-price", type=float, nargs="*", default=[0.03, 0.3])
    for price_s in parser.parse_args().request_price:
        print(table(price_s), flush=True)


if __name__ == "__main__":
    main()
