"""How hard properties are tried, and the real Kafka of the tests.

**Properties** (Hypothesis) take `HYPOTHESIS_PROFILE`: `usual` takes what `make test` can spare,
`thorough` fifty times as much (with `--timeout=0`: minutes each). A failure prints the blob that
repeats it.

**Kafka** is started on demand, once, and stopped at the end. Where none can be had (no network to
fetch it from, say), the tests marked `kafka` are skipped and say why; with `CI=true` they fail,
for a run without them proves little.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NoReturn

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from hypothesis import settings

from consumer.demo.kafka_broker import START_MS, KafkaBroker
from consumer.errors import ConfigurationError
from tests.kafka.secured import USERS
from tests.kafka.topics import TopicNames

settings.register_profile("usual", max_examples=100, deadline=None, database=None, print_blob=True)
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

BROKER_PROPERTIES = {
    # A dead producer's transaction is looked for every second instead of every ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # Members may have shorter sessions than the usual 6 s.
    "group.min.session.timeout.ms": "1000",
}


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker]:
    """A real Kafka on loopback."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(KafkaBroker(properties=BROKER_PROPERTIES))
        except ConfigurationError as error:
            no_kafka(error)
        load_coordinators(broker.bootstrap_servers)
        yield broker


@pytest.fixture(scope="session")
def secured_broker() -> Iterator[KafkaBroker]:
    """Another one, with a secured listener and some users."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(KafkaBroker(properties=BROKER_PROPERTIES, users=USERS))
        except ConfigurationError as error:
            no_kafka(error)
        load_coordinators(broker.bootstrap_servers)
        yield broker


@pytest.fixture
def topics() -> TopicNames:
    """Topic names that no other test uses; the topics do not exist yet."""
    return TopicNames.of_a_run(f"test-{secrets.token_hex(4)}")


def load_coordinators(bootstrap_servers: str) -> None:
    """Make the cluster's own topics; until then its first clients are told to come again."""
    servers = {"bootstrap.servers": bootstrap_servers}
    producer = Producer({**servers, "transactional.id": "loads-the-coordinator"})
    producer.init_transactions(START_MS / 1_000)
    consumer = Consumer({**servers, "group.id": "loads-the-coordinator"})
    asked = [TopicPartition("any-topic", 0)]
    for _ in range(START_MS // 1_000):
        with suppress(KafkaException):
            consumer.committed(asked, timeout=1)
            break
    consumer.close()


def no_kafka(error: ConfigurationError) -> NoReturn:
    """Skip the test, loudly, or fail it where it must run."""
    reason = f"NO REAL KAFKA, SO EXACTLY-ONCE IS NOT TESTED: {error}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
