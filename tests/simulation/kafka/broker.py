"""The broker: topics, both coordinators, and what is wrong with them at the moment.

`weather` is what fault schedules change: whether the broker answers at all, how slow each part
is, and what it refuses. Requests are applied in the instant in which they arrive.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from confluent_kafka import KafkaError

from tests.simulation.hub import MS, Hub
from tests.simulation.kafka.errors import abortable
from tests.simulation.kafka.group import Group
from tests.simulation.kafka.log import Headers, Log, Owner, Record
from tests.simulation.kafka.transactions import Listener, Offsets, Transactions


@dataclass(slots=True)
class Weather:
    """What is wrong now; as made, all is well.

    Attributes:
        away: nobody answers.
        slow_us: by coordinator ("group", "transactions") or "data": so much longer does it take.
        answer_lost: the share of requests that are carried out and whose answer gets lost.
        moved: the share of requests that are refused at first, for their coordinator has moved.
        unknown: the share of commits of which the client cannot say how they ended.
        out_of_order: the share of transactions with a sequence error, which is abortable.
        queue_full: the share of records that find the client's queue full at first.
    """

    away: bool = False
    slow_us: dict[str, int] = field(default_factory=dict)
    answer_lost: float = 0.0
    moved: float = 0.0
    unknown: float = 0.0
    out_of_order: float = 0.0
    queue_full: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """What a cluster's operator has chosen. Latencies are one way."""

    partitions: int = 3
    gift_sent: str = "gift-sent"
    gift_result: str = "gift-result"
    dead_letters: str = "gift-sent.dlq"
    latency_us: tuple[int, int] = (300, 2_000)
    marker_us: tuple[int, int] = (200, 15_000)
    cleanup_us: int = 1_000_000
    first_delay_us: int = 0
    message_bytes_max: int = 1_048_588


class Broker:
    """One cluster with one group."""

    def __init__(
        self,
        hub: Hub,
        settings: BrokerSettings,
        random: Random,
        *,
        on_commit: Listener = lambda _records, _offsets: None,
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.random = random
        self.weather = Weather()
        self.topics = {
            name: [Log(name, partition) for partition in range(settings.partitions)]
            for name in (settings.gift_sent, settings.gift_result, settings.dead_letters)
        }
        self.group = Group(hub, settings.partitions, first_delay_us=settings.first_delay_us)
        self.transactions = Transactions(
            hub,
            self.group,
            cleanup_us=settings.cleanup_us,
            marker_us=lambda: random.randint(*settings.marker_us),
            on_commit=on_commit,
        )
        self._back: list[Callable[[], None]] = []

    @property
    def now_ms(self) -> int:
        """What a record appended now has as its timestamp."""
        return self.hub.now_us // MS

    def latency_us(self, part: str) -> int:
        """How long a request takes now, one way."""
        latency_us = self.random.randint(*self.settings.latency_us)
        return latency_us + self.weather.slow_us.get(part, 0)

    def go_away(self) -> None:
        """Answer nobody."""
        self.weather.away = True

    def come_back(self) -> None:
        """Answer again; sessions begin anew."""
        if self.weather.away:
            self.weather.away = False
            self.group.restarted()
            back, self._back = self._back, []
            for call in back:
                call()

    def when_back(self, call: Callable[[], None]) -> None:
        """Call this once the broker answers again."""
        self._back.append(call)

    def partition_of(self, topic: str, key: bytes | None) -> Log:
        """Where a record with this key belongs."""
        logs = self.topics[topic]
        return logs[zlib.crc32(key or b"") % len(logs)]

    def write(
        self,
        name: str,
        owner: Owner,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        partition: int | None = None,
    ) -> Record:
        """Add a record within a transaction.

        Raises:
            KafkaException: fenced, or too large.
            AgainError: the transaction before is not over.
        """
        found = self.transactions.enter(name, owner)
        size = len(value or b"") + len(key or b"") + sum(len(v or b"") for _, v in headers)
        if size > self.settings.message_bytes_max:
            raise abortable(KafkaError.MSG_SIZE_TOO_LARGE, "Broker: Message size too large")
        logs = self.topics[topic]
        log = self.partition_of(topic, key) if partition is None else logs[partition]
        found.logs[log] = None
        return log.append(self.now_ms, key, value, headers, owner)

    def commit_offsets(
        self,
        name: str,
        owner: Owner,
        member: tuple[str, str | None, int],
        offsets: Offsets,
    ) -> None:
        """Add offsets to a transaction, fenced by `member`: its id, instance and generation.

        Raises:
            KafkaException: fenced, or refused by the group.
            AgainError: the transaction before is not over.
        """
        found = self.transactions.enter(name, owner)
        found.has_offsets = True
        self.group.commit(owner, *member, offsets)
