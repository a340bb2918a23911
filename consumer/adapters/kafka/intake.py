"""From the client's messages to records, one batch for each partition a turn.

Dropped undecoded: what belongs to no owned partition (a leftover of an assignment that is gone),
what lies below the next offset (a predecessor answered it) and what the map of the assignment
says is answered. Offsets have gaps: control records, aborted ones, compaction [R 15].
"""

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from consumer.adapters.kafka.assignment import OwnedPartition
from consumer.adapters.kafka.ports import Codec
from consumer.core.messages import RecordsRead
from consumer.core.model import GiftRead, Headers, RecordRefused


class Intake:
    """Decodes what is to be decoded; moves the owned partitions' next offset."""

    def __init__(
        self,
        codec: Codec,
        owned: dict[int, OwnedPartition],
        unread_count: Callable[[OwnedPartition], int | None],
    ) -> None:
        self._unread_count = unread_count
        self._codec = codec
        self._owned = owned
        self.records_count = 0

    def take(self, messages: Iterable[Message]) -> list[RecordsRead]:
        """The batches of messages without an error, in the order of their partitions' first."""
        batches: dict[int, list[GiftRead | RecordRefused]] = {}
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if partition is None or offset is None:
                continue
            owned = self._owned.get(partition)
            if owned is None or offset < owned.next_offset:
                continue
            owned.next_offset = offset + 1
            kind, timestamp_ms = message.timestamp()
            if kind != TIMESTAMP_NOT_AVAILABLE:
                owned.read_until_wall_ms = timestamp_ms
            records = batches.setdefault(partition, [])
            if not owned.is_answered(offset):
                records.append(decoded(self._codec, message, offset, _headers(message)))
        self.records_count += sum(map(len, batches.values()))
        return [self._batch(self._owned[number], records) for number, records in batches.items()]

    def _batch(self, owned: OwnedPartition, records: list[GiftRead | RecordRefused]) -> RecordsRead:
        unread_count = self._unread_count(owned) or 0
        return RecordsRead(
            owned.partition, owned.epoch, tuple(records), owned.next_offset, unread_count
        )


def decoded(
    codec: Codec, message: Message, offset: int, headers: Headers = ()
) -> GiftRead | RecordRefused:
    """A message of gift-sent; `headers` are those from which its result may take some."""
    return codec.decode(
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers,
    )


def _headers(message: Message) -> Headers:
    headers: Any = message.headers()
    return tuple(headers or ())
