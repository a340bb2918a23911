"""The demo's own Kafka clients, against the embedded broker."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from consumer.adapters.avro import decode_result, encode_sent
from consumer.core.model import GiftSent
from consumer.demo.embedded_broker import EmbeddedBroker
from consumer.demo.producer import GiftProducer
from consumer.demo.reader import ResultReader, VisibleResult
from tests.demo.builders import START_MS, encode, result, sent

PARTITIONS = 4


@pytest.mark.parametrize(
    ("room_id", "murmur2"),
    [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ],
)
def test_gifts_go_where_java_clients_send_them(room_id: str, murmur2: int) -> None:
    """A room's partition is murmur2 of its id; the hashes are those of Kafka's own tests."""
    errors: list[str] = []
    with EmbeddedBroker() as broker:
        properties = {"bootstrap.servers": broker.bootstrap_servers}
        with GiftProducer(
            "gift-sent", properties, encode=encode_sent, on_error=errors.append
        ) as producer:
            producer.produce(GiftSent(room_id, "game", "gift", START_MS, app_id=1))
            producer.flush()
        partition, key, value = only_record(broker.bootstrap_servers, "gift-sent")
    assert errors == []
    assert (murmur2 & 0x7FFF_FFFF) % PARTITIONS == partition
    assert room_id.encode() == key
    assert encode_sent(GiftSent(room_id, "game", "gift", START_MS, app_id=1)) == value


def only_record(bootstrap_servers: str, topic: str) -> tuple[int | None, object, object]:
    """Return partition, key and value of the first record of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "test"})
    try:
        consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)]
        )
        message = consumer.poll(10)
        assert message is not None
        return message.partition(), message.key(), message.value()
    finally:
        consumer.close()


class Inbox:
    """Takes what a reader hands over, in the event loop."""

    def __init__(self) -> None:
        self.results: list[VisibleResult] = []
        self.error: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.came = asyncio.Event()

    def take(self, results: Sequence[VisibleResult]) -> None:
        """Keep these."""
        self.results += results
        self.came.set()


def reader(broker: EmbeddedBroker, inbox: Inbox, topic: str = "gift-result") -> ResultReader:
    """Return a reader whose clock stands at 42."""
    return ResultReader(
        topic,
        {"bootstrap.servers": broker.bootstrap_servers, "fetch.wait.max.ms": 10},
        decode=decode_result,
        clock_us=lambda: 42,
        on_results=inbox.take,
        on_error=inbox.error.set_result,
    )


async def test_the_reader_sees_what_was_there_and_what_comes() -> None:
    """Results from before and after its start are handed over, with the instant they showed."""
    inbox = Inbox()
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce("gift-result", value=encode(result(0)))
        producer.flush()
        with reader(broker, inbox):
            await inbox.came.wait()
            inbox.came.clear()
            producer.produce("gift-result", value=encode(result(1)))
            producer.flush()
            await inbox.came.wait()
        producer.close()
    assert [VisibleResult(result(0), 42), VisibleResult(result(1), 42)] == inbox.results
    assert sent(1) == inbox.results[1].result.sent


async def test_the_reader_waits_for_a_topic_that_its_broker_does_not_know_yet() -> None:
    """Or it would read no partition of it, and every result would be missing."""
    inbox = Inbox()
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        entering = reader(broker, inbox, "late")
        made = threading.Timer(0.3, producer.produce, ("late", encode(result(0))))
        made.start()
        with entering:
            made.join()
            producer.flush()
            await inbox.came.wait()
        producer.close()
    assert [VisibleResult(result(0), 42)] == inbox.results


async def test_what_is_no_result_ends_the_reader() -> None:
    """A value that cannot be read is an error the demo hears of, not a missing result."""
    inbox = Inbox()
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce("gift-result", value=b"nonsense")
        producer.flush()
        with reader(broker, inbox):
            error = await inbox.error
        producer.close()
    assert isinstance(error, ValueError)
    assert inbox.results == []
