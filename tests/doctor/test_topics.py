"""What the doctor thinks of topics and brokers' limits that a small cluster cannot show."""

from typing import cast

import pytest
from confluent_kafka import Node, TopicPartitionInfo, Uuid
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AclOperation,
    TopicDescription,
)

from consumer.adapters.kafka import KafkaConfig
from consumer.adapters.kafka.startup import TopicFound
from consumer.doctor.findings import Finding, Level
from consumer.doctor.topics import Configs, judge_limits, judge_topics

CONFIG = KafkaConfig(bootstrap_servers="x", group_id="g", instance="a")
GOOD: Configs = {"min.insync.replicas": "2", "cleanup.policy": "delete"}
NODES = [Node(number, "kafka", 9092) for number in range(3)]


def topic(
    name: str, *, partitions: int = 2, replicas: int = 3, in_sync: int = 3, led: bool = True
) -> TopicFound:
    """A topic as three brokers describe it."""
    leader = cast("Node", NODES[0] if led else None)
    described = [
        TopicPartitionInfo(number, leader, NODES[:replicas], NODES[:in_sync])
        for number in range(partitions)
    ]
    right = AclOperation.READ if name == CONFIG.gift_sent else AclOperation.WRITE
    description = TopicDescription(name, Uuid(1, 1), is_internal=False, partitions=described)
    return TopicFound(name, right, description, None)


def judged(*, configs: Configs | None = GOOD, **result: object) -> list[Finding]:
    """The findings, where gift-result is like this and all else is good."""
    topics = [
        topic(CONFIG.gift_sent),
        topic(CONFIG.gift_result, **result),  # type: ignore[arg-type]  # as `topic` takes it
        topic(CONFIG.dead_letters),
    ]
    by_name = dict.fromkeys((each.name for each in topics), GOOD) | {CONFIG.gift_result: configs}
    return list(judge_topics(topics, by_name, CONFIG, len(NODES)))


def test_good_topics_are_good_whether_their_settings_can_be_read_or_not() -> None:
    """What cannot be read is said."""
    assert [Level.OK] * 3 == [finding.level for finding in judged()]
    unread = judged(configs=None)
    assert [Level.OK] * 3 == [finding.level for finding in unread]
    assert "needs DESCRIBE_CONFIGS" in unread[1].found


@pytest.mark.parametrize(
    ("result", "level", "says"),
    [
        ({"led": False}, Level.FAIL, "no broker leads partitions 0, 1"),
        ({"in_sync": 2}, Level.WARN, "replicas of partitions 0, 1 are away or behind"),
        ({"partitions": 3}, Level.FAIL, "3 partitions, but gift-sent has 2"),
        ({"replicas": 2, "in_sync": 2}, Level.WARN, "2 replicas, and there are 3 brokers"),
        ({"configs": {"min.insync.replicas": "1"}}, Level.WARN, "min.insync.replicas is 1"),
        ({"configs": {"min.insync.replicas": "4"}}, Level.FAIL, "nothing can be written"),
        ({"configs": {"cleanup.policy": "compact,delete"}}, Level.FAIL, "cleanup.policy is comp"),
    ],
)
def test_what_is_wrong_with_a_topic_is_told(
    result: dict[str, object], level: Level, says: str
) -> None:
    """On its line, with what to do; the other topics stay good."""
    (wrong,) = [finding for finding in judged(**result) if finding.level is not Level.OK]  # type: ignore[arg-type]  # as above
    assert (wrong.check, wrong.level, says in wrong.found) == ("topic gift-result", level, True)
    assert wrong.advice


@pytest.mark.parametrize(
    ("configs", "level", "says"),
    [
        (
            {"transaction.max.timeout.ms": "14999"},
            Level.FAIL,
            "transaction.max.timeout.ms is 14999",
        ),
        ({"transaction.max.timeout.ms": "15000"}, Level.OK, ""),
        ({"group.max.session.timeout.ms": "9999"}, Level.FAIL, "group.max.session.timeout.ms is"),
        ({"group.min.session.timeout.ms": "10001"}, Level.FAIL, "group.min.session.timeout.ms is"),
        ({"group.min.session.timeout.ms": "10000"}, Level.OK, ""),
        ({"offset.metadata.max.bytes": "4096"}, Level.OK, ""),
        ({"offset.metadata.max.bytes": "4095"}, Level.WARN, "fewer pending gifts"),
        ({"offset.metadata.max.bytes": "255"}, Level.FAIL, "progress cannot be kept"),
        ({}, Level.OK, ""),
        (None, Level.SKIP, "needs DESCRIBE_CONFIGS on the cluster"),
    ],
)
def test_the_brokers_limits_are_held_against_ours(
    configs: Configs | None, level: Level, says: str
) -> None:
    """A limit that is just enough is; one that a broker does not have is not missed."""
    (finding,) = judge_limits(configs, CONFIG)
    assert (finding.level, says in finding.found) == (level, True)
