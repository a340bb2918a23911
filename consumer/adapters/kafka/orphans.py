"""Partitions that the group gave to nobody.

Cooperative rebalancing takes two rounds: the first takes partitions from their owner, the second,
which that owner asks for, gives them to somebody else. A static member that is killed in between
never asks; when it comes back under its name the broker hands it its old share without a new
round. The partitions are then nobody's until some later rebalance, for hours perhaps, and the
group calls itself stable (seen, on Kafka 4.2).

Only a member that comes back can leave such a gap, so every new member looks until it has seen a
stable group in which each partition has an owner. If some have none at two looks in a row, it
leaves and joins anew: that makes a new round.

The group is asked with the client's older call, `list_groups`: a connection that breaks during
`describe_consumer_groups` aborts the whole process (librdkafka issue 4605; seen when a broker was
killed).
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.clients import Clients
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.startup import open_admin
from consumer.clock import Clock

LOOK_MS: Final = 2_500
"""Between looks. A healthy second round comes within a second or two, drained checks included."""

LOOKS: Final = 2

REQUEST_S: Final = 1.0
"""A look takes milliseconds; a broker that hangs also holds the transactions up."""

log = structlog.get_logger()


class Orphans:
    """Looks for partitions without an owner, for as long as this process is new in its group."""

    def __init__(
        self, config: KafkaConfig, reports: ClientReports, clock: Clock, clients: Clients
    ) -> None:
        self._config = config
        self._reports = reports
        self._clock = clock
        self._clients = clients
        self._next_ms = clock.now_ms() + LOOK_MS
        self._seen = 0
        self._over = False

    def ours_to_mend(self, member_id: str) -> bool:
        """Whether partitions have been nobody's for long enough, and we are to join anew.

        Call it every turn; `member_id` is ours in the group, empty before we have joined.
        """
        now_ms = self._clock.now_ms()
        if self._over or not member_id or now_ms < self._next_ms:
            return False
        self._next_ms = now_ms + LOOK_MS
        try:
            orphans = self._orphans(member_id)
        except KafkaException as error:
            log.debug("cannot look for partitions without owner", detail=str(error))
            return False
        if orphans is None:
            self._seen = 0
            return False
        self._seen += 1
        self._over = not orphans
        if not orphans or self._seen < LOOKS:
            return False
        self._seen = 0
        log.warning("partitions without an owner: joining anew", partitions=sorted(orphans))
        return True

    def _orphans(self, member_id: str) -> set[int] | None:
        """The partitions that are nobody's; None while the group is not at rest with us in it."""
        group_id, topic = self._config.group_id, self._config.gift_sent
        with open_admin(self._config, self._reports, self._clients) as admin:
            groups: list[Any] = admin.list_groups(group_id, timeout=REQUEST_S)
            partitions = admin.list_topics(topic, timeout=REQUEST_S).topics[topic].partitions
        group = next((group for group in groups if group.id == group_id), None)
        if group is None or not _at_rest_with(member_id, group):
            return None
        owned = {at for member in group.members for at in assigned(member.assignment)}
        return {partition for partition in partitions if (topic, partition) not in owned}


def _at_rest_with(member_id: str, group: Any) -> bool:
    return group.state == "Stable" and any(member.id == member_id for member in group.members)


def assigned(assignment: bytes) -> Iterator[tuple[str, int]]:
    """The topics and partitions of a member's assignment.

    Version, then an array of topics, each a name and an array of partitions; what follows is the
    assignor's own (Kafka's ConsumerProtocolAssignment, the same in versions 0 to 3).
    """
    if not assignment:
        return
    (topics_count,), at = struct.unpack_from(">i", assignment, 2), 6
    for _ in range(topics_count):
        (length,) = struct.unpack_from(">h", assignment, at)
        name = assignment[at + 2 : at + 2 + length].decode()
        (count,) = struct.unpack_from(">i", assignment, at + 2 + length)
        at += 6 + length
        yield from (
            (name, partition) for partition in struct.unpack_from(f">{count}i", assignment, at)
        )
        at += 4 * count
