"""One membership of the group, from `subscribe` to the last cut: the Kafka thread's turns.

One turn: serve the client (its rebalance callbacks run inside `poll`), hand over what was read,
find the start of newly assigned partitions, carry out pauses, commit a cut where somebody wants
one.

Rules of the callbacks: they run in the middle of `poll`, so nothing leaves them but through
`_failure`, which the turn raises; on_assign does nothing that takes time; on_revoke commits what
the revoked partitions still have to say within `LAST_CUT_MS`, else leaves it to the successor.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from consumer.adapters.kafka.assignment import Assignment
from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.clients import Clients
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.cuts import Cuts
from consumer.adapters.kafka.errors import NOT_ALLOWED, error_text, fenced, is_fence, kafka_error
from consumer.adapters.kafka.intake import Intake
from consumer.adapters.kafka.orphans import Orphans
from consumer.adapters.kafka.ports import Codec, Host
from consumer.adapters.kafka.transaction import Transactions
from consumer.clock import Clock
from consumer.errors import ConfigurationError, GiftcheckError, RestartNeeded

POLL_S: Final = 0.005
"""The turn's only idle wait: a cut wanted meanwhile waits half of it on average."""

MESSAGES_MAX: Final = 2_000
"""Messages of one turn: some 20 ms of decoding."""

NOT_TAKEN_MAX: Final = 20_000
"""Records handed over and not yet taken by the loop (promise P5). Beyond it only the message
that `poll` itself returns is handed over, one a turn."""

LAST_CUT_MS: Final = 2_200
"""Checks in flight are awaited for a second, the loop's turn and the transaction come on top;
under the lease of the partitions that stay (3 s)."""

LEAVE_MS: Final = 5_000
"""How long the group may take to release the partitions after `unsubscribe`; seen: 0.2 s."""

log = structlog.get_logger()

_Message = Message


class IntakeOrder(NamedTuple):
    """To stop or go on reading a partition, as long as it has that epoch."""

    pause: bool
    partition: int
    epoch: int


