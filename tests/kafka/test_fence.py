"""Who may commit, and who may not: zombies, twins, dead predecessors; against a real Kafka."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig, consumer_properties, producer_properties
from consumer.adapters.kafka.transaction import Transactions
from consumer.clock import SystemClock
from consumer.core.messages import PartitionAssigned, PartitionRevoked
from consumer.core.model import Cut, CutOffset, DeadLetter, PartitionMetadata, Reason, RecordRefused
from consumer.demo.kafka_broker import KafkaBroker
from consumer.errors import NameTaken
from tests.core.builders import encode_metadata
from tests.kafka.fake_host import WAIT_S, FakeHost, TextCodec, config_for, running, started
from tests.kafka.topics import TopicNames, committed_offset, committed_values, create, produce

pytestmark = pytest.mark.kafka

METADATA = encode_metadata(PartitionMetadata("raw", 1_000_000_000_000, 0, drained=False))
LETTER = DeadLetter(0, RecordRefused(0, 1, Reason.NOT_AVRO, "a test's", b"room", b"late"))


class RawMember:
    """A member of the group and its producer, driven call by call."""

    def __init__(self, config: KafkaConfig) -> None:
        clock = SystemClock()
        reports = ClientReports(clock)
        self.consumer = Consumer(
            consumer_properties(config, reports.on_error), logger=reports.logger
        )
        self.producer = Producer(
            producer_properties(config, reports.on_error), logger=reports.logger
        )
        self.transactions = Transactions(self.producer, config, TextCodec(), reports, clock)
        self.topic = config.gift_sent

    def join(self) -> None:
        """Own all partitions, from the beginning."""
        self.producer.init_transactions(WAIT_S)
        self.consumer.subscribe([self.topic], on_assign=self._on_assign)
        deadline = time.monotonic() + WAIT_S
        while not self.consumer.assignment() and time.monotonic() < deadline:
            self.consumer.poll(0.05)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(
            [TopicPartition(self.topic, at.partition, 0) for at in partitions]
        )


@contextmanager
def raw_member(config: KafkaConfig) -> Iterator[RawMember]:
    """A raw member that has joined; closed at the end."""
    member = RawMember(config)
    member.join()
    try:
        yield member
    finally:
        member.consumer.close()


def test_a_zombie_with_an_old_generation_cannot_commit(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """It owned the partition, was replaced and does not know: refused, nothing is visible."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    config = config_for(servers, topics, "zombie", static_member=False)
    with raw_member(config) as zombie:
        remembered = zombie.consumer.consumer_group_metadata()
        zombie.consumer.unsubscribe()
        while zombie.consumer.assignment():
            zombie.consumer.poll(0.05)
        host = FakeHost("heir")
        with running(config_for(servers, topics, "heir"), host):
            host.wait_for(lambda: len(host.partitions) == 1 and host.all_committed, "the heir")

            committed = zombie.transactions.commit(
                Cut(1, (CutOffset(0, 1, 0, METADATA),), (), (LETTER,)), remembered
            )

    assert not committed
    assert committed_values(servers, topics.dead_letters) == []


def test_a_predecessors_open_transaction_is_awaited(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """A process that died between send_offsets and commit, or was only slow: its word counts."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0", b"m1"])
    with raw_member(config_for(servers, topics, "slow", static_member=False)) as slow:
        slow.producer.begin_transaction()
        slow.producer.produce(topics.gift_result, b"m0", key=b"room")
        slow.producer.send_offsets_to_transaction(
            [TopicPartition(topics.gift_sent, 0, 1, METADATA)],
            slow.consumer.consumer_group_metadata(),
            WAIT_S,
        )
        slow.consumer.close()
        host = FakeHost("heir")
        with running(config_for(servers, topics, "heir"), host) as thread:
            deadline = time.monotonic() + WAIT_S
            while thread.state().waiting != (0,) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert (thread.state().waiting, host.of(PartitionAssigned)) == ((0,), [])

            slow.producer.commit_transaction(WAIT_S)
            host.wait_for(lambda: host.offsets_read() == [1], "what the slow one left")
            host.wait_for(lambda: host.all_committed, "its result")

    assert committed_values(servers, topics.gift_result) == [b"m0", b"m1"]


def test_a_dead_predecessors_transaction_is_awaited_until_it_times_out(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Nobody will commit it any more: the broker aborts it, and everything is done again."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0"])
    dying = config_for(servers, topics, "dead", static_member=False, transaction_timeout_ms=2_000)
    with raw_member(dying) as dead:
        assert dead.transactions.commit(
            Cut(1, (CutOffset(0, 1, 0, METADATA),), (), ()),
            dead.consumer.consumer_group_metadata(),
        )
        dead.producer.begin_transaction()
        dead.producer.produce(topics.gift_result, b"never", key=b"room")
        dead.producer.send_offsets_to_transaction(
            [TopicPartition(topics.gift_sent, 0, 1, METADATA)],
            dead.consumer.consumer_group_metadata(),
            WAIT_S,
        )
    host = FakeHost("heir")
    with running(config_for(servers, topics, "heir"), host):
        host.wait_for(lambda: host.offsets_read() == [0] and host.all_committed, "the result")

    assert committed_values(servers, topics.gift_result) == [b"m0"]


def test_the_older_of_two_twins_steps_back(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """The newer goes on; the older names the name, waits one session and ends with NameTaken."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    config = config_for(servers, topics, "twin")
    older, newer = FakeHost("older"), FakeHost("newer")
    thread = started(config, older)
    older.wait_for(lambda: len(older.partitions) == 1 and older.all_committed, "the older")
    began = time.monotonic()
    with running(config, newer):
        newer.wait_for(lambda: len(newer.partitions) == 1 and newer.all_committed, "the newer")
        produce(servers, topics.gift_sent, [b"m0"])
        error = thread.finished.exception(WAIT_S)
        newer.wait_for(lambda: newer.offsets_read() == [0] and newer.all_committed, "the result")

    assert isinstance(error, NameTaken)
    assert 'the name "twin"' in str(error)
    assert "FENCED_INSTANCE_ID" in str(error)
    assert older.of(PartitionRevoked) != []
    assert time.monotonic() - began >= config.session_timeout_ms / 1_000
    assert committed_values(servers, topics.gift_result) == [b"m0"]
    assert committed_offset(servers, topics).offset == 1
