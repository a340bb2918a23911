"""A consumer as the adapter sees it: confluent-kafka's methods, over the simulated broker.

`poll` sleeps through the turns in which nothing can happen: the thread's turn does nothing but
look at flags that wake it (`Idle`), so it is called again when one is set, a record or a change
of the assignment is there, or `IDLE_US` are over, always at a multiple of its time-out.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, TopicPartition

from tests.simulation.hub import MS, SECOND, Process
from tests.simulation.kafka.broker import Broker
from tests.simulation.kafka.calls import Calls
from tests.simulation.kafka.log import Headers, Record
from tests.simulation.kafka.membership import Event, Kind, Membership

LEFTOVERS: Final = 30
"""How many records of an earlier assignment may be handed over with the next (`stale`)."""

IDLE_US: Final = 400 * MS
BUSY_STEPS_MAX: Final = 8
FETCH_US: Final = (500, 12 * MS)
"""From the instant in which a record can be read until the client has fetched it."""

Callback = Callable[[Any, list[TopicPartition]], None]


class Idle:
    """Whether the thread has something to look at; shared by all that can give it something."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._sleeping = False
        self._steps = 1
        self.busy: list[Callable[[], bool]] = []

    def touch(self) -> None:
        """There is something."""
        if self._sleeping:
            self._process.wake()

    def sleep(self, step_us: int, ready: Callable[[], bool]) -> None:
        """Block for one step, or for as many as nothing happens in."""
        hub = self._process.hub
        began_us = hub.now_us
        if any(busy() for busy in self.busy):
            # A thread that is kept from its processor is late: no less than what can happen.
            self._steps = min(2 * self._steps, BUSY_STEPS_MAX)
            self._sleep_until(began_us + step_us * self._steps)
            return
        self._steps = 1
        self._sleep_until(began_us + max(step_us, IDLE_US))
        if not ready():
            late_us = -(hub.now_us - began_us) % step_us
            if late_us:
                self._sleep_until(hub.now_us + late_us)

    def _sleep_until(self, until_us: int) -> None:
        self._sleeping = True
        try:
            self._process.block(until_us)
        finally:
            self._sleeping = False


class GroupMetadata(NamedTuple):
    """What `consumer_group_metadata` returns: who we are, as of now."""

    member_id: str
    instance: str | None
    generation: int


class SimulatedMessage:
    """A record, or an error, as confluent-kafka hands it over."""

    __slots__ = ("_record",)

    def __init__(self, record: Record) -> None:
        self._record = record

    def error(self) -> KafkaError | None:
        return None

    def topic(self) -> str:
        return self._record.topic

    def partition(self) -> int:
        return self._record.partition

    def offset(self) -> int:
        return self._record.offset

    def key(self) -> bytes | None:
        return self._record.key

    def value(self) -> bytes | None:
        return self._record.value

    def headers(self) -> Headers | None:
        return self._record.headers or None

    def timestamp(self) -> tuple[int, int]:
        return 1, self._record.timestamp_ms


class SimulatedEnd:
    """What is handed over where there is nothing more to read: an error by name alone."""

    __slots__ = ("_offset", "_partition", "_topic")

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        self._topic = topic
        self._partition = partition
        self._offset = offset

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._PARTITION_EOF)

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset


