"""A scene on the real Kafka, with topics of its own; tests change what they need."""

from pathlib import Path

import pytest

from consumer.demo.kafka_broker import KafkaBroker
from tests.integration.fleet import Scene
from tests.kafka.topics import TopicNames


@pytest.fixture
def scene(kafka_broker: KafkaBroker, topics: TopicNames, tmp_path: Path) -> Scene:
    """Three members, 500 gifts a second into 500 rooms."""
    return Scene(bootstrap_servers=kafka_broker.bootstrap_servers, topics=topics, folder=tmp_path)
