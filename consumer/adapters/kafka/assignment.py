"""Which partitions are ours, since which epoch, and how far they are read.

A partition passes through two states. *Waiting*: the group gave it to us, but its start is not
known; the client does not read it. *Owned*: read from an explicit offset. The step between is
never taken inside the client's callback, which must not block, but on a later turn: finding the
start may have to wait for a predecessor's open transaction, a short call at a time, while the
other partitions go on (their leases are 3 s). Seen: `incremental_assign` outside the callback
works, also with a rebalance between.

Each assignment has a new *epoch*; what belongs to an older one is dropped.

**Ours is what the group gave to the member that we still are.** A member whose session ended while
it joined gets a new id, and librdkafka 2.16 keeps its partitions and says nothing: of the answers
that mean this, only UNKNOWN_MEMBER_ID to JoinGroup is not told as a loss. The broker then takes the
new member's commits for partitions that others have by now (seen: 1,599 second results, after a
process had stood still for longer than its session). So no cut is committed by another id than the
one that the partitions were given to.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.start import Start, StartRule
from consumer.clock import Clock
from consumer.core.messages import PartitionAssigned, PartitionRevoked
from consumer.errors import RestartNeeded

FIRST_QUESTION_S: Final = 0.5
LATER_QUESTION_S: Final = 0.15
"""One question blocks the thread for so long: well under the lease of the other partitions."""

ASK_AGAIN_MS: Final = 100

log = structlog.get_logger()


@dataclass(slots=True)
class OwnedPartition:
    """A partition being read: `answered` is the map of its metadata, from `map_start` on.

    `end_offset` is where its log last ended for us: markers of transactions and aborted records
    lie below it, too, and are never handed over. All that was written until
    `read_until_wall_ms` has been read, as far as is known: it is the last record's time, or when
    nothing was left to read, or, before the first record, when the partition became ours. While
    `paused` the client hears of no more records.
    """

    partition: int
    epoch: int
    next_offset: int
    read_until_wall_ms: int
    end_offset: int = 0
    paused: bool = False
    map_start: int = 0
    answered: bytes = b""

    def is_answered(self, offset: int) -> bool:
        """Whether the map says that this offset has its result."""
        byte, bit = divmod(offset - self.map_start, 8)
        return byte < len(self.answered) and bool(self.answered[byte] >> bit & 1)


class Assignment:
    """Keeps the two sets and tells the client what to read.

    Attributes:
        owned: partition number to what is known of it.
        joined: the group has told us our share, also if it is empty.
    """

    def __init__(self, consumer: Consumer, config: KafkaConfig, clock: Clock) -> None:
        self._consumer = consumer
        self._config = config
        self._clock = clock
        self._rule = StartRule(consumer, config, clock)
        self._epoch = 0
        self._waiting: list[int] = []
        self._out_of_range: dict[int, int] = {}
        self._ask_at_ms: int | None = None
        self._ask_count = 0
        self._seen: set[int] = set()
        self._member_id = ""
        self.owned: dict[int, OwnedPartition] = {}
        self.joined = False

    @property
    def waiting(self) -> tuple[int, ...]:
        """Partitions whose start is not known yet."""
        return tuple(sorted(self._waiting))

    def add(self, partitions: Iterable[int]) -> None:
        """The group gave us these (in the client's callback: nothing here takes time).

        Raises:
            RestartNeeded: not to the member that has the others.
        """
        if not (self.owned or self._waiting):
            self._member_id = self._consumer.memberid() or ""
        self.is_member()
        self.joined = True
        self._waiting.extend(partitions)
        self._ask_count, self._ask_at_ms = len(self._waiting), None
        # Without a call of ours the binding would assign them itself, from where it thinks.
        self._consumer.incremental_assign([])

    def is_member(self) -> bool:
        """Whether the group knows us, as the member that it gave our partitions to.

        To be asked after `consumer_group_metadata`: ids do not come back, so what that says is then
        of this member, or older and refused by the broker.

        Raises:
            RestartNeeded: it knows us as another; others may have our partitions.
        """
        member_id = self._consumer.memberid() or ""
        if not member_id:
            return False
        if (self.owned or self._waiting) and member_id != self._member_id:
            raise RestartNeeded(
                f'group "{self._config.group_id}" gave the partitions to member'
                f' "{self._member_id}" and knows it no more; now it is "{member_id}", and others'
                " may have them"
            )
        return True

    def remove(self, partitions: Iterable[int], *, lost: bool) -> list[PartitionRevoked]:
        """The group took these (in the client's callback)."""
        gone = set(partitions)
        self._waiting = [partition for partition in self._waiting if partition not in gone]
        revoked = [self.owned.pop(number) for number in sorted(gone & self.owned.keys())]
        if lost:
            self.joined = False
        self._consumer.incremental_unassign([self._at(owned.partition) for owned in revoked])
        return [PartitionRevoked(owned.partition, owned.epoch) for owned in revoked]

    def out_of_range(self, partition: int, offset: int) -> None:
        """The log does not hold this offset (`_AUTO_OFFSET_RESET`): `resolve` will mend it."""
        self._out_of_range[partition] = offset

    def resolve(self) -> list[PartitionRevoked | PartitionAssigned]:
        """Find the start of waiting partitions, one short question a turn; what became of them.

        Raises:
            ConfigurationError: the start rule found data loss, and is to stop there.
            RestartNeeded: the embedded broker cannot show a second assignment.
        """
        now_ms = self._clock.now_ms()
        unresolved = self._waiting or self._out_of_range
        if not unresolved or (self._ask_at_ms is not None and now_ms < self._ask_at_ms):
            return []
        if self._config.embedded_broker:
            return [self._own(number, self._embedded_start(number)) for number in self._take()]
        first, self._ask_at_ms = self._ask_at_ms is None, now_ms + ASK_AGAIN_MS
        try:
            return [*self._mend(), *self._start(first=first)]
        except KafkaException as error:
            log.debug("a partition's start is not known yet", detail=str(error))
            return []

    @property
    def begun_count(self) -> int:
        """Partitions that became ours since the start; each hand-over to us counts."""
        return self._epoch

    def end_reached(self, partition: int, offset: int) -> None:
        """There is nothing to be read below this offset any more (`_PARTITION_EOF`)."""
        owned = self.owned.get(partition)
        if owned is not None:
            owned.end_offset = offset

    def intake_lag(self) -> tuple[dict[int, int], dict[int, int]]:
        """Records not yet read, and for how long at most (ms), by partition, as far as is known.

        For how long: since the last record read was written, or since nothing was left to read,
        whichever is later. A pause counts, too: the client asks for no more, so it would hear of
        none (seen). Partitions whose end the client has not heard of are left out.
        """
        wall_ms = self._clock.wall_ms()
        counts: dict[int, int] = {}
        lags_ms: dict[int, int] = {}
        for number, owned in self.owned.items():
            count = self.unread_count(owned)
            if count is None:
                continue
            if count == 0 and not owned.paused:
                owned.read_until_wall_ms = wall_ms
            counts[number] = count
            lags_ms[number] = max(0, wall_ms - owned.read_until_wall_ms)
        return counts, lags_ms

    def unread_count(self, owned: OwnedPartition) -> int | None:
        """Records of a partition not yet read; None: the client has not heard of its end."""
        try:
            _, end = self._consumer.get_watermark_offsets(self._at(owned.partition), cached=True)
        except KafkaException:  # nothing was heard of it yet
            return None
        return max(0, end - max(owned.next_offset, owned.end_offset)) if end >= 0 else None

    def _start(self, *, first: bool) -> list[PartitionRevoked | PartitionAssigned]:
        """Ask for all at once; if one of them holds the others up, for one, two, four after it."""
        if not self._waiting:
            return []
        count, self._ask_count = self._ask_count, 1
        asked = self._waiting[:count]
        self._waiting = self._waiting[count:] + asked
        timeout_s = FIRST_QUESTION_S if first else LATER_QUESTION_S
        committed = self._rule.committed(asked, timeout_s)
        if len(committed) == len(asked):
            self._ask_count = 2 * count
        starts = self._rule.starts(committed)
        self._waiting = [partition for partition in self._waiting if partition not in starts]
        return [self._own(partition, start) for partition, start in starts.items()]

    def _mend(self) -> list[PartitionRevoked | PartitionAssigned]:
        """Move partitions whose offset the log does not hold to where it begins.

        Below its beginning, records are missing: go on behind the gap. Otherwise the log is
        another one (made anew, or cut by an unclean election): begin it as a new assignment.
        """
        mended: list[PartitionRevoked | PartitionAssigned] = []
        for partition, offset in list(self._out_of_range.items()):
            owned = self.owned.get(partition)
            if owned is not None:
                low = self._rule.start_out_of_range(partition, offset)
                self._consumer.incremental_unassign([self._at(partition)])
                if offset < low:
                    self._consumer.incremental_assign([self._at(partition, low)])
                else:
                    mended.append(PartitionRevoked(partition, owned.epoch))
                    mended.append(self._own(partition, Start(low, 0, None)))
            del self._out_of_range[partition]
        return mended

    def _own(self, partition: int, start: Start) -> PartitionAssigned:
        self._epoch += 1
        self.owned[partition] = OwnedPartition(
            partition=partition,
            epoch=self._epoch,
            next_offset=start.offset,
            read_until_wall_ms=self._clock.wall_ms(),
            map_start=start.offset // 8 * 8,
            answered=start.metadata.answered if start.metadata else b"",
        )
        self._consumer.incremental_assign([self._at(partition, start.offset)])
        log.info("partition assigned", partition=partition, offset=start.offset)
        return PartitionAssigned(
            partition, self._epoch, start.offset, start.since_wall_ms, start.metadata
        )

    def _take(self) -> list[int]:
        taken, self._waiting = self._waiting, []
        return taken

    def _embedded_start(self, partition: int) -> Start:
        if partition in self._seen:
            raise RestartNeeded(
                f"the embedded broker cannot show this: partition {partition} was assigned a"
                " second time, and it keeps no progress; use a real Kafka"
            )
        self._seen.add(partition)
        return Start(self._rule.beginning(partition), 0, None)

    def _at(self, partition: int, offset: int = 0) -> TopicPartition:
        return TopicPartition(self._config.gift_sent, partition, offset)