class SimulatedConsumer:
    """One consumer; `stale` gives the share of assignments at which leftovers are handed over."""

    def __init__(
        self,
        process: Process,
        broker: Broker,
        idle: Idle,
        properties: dict[str, Any],
        *,
        stale: float = 0.0,
    ) -> None:
        self._process = process
        self._broker = broker
        self._idle = idle
        self._topic = broker.settings.gift_sent
        self._calls = Calls(process, broker)
        self._error_cb: Callable[[KafkaError], None] = properties["error_cb"]
        self._errors: list[KafkaError] = []
        self._member = Membership(
            process,
            broker,
            instance=properties.get("group.instance.id"),
            session_us=properties["session.timeout.ms"] * MS,
            heartbeat_us=properties["heartbeat.interval.ms"] * MS,
            on_event=idle.touch,
            on_fatal=self._on_fatal,
        )
        self._callbacks: dict[Kind, Callback] = {}
        self._positions: dict[int, int] = {}
        self._fetched: dict[int, int] = {}
        self._tells_ends: bool = properties["enable.partition.eof"]
        self._told_ends: dict[int, int] = {}
        self._paused: set[int] = set()
        self._queue: list[Record] = []
        self._left: dict[int, int] = {}
        self._stale = stale
        self._random: Random = broker.random
        self._listening = False
        self._assigned_in_callback = False

    # --- membership -----------------------------------------------------------------------------

    def subscribe(
        self, topics: list[str], *, on_assign: Callback, on_revoke: Callback, on_lost: Callback
    ) -> None:
        assert topics == [self._topic]
        self._callbacks = {Kind.ASSIGN: on_assign, Kind.REVOKE: on_revoke, Kind.LOST: on_lost}
        if not self._listening:
            self._listening = True
            for log in self._broker.topics[self._topic]:
                log.listen(self._plan_fetch)
            self._idle.busy.append(lambda: bool(self._member.share - self._positions.keys()))
        self._member.subscribe()

    def unsubscribe(self) -> None:
        self._member.unsubscribe()

    def close(self) -> None:
        while self._positions:
            self._serve(Event(Kind.REVOKE, frozenset(self._positions)))
        self._member.close()
        for log in self._broker.topics[self._topic]:
            log.forget(self._plan_fetch)

    def memberid(self) -> str:
        return self._member.member_id

    def consumer_group_metadata(self) -> GroupMetadata:
        member = self._member
        return GroupMetadata(member.member_id, member.instance, member.generation)

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._assigned_in_callback = True
        for at in partitions:
            assert at.partition not in self._positions, "assigned twice"
            assert at.offset >= 0, "assigned without an offset"
            self._positions[at.partition] = at.offset
            self._fetched[at.partition] = at.offset
            left = self._left.pop(at.partition, None)
            if left is not None and left < at.offset and self._random.random() < self._stale:
                log = self._broker.topics[self._topic][at.partition]
                self._queue += list(log.committed(left, min(at.offset, left + LEFTOVERS)))
        if partitions:
            self._plan_fetch()

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        self._assigned_in_callback = True
        for at in partitions:
            # A fetch that was under way may bring some of what has been read once more.
            self._left[at.partition] = max(0, self._positions.pop(at.partition) - LEFTOVERS)
            self._paused.discard(at.partition)
            del self._fetched[at.partition]
            self._told_ends.pop(at.partition, None)
        gone = {at.partition for at in partitions}
        self._queue = [record for record in self._queue if record.partition not in gone]

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in self._positions]

    # --- records --------------------------------------------------------------------------------

    def poll(self, timeout: float) -> SimulatedMessage | SimulatedEnd | None:
        if not self._ready():
            self._idle.sleep(round(timeout * SECOND), self._ready)
        while self._errors:
            self._error_cb(self._errors.pop(0))
        if self._member.events:
            self._serve(self._member.events.popleft())
            return None
        found = self._take(1)
        return found[0] if found else None

    def consume(self, num_messages: int, timeout: float) -> list[SimulatedMessage | SimulatedEnd]:
        assert timeout == 0, "it always waits its full time-out"
        return self._take(num_messages)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        for at in partitions:
            assert at.partition in self._positions, "paused without an assignment"
            self._paused.add(at.partition)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(at.partition for at in partitions)

    # --- questions ------------------------------------------------------------------------------

    def committed(
        self, partitions: Sequence[TopicPartition], timeout: float
    ) -> list[TopicPartition]:
        asked = [at.partition for at in partitions]
        name = f"committed {asked}"
        try:
            offsets = self._calls.call(
                name, "group", lambda: self._broker.group.fetch(asked), timeout
            )
        except Exception:
            self._calls.drop(name)
            raise
        return [
            TopicPartition(self._topic, partition, offset if offset >= 0 else -1001, metadata)
            for partition, (offset, metadata) in offsets.items()
        ]

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 0.0, *, cached: bool = False
    ) -> tuple[int, int]:
        log = self._broker.topics[partition.topic][partition.partition]
        if cached:
            return 0, log.stable_end
        ends: tuple[int, int] = self._ask("watermarks", lambda: (0, log.stable_end), timeout)
        return ends

    def list_topics(self, topic: str, timeout: float) -> Any:
        return self._ask("topics", lambda: describe(self._broker, topic), timeout)

    def offsets_for_times(
        self, partitions: Sequence[TopicPartition], timeout: float
    ) -> list[TopicPartition]:
        def search() -> list[TopicPartition]:
            found = []
            for at in partitions:
                log = self._broker.topics[at.topic][at.partition]
                since_ms, end = at.offset, log.stable_end
                later = (r.offset for r in log.committed(0, end) if r.timestamp_ms >= since_ms)
                ends = {OFFSET_BEGINNING: 0, OFFSET_END: end}
                offset = ends[since_ms] if since_ms in ends else next(later, -1)
                found.append(TopicPartition(at.topic, at.partition, offset))
            return found

        found: list[TopicPartition] = self._ask("times", search, timeout)
        return found

    def _ask(self, name: str, apply: Callable[[], Any], timeout_s: float) -> Any:
        try:
            return self._calls.call(name, "data", apply, timeout_s)
        except Exception:
            self._calls.drop(name)
            raise

    # --- inside ---------------------------------------------------------------------------------

    def _ready(self) -> bool:
        return bool(self._member.events or self._errors or self._readable())

    def _readable(self) -> bool:
        return bool(self._queue) or any(
            position < self._fetched[partition] and partition not in self._paused
            for partition, position in self._positions.items()
        )

    def _take(self, count: int) -> list[SimulatedMessage | SimulatedEnd]:
        leftovers, self._queue = self._queue[:count], self._queue[count:]
        taken: list[SimulatedMessage | SimulatedEnd] = [*map(SimulatedMessage, leftovers)]
        for partition, position in self._positions.items():
            end = self._fetched[partition]
            if partition in self._paused or len(taken) >= count:
                continue
            log = self._broker.topics[self._topic][partition]
            for record in log.committed(position, end):
                if len(taken) >= count:
                    break
                taken.append(SimulatedMessage(record))
                self._positions[partition] = record.offset + 1
            else:
                self._positions[partition] = end
                if (
                    self._tells_ends
                    and self._told_ends.get(partition) != end
                    and len(taken) < count
                ):
                    self._told_ends[partition] = end
                    taken.append(SimulatedEnd(self._topic, partition, end))
        return taken

    def _plan_fetch(self) -> None:
        self._process.after(self._random.randint(*FETCH_US), self._fetch)

    def _fetch(self) -> None:
        if self._broker.weather.away:
            self._broker.when_back(self._plan_fetch)
            return
        for partition in self._positions:
            self._fetched[partition] = max(
                self._positions[partition],
                self._broker.topics[self._topic][partition].stable_end,
            )
        if self._readable():
            self._idle.touch()

    def _serve(self, event: Event) -> None:
        """Call the application back, in the middle of its `poll`."""
        partitions = [TopicPartition(self._topic, one) for one in sorted(event.partitions)]
        self._assigned_in_callback = False
        self._callbacks[event.kind](self, partitions)
        if not self._assigned_in_callback:
            raise AssertionError("the binding would assign by itself")
        self._member.served(event)

    def _on_fatal(self, error: KafkaError) -> None:
        self._errors.append(error)
        self._idle.touch()


def describe(broker: Broker, topic: str | None = None) -> Any:
    """What `list_topics` returns, as far as anybody looks."""
    names = list(broker.topics) if topic is None else [topic]
    return ClusterMetadata(
        {name: TopicMetadata(dict.fromkeys(range(len(broker.topics[name])))) for name in names}
    )


class TopicMetadata(NamedTuple):
    """A topic's partitions."""

    partitions: dict[int, None]
    error: None = None


class ClusterMetadata(NamedTuple):
    """The topics."""

    topics: dict[str, TopicMetadata]
    brokers: tuple[int, ...] = (0,)
