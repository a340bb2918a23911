"""A producer takes its name from a dead predecessor; against a real Kafka."""

import threading

import pytest
from confluent_kafka import KafkaException, Producer

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig, producer_properties
from consumer.adapters.kafka.startup import Startup
from consumer.adapters.kafka.transactional_id import TransactionalId
from consumer.clock import SystemClock
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.fake_host import WAIT_S, config_for
from tests.kafka.topics import TopicNames, committed_values, create

pytestmark = pytest.mark.kafka

TRIES = 10


class Namesake:
    """Takes the name, and counts the producers that took."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._reports = ClientReports(SystemClock())
        self._stopping = threading.Event()
        self.made = 0

    def take(self) -> Producer | None:
        """A producer of that name."""
        startup = Startup(
            self._config,
            self._reports,
            SystemClock(),
            stopping=self._stopping,
            turned=lambda: None,
        )
        return TransactionalId(self._config, self._reports, startup, self._make).take()

    def stop(self) -> None:
        """Be stopped before it begins."""
        self._stopping.set()

    def _make(self) -> Producer:
        self.made += 1
        properties = producer_properties(self._config, self._reports.on_error)
        return Producer(properties, logger=self._reports.logger)


def die_in_a_transaction(namesake: Namesake, topic: str) -> Producer:
    """Take the name and send a record, which nobody commits."""
    predecessor = namesake.take()
    assert predecessor is not None
    predecessor.begin_transaction()
    predecessor.produce(topic, b"never committed")
    predecessor.flush(WAIT_S)
    return predecessor


def test_a_free_name_is_taken_at_once(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """By the first producer, unless the broker is slow: then that one waits."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    namesake = Namesake(config_for(servers, topics))
    producer = namesake.take()
    assert producer is not None
    assert namesake.made == 1
    producer.begin_transaction()
    producer.produce(topics.gift_result, b"committed")
    producer.commit_transaction(WAIT_S)
    assert [b"committed"] == committed_values(servers, topics.gift_result)


def test_a_name_whose_transaction_is_open_is_taken_by_a_second_producer(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """It commits, what was open is aborted, and the predecessor can do nothing more.

    The first one may not hear in time that the name is busy, on a busy machine; then it takes the
    name itself, later. Hence several tries.
    """
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    config = config_for(servers, topics)
    for tried in range(1, TRIES + 1):
        predecessor = die_in_a_transaction(Namesake(config), topics.gift_result)
        successor = Namesake(config)
        producer = successor.take()
        assert producer is not None
        producer.begin_transaction()
        producer.produce(topics.gift_result, b"committed")
        producer.commit_transaction(WAIT_S)
        with pytest.raises(KafkaException):
            predecessor.commit_transaction(WAIT_S)
        assert [b"committed"] * tried == committed_values(servers, topics.gift_result)
        if successor.made == 2:
            return
    pytest.fail(f"in {TRIES} tries no second producer came")


def test_who_is_stopped_takes_no_name(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """A stop before the name is taken ends the start quietly."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    namesake = Namesake(config_for(servers, topics))
    namesake.stop()
    assert namesake.take() is None
