"""A Kafka to hold a contract against: the simulated one on its own clock, or a real one."""

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from consumer.adapters.kafka import KafkaConfig
from consumer.adapters.kafka.config import consumer_properties, producer_properties
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.topics import TopicNames, committed_values, create, produce
from tests.simulation.hub import SECOND, Hub, Process
from tests.simulation.kafka.broker import Broker, BrokerSettings
from tests.simulation.kafka.consumer import Idle, SimulatedConsumer
from tests.simulation.kafka.producer import SimulatedProducer

WAIT_S: Final = 30.0
"""Longer than anything should take on a busy machine; nothing waits for it in vain."""

QUIET: Final = {"log_level": 2}
"""What clients say when the broker ends is not for whoever reads the tests' output."""

SESSION_MS: Final = 6_000


class Cluster(Protocol):
    """Makes clients with the properties the consumer uses, and its topics with two partitions."""

    topics: TopicNames

    def consumer(self, config: KafkaConfig) -> Any:
        """A consumer of gift-sent."""
        ...

    def producer(self, config: KafkaConfig) -> Any:
        """A transactional producer that has not called `init_transactions`."""
        ...

    def write(self, values: Sequence[bytes], partition: int = 0) -> None:
        """Append these to gift-sent, outside of any transaction."""
        ...

    def read(self, topic: str) -> list[bytes | None]:
        """What a `read_committed` reader sees in a topic now."""
        ...

    def now_s(self) -> float:
        """The subject's own time."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let so much of it pass."""
        ...


def config_of(cluster: Cluster, name: str, *, static: bool, transaction_ms: int) -> KafkaConfig:
    """How the consumer's clients are told about a process of this name."""
    return KafkaConfig(
        bootstrap_servers=getattr(cluster, "servers", "simulated"),
        group_id=cluster.topics.group_id,
        instance=name,
        static_member=static,
        gift_sent=cluster.topics.gift_sent,
        gift_result=cluster.topics.gift_result,
        dead_letters=cluster.topics.dead_letters,
        session_timeout_ms=SESSION_MS,
        transaction_timeout_ms=transaction_ms,
    )


class RealCluster:
    """A broker of its own process."""

    def __init__(self, broker: KafkaBroker, topics: TopicNames) -> None:
        self.servers = broker.bootstrap_servers
        self.topics = topics
        self._consumers: list[Consumer] = []
        create(self.servers, topics, partitions=2)

    def consumer(self, config: KafkaConfig) -> Any:
        made = Consumer({**consumer_properties(config, _ignore), **QUIET})
        self._consumers.append(made)
        return made

    def producer(self, config: KafkaConfig) -> Any:
        return Producer({**producer_properties(config, _ignore), **QUIET})

    def close(self) -> None:
        """End the consumers' own threads."""
        for consumer in self._consumers:
            consumer.close()

    def write(self, values: Sequence[bytes], partition: int = 0) -> None:
        produce(self.servers, self.topics.gift_sent, values, partition=partition)

    def read(self, topic: str) -> list[bytes | None]:
        return committed_values(self.servers, topic)

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ScriptedProcess(Process):
    """A process whose thread is the test itself: where it blocks, the world goes on."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub, "test")
        self._woken = False

    def block(self, until_us: int) -> None:
        """Let things happen until `wake`, or until that instant."""
        self._woken = False
        while not self._woken and self.hub.step(until_us):
            pass

    def wake(self) -> None:
        """End `block`."""
        self._woken = True


class SimulatedCluster:
    """The simulation's broker."""

    def __init__(self, topics: TopicNames, seed: int) -> None:
        self.topics = topics
        self._hub = Hub(1_700_000_000 * SECOND)
        self._process = ScriptedProcess(self._hub)
        self._idle = Idle(self._process)
        settings = BrokerSettings(
            partitions=2,
            gift_sent=topics.gift_sent,
            gift_result=topics.gift_result,
            dead_letters=topics.dead_letters,
        )
        self._broker = Broker(self._hub, settings, Random(seed))

    def consumer(self, config: KafkaConfig) -> Any:
        properties = consumer_properties(config, _ignore)
        return SimulatedConsumer(self._process, self._broker, self._idle, properties)

    def producer(self, config: KafkaConfig) -> Any:
        properties = producer_properties(config, _ignore)
        return SimulatedProducer(
            self._process, self._broker, self._idle, properties, trace=lambda _what: None
        )

    def write(self, values: Sequence[bytes], partition: int = 0) -> None:
        log = self._broker.topics[self.topics.gift_sent][partition]
        for value in values:
            log.append(self._broker.now_ms, b"room", value)

    def read(self, topic: str) -> list[bytes | None]:
        logs = self._broker.topics[topic]
        return [one.value for log in logs for one in log.committed(0, log.stable_end)]

    def now_s(self) -> float:
        return self._hub.now_us / SECOND

    def sleep(self, seconds: float) -> None:
        until_us = self._hub.now_us + round(seconds * SECOND)
        while self._hub.now_us < until_us:
            self._process.block(until_us)


