"""Judges the three topics and the brokers' limits by what the cluster says of them; no I/O.

Settings of topics and brokers can be read with DESCRIBE_CONFIGS alone, which giftcheck does not
need otherwise: where it is missing they are not judged.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]  # public

from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.startup import TopicFound
from consumer.adapters.kafka.topics import REPLICAS_MAX
from consumer.core.metadata import LIMIT_CHARACTERS_MIN, METADATA_CHARACTERS_MAX
from consumer.doctor.findings import Finding, Level

INSYNC_MIN: Final = 2
"""With fewer an acknowledged result can be lost with one broker."""

Configs = Mapping[str, str]
"""Settings by name, as a broker tells them; those it does not have are left out."""


def judge_topics(
    topics: Iterable[TopicFound],
    configs: Mapping[str, Configs | None],
    config: KafkaConfig,
    brokers_count: int,
) -> Iterator[Finding]:
    """A finding for each topic; `configs` are their settings, None where they cannot be read."""
    found = {topic.name: topic for topic in topics}
    sent = found[config.gift_sent].description
    for topic in found.values():
        check = f"topic {topic.name}"
        if topic.description is None or topic.mistake is not None:
            yield Finding(check, Level.FAIL, topic.mistake or "cannot be seen")
            continue
        wrong = [
            *_partition_troubles(topic.description),
            *_count_troubles(topic.name, topic.description, config, sent),
            *_setting_troubles(topic, config, configs[topic.name] or {}, brokers_count),
        ]
        if not wrong:
            yield Finding(check, Level.OK, _seen(topic, configs[topic.name]))
        for level, what, advice in wrong:
            yield Finding(check, level, what, advice)


def _seen(topic: TopicFound, configs: Configs | None) -> str:
    assert topic.description is not None  # noqa: S101  judge_topics saw to it
    partitions = topic.description.partitions
    seen = f"{len(partitions)} partitions, {_replicas(topic.description)} replicas"
    if topic.description.authorized_operations:
        seen += f", {topic.right.name} allowed"
    if configs is None:
        seen += "; its settings cannot be read (needs DESCRIBE_CONFIGS)"
    return seen


Trouble = tuple[Level, str, str]
"""How bad, what, and what to do."""


def _partition_troubles(topic: TopicDescription) -> Iterator[Trouble]:
    # The client's types know no partition without a leader.
    leaders = {one.id: cast("object", one.leader) for one in topic.partitions}
    unled = [str(number) for number, leader in leaders.items() if leader is None]
    if unled:
        yield (
            Level.FAIL,
            f"no broker leads partitions {', '.join(unled)}",
            "see what became of the brokers that hold them",
        )
    behind = [str(one.id) for one in topic.partitions if len(one.isr) < len(one.replicas)]
    if behind:
        yield (
            Level.WARN,
            f"replicas of partitions {', '.join(behind)} are away or behind",
            "see what became of the brokers that hold them",
        )


def _count_troubles(
    name: str, topic: TopicDescription, config: KafkaConfig, sent: TopicDescription | None
) -> Iterator[Trouble]:
    count = len(topic.partitions)
    if name == config.gift_result and sent is not None and count != len(sent.partitions):
        yield (
            Level.FAIL,
            f"{count} partitions, but {config.gift_sent} has {len(sent.partitions)}",
            "give both the same number, or nobody can join them by partition (Kafka Streams, Flink)",
        )


def _setting_troubles(
    topic: TopicFound, config: KafkaConfig, configs: Configs, brokers_count: int
) -> Iterator[Trouble]:
    assert topic.description is not None  # noqa: S101  judge_topics saw to it
    replicas = _replicas(topic.description)
    wanted = min(REPLICAS_MAX, brokers_count)
    if replicas < wanted:
        yield (
            Level.WARN,
            f"{replicas} replicas, and there are {brokers_count} brokers",
            f"{wanted} replicas survive the loss of a broker",
        )
    insync = int(configs.get("min.insync.replicas", min(INSYNC_MIN, replicas)))
    if topic.name != config.gift_sent and replicas >= REPLICAS_MAX and insync < INSYNC_MIN:
        yield (
            Level.WARN,
            f"min.insync.replicas is {insync}",
            f"set it to {INSYNC_MIN}, or a result may be lost with one broker",
        )
    if insync > replicas:
        yield (
            Level.FAIL,
            f"min.insync.replicas is {insync}, with {replicas} replicas: nothing can be written",
            "lower it, or have more replicas",
        )
    if "compact" in configs.get("cleanup.policy", ""):
        yield (
            Level.FAIL,
            f"cleanup.policy is {configs['cleanup.policy']}: of a room only the last record stays",
            "set it to delete",
        )


def _replicas(topic: TopicDescription) -> int:
    return min((len(one.replicas) for one in topic.partitions), default=0)


def judge_limits(configs: Configs | None, config: KafkaConfig) -> Iterator[Finding]:
    """The brokers' limits against what is needed; `configs` is None if they cannot be read."""
    check = "brokers' limits"
    if configs is None:
        found = (
            "cannot be read (needs DESCRIBE_CONFIGS on the cluster); Kafka's defaults are enough"
        )
        yield Finding(check, Level.SKIP, found)
        return
    wrong = [*_time_troubles(configs, config), *_metadata_troubles(configs)]
    if not wrong:
        yield Finding(check, Level.OK, "transactions, sessions and progress have room enough")
    for level, what, advice in wrong:
        yield Finding(check, level, what, advice)


def _time_troubles(configs: Configs, config: KafkaConfig) -> Iterator[Trouble]:
    for name, needed, too_small in (
        ("transaction.max.timeout.ms", config.transaction_timeout_ms, True),
        ("group.max.session.timeout.ms", config.session_timeout_ms, True),
        ("group.min.session.timeout.ms", config.session_timeout_ms, False),
    ):
        value = int(configs.get(name, needed))
        if value != needed and (value < needed) is too_small:
            word = "least" if too_small else "most"
            yield Level.FAIL, f"{name} is {value}", f"at {word} {needed} is needed"


def _metadata_troubles(configs: Configs) -> Iterator[Trouble]:
    """Progress is kept in the offsets' metadata (design §4); the client adds a byte."""
    name = "offset.metadata.max.bytes"
    value = int(configs.get(name, METADATA_CHARACTERS_MAX + 1))
    if value <= LIMIT_CHARACTERS_MIN:
        yield (
            Level.FAIL,
            f"{name} is {value}: progress cannot be kept",
            f"set it to {METADATA_CHARACTERS_MAX + 1}, Kafka's default",
        )
    elif value <= METADATA_CHARACTERS_MAX:
        yield (
            Level.WARN,
            f"{name} is {value}: a partition holds fewer pending gifts",
            f"set it to {METADATA_CHARACTERS_MAX + 1}, Kafka's default",
        )
