"""The Kafka thread: the only caller of the consumer and the producer (design §4).

It checks the cluster (`startup`), takes its name (`transactional_id`), comes round until somebody
stops it (`session`) and says how it ended. Nothing is repaired in place after a fatal error: the truth is in Kafka, and the way to
it is a new process.
"""

import threading
from concurrent.futures import Future
from dataclasses import replace
from queue import SimpleQueue
from typing import Final

import structlog
from confluent_kafka import Producer

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.clients import LIBRDKAFKA, Clients
from consumer.adapters.kafka.config import KafkaConfig, consumer_properties, producer_properties
from consumer.adapters.kafka.orphans import Orphans
from consumer.adapters.kafka.ports import Codec, Host
from consumer.adapters.kafka.session import IntakeOrder, Session
from consumer.adapters.kafka.startup import Startup, properties_judged
from consumer.adapters.kafka.state import KafkaState
from consumer.adapters.kafka.transactional_id import TransactionalId
from consumer.clock import Clock
from consumer.core.messages import PartitionRevoked
from consumer.errors import GiftcheckError, NameTaken, RestartNeeded

LAG_MS: Final = 1_000
"""How often the intake lag is computed."""

log = structlog.get_logger()


class KafkaThread(threading.Thread):
    """Reads, hands over, commits. Daemonic: a hanging client call must not keep the process.

    Attributes:
        finished: done when the thread has ended: None after a graceful stop, else a
            GiftcheckError (ConfigurationError, RestartNeeded, NameTaken). In the second case
            the clients are left as they are, for the process is to end now: its supervisor
            starts it again under its name, or its session runs out.
    """

    def __init__(
        self,
        config: KafkaConfig,
        *,
        codec: Codec,
        host: Host,
        clock: Clock,
        clients: Clients = LIBRDKAFKA,
    ) -> None:
        super().__init__(name="kafka", daemon=True)
        self._config = config
        self._codec = codec
        self._host = host
        self._clock = clock
        self._reports = ClientReports(clock)
        self._clients = clients
        self._stopping = clients.event()
        self._wanted = clients.event()
        self._orders: SimpleQueue[IntakeOrder] = SimpleQueue()
        self._taken_count = 0
        self._session: Session | None = None
        self._state = KafkaState(last_turn_ms=clock.now_ms())
        self._lag_at_ms = clock.now_ms()
        self.finished: Future[None] = Future()

    def want_cut(self) -> None:
        """There is something to say: a cut is pulled soon. From any thread."""
        self._wanted.set()

    def pause(self, partition: int, epoch: int) -> None:
        """Read no more of this partition, as long as it has that epoch. From any thread."""
        self._orders.put(IntakeOrder(pause=True, partition=partition, epoch=epoch))

    def resume(self, partition: int, epoch: int) -> None:
        """Read on, as long as it has that epoch. From any thread."""
        self._orders.put(IntakeOrder(pause=False, partition=partition, epoch=epoch))

    def taken(self, count: int) -> None:
        """So many more records were taken in; always from the same thread."""
        self._taken_count += count

    def stop(self) -> None:
        """Commit a last drained cut, leave the group and end; returns at once. From any thread."""
        self._stopping.set()

    def state(self) -> KafkaState:
        """What there is to know, as of the last turn. From any thread."""
        session = self._session
        if session is None:
            return replace(self._state, last_error=self._reports.last_error)
        # These two change within a turn, and that may be a long one.
        return replace(
            self._state,
            transaction_failing_since_ms=session.transactions.failing_since_ms,
            last_error=self._reports.last_error,
        )

    def run(self) -> None:
        """The thread's life; call `start`."""
        try:
            self._work()
        except GiftcheckError as error:
            self._fail(error)
        except Exception as error:  # a bug: the process must not go on without this thread
            log.critical("a fault in the Kafka thread", exc_info=True)
            self._fail(RestartNeeded(f"a fault in the Kafka thread: {error!r}"))
        else:
            self.finished.set_result(None)

    def _work(self) -> None:
        startup = Startup(
            self._config,
            self._reports,
            self._clock,
            stopping=self._stopping,
            turned=self._note_turn,
            clients=self._clients,
        )
        self._reports.quiet = True
        if not (self._config.embedded_broker or startup.check_cluster()):
            return
        name = TransactionalId(self._config, self._reports, startup, self._producer)
        producer = name.take()
        if producer is None:
            return
        self._state = replace(self._state, gift_sent_partitions=startup.gift_sent_partitions)
        self._reports.quiet = False
        self._session = session = self._join(producer)
        while not self._stopping.is_set():
            session.turn()
            self._note_turn()
        session.leave()

    def _producer(self) -> Producer:
        with properties_judged(self._config):
            properties = producer_properties(self._config, self._reports.on_error)
            return self._clients.producer(properties, logger=self._reports.logger)

    def _join(self, producer: Producer) -> Session:
        with properties_judged(self._config):
            properties = consumer_properties(self._config, self._reports.on_error)
            consumer = self._clients.consumer(properties, logger=self._reports.logger)
        embedded = self._config.embedded_broker
        orphans = (
            None if embedded else Orphans(self._config, self._reports, self._clock, self._clients)
        )
        session = Session(
            consumer,
            producer,
            self._config,
            self._reports,
            codec=self._codec,
            host=self._host,
            clock=self._clock,
            wanted=self._wanted,
            orders=self._orders,
            taken_count=lambda: self._taken_count,
            orphans=orphans,
            clients=self._clients,
        )
        session.join()
        return session

    def _fail(self, error: GiftcheckError) -> None:
        """Tell the loop that nothing is ours any more, then everybody.

        After NameTaken a pause of one session time-out first: two supervised twins would
        otherwise take the name from each other for ever, each with no time to work [R 4].
        """
        owned = self._session.assignment.owned.values() if self._session else ()
        self._host.feed(*(PartitionRevoked(one.partition, one.epoch) for one in owned))
        if isinstance(error, NameTaken):
            log.error(str(error))
            self._stopping.wait(self._config.session_timeout_ms / 1_000)
        self.finished.set_exception(error)

    def _note_turn(self) -> None:
        now_ms = self._clock.now_ms()
        session = self._session
        if session is None:
            self._state = replace(self._state, last_turn_ms=now_ms)
            return
        lag, lag_ms = self._state.intake_lag, self._state.intake_lag_ms
        if now_ms >= self._lag_at_ms:
            self._lag_at_ms = now_ms + LAG_MS
            lag, lag_ms = session.assignment.intake_lag()
        transactions = session.transactions
        self._state = replace(
            self._state,
            last_turn_ms=now_ms,
            joined=session.assignment.joined,
            assigned=tuple(sorted(session.assignment.owned)),
            waiting=session.assignment.waiting,
            begun=session.assignment.begun_count,
            intake_lag=lag,
            intake_lag_ms=lag_ms,
            commits=transactions.commits_count,
            aborts=transactions.aborts_count,
            records=session.intake.records_count,
            results=transactions.results_count,
            dead_letters=transactions.dead_letters_count,
        )