class Member:
    """A member of the group and its producer; keeps what its callbacks were told."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        static: bool = True,
        transaction_ms: int = 15_000,
    ) -> None:
        self.cluster = cluster
        config = config_of(cluster, name, static=static, transaction_ms=transaction_ms)
        self.topic = cluster.topics.gift_sent
        self.consumer = cluster.consumer(config)
        self.producer = cluster.producer(config)
        self.owned: set[int] = set()
        self.revoked: list[set[int]] = []
        self.lost: list[set[int]] = []
        self.rounds = 0
        self.read: list[tuple[int, int, bytes | None]] = []
        self.ends: list[tuple[int, int]] = []
        self.errors: list[KafkaError] = []

    def join(self) -> None:
        """Ask for a share, and for a transactional id."""
        self.producer.init_transactions(WAIT_S)
        self.consumer.subscribe(
            [self.topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def turn(self) -> None:
        """Poll once."""
        message = self.consumer.poll(0.05)
        if message is None:
            return
        error = message.error()
        if error is None:
            self.read.append((message.partition(), message.offset(), message.value()))
        elif error.code() == KafkaError._PARTITION_EOF:
            self.ends.append((message.partition(), message.offset()))
        else:
            self.errors.append(error)

    def begin(self, value: bytes) -> None:
        """Begin a transaction with one result."""
        self.producer.begin_transaction()
        self.producer.produce(self.cluster.topics.gift_result, value=value, key=b"room")
        self.producer.flush(WAIT_S)

    def send_offset(
        self, offset: int, metadata: str = "", group_metadata: object = None, partition: int = 0
    ) -> None:
        """Add an offset to the transaction, as who we are now or as `group_metadata` says."""
        self.producer.send_offsets_to_transaction(
            [TopicPartition(self.topic, partition, offset, metadata)],
            group_metadata or self.consumer.consumer_group_metadata(),
            WAIT_S,
        )

    def committed(self, timeout_s: float, partition: int = 0) -> TopicPartition:
        """The group's stable offset."""
        asked = [TopicPartition(self.topic, partition)]
        [answer] = self.consumer.committed(asked, timeout=timeout_s)
        assert isinstance(answer, TopicPartition)
        return answer

    def _on_assign(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        self.rounds += 1
        added = {at.partition for at in partitions}
        self.owned |= added
        self.consumer.incremental_assign([TopicPartition(self.topic, one, 0) for one in added])

    def _on_revoke(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        self._give_up(partitions, self.revoked)

    def _on_lost(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        self._give_up(partitions, self.lost)

    def _give_up(self, partitions: list[TopicPartition], noted: list[set[int]]) -> None:
        gone = {at.partition for at in partitions}
        noted.append(gone)
        self.owned -= gone
        self.consumer.incremental_unassign(partitions)


def until(condition: Callable[[], bool], *members: Member) -> None:
    """Let members turn until the condition holds."""
    cluster = members[0].cluster
    deadline_s = cluster.now_s() + WAIT_S
    while not condition():
        assert cluster.now_s() < deadline_s, "it never came"
        for member in members:
            member.turn()


def let_pass(seconds: float, *members: Member) -> None:
    """Let members turn for so long."""
    cluster = members[0].cluster
    deadline_s = cluster.now_s() + seconds
    until(lambda: cluster.now_s() > deadline_s, *members)


def _ignore(_error: KafkaError) -> None:
    """What clients complain about is not what these tests look at."""
