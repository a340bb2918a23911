"""How far the intake is behind: in records, and in time."""

import time
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from consumer.adapters.kafka import KafkaConfig, KafkaThread
from consumer.adapters.kafka.assignment import Assignment, OwnedPartition
from consumer.adapters.kafka.intake import Intake
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.fake_host import WAIT_S, FakeHost, TextCodec, config_for, running
from tests.kafka.fake_producer import SettableClock
from tests.kafka.topics import TopicNames, create, produce

CONFIG = KafkaConfig(bootstrap_servers="nowhere", group_id="g", instance="a")


class Watermarks:
    """A consumer that knows where logs end, as far as the test says."""

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}

    def get_watermark_offsets(self, at: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached, "a question to the broker would hold the turn up"
        if at.partition not in self.ends:
            raise KafkaException
        return 0, self.ends[at.partition]


class Record:
    """A message of partition 0."""

    def __init__(self, offset: int, timestamp: tuple[int, int]) -> None:
        self._offset = offset
        self._timestamp = timestamp

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return self._timestamp

    def key(self) -> bytes:
        return b"room"

    def value(self) -> bytes:
        return b"m"

    def headers(self) -> None:
        return None


class Scene:
    """Partition 0, ours since 1,000 s from offset 10 on."""

    def __init__(self) -> None:
        self.clock = SettableClock(1_000_000)
        self.watermarks = Watermarks()
        self.assignment = Assignment(cast("Consumer", self.watermarks), CONFIG, self.clock)
        self.assignment.owned[0] = OwnedPartition(0, 1, 10, self.clock.wall_ms())
        self._intake = Intake(TextCodec(), self.assignment.owned, self.assignment.unread_count)

    def read(self, offset: int, written_ms: int, kind: int = TIMESTAMP_CREATE_TIME) -> None:
        """A record is read that was written at `written_ms`."""
        self._intake.take([cast("Message", Record(offset, (kind, written_ms)))])

    def lag(self, at_ms: int) -> tuple[int | None, int | None]:
        """Records and milliseconds, at this instant."""
        self.clock.at_ms = at_ms
        counts, lags_ms = self.assignment.intake_lag()
        return counts.get(0), lags_ms.get(0)


def test_what_is_unread_is_as_old_as_the_last_record_read() -> None:
    """Ninety are left, and the one before them was written 50 s ago."""
    scene = Scene()
    scene.watermarks.ends[0] = 101
    scene.read(10, 950_000)
    assert (90, 50_000) == scene.lag(1_000_000)
    assert (90, 51_000) == scene.lag(1_001_000)


def test_a_partition_that_is_read_to_its_end_has_no_lag() -> None:
    """However long ago its last record was written."""
    scene = Scene()
    scene.watermarks.ends[0] = 11
    scene.read(10, 950_000)
    assert (0, 0) == scene.lag(1_000_000)


def test_a_record_after_a_quiet_time_is_not_as_old_as_the_one_before_it() -> None:
    """Two hours ago there was nothing left to read, and a moment ago neither."""
    scene = Scene()
    scene.watermarks.ends[0] = 11
    scene.read(10, 950_000)
    scene.lag(8_200_000)
    scene.watermarks.ends[0] = 12
    assert (1, 300) == scene.lag(8_200_300)


def test_before_the_first_record_the_lag_counts_from_the_assignment() -> None:
    """How old the records are nobody knows yet, but they have waited since then at least."""
    scene = Scene()
    scene.watermarks.ends[0] = 500
    assert (490, 4_000) == scene.lag(1_004_000)


def test_a_pause_counts_although_nobody_hears_of_records_meanwhile() -> None:
    """What comes is unread for as long at most; the time ends when reading goes on."""
    scene = Scene()
    scene.watermarks.ends[0] = 10
    assert (0, 0) == scene.lag(1_001_000)
    scene.assignment.owned[0].paused = True
    assert (0, 60_000) == scene.lag(1_061_000)
    scene.assignment.owned[0].paused = False
    assert (0, 0) == scene.lag(1_062_000)


def test_nothing_is_said_of_a_partition_whose_end_is_not_known() -> None:
    """The client has not heard of it yet."""
    assert (None, None) == Scene().lag(1_001_000)


def test_what_is_never_handed_over_is_no_lag() -> None:
    """Markers of transactions and aborted records end the log; more records count again."""
    scene = Scene()
    scene.watermarks.ends[0] = 15
    scene.read(10, 950_000)
    assert (4, 50_000) == scene.lag(1_000_000)
    scene.assignment.end_reached(0, 15)
    assert (0, 0) == scene.lag(1_001_000)
    scene.watermarks.ends[0] = 18
    assert (3, 2_000) == scene.lag(1_003_000)


def test_a_record_without_a_time_says_nothing_of_the_lag() -> None:
    """The time before it goes on counting."""
    scene = Scene()
    scene.watermarks.ends[0] = 101
    scene.read(10, -1, TIMESTAMP_NOT_AVAILABLE)
    assert (90, 5_000) == scene.lag(1_005_000)


def test_a_writer_whose_clock_is_ahead_makes_no_negative_lag() -> None:
    """It is 0 then."""
    scene = Scene()
    scene.watermarks.ends[0] = 101
    scene.read(10, 1_060_000)
    assert (90, 0) == scene.lag(1_000_000)


def test_the_end_of_a_partition_that_is_gone_is_nobodys() -> None:
    """A leftover of an assignment that is over."""
    scene = Scene()
    scene.assignment.end_reached(7, 15)
    assert [0] == list(scene.assignment.owned)


def until(thread: KafkaThread, condition: Callable[[KafkaThread], bool]) -> None:
    """Wait for the thread to say so; it looks at its lag once a second."""
    deadline = time.monotonic() + WAIT_S
    while not condition(thread) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition(thread), thread.state()


@pytest.mark.kafka
def test_a_transactional_writer_leaves_no_lag_behind(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Neither its markers nor what it aborted; and a pause shows until all is read."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics, partitions=3)
    writer = Producer({"bootstrap.servers": servers, "transactional.id": topics.group_id})
    writer.init_transactions(WAIT_S)

    def write(*, commit: bool) -> None:
        writer.begin_transaction()
        for number in range(5):
            writer.produce(topics.gift_sent, b"m%d" % number, key=b"room", partition=0)
        (writer.commit_transaction if commit else writer.abort_transaction)(WAIT_S)

    write(commit=True)
    writer.begin_transaction()
    writer.produce(topics.gift_sent, b"aborted", key=b"room", partition=0)
    assert writer.flush(WAIT_S) == 0
    writer.abort_transaction(WAIT_S)
    host = FakeHost("a")
    with running(config_for(servers, topics), host) as thread:
        host.wait_for(lambda: host.offsets_read() == [0, 1, 2, 3, 4], "what was committed")
        until(thread, lambda one: one.state().intake_lag == {0: 0, 1: 0, 2: 0})
        state = thread.state()
        assert {0: 0, 1: 0, 2: 0} == state.intake_lag_ms
        assert (3, 3) == (state.begun, state.gift_sent_partitions)

        thread.pause(0, host.partitions[0].assigned.epoch)
        produce(servers, topics.gift_sent, [b"later"])
        until(thread, lambda one: one.state().intake_lag_ms[0] >= 1_000)
        thread.resume(0, host.partitions[0].assigned.epoch)
        host.wait_for(lambda: host.offsets_read()[5:] == [8], "what came meanwhile")
        until(thread, lambda one: one.state().intake_lag_ms[0] == 0)
