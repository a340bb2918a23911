"""The plain loop: consume, decode, encode, produce, in transactions; nothing is asked of anybody.

No consumer with these libraries and these events can be faster; what giftcheck adds to it is its
job. One thread, a commit every 50 ms. Run by `run`; prints one JSON object when all is committed.
"""

import json
import os
import sys
import time
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.adapters.avro import AvroCodec
from consumer.adapters.kafka.intake import decoded
from consumer.core.model import GiftRead, GiftResult, Status
from tests.bench.api import APP_ID

COMMIT_S: Final = 0.05
BATCH_MAX: Final = 2_000


def main(bootstrap_servers: str, gift_sent: str, gift_result: str, count: int) -> None:
    """Turn `count` records of gift-sent into results, then say what that cost."""
    began_s = time.monotonic()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": gift_result,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "transactional.id": gift_result,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
        }
    )
    producer.init_transactions(30)
    consumer.subscribe([gift_sent])
    codec = AvroCodec(frozenset({APP_ID}))
    done = 0
    while done < count:
        done += _transaction(consumer, producer, codec, gift_result)
    times = os.times()
    elapsed_s = time.monotonic() - began_s
    print(json.dumps({"elapsed_s": elapsed_s, "cpu_s": times.user + times.system}), flush=True)


def _transaction(consumer: Consumer, producer: Producer, codec: AvroCodec, topic: str) -> int:
    """One transaction: what can be read and written in 50 ms; returns how many gifts."""
    ends_s = time.monotonic() + COMMIT_S
    offsets: dict[tuple[str, int], TopicPartition] = {}
    count = 0
    producer.begin_transaction()
    while time.monotonic() < ends_s:
        first = consumer.poll(0.005)
        for message in [] if first is None else [first, *consumer.consume(BATCH_MAX, 0)]:
            topic_name, partition, offset = message.topic(), message.partition(), message.offset()
            if message.error() is not None or offset is None or partition is None:
                continue
            record = decoded(codec, message, offset)
            assert isinstance(record, GiftRead)
            assert topic_name is not None
            producer.produce(topic, codec.encode(_result(record, partition)), key=message.key())
            offsets[topic_name, partition] = TopicPartition(topic_name, partition, offset + 1)
            count += 1
        producer.poll(0)
    producer.send_offsets_to_transaction(
        list(offsets.values()), consumer.consumer_group_metadata(), 30
    )
    producer.commit_transaction(30)
    return count


def _result(record: GiftRead, partition: int) -> GiftResult:
    return GiftResult(
        sent=record.sent,
        result_id="0" * 32,
        status=Status.SUCCEEDED,
        synthetic=False,
        result_code=0,
        reason=None,
        game_timestamp=record.sent.sent_at,
        request_id="plain",
        checks=1,
        deadline=record.sent.sent_at,
        decided_at=record.sent.sent_at,
        source_partition=partition,
        source_offset=record.offset,
    )


if __name__ == "__main__":
    servers, source, target, number = sys.argv[1:]
    main(servers, source, target, int(number))
