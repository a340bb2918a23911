"""Where a partition starts (design §4, "Where it starts").

| its offset | beside it | means | start |
|---|---|---|---|
| committed | our metadata | we or another of the group were here | there |
| committed | none of ours | a tool or another program was here | data loss |
| none | others carry our metadata | a new partition | since the group's first start |
| none | no offset anywhere, no result ever | the very first start | `start_from` |
| none | otherwise | offsets expired or were deleted | data loss |

*Data loss* stops the process with the way on, or, with `on_data_loss: continue`, is logged and
the start is the committed offset or the log's beginning. The group's first start is kept in the
metadata of every partition (`since_wall_ms`; 0 for the log's beginning), so that a partition
added later, and one that another starter of the same moment got, begins where the group did.

`committed()` waits for a predecessor's open transaction (isolation.level=read_committed); so a
time-out here means "ask again".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaException,
    TopicPartition,
)

from consumer.adapters.kafka.config import KafkaConfig
from consumer.clock import Clock
from consumer.core.metadata import MetadataUnreadable, decode_metadata
from consumer.core.model import PartitionMetadata
from consumer.errors import ConfigurationError

QUERY_S: Final = 5.0
"""For queries no transaction can hold up."""

_WAY_ON: Final = (
    "gifts may be missing or get a second result; see what happened to the group's offsets, and"
    " to go on from {start} set kafka.on_data_loss: continue"
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Start:
    """Where one partition starts, and what its offset's metadata said."""

    offset: int
    since_wall_ms: int
    metadata: PartitionMetadata | None


