"""Partitions that the group gave to nobody.

Cooperative rebalancing takes two rounds: the first takes partitions from their owner, the second,
which that owner asks for, gives them to somebody else. A static member that is killed in between
never asks; when it comes back under its name the broker hands it its old share without a new
round. The partitions are then nobody's until some later rebalance, for hours perhaps, and the
group calls itself stable (seen, on Kafka 4.2).

So every member looks now and then. If partitions are without an owner at two looks in a row, the
member with the lowest name leaves and joins anew: that makes a new round.
"""

from concurrent.futures import Future
from typing import Final

import structlog
from confluent_kafka import ConsumerGroupState, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    ConsumerGroupDescription,
    TopicDescription,
)

from consumer.adapters.kafka.config import KafkaConfig
from consumer.clock import Clock

LOOK_MS: Final = 2_500
"""Between looks. A healthy second round comes within a second or two, drained checks included."""

LOOKS: Final = 2

REQUEST_S: Final = 2.0

log = structlog.get_logger()


class Orphans:
    """Looks for partitions without an owner, without ever waiting for the answer."""

    def __init__(self, admin: AdminClient, config: KafkaConfig, clock: Clock) -> None:
        self._admin = admin
        self._config = config
        self._clock = clock
        self._next_ms = clock.now_ms() + LOOK_MS
        self._group: Future[ConsumerGroupDescription] | None = None
        self._topic: Future[TopicDescription] | None = None
        self._seen = 0

    def ours_to_mend(self, member_id: str) -> bool:
        """Whether partitions have been nobody's for long enough, and we are to join anew.

        Call it every turn; `member_id` is ours in the group.
        """
        if self._group is None or self._topic is None:
            self._look_if_due()
            return False
        if not (self._group.done() and self._topic.done()):
            return False
        group, topic, self._group, self._topic = self._group, self._topic, None, None
        try:
            return self._judge(group.result(), topic.result(), member_id)
        except KafkaException as error:
            log.debug("cannot look for partitions without owner", detail=str(error))
            return False

    def _look_if_due(self) -> None:
        now_ms = self._clock.now_ms()
        if now_ms < self._next_ms:
            return
        self._next_ms = now_ms + LOOK_MS
        group_id, topic = self._config.group_id, self._config.gift_sent
        self._group = self._admin.describe_consumer_groups([group_id], request_timeout=REQUEST_S)[
            group_id
        ]
        self._topic = self._admin.describe_topics(
            TopicCollection([topic]), request_timeout=REQUEST_S
        )[topic]

    def _judge(
        self, group: ConsumerGroupDescription, topic: TopicDescription, member_id: str
    ) -> bool:
        owned = {
            at.partition for member in group.members for at in member.assignment.topic_partitions
        }
        orphans = {at.id for at in topic.partitions} - owned
        if group.state is not ConsumerGroupState.STABLE or not orphans:
            self._seen = 0
            return False
        self._seen += 1
        lowest = min(group.members, key=lambda member: member.group_instance_id or member.member_id)
        if self._seen < LOOKS or lowest.member_id != member_id:
            return False
        self._seen = 0
        log.warning("partitions without an owner: joining anew", partitions=sorted(orphans))
        return True
