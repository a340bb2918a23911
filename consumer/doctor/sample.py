"""The newest gifts: whether they can be read, and whether they are keyed by their rooms (design §5).

Both the service tells only when it meets them, one dead letter and one counter at a time; what a
platform sends with the wrong schema, app or key a sample tells before the start. It is read like any
log, with no group and no commit.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig, client_properties
from consumer.adapters.kafka.ports import Codec
from consumer.adapters.kafka.startup import REQUEST_S, properties_judged, result_of
from consumer.clock import Clock
from consumer.core.model import GiftRead, RecordRefused
from consumer.doctor.findings import Finding, Level

RECORDS_MAX: Final = 1_000
"""So many records are looked at, as many in each partition. A producer that keys wrongly and sends
one gift in a hundred is missed by one sample in 20,000."""

READ_MS: Final = 3_000
"""For so long they are awaited: a transaction left open holds back what comes after it."""

GIFTS: Final = "newest gifts"
KEYS: Final = "their keys"

_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]

_KEY_BY_ROOM: Final = (
    "key gift-sent by room_id with murmur2 (librdkafka: partitioner=murmur2_random) in every"
    " producer, or two pods ask about one room and its limit is kept by nobody"
)


class Sampled(NamedTuple):
    """A record of the sample, by the partition it was read from."""

    partition: int
    record: GiftRead | RecordRefused


def look_at_newest_gifts(
    admin: AdminClient,
    config: KafkaConfig,
    reports: ClientReports,
    partitions: list[int],
    *,
    codec: Codec,
    clock: Clock,
) -> Iterator[Finding]:
    """Two findings about the newest records of gift-sent.

    Raises:
        KafkaException: it cannot be read.
    """
    with properties_judged(config):
        consumer = Consumer(
            {
                **client_properties(config, reports.on_error),
                "group.id": config.group_id,  # asked for by the client; nothing joins or commits
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # where retention was quicker than we are
            },
            logger=reports.logger,
        )
    with closing(consumer):
        consumer.assign(_begins(admin, config.gift_sent, partitions))
        sample = [_decoded(codec, message) for message in _read(consumer, clock, len(partitions))]
    yield from judge_sample(sample)


def judge_sample(sample: list[Sampled]) -> Iterator[Finding]:
    """What the sample says of all gifts."""
    if not sample:
        yield Finding(GIFTS, Level.OK, "none that could be read: the log is empty, or held back")
        yield Finding(KEYS, Level.OK, "none to be seen")
        return
    refused = [each for each in sample if isinstance(each.record, RecordRefused)]
    gifts = [each for each in sample if isinstance(each.record, GiftRead)]
    if refused:
        level = Level.WARN if gifts else Level.FAIL
        yield Finding(
            GIFTS,
            level,
            f"{len(refused)} of {len(sample)} would become dead letters, the first at"
            f" {_told(refused[0])}",
            "see which schema, app and ids their producer uses, format.* and apps",
        )
    else:
        yield Finding(GIFTS, Level.OK, f"{len(sample)} read, each a gift")
    yield _keys(gifts)


def _keys(gifts: list[Sampled]) -> Finding:
    partition_of: dict[tuple[int, str], int] = {}
    foreign: list[Sampled] = []
    in_two: list[Sampled] = []
    for gift in gifts:
        assert isinstance(gift.record, GiftRead)  # noqa: S101  judge_sample saw to it
        if not gift.record.keyed_by_room:
            foreign.append(gift)
        room = gift.record.app_id, gift.record.sent.room_id
        if partition_of.setdefault(room, gift.partition) != gift.partition:
            in_two.append(gift)
    if foreign:
        found = f"{len(foreign)} of {len(gifts)} have another key than their room"
        return Finding(KEYS, Level.WARN, f"{found}, the first at {_told(foreign[0])}", _KEY_BY_ROOM)
    if in_two:
        found = "a room has gifts in two partitions"
        advice = f"{_KEY_BY_ROOM}; after partitions were added it ends by itself"
        return Finding(KEYS, Level.WARN, f"{found}, one of them at {_told(in_two[0])}", advice)
    return Finding(KEYS, Level.OK, f"{len(partition_of)} rooms, each in one partition")


def _told(sampled: Sampled) -> str:
    record = sampled.record
    where = f"partition {sampled.partition}, offset {record.offset}"
    if isinstance(record, RecordRefused):
        return f"{where}: {record.reason.value}: {record.detail}"
    return f"{where}, room {record.sent.room_id!r}"


def _begins(admin: AdminClient, topic: str, partitions: list[int]) -> list[TopicPartition]:
    """Each partition's share of the sample before its end."""
    share = max(1, RECORDS_MAX // len(partitions))
    asked = {TopicPartition(topic, number): _LATEST for number in partitions}
    answers = admin.list_offsets(asked, request_timeout=REQUEST_S)
    return [
        TopicPartition(topic, at.partition, max(0, result_of(answer).offset - share))
        for at, answer in answers.items()
    ]


def _read(consumer: Consumer, clock: Clock, partitions_count: int) -> Iterator[Message]:
    """What there is, until every partition has ended once or the time is over."""
    until_ms = clock.now_ms() + READ_MS
    ended: set[int | None] = set()
    count = 0
    while len(ended) < partitions_count and count < RECORDS_MAX + partitions_count:
        left_ms = until_ms - clock.now_ms()
        message = consumer.poll(left_ms / 1_000) if left_ms > 0 else None
        if message is None:
            return
        error = message.error()
        if error is None:
            count += 1
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  a constant
            ended.add(message.partition())
        elif not error.retriable():
            raise KafkaException(error)


def _decoded(codec: Codec, message: Message) -> Sampled:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None  # noqa: S101, PT018  a record has both
    record = codec.decode(
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=(),
    )
    return Sampled(partition, record)
