"""The Kafka of the tests that has a secured listener: who may log in, and what they need."""

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AclOperation,
    ResourceType,
)

from consumer.adapters.kafka import KafkaConfig
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.fake_host import config_for
from tests.kafka.topics import TopicNames

PASSWORD = "a-secret-of-the-tests"

USERS = {f"user{number}": PASSWORD for number in range(5)}
"""One for each set of rights; what they are allowed is bound to a test's own names."""

Right = tuple[ResourceType, str, AclOperation]


def needed(topics: TopicNames, instance: str = "a") -> list[Right]:
    """The four rights that a consumer of this name needs."""
    topic, group = ResourceType.TOPIC, ResourceType.GROUP
    return [
        (topic, topics.gift_sent, AclOperation.READ),
        (topic, topics.gift_result, AclOperation.WRITE),
        (topic, topics.dead_letters, AclOperation.WRITE),
        (group, topics.group_id, AclOperation.READ),
        (ResourceType.TRANSACTIONAL_ID, f"{topics.group_id}/{instance}", AclOperation.WRITE),
    ]


def secured_config(
    broker: KafkaBroker, topics: TopicNames, user: str, instance: str = "a", **properties: str
) -> KafkaConfig:
    """A configuration for the secured listener; `properties` with underscores for dots."""
    assert broker.secured is not None
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return config_for(
        broker.secured.bootstrap_servers,
        topics,
        instance,
        properties={**broker.secured.client_properties(user), **named},
    )
