"""The audit's view of Kafka: it asks for ends and progress, and reads as downstream does.

It joins no group and commits nothing; it needs READ on the three topics, and on the group to
know its progress.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Final

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig, client_properties
from consumer.adapters.kafka.errors import NOT_ALLOWED, error_text, kafka_error
from consumer.adapters.kafka.startup import Startup, open_admin, properties_judged, result_of
from consumer.audit.claims import Claim
from consumer.audit.model import Range
from consumer.clock import Clock
from consumer.core.metadata import MetadataUnreadable, decode_metadata
from consumer.errors import ConfigurationError, GiftcheckError, RestartNeeded

BATCH_MAX: Final = 5_000
"""Messages handed on at once."""

QUEUED_MESSAGES: Final = 20_000
QUEUE_KIB: Final = 16_384
FETCH_BYTES: Final = 4_000_000
"""What the client may hold of messages not yet handed on, and what one answer may add to it, packed:
a part of the audit's bounded memory."""

POLL_S: Final = 0.5
REQUEST_S: Final = 15.0

_EARLIEST: Final[OffsetSpec] = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]

SILENCE_MS: Final = 90_000
"""Nothing for so long: nobody answers. An open transaction, which also holds the end of a log
back, ends sooner: `transaction.timeout.ms` is 15 s here, and looked for every 10 s by default."""


class AuditReader:
    """Reads the three topics; made by `open_reader`.

    Raises (all methods):
        ConfigurationError: a topic is missing, or a right.
        RestartNeeded: the brokers do not answer.
    """

    def __init__(
        self, config: KafkaConfig, consumer: Consumer, admin: AdminClient, clock: Clock
    ) -> None:
        self._config = config
        self._consumer = consumer
        self._admin = admin
        self._clock = clock

    def log(self, topic: str, *, to_the_end: bool) -> dict[int, Range]:
        """What each partition holds: up to its end, or to where all transactions are decided.

        The former may lie behind open transactions; `read` waits until these are decided.
        """
        with _asking(topic):
            described = self._consumer.list_topics(topic, timeout=REQUEST_S).topics[topic]
            if described.error is not None:
                raise KafkaException(described.error)
            partitions = [TopicPartition(topic, number) for number in sorted(described.partitions)]
            begins = self._ends(partitions, _EARLIEST, IsolationLevel.READ_COMMITTED)
            level = IsolationLevel.READ_UNCOMMITTED if to_the_end else IsolationLevel.READ_COMMITTED
            ends = self._ends(partitions, _LATEST, level)
        return {partition: Range(begins[partition], ends[partition]) for partition in begins}

    def offsets_at(self, topic: str, log: Mapping[int, Range], time_ms: int) -> dict[int, int]:
        """The first offset whose record has this Unix time or a later one, else the end."""
        with _asking(topic):
            found = self._consumer.offsets_for_times(
                [TopicPartition(topic, partition, time_ms) for partition in log],
                timeout=REQUEST_S,
            )
            for answer in found:
                if answer.error is not None:
                    raise KafkaException(answer.error)
        return {
            answer.partition: answer.offset if answer.offset >= 0 else log[answer.partition].end
            for answer in found
        }

    def claims(self, partitions: Mapping[int, Range]) -> tuple[dict[int, Claim], str | None]:
        """The group's progress by partition, and why it is not known where it is not."""
        asked = [TopicPartition(self._config.gift_sent, partition) for partition in partitions]
        try:
            answers = self._consumer.committed(asked, timeout=REQUEST_S)
        except KafkaException as exception:
            return {}, error_text(kafka_error(exception))
        claims, unknown = {}, None
        for answer in answers:
            if answer.error is not None:
                unknown = answer.error.str()
            elif answer.offset < 0:
                unknown = f'group "{self._config.group_id}" has committed nothing'
            else:
                try:
                    metadata = decode_metadata(answer.metadata or "")
                except MetadataUnreadable as error:
                    unknown = str(error)
                else:
                    claims[answer.partition] = Claim.of(answer.offset, metadata)
        return claims, unknown

    def read(self, topic: str, ranges: Mapping[int, Range]) -> Iterator[list[Message]]:
        """All committed records of these ranges, each partition in order of offsets.

        The lists may be empty: they tell that time goes by.
        """
        waiting = {partition: each.end for partition, each in ranges.items() if each.offsets_count}
        if not waiting:
            return
        self._consumer.assign(
            [TopicPartition(topic, partition, ranges[partition].begin) for partition in waiting]
        )
        heard_ms = self._clock.now_ms()
        while waiting:
            messages = self._batch(topic)
            if messages:
                heard_ms = self._clock.now_ms()
            elif self._clock.now_ms() - heard_ms > SILENCE_MS:
                raise RestartNeeded(
                    f'topic "{topic}": no records for {SILENCE_MS // 1_000} s, though partitions'
                    f" {sorted(waiting)} are not read to their ends: are the brokers there?"
                )
            yield [message for message in messages if _belongs(message, waiting)]
        self._consumer.unassign()

    def _batch(self, topic: str) -> list[Message]:
        first = self._consumer.poll(POLL_S)
        if first is None:
            return []
        # With a time-out of 0 `consume` takes what is there.
        messages = [first, *self._consumer.consume(BATCH_MAX - 1, 0)]
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                _refuse(topic, error)
        return messages

    def _ends(
        self, partitions: list[TopicPartition], spec: OffsetSpec, level: IsolationLevel
    ) -> dict[int, int]:
        asked = self._admin.list_offsets(
            dict.fromkeys(partitions, spec), isolation_level=level, request_timeout=REQUEST_S
        )
        return {at.partition: result_of(future, REQUEST_S).offset for at, future in asked.items()}


