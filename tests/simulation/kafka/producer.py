"""A transactional producer as the adapter sees it, over the simulated broker.

Records wait in the client until `flush` or `commit_transaction` sends them. After a fatal error
every call fails with it; after an abortable one only an abort helps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.hub import MS, SECOND, Process
from tests.simulation.kafka.broker import Broker
from tests.simulation.kafka.calls import Calls
from tests.simulation.kafka.consumer import GroupMetadata, Idle, describe
from tests.simulation.kafka.errors import abortable, fatal, plain
from tests.simulation.kafka.log import Headers, Owner

Delivered = Callable[[KafkaError | None, Any], None]

FOREVER_S: Final = 1e6


@dataclass(slots=True)
class Outgoing:
    """A record on its way."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    delivered: Delivered | None
    partition: int | None


class SimulatedProducer:
    """One producer; `trace` is told of every transaction's steps."""

    def __init__(
        self,
        process: Process,
        broker: Broker,
        idle: Idle,
        properties: dict[str, Any],
        *,
        trace: Callable[[str], None],
    ) -> None:
        self._process = process
        self._broker = broker
        self._idle = idle
        self._trace = trace
        self._calls = Calls(process, broker)
        self._name: str = properties["transactional.id"]
        self._timeout_us: int = properties["transaction.timeout.ms"] * MS
        self._owner: Owner = (0, -1)
        self._queue: list[Outgoing] = []
        self._open = False
        self._began_us = 0
        self._at_broker = False
        self._doomed: KafkaError | None = None
        self._fatal: KafkaError | None = None
        self._full = False

    @property
    def is_open(self) -> bool:
        """Whether a transaction is begun and not ended."""
        return self._open

    def init_transactions(self, timeout: float) -> None:
        self._refuse_after_fatal()
        transactions = self._broker.transactions
        self._owner = self._call(
            "init",
            "transactions",
            lambda: transactions.init(self._name, self._timeout_us),
            timeout,
        )

    def list_topics(self, topic: str, timeout: float) -> Any:
        try:
            return self._call("topics", "data", lambda: describe(self._broker, topic), timeout)
        except KafkaException:
            self._calls.drop("topics")
            raise

    def begin_transaction(self) -> None:
        self._refuse_after_fatal()
        if self._open:
            raise plain(KafkaError._STATE, "a transaction is open")
        self._open, self._at_broker, self._doomed = True, False, None
        self._began_us = self._process.hub.now_us
        if self._broker.random.random() < self._broker.weather.out_of_order:
            self._doomed = abortable(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER).args[0]

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        on_delivery: Delivered | None = None,
        *,
        partition: int | None = None,
    ) -> None:
        self._refuse_after_fatal()
        if not self._open:
            raise plain(KafkaError._STATE, "no transaction is open")
        if not self._full and self._broker.random.random() < self._broker.weather.queue_full:
            self._full = True
            raise BufferError
        self._full = False
        self._queue.append(
            Outgoing(topic, key, value, tuple(headers or ()), on_delivery, partition)
        )

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: Any, timeout: float
    ) -> None:
        self._refuse_after_fatal()
        self._refuse_doomed()
        member: GroupMetadata = group_metadata
        offsets = {
            at.partition: (at.offset, at.metadata or "") for at in positions if at.offset >= 0
        }
        if not offsets:  # the client drops negative ones without a word
            return

        def commit() -> None:
            # The coordinator knows of the transaction, also if the group refuses.
            self._broker.transactions.enter(self._name, self._owner)
            self._at_broker = True
            self._broker.commit_offsets(self._name, self._owner, member, offsets)

        self._call("offsets", "group", commit, timeout)

    def flush(self, timeout: float) -> int:
        if self._queue and self._fatal is None:
            try:
                self._deliver(timeout)
            except KafkaException as error:
                self._fail_queued(error)
        return len(self._queue)

    def commit_transaction(self, timeout: float) -> None:
        self._refuse_after_fatal()
        if self._queue:
            self.flush(timeout)
            if self._queue:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, "not all is written", retriable=True)
                )
        self._refuse_doomed()
        if self._at_broker:
            self._end(commit=True, timeout_s=timeout)
        self._trace("commit")
        self._open = False

    def abort_transaction(self, timeout: float) -> None:
        self._refuse_after_fatal()
        self._fail_queued(KafkaException(KafkaError(KafkaError._PURGE_QUEUE)))
        if self._at_broker:
            self._end(commit=False, timeout_s=timeout)
        for name in ("write", "offsets", "commit"):
            self._calls.drop(name)
        self._trace("abort")
        self._open = False

    def poll(self, timeout: float) -> int:
        if timeout > 0:
            self._process.block(self._process.hub.now_us + round(timeout * SECOND))
        return 0

    # --- inside ---------------------------------------------------------------------------------

    def _deliver(self, timeout_s: float) -> None:
        """Write what is queued, all with one request."""
        if self._broker.hub.now_us - self._began_us > self._timeout_us:
            raise abortable(KafkaError._MSG_TIMED_OUT, "Local: Message timed out")
        batch = list(self._queue)
        written: list[int] = []

        def write() -> None:
            # A repetition is recognised by its sequence numbers.
            for number, one in enumerate(batch):
                if number < len(written):
                    continue
                self._broker.write(
                    self._name,
                    self._owner,
                    one.topic,
                    key=one.key,
                    value=one.value,
                    headers=one.headers,
                    partition=one.partition,
                )
                self._at_broker = True
                written.append(number)

        try:
            self._call("write", "data", write, timeout_s)
        except KafkaException as error:
            if error.args[0].retriable():
                return
            raise
        self._queue = self._queue[len(batch) :]
        for one in batch:
            if one.delivered is not None:
                one.delivered(None, None)

    def _end(self, *, commit: bool, timeout_s: float) -> None:
        random, transactions = self._broker.random, self._broker.transactions
        lost = commit and random.random() < self._broker.weather.unknown
        before = lost and random.random() < 0.5
        plainly = lost and random.random() < 0.5

        def end() -> None:
            if not before:
                transactions.end(self._name, self._owner, commit=commit)
            if lost and plainly:
                self._at_broker = False  # for all the client knows
                raise plain(KafkaError._FAIL, "the commit may have succeeded: not known")
            if lost:
                raise fatal(KafkaError._INCONSISTENT, "the commit may have succeeded: not known")

        self._call("commit" if commit else "abort", "transactions", end, timeout_s)

    def _call(self, name: str, part: str, apply: Callable[[], Any], timeout_s: float) -> Any:
        try:
            return self._calls.call(name, part, apply, timeout_s)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            if error.fatal():
                self._fatal = error
            elif error.txn_requires_abort():
                self._doomed = error
            raise

    def _fail_queued(self, exception: KafkaException) -> None:
        """Nothing of what is queued gets through."""
        error: KafkaError = exception.args[0]
        if error.code() != KafkaError._PURGE_QUEUE and not error.fatal():
            self._doomed = self._doomed or error
        queued, self._queue = self._queue, []
        for one in queued:
            if one.delivered is not None:
                one.delivered(error, None)

    def _refuse_after_fatal(self) -> None:
        if self._fatal is not None:
            raise KafkaException(self._fatal)

    def _refuse_doomed(self) -> None:
        if self._doomed is not None:
            raise KafkaException(self._doomed)