class StartRule:
    """Applies the rule; every call may take `QUERY_S` and raise KafkaException: ask again.

    Raises (all methods):
        ConfigurationError: data loss, and `on_data_loss` is `stop`.
    """

    def __init__(self, consumer: Consumer, config: KafkaConfig, clock: Clock) -> None:
        self._consumer = consumer
        self._config = config
        self._clock = clock

    def committed(self, partitions: list[int], timeout_s: float) -> dict[int, TopicPartition]:
        """The stable committed offsets; a partition that cannot say yet is left out."""
        asked = [self._topic_partition(partition) for partition in partitions]
        answers = self._consumer.committed(asked, timeout=timeout_s)
        return {answer.partition: answer for answer in answers if answer.error is None}

    def starts(self, committed: Mapping[int, TopicPartition]) -> dict[int, Start]:
        """The starts of these partitions, from their stable committed offsets.

        What is true of the group is asked once for all of them, and of the logs in one request:
        each request waits behind a fetch (100 ms), and of each partition's results, for each
        partition, was 30 s a partition at three hundred (seen).
        """
        without = [number for number, at in committed.items() if at.offset < 0]
        starts = self._starts_without_offset(without) if without else {}
        for number, at in committed.items():
            if at.offset >= 0:
                starts[number] = self._start_at(at)
        return starts

    def _start_at(self, committed: TopicPartition) -> Start:
        metadata = _ours(committed)
        if metadata is not None:
            return Start(committed.offset, metadata.since_wall_ms, metadata)
        self.data_loss(
            committed.partition,
            f"the committed offset {committed.offset} carries no progress of giftcheck:"
            " a tool or another program wrote it, or a newer release",
            f"offset {committed.offset}",
        )
        return Start(committed.offset, self._since_of_others() or 0, None)

    def start_out_of_range(self, partition: int, offset: int) -> int:
        """The log's beginning, for a partition whose offset the log does not hold (any more)."""
        low, high = self._watermarks(partition)
        self.data_loss(
            partition,
            f"offset {offset} is wanted, but the log holds only [{low}, {high}):"
            " records were deleted before they were answered, or the topic was made anew",
            f"offset {low}",
        )
        return low

    def beginning(self, partition: int) -> int:
        """The log's first offset."""
        return self._watermarks(partition)[0]

    def data_loss(self, partition: int, what: str, start: str) -> None:
        """Stop with the way on, or tell and go on, as configured."""
        where = f'partition {partition} of "{self._config.gift_sent}"'
        line = f'{where}, group "{self._config.group_id}": {what}'
        if self._config.on_data_loss == "stop":
            raise ConfigurationError(f"{line}; {_WAY_ON.format(start=start)}")
        log.error("data loss: going on as kafka.on_data_loss says", what=line, start=start)

    def _starts_without_offset(self, partitions: list[int]) -> dict[int, Start]:
        # Results first: a twin starter commits offsets before results, so whoever sees its
        # results sees its offsets afterwards.
        results_exist = self._results_exist()
        since_wall_ms = self._since_of_others()
        first_start = since_wall_ms is None and not results_exist
        if since_wall_ms is None and results_exist:
            for partition in partitions:
                self.data_loss(
                    partition,
                    f'it has no committed offset, but "{self._config.gift_result}" holds results:'
                    " the group's offsets expired or were deleted, or the group's name is new",
                    "the log's beginning",
                )
        if since_wall_ms is None:
            since_wall_ms = self._first_start_wall_ms() if first_start else 0
        if first_start and self._config.start_from == "latest":
            offsets = self._offsets(self._config.gift_sent, partitions, OFFSET_END)
        else:
            offsets = self._offsets_since(partitions, since_wall_ms)
        return {number: Start(offset, since_wall_ms, None) for number, offset in offsets.items()}

    def _first_start_wall_ms(self) -> int:
        match self._config.start_from:
            case "earliest":
                return 0
            case "latest":
                return self._clock.wall_ms()
            case wall_ms:
                return wall_ms

    def _offsets_since(self, partitions: list[int], since_wall_ms: int) -> dict[int, int]:
        """The first records at or after that time, else the ends; 0 is the logs' beginning."""
        topic = self._config.gift_sent
        if since_wall_ms == 0:
            return self._offsets(topic, partitions, OFFSET_BEGINNING)
        offsets = self._offsets(topic, partitions, since_wall_ms)
        without = [number for number, offset in offsets.items() if offset < 0]
        return offsets | (self._offsets(topic, without, OFFSET_END) if without else {})

    def _offsets(self, topic: str, partitions: list[int], at: int) -> dict[int, int]:
        """The logs' offsets at a time, or at OFFSET_BEGINNING or OFFSET_END, in one request.

        The end is that of committed transactions; -1: no record at or after that time. (Kafka
        protocol, ListOffsets: the two are timestamps of their own.)
        """
        asked = [TopicPartition(topic, partition, at) for partition in partitions]
        answers = self._consumer.offsets_for_times(asked, timeout=QUERY_S)
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return {answer.partition: answer.offset for answer in answers}

    def _since_of_others(self) -> int | None:
        """When the group first started, as any partition's metadata tells."""
        partitions = self._partitions_of(self._config.gift_sent)
        committed = self.committed(partitions, QUERY_S)
        found = [_ours(answer) for answer in committed.values() if answer.offset >= 0]
        return min((metadata.since_wall_ms for metadata in found if metadata), default=None)

    def _results_exist(self) -> bool:
        topic = self._config.gift_result
        ends = self._offsets(topic, self._partitions_of(topic), OFFSET_END)
        return any(end > 0 for end in ends.values())

    def _partitions_of(self, topic: str) -> list[int]:
        return sorted(self._consumer.list_topics(topic, timeout=QUERY_S).topics[topic].partitions)

    def _watermarks(self, partition: int) -> tuple[int, int]:
        """The log's first offset and the one after its last (of committed transactions)."""
        watermarks = self._consumer.get_watermark_offsets(
            TopicPartition(self._config.gift_sent, partition), timeout=QUERY_S
        )
        if watermarks is None:  # a time-out; it raises everything else
            raise KafkaException("the log's ends are not known yet")
        return watermarks

    def _topic_partition(self, partition: int, offset: int = -1) -> TopicPartition:
        return TopicPartition(self._config.gift_sent, partition, offset)


def _ours(committed: TopicPartition) -> PartitionMetadata | None:
    try:
        return decode_metadata(committed.metadata or "")
    except MetadataUnreadable as error:
        log.warning("unreadable progress", partition=committed.partition, detail=str(error))
        return None
