"""The newest gifts: whether they can be read, and whether they are keyed by their rooms (design §5).

Both the service tells only when it meets them, one dead letter and one counter at a time; what a
platform sends with the wrong schema, app or key a sample tells before the start. It is read as the
audit reads: no group is joined and nothing committed.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.intake import decoded
from consumer.adapters.kafka.ports import Codec
from consumer.audit.reading import AuditReader, open_reader
from consumer.clock import Clock
from consumer.core.model import GiftRead, RecordRefused
from consumer.doctor.findings import Finding, Level

RECORDS_MAX: Final = 1_000
"""So many records are looked at, as many in each partition. A producer that keys wrongly and sends
one gift in a hundred is missed by one sample in 20,000."""

READ_MS: Final = 3_000
"""For so long they are awaited: a sample needs no more than what comes at once."""

GIFTS: Final = "newest gifts"
KEYS: Final = "their keys"

_KEY_BY_ROOM: Final = (
    "key gift-sent by room_id with murmur2 (librdkafka: partitioner=murmur2_random) in every"
    " producer, or two pods ask about one room and its limit is kept by nobody"
)


class Sampled(NamedTuple):
    """A record of the sample, by the partition it was read from."""

    partition: int
    record: GiftRead | RecordRefused


def look_at_newest_gifts(config: KafkaConfig, codec: Codec, clock: Clock) -> Iterator[Finding]:
    """Two findings about the newest records of gift-sent.

    Raises:
        ConfigurationError: the topic is missing, or the right to read it.
        RestartNeeded: the brokers do not answer.
    """
    with open_reader(config, clock) as reader:
        sample = list(_newest(reader, config.gift_sent, codec, clock))
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


def _newest(reader: AuditReader, topic: str, codec: Codec, clock: Clock) -> Iterator[Sampled]:
    """Each partition's share of the sample, or what of it has come when the time is over."""
    log = reader.log(topic, to_the_end=False)
    share = max(1, RECORDS_MAX // len(log))
    newest = {
        number: each._replace(begin=max(each.begin, each.end - share))
        for number, each in log.items()
    }
    until_ms = clock.now_ms() + READ_MS
    for messages in reader.read(topic, newest):
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None:
                yield Sampled(partition, decoded(codec, message, offset))
        if clock.now_ms() >= until_ms:
            return
