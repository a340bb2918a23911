"""Making the topics (design §9, "Topics"); what exists is told and never altered.

Results and dead letters are kept for a time (delete), never compacted: two results of one room
are two results. They get gift-sent's number of partitions, three replicas where there are three
brokers, and then two of them in sync for every write.
"""

import threading
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewTopic,
)

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.errors import NOT_ALLOWED, kafka_error
from consumer.adapters.kafka.startup import Startup, open_admin
from consumer.clock import Clock
from consumer.errors import ConfigurationError, RestartNeeded

REPLICAS_MAX: Final = 3
REQUEST_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class TopicReport:
    """One of the topics, as it is now; `created`: it was not there before."""

    name: str
    partitions_count: int
    replicas_count: int
    created: bool


def create_topics(
    config: KafkaConfig, clock: Clock, *, gift_sent_partitions: int | None = None
) -> tuple[TopicReport, ...]:
    """Make the topics that do not exist: both outputs, and gift-sent if a count is given.

    Raises:
        ConfigurationError: credentials, TLS, the right to create, or no gift-sent to follow.
        RestartNeeded: the brokers do not answer within `startup_ms`.
    """
    reports = ClientReports(clock)
    reports.quiet = True
    startup = Startup(
        replace(config, outage_max_ms=config.startup_ms),
        reports,
        clock,
        stopping=threading.Event(),
        turned=lambda: None,
    )
    with open_admin(config, reports) as admin:
        startup.connect(admin)
        existing = _existing(admin)
        source = existing.get(config.gift_sent)
        if source is None and gift_sent_partitions is None:
            raise ConfigurationError(
                f'topic "{config.gift_sent}" does not exist, so there is no number of partitions'
                " to follow: create it first, or say how many it shall have"
            )
        partitions = source.partitions_count if source else gift_sent_partitions
        names = [config.gift_sent, config.gift_result, config.dead_letters]
        replicas = min(REPLICAS_MAX, len(admin.list_topics(timeout=REQUEST_S).brokers))
        missing = [
            TopicReport(name, partitions or 1, replicas, created=True)
            for name in names
            if name not in existing
        ]
        _create(admin, missing)
    made = {topic.name: topic for topic in missing}
    return tuple(made[name] if name in made else existing[name] for name in names)


def _existing(admin: AdminClient) -> dict[str, TopicReport]:
    topics = admin.list_topics(timeout=REQUEST_S).topics
    return {
        name: TopicReport(
            name,
            len(topic.partitions),
            min((len(one.replicas) for one in topic.partitions.values()), default=0),
            created=False,
        )
        for name, topic in topics.items()
        if topic.error is None
    }


def _create(admin: AdminClient, topics: list[TopicReport]) -> None:
    if not topics:
        return
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions_count,
            replication_factor=topic.replicas_count,
            config={
                "cleanup.policy": "delete",
                "min.insync.replicas": "2" if topic.replicas_count >= REPLICAS_MAX else "1",
            },
        )
        for topic in topics
    ]
    made = admin.create_topics(new, request_timeout=REQUEST_S)
    for name, future in made.items():
        _result(name, future)


def _result(name: str, future: Any) -> None:
    """Wait for one topic; somebody else may have made it at the same moment."""
    try:
        future.result(REQUEST_S + 1)
    except FutureTimeout as late:
        raise RestartNeeded(f'topic "{name}": the brokers did not answer in time') from late
    except KafkaException as exception:
        error = kafka_error(exception)
        if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return
        if error.code() in NOT_ALLOWED:
            raise ConfigurationError(
                f'topic "{name}": this user may not CREATE it; allow it, or have it created'
            ) from exception
        raise ConfigurationError(f'topic "{name}" cannot be created: {error.str()}') from exception
