"""Topics of a test: names, making them, filling them, reading what is committed in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewTopic,
    OffsetSpec,
)

CALL_S = 10.0


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The three topics of one consumer, and its group."""

    gift_sent: str
    gift_result: str
    dead_letters: str
    group_id: str

    @classmethod
    def of_a_run(cls, run: str) -> Self:
        """Names that begin with `run`."""
        return cls(f"{run}.gift-sent", f"{run}.gift-result", f"{run}.gift-sent.dlq", run)


def create(
    bootstrap_servers: str,
    topics: TopicNames,
    *,
    partitions: int = 1,
    gift_sent: Mapping[str, str] | None = None,
) -> None:
    """Make the three topics, and see every partition led; `gift_sent` configures the first."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    new = [
        NewTopic(topics.gift_sent, partitions, 1, config=dict(gift_sent or {})),
        NewTopic(topics.gift_result, partitions, 1),
        NewTopic(topics.dead_letters, partitions, 1),
    ]
    for made in admin.create_topics(new, request_timeout=CALL_S).values():
        made.result(CALL_S)
    # A broker says that a topic is made before it leads all of it: hundreds of partitions take it
    # a second, and a client that comes too early may stay without some of them.
    names = (topics.gift_sent, topics.gift_result, topics.dead_letters)
    unled = [TopicPartition(name, number) for name in names for number in range(partitions)]
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    while unled:
        asked = admin.list_offsets(dict.fromkeys(unled, latest), request_timeout=CALL_S)
        unled = [at for at, answer in asked.items() if answer.exception(CALL_S) is not None]


def commit_by_tool(
    servers: str, topics: TopicNames, offset: int, metadata: str = "", partition: int = 0
) -> None:
    """What `kafka-consumer-groups --reset-offsets` does."""
    admin = AdminClient({"bootstrap.servers": servers})
    at = TopicPartition(topics.gift_sent, partition, offset, metadata)
    changes = admin.alter_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(topics.group_id, [at])], request_timeout=CALL_S
    )
    [changed] = changes[topics.group_id].result(CALL_S).topic_partitions
    assert changed.error is None


def produce(
    bootstrap_servers: str,
    topic: str,
    values: Iterable[bytes | None],
    *,
    partition: int = 0,
    key: bytes = b"room",
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> None:
    """Write one record for each value, all with the same key."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,  # keeps the order, also where something is sent again
            "message.max.bytes": 10_000_000,
        }
    )
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failures.append(error)

    for value in values:
        producer.produce(
            topic,
            value,
            key=key,
            partition=partition,
            headers=list(headers),
            on_delivery=delivered,
        )
    producer.flush(CALL_S)
    assert failures == []


def committed_records(bootstrap_servers: str, topic: str) -> list[Message]:
    """All records of a topic that a `read_committed` reader sees now, partition by partition."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reads-and-never-commits",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    try:
        partitions = reader.list_topics(topic, timeout=CALL_S).topics[topic].partitions
        reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        records: list[Message] = []
        ended: set[int | None] = set()
        while len(ended) < len(partitions):
            message = reader.poll(CALL_S)
            assert message is not None, f"{topic}: no answer"
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(error)
        return sorted(records, key=lambda record: (record.partition(), record.offset()))
    finally:
        reader.close()


def committed_values(bootstrap_servers: str, topic: str) -> list[bytes | None]:
    """The values of `committed_records`."""
    return [record.value() for record in committed_records(bootstrap_servers, topic)]


def committed_offset(
    bootstrap_servers: str, topics: TopicNames, partition: int = 0
) -> TopicPartition:
    """The group's offset and its metadata, once no transaction holds it up."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": topics.group_id,
            "enable.auto.commit": False,
        }
    )
    try:
        asked = [TopicPartition(topics.gift_sent, partition)]
        [answer] = reader.committed(asked, timeout=CALL_S)
        return answer
    finally:
        reader.close()
