"""One cut, one transaction: all of it or nothing (design §4, "The fence" and "Errors").

| what the client says | what is done |
|---|---|
| retriable | the same call again, until `outage_max_ms` after the beginning; then `RestartNeeded` |
| abortable | abort, and `commit` says False: the same results come back with the next cut |
| fenced | `NameTaken`; but if our own transaction outlived its time-out, `RestartNeeded` |
| fatal, or nobody knows | `RestartNeeded`: the outcome is unknown, a restart reads the truth |

The client's time-outs are hints (8 s came back after 64: seen), so one deadline serves a whole
transaction, its abort included. An abort can fail for good, too: seen where the right to write
was taken away in between. Aborts that never end are ended by `AbortRow`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from consumer.adapters.kafka.abort_row import AbortRow
from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.dead_letters import size_bytes, truncated, whole
from consumer.adapters.kafka.errors import error_text, fenced, is_fence, kafka_error
from consumer.adapters.kafka.ports import Codec
from consumer.clock import Clock
from consumer.core.metadata import METADATA_CHARACTERS_MAX
from consumer.core.model import Cut, DeadLetter
from consumer.errors import GiftcheckError, RestartNeeded

CALL_S: Final = 5.0
"""One try of a client call; a hint to the client."""

WAIT_S: Final = 0.1
"""Between tries, and for the queue to drain before an abort: what cannot be sent in that time
will not be sent (a whole second cost a whole second each time: seen)."""

_LetterName = tuple[int, int]

log = structlog.get_logger()


class Transactions:
    """Sends cuts, one at a time; only the Kafka thread calls it.

    Attributes:
        failing_since_ms: the beginning of the first transaction since the last success.
        aborts_in_row: how many since the last success; for backing off.
        metadata_refused: the last cut was aborted because an offset's metadata was too large.
    """

    def __init__(
        self,
        producer: Producer,
        config: KafkaConfig,
        codec: Codec,
        reports: ClientReports,
        clock: Clock,
    ) -> None:
        self._producer = producer
        self._config = config
        self._codec = codec
        self._reports = reports
        self._clock = clock
        self._began_ms = 0
        self._row = AbortRow()
        self._delivery_error: KafkaError | None = None
        self._refused: dict[_LetterName, int] = {}
        self._truncated: set[_LetterName] = set()
        self.failing_since_ms: int | None = None
        self.metadata_refused = False
        self.commits_count = 0
        self.aborts_count = 0
        self.results_count = 0
        self.dead_letters_count = 0

    @property
    def aborts_in_row(self) -> int:
        """Aborts since the last success."""
        return self._row.aborts_count

    def commit(self, cut: Cut, group_metadata: object) -> bool:
        """Send a cut and end its transaction: True committed, False certainly not.

        `group_metadata` is fetched fresh for each: the broker refuses an outdated one, which is
        the fence against a process that no longer owns a partition.

        Raises:
            NameTaken, RestartNeeded: see the table.
        """
        _check(cut)
        self.metadata_refused = False
        values = [self._codec.encode(result) for result in cut.results]
        self._began_ms = self._clock.now_ms()
        if self.failing_since_ms is None:
            self.failing_since_ms = self._began_ms
        self._delivery_error = None
        self._refused.clear()
        committing = False
        try:
            self._producer.begin_transaction()
            self._produce(cut, values)
            self._send_offsets(cut, group_metadata)
            self._deliver()
            committing = True
            self._insist(self._producer.commit_transaction)
        except KafkaException as exception:
            error = kafka_error(exception)
            # Before the commit nothing can have been committed: all but the end is abortable.
            over = committing or error.fatal() or error.retriable()
            if over and not error.txn_requires_abort():
                raise self._fatal(error) from exception
            self._abort(error)
            if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
                self._note_refused_metadata(cut)
            return False
        self._note_success(cut)
        return True

    def _produce(self, cut: Cut, values: list[bytes]) -> None:
        for result, value in zip(cut.results, values, strict=True):
            self._send(
                self._config.gift_result,
                key=result.sent.room_id.encode(),
                value=value,
                headers=list(result.headers),
                on_delivery=self._on_delivery,
            )
        for letter in cut.dead_letters:
            form = truncated if _name(letter) in self._truncated else whole
            record = form(letter, self._config.gift_sent)
            try:
                self._send(
                    self._config.dead_letters,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    on_delivery=partial(self._on_delivery, letter=letter),
                )
            except KafkaException as exception:
                # Over the producer's own limit: it says so at once.
                self._on_delivery(kafka_error(exception), None, letter=letter)
                raise

    def _send(self, topic: str, **record: Any) -> None:
        """Queue one record; a full queue drains by delivery or by the messages' time-out."""
        while True:
            try:
                self._producer.produce(topic, **record)
            except BufferError:
                self._producer.poll(WAIT_S)
            else:
                return

    def _send_offsets(self, cut: Cut, group_metadata: object) -> None:
        offsets = [
            TopicPartition(self._config.gift_sent, at.partition, at.offset, at.metadata)
            for at in cut.offsets
        ]
        self._insist(
            lambda timeout_s: self._producer.send_offsets_to_transaction(
                offsets, group_metadata, timeout_s
            )
        )

    def _deliver(self) -> None:
        """Wait until all records are written or one is refused, at most for their time-out.

        The commit would do that, too, but after a refusal it waits for the rest in vain, for
        all of its own time-out (seen).
        """
        while self._producer.flush(WAIT_S) > 0 and self._delivery_error is None:
            pass

    def _insist(self, call: Callable[[float], object]) -> None:
        """The same call again while the client says it may be repeated, up to the deadline."""
        deadline_ms = self._began_ms + self._config.outage_max_ms
        while True:
            try:
                call(CALL_S)
            except KafkaException as exception:
                error = kafka_error(exception)
                if not error.retriable() or self._clock.now_ms() >= deadline_ms:
                    raise
                self._reports.on_error(error)
                self._producer.poll(WAIT_S)
            else:
                return

    def _abort(self, error: KafkaError) -> None:
        """Abort because of `error`, and count it.

        The short flush lets records join the transaction that is being aborted: an abort
        before that can end fatally.
        """
        try:
            self._producer.flush(WAIT_S)
            self._insist(self._producer.abort_transaction)
            self._producer.poll(0)  # the rest of the delivery reports
        except KafkaException as exception:
            if is_fence(error):
                raise self._fatal(error) from exception
            raise self._fatal(kafka_error(exception), after=error) from exception
        self.aborts_count += 1
        self._reports.note(error)
        log.warning("transaction aborted", cause=error_text(error), delivery=self._delivery_text())
        if is_fence(error):
            raise self._fatal(error)
        if not self._truncate_largest():
            self._row.add(self._delivery_error or error, self._clock.now_ms())

    def _truncate_largest(self) -> bool:
        """Whether a dead letter was refused for its size and will go again in part.

        A batch is refused as a whole: only its largest is sure to be too large.
        """
        sent_whole = [name for name in self._refused if name not in self._truncated]
        if not sent_whole:
            return False
        self._truncated.add(max(sent_whole, key=self._refused.__getitem__))
        return True

    def _fatal(self, error: KafkaError, after: KafkaError | None = None) -> GiftcheckError:
        open_ms = self._clock.now_ms() - self._began_ms
        cause = f" (aborting after {error_text(after)})" if after is not None else ""
        by_time = open_ms >= self._config.transaction_timeout_ms
        if is_fence(error) and not (by_time and error.fatal()):
            away = self._reports.brokers_were_away()
            return fenced(self._config, error, brokers_were_away=away)
        if is_fence(error):
            return RestartNeeded(
                f"a transaction was open for {open_ms} ms, longer than its time-out of"
                f" {self._config.transaction_timeout_ms} ms, and the broker ended it{cause}"
            )
        if error.retriable():
            return RestartNeeded(
                f"a transaction could not be ended in {open_ms} ms, over kafka.outage_max:"
                f" {error_text(error)}{cause}"
            )
        return RestartNeeded(f"a transaction's outcome is unknown: {error_text(error)}{cause}")

    def _note_refused_metadata(self, cut: Cut) -> None:
        self.metadata_refused = True
        texts = [at.metadata for at in cut.offsets]
        log.warning(
            "the broker refuses so much offset metadata: maps are kept shorter from now on",
            characters=max(len(text) for text in texts),
            bytes=max(len(text.encode()) for text in texts),
        )

    def _note_success(self, cut: Cut) -> None:
        self.failing_since_ms = None
        self._row.end()
        self._truncated.clear()  # all that were refused are in this cut, or their partition gone
        self.commits_count += 1
        self.results_count += len(cut.results)
        self.dead_letters_count += len(cut.dead_letters)
        self._producer.poll(0)

    def _on_delivery(
        self,
        error: KafkaError | None,
        _message: Message | None,
        letter: DeadLetter | None = None,
    ) -> None:
        if error is None:
            return
        if self._delivery_error is None:
            self._delivery_error = error
        if letter is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refused[_name(letter)] = size_bytes(letter)

    def _delivery_text(self) -> str:
        return (
            f"; first delivery error: {error_text(self._delivery_error)}"
            if self._delivery_error
            else ""
        )


def _check(cut: Cut) -> None:
    """The fence: an offset, not a negative one, for every partition that has something in it."""
    fenced = {at.partition for at in cut.offsets if at.offset >= 0}
    held = {result.source_partition for result in cut.results}
    held |= {letter.partition for letter in cut.dead_letters}
    if len(fenced) != len(cut.offsets) or held - fenced:
        raise AssertionError(
            f"cut {cut.cut_id} holds partitions without an offset: {held - fenced}"
        )
    too_long = [at.partition for at in cut.offsets if len(at.metadata) > METADATA_CHARACTERS_MAX]
    if too_long:
        raise AssertionError(f"cut {cut.cut_id}: metadata of partitions {too_long} is too long")


def _name(letter: DeadLetter) -> _LetterName:
    return letter.partition, letter.record.offset