class Session:
    """Reads, hands over, commits; only the Kafka thread calls it.

    Args:
        wanted: set when somebody has something to commit.
        orders: what other threads want paused and resumed.
        taken_count: how many of the records handed over have been taken so far.
        orphans: looks for partitions that are nobody's; None where the broker cannot tell.
        clients: how to wait for a cut.
    """

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        config: KafkaConfig,
        reports: ClientReports,
        *,
        codec: Codec,
        host: Host,
        clock: Clock,
        wanted: threading.Event,
        orders: "SimpleQueue[IntakeOrder]",
        taken_count: Callable[[], int],
        orphans: Orphans | None,
        clients: Clients,
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._config = config
        self._reports = reports
        self._host = host
        self._clock = clock
        self._orders = orders
        self._taken_count = taken_count
        self._orphans = orphans
        self._failure: Exception | None = None
        self._leaving = False
        self.assignment = Assignment(consumer, config, clock)
        self.intake = Intake(codec, self.assignment.owned, self.assignment.unread_count)
        self.transactions = Transactions(producer, config, codec, reports, clock)
        self._cuts = Cuts(
            host=host,
            transactions=self.transactions,
            consumer=consumer,
            assignment=self.assignment,
            config=config,
            clock=clock,
            wanted=wanted,
            wait=clients.wait,
        )

    def join(self) -> None:
        """Ask the group for a share of gift-sent; it comes during later turns."""
        self._consumer.subscribe(
            [self._config.gift_sent],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def turn(self) -> None:
        """Come round once.

        Raises:
            GiftcheckError: only a restart or an operator can mend it.
        """
        for batch in self.intake.take(self._read()):
            self._host.feed(batch)
        for change in self.assignment.resolve():
            self._host.feed(change)
        self._carry_out_orders()
        self._cuts.pull_if_due()
        if self._orphans is not None and self._orphans.ours_to_mend(
            self._consumer.memberid() or ""
        ):
            self._give_back()
            self.join()

    def leave(self) -> None:
        """Commit the last cut, then give the partitions back and leave the group.

        `unsubscribe` and polling until they are revoked, then `close`: with `close` alone a
        static member stays in the group and its partitions orphaned for a session time-out.
        """
        self._cuts.pull_last(None, LAST_CUT_MS)
        self._leaving = True
        self._give_back()
        self._consumer.close()

    def _give_back(self) -> None:
        """Leave the group, and see the partitions revoked."""
        try:
            self._consumer.unsubscribe()
        except KafkaException as exception:
            # After a fatal error the client refuses this, too, and only its report says why (seen:
            # fenced while it was leaving).
            raise self._ended(self._reports.fatal or kafka_error(exception)) from exception
        deadline_ms = self._clock.now_ms() + LEAVE_MS
        while self.assignment.owned and self._clock.now_ms() < deadline_ms:
            self._read()

    def _read(self) -> list[_Message]:
        """Serve the clients; the messages that hold a record, after judging those that do not.

        `poll` waits, `consume` must not: it always waits its full time-out (seen).
        """
        try:
            self._producer.poll(0)
            first = self._consumer.poll(POLL_S)
            messages = [] if first is None else [first]
            if self.intake.records_count - self._taken_count() < NOT_TAKEN_MAX:
                messages += self._consumer.consume(MESSAGES_MAX, 0)
        except KafkaException as exception:
            raise self._ended(kafka_error(exception)) from exception
        if self._failure is not None:
            raise self._failure
        if self._reports.fatal is not None:
            raise self._ended(self._reports.fatal)
        return [message for message in messages if not self._judge(message)]

    def _judge(self, message: _Message) -> bool:
        """Whether the message is an error; the client goes on by itself after most."""
        error = message.error()
        if error is None:
            return False
        if error.fatal():
            raise self._ended(error)
        partition, offset = message.partition(), message.offset()
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  the client's names
            if partition is not None and offset is not None:
                self.assignment.out_of_range(partition, offset)
        elif error.code() in NOT_ALLOWED and not self.assignment.joined:
            raise ConfigurationError(
                f'group "{self._config.group_id}": this user may not READ it, or not the topic'
                f' "{self._config.gift_sent}": {error.str()}; allow READ on both'
            )
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            if partition is not None and offset is not None:
                self.assignment.end_reached(partition, offset)
        else:
            self._reports.on_error(error)
        return True

    def _ended(self, error: KafkaError) -> GiftcheckError:
        self._reports.note(error)
        if is_fence(error):
            away = self._reports.brokers_were_away()
            return fenced(self._config, error, brokers_were_away=away)
        return RestartNeeded(f"the Kafka client cannot go on: {error_text(error)}")

    def _carry_out_orders(self) -> None:
        with suppress(Empty):
            while True:
                order = self._orders.get_nowait()
                owned = self.assignment.owned.get(order.partition)
                if owned is not None and owned.epoch == order.epoch:
                    at = [TopicPartition(self._config.gift_sent, order.partition)]
                    (self._consumer.pause if order.pause else self._consumer.resume)(at)
                    owned.paused = order.pause

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._nothing_raised():
            self.assignment.add(at.partition for at in partitions)

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        owned = frozenset(at.partition for at in partitions) & self.assignment.owned.keys()
        with self._nothing_raised():
            if owned and not self._leaving and self._failure is None:
                self._cuts.pull_last(owned, LAST_CUT_MS)
        self._release(partitions, lost=False)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Another owns them already, or will: nothing of ours may be committed any more."""
        log.warning("partitions lost", partitions=[at.partition for at in partitions])
        self._release(partitions, lost=True)

    def _release(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        with self._nothing_raised():
            for revoked in self.assignment.remove((at.partition for at in partitions), lost=lost):
                log.info("partition revoked", partition=revoked.partition)
                self._host.feed(revoked)

    @contextmanager
    def _nothing_raised(self) -> Iterator[None]:
        """Keep an exception for the turn: out of a callback it would lose messages (seen)."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, the turn raises it
            self._failure = self._failure or error
