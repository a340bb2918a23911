"""A small core for tests of the Kafka thread: every record is answered at once, or kept pending.

It follows the rules that a cut must obey (design §4): bits are set when a result is cut, results
stay in the outbox until they are committed, a partition's offset is its oldest pending record.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from consumer.adapters.kafka import KafkaConfig, KafkaThread
from consumer.clock import SystemClock
from consumer.core.messages import (
    CutAborted,
    CutCommitted,
    Input,
    PartitionAssigned,
    PartitionRevoked,
    RecordsRead,
)
from consumer.core.model import (
    Cut,
    CutOffset,
    DeadLetter,
    GiftRead,
    GiftResult,
    GiftSent,
    Headers,
    PartitionMetadata,
    Reason,
    RecordRefused,
    Status,
)
from tests.core.builders import encode_metadata
from tests.kafka.topics import TopicNames

Kind = TypeVar("Kind")

WAIT_S = 30.0
"""Longer than anything should take on a busy machine; nothing waits for it in vain."""


class TextCodec:
    """A value is a MsgId; one with an exclamation mark is no gift."""

    def decode(
        self,
        *,
        offset: int,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> GiftRead | RecordRefused:
        """Read one record."""
        if value is None or b"!" in value:
            return RecordRefused(
                offset, timestamp_ms, Reason.NOT_AVRO, "a test's garbage", key, value, headers
            )
        sent = GiftSent((key or b"").decode(), "game", value.decode(), 1)
        return GiftRead(offset, timestamp_ms, 1, sent, headers)

    def encode(self, result: GiftResult) -> bytes:
        """Write one result: its MsgId."""
        return result.sent.msg_id.encode()


@dataclass(slots=True)
class HostPartition:
    """What the host knows of one partition it owns."""

    assigned: PartitionAssigned
    next_offset: int
    touched: bool = True
    pending: set[int] = field(default_factory=set)
    outbox: list[GiftResult | DeadLetter] = field(default_factory=list)

    @property
    def offset(self) -> int:
        """What is to be committed: the oldest pending record, else the next."""
        return min(self.pending, default=self.next_offset)

    @property
    def answered(self) -> set[int]:
        """What is read and not pending, and what a predecessor said is answered."""
        metadata = self.assigned.metadata
        start = self.assigned.offset // 8 * 8
        bitmap = metadata.answered if metadata is not None else b""
        before = {start + bit for bit in range(len(bitmap) * 8) if bitmap[bit // 8] >> bit % 8 & 1}
        read = set(range(self.assigned.offset, self.next_offset)) - self.pending
        return {offset for offset in before | read if offset >= self.offset}


class FakeHost:
    """Plays the loop and the core, inside the calls of the Kafka thread.

    Args:
        instance: the name written into the metadata.
        keep_pending: whether a record, by partition and offset, is left without a result.
    """

    def __init__(
        self, instance: str, keep_pending: Callable[[int, int], bool] = lambda _p, _o: False
    ) -> None:
        self._instance = instance
        self._keep_pending = keep_pending
        self._changed = threading.Condition()
        self._cuts: dict[int, Cut] = {}
        self._cut_count = 0
        self.thread: KafkaThread | None = None
        self.partitions: dict[int, HostPartition] = {}
        self.inputs: list[Input] = []
        self.answers_cuts = True
        self.takes = True
        self.withheld: list[Future[Cut | None]] = []

    def feed(self, *inputs: Input) -> None:
        """Take what happened."""
        with self._changed:
            for event in inputs:
                self._take(event)
            self.inputs.extend(inputs)
            self._changed.notify_all()
        if self.thread is not None and any(
            partition.touched for partition in self.partitions.values()
        ):
            self.thread.want_cut()

    def request_cut(
        self, partitions: frozenset[int] | None, *, drain: bool
    ) -> "Future[Cut | None]":
        """Answer at once, unless told not to."""
        answer: Future[Cut | None] = Future()
        with self._changed:
            if self.answers_cuts:
                answer.set_result(self._cut(partitions, drain=drain))
            else:
                self.withheld.append(answer)
                self._changed.notify_all()
        return answer

    def make_cut(self) -> Cut | None:
        """A cut as of now, to be answered with later."""
        with self._changed:
            return self._cut(None, drain=False)

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something has been fed that makes the condition true."""
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S), f"never came: {what}"

    def wait_for_a_record(self) -> None:
        """Wait until anything has been read."""
        self.wait_for(lambda: any(batch.records for batch in self.of(RecordsRead)), "a record")

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The inputs of one kind, in order."""
        return [event for event in self.inputs if isinstance(event, kind)]

    def answer_pending(self) -> None:
        """Give every pending record its result."""
        with self._changed:
            self._keep_pending = lambda _partition, _offset: False
            for partition in self.partitions.values():
                for offset in sorted(partition.pending):
                    partition.outbox.append(
                        self._result(
                            partition, offset, f"late-{partition.assigned.partition}-{offset}"
                        )
                    )
                partition.pending.clear()
                partition.touched = True
        assert self.thread is not None
        self.thread.want_cut()

    def offsets_read(self, partition: int = 0) -> list[int]:
        """The offsets handed over, in order, over all assignments."""
        return [
            record.offset
            for batch in self.inputs
            if isinstance(batch, RecordsRead) and batch.partition == partition
            for record in batch.records
        ]

    @property
    def all_committed(self) -> bool:
        """Whether nothing waits for a transaction or for its end."""
        return not self._cuts and not any(
            partition.touched or partition.outbox for partition in self.partitions.values()
        )

    def _take(self, event: Input) -> None:
        match event:
            case PartitionAssigned():
                self.partitions[event.partition] = HostPartition(event, event.offset)
            case PartitionRevoked():
                self.partitions.pop(event.partition, None)
            case RecordsRead():
                self._read(self.partitions[event.partition], event)
            case CutCommitted():
                cut = self._cuts.pop(event.cut_id)
                done = {id(item) for item in (*cut.results, *cut.dead_letters)}
                for partition in self.partitions.values():
                    partition.outbox = [one for one in partition.outbox if id(one) not in done]
            case CutAborted():
                del self._cuts[event.cut_id]
                for partition in self.partitions.values():
                    partition.touched = True
            case _:
                raise AssertionError(f"the Kafka thread feeds no {event}")

    def _read(self, partition: HostPartition, batch: RecordsRead) -> None:
        assert batch.epoch == partition.assigned.epoch
        partition.next_offset = batch.next_offset
        partition.touched = True
        if self.thread is not None and self.takes:
            self.thread.taken(len(batch.records))
        for record in batch.records:
            if isinstance(record, RecordRefused):
                partition.outbox.append(DeadLetter(batch.partition, record))
            elif self._keep_pending(batch.partition, record.offset):
                partition.pending.add(record.offset)
            else:
                partition.outbox.append(
                    self._result(partition, record.offset, record.sent.msg_id, record.headers)
                )

    def _result(
        self, partition: HostPartition, offset: int, msg_id: str, headers: Headers = ()
    ) -> GiftResult:
        return GiftResult(
            sent=GiftSent("room", "game", msg_id, 1),
            result_id=msg_id,
            status=Status.SUCCEEDED,
            synthetic=False,
            result_code=0,
            reason=None,
            game_timestamp=None,
            request_id=None,
            checks=1,
            deadline=1,
            decided_at=1,
            source_partition=partition.assigned.partition,
            source_offset=offset,
            headers=headers,
        )

    def _cut(self, numbers: frozenset[int] | None, *, drain: bool) -> Cut | None:
        chosen = [
            partition
            for number, partition in sorted(self.partitions.items())
            if (numbers is None or number in numbers)
            and (partition.touched or partition.outbox or drain)
        ]
        if not chosen:
            return None
        for partition in chosen:
            partition.touched = False
        self._cut_count += 1
        items = [item for partition in chosen for item in partition.outbox]
        cut = Cut(
            cut_id=self._cut_count,
            offsets=tuple(self._offset(partition, drained=drain) for partition in chosen),
            results=tuple(item for item in items if isinstance(item, GiftResult)),
            dead_letters=tuple(item for item in items if isinstance(item, DeadLetter)),
        )
        self._cuts[cut.cut_id] = cut
        return cut

    def _offset(self, partition: HostPartition, *, drained: bool) -> CutOffset:
        return CutOffset(
            partition.assigned.partition,
            partition.assigned.epoch,
            partition.offset,
            self._metadata(partition, drained=drained),
        )

    def _metadata(self, partition: HostPartition, *, drained: bool) -> str:
        return encode_metadata(
            PartitionMetadata(
                instance=self._instance,
                cut_wall_ms=SystemClock().wall_ms(),
                since_wall_ms=partition.assigned.since_wall_ms,
                drained=drained,
                answered=answered_map(partition.offset, partition.answered),
            )
        )


def answered_map(offset: int, answered: set[int]) -> bytes:
    """The bitmap from `offset // 8 * 8` on."""
    start = offset // 8 * 8
    bitmap = bytearray((max(answered, default=start) - start) // 8 + 1)
    for one in answered:
        bitmap[(one - start) // 8] |= 1 << (one - start) % 8
    return bytes(bitmap)


def config_for(
    bootstrap_servers: str, topics: TopicNames, instance: str = "a", **changes: object
) -> KafkaConfig:
    """A configuration with short sessions, for tests that wait for one to run out."""
    values: dict[str, object] = {
        "session_timeout_ms": 2_000,
        "heartbeat_interval_ms": 200,
        "fetch_wait_max_ms": 20,
        **changes,
    }
    return KafkaConfig(
        bootstrap_servers=bootstrap_servers,
        group_id=topics.group_id,
        instance=instance,
        gift_sent=topics.gift_sent,
        gift_result=topics.gift_result,
        dead_letters=topics.dead_letters,
        **values,  # type: ignore[arg-type]  # tests name what they change
    )


def started(config: KafkaConfig, host: FakeHost) -> KafkaThread:
    """A running Kafka thread that talks to this host."""
    thread = KafkaThread(config, codec=TextCodec(), host=host, clock=SystemClock())
    host.thread = thread
    thread.start()
    return thread


@contextmanager
def running(config: KafkaConfig, host: FakeHost) -> Iterator[KafkaThread]:
    """A Kafka thread that is stopped gracefully at the end."""
    thread = started(config, host)
    try:
        yield thread
    finally:
        thread.stop()
        thread.join(WAIT_S)
    assert thread.finished.result(0) is None