@contextmanager
def open_reader(config: KafkaConfig, clock: Clock) -> Iterator[AuditReader]:
    """A reader within a `with` block.

    Raises:
        ConfigurationError: credentials, TLS or properties are wrong.
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
        with properties_judged(config):
            consumer = Consumer(
                {
                    **client_properties(config, reports.on_error),
                    "group.id": config.group_id,  # whose progress is asked for; nothing joins
                    "isolation.level": "read_committed",
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",  # a gap would look like missing answers
                    "queued.min.messages": QUEUED_MESSAGES,
                    "queued.max.messages.kbytes": QUEUE_KIB,
                    "fetch.max.bytes": FETCH_BYTES,
                    "fetch.wait.max.ms": 50,  # so long is the end of a log waited for
                    "fetch.queue.backoff.ms": 20,  # the default stalls a full queue for a second
                },
                logger=reports.logger,
            )
        with closing(consumer):
            yield AuditReader(config, consumer, admin, clock)


def _belongs(message: Message, waiting: dict[int, int]) -> bool:
    """Whether a record lies in its range; a partition that is through is no longer waited for.

    The end of a log (`_PARTITION_EOF`) comes with the offset after it: what lies between the last
    record and there, if anything, are aborted records and control records.
    """
    partition, offset = message.partition(), message.offset()
    end = waiting.get(-1 if partition is None else partition)
    if partition is None or offset is None or end is None:
        return False
    is_record = message.error() is None
    if offset + is_record >= end:
        del waiting[partition]
    return is_record and offset < end


def _refuse(topic: str, error: KafkaError) -> None:
    """Raise what cannot be waited for; the client mends everything else by itself."""
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  the client's name
        raise RestartNeeded(
            f'topic "{topic}": records were deleted while they were being read (retention):'
            " start the audit again, or later records (--from)"
        )
    if error.code() in NOT_ALLOWED or error.fatal():
        raise _mistake(topic, error)


@contextmanager
def _asking(topic: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as exception:
        raise _mistake(topic, kafka_error(exception)) from exception


def _mistake(topic: str, error: KafkaError) -> GiftcheckError:
    where = f'topic "{topic}"'
    if error.code() in NOT_ALLOWED:
        return ConfigurationError(f"{where}: this user may not READ it; allow it ({error.name()})")
    if error.code() in {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001  the client's name
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    }:
        return ConfigurationError(f"{where} does not exist")
    return RestartNeeded(f"{where}: {error_text(error)}")
