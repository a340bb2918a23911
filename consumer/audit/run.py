"""The audit from end to end: what is read when, so that a running group is judged fairly.

1. The group's progress. 2. The ends of the outputs, behind all open transactions; they are read
up to there, once these are decided. So the answers of all that the progress calls answered are
among them: progress and results are one transaction. 3. The end of gift-sent. So every answer
has its source before it. What is sent or answered later is not judged at all.

Bounded by time, the outputs are read from `--margin` before that time on, for an answer is
written after its record, by clocks that agree so far. Bounded by offsets, they are read from
their beginnings.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from consumer.adapters.avro import AvroCodec, decode_result
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.intake import decoded
from consumer.audit.bounds import Bound, audited
from consumer.audit.claims import Claim
from consumer.audit.judgement import Audit
from consumer.audit.model import Range, Scope
from consumer.audit.reading import AuditReader, open_reader
from consumer.audit.screen import Progress, json_text, open_progress, report_text
from consumer.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What is audited and how it is told.

    `give_up_after_ms` is when the consumer gives a gift up; `margin_ms` later a record that
    nobody has answered is missing. `show_progress` wants a terminal at stderr, too.
    """

    begin: Bound | None = None
    end: Bound | None = None
    give_up_after_ms: int = 3_600_000
    margin_ms: int = 300_000
    json: bool = False
    show_progress: bool = True


def run_audit(config: KafkaConfig, codec: AvroCodec, options: AuditOptions, clock: Clock) -> int:
    """Read, judge, print, and return the exit code: 0 if nothing is wrong, 1 if something is.

    Raises:
        ConfigurationError: credentials, rights, topics.
        RestartNeeded: the brokers do not answer, or records vanish while they are read.
    """
    with open_reader(config, clock) as reader:
        planned = _plan(reader, config, options, clock)
        progress = open_progress() if options.show_progress else nullcontext(_silent)
        with progress as moved:
            _feed(planned, reader, codec, moved)
    report = planned.audit.report()
    told = {
        "topics": {
            config.gift_sent: _shown(planned.sources),
            config.gift_result: _shown(planned.results),
            config.dead_letters: _shown(planned.letters),
        },
        "progress_unknown": planned.progress_unknown,
        "state_bytes": planned.audit.size_bytes,
    }
    print(json_text(report, told) if options.json else report_text(report, told))  # noqa: T201
    return report.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """What will be read, and the audit that it is fed to."""

    config: KafkaConfig
    audit: Audit
    sources: Mapping[int, Range]
    results: Mapping[int, Range]
    letters: Mapping[int, Range]
    progress_unknown: str | None


def _plan(
    reader: AuditReader, config: KafkaConfig, options: AuditOptions, clock: Clock
) -> _Planned:
    claims, unknown = reader.claims(reader.log(config.gift_sent, to_the_end=False))
    begin = options.begin or _first_start(claims)
    since_ms = None if begin is None else begin.time_ms
    if since_ms is not None:
        since_ms -= options.margin_ms
    results = _output(reader, config.gift_result, since_ms)
    letters = _output(reader, config.dead_letters, since_ms)
    now_wall_ms = clock.wall_ms()
    log = reader.log(config.gift_sent, to_the_end=False)
    sources = audited(
        log, begin, options.end, lambda time_ms: reader.offsets_at(config.gift_sent, log, time_ms)
    )
    audit = Audit(
        Scope(sources=sources, log=log),
        claims=claims,
        give_up_ms=options.give_up_after_ms + options.margin_ms,
        now_wall_ms=now_wall_ms,
        topics=(config.gift_sent, config.gift_result, config.dead_letters),
    )
    return _Planned(
        config=config,
        audit=audit,
        sources=sources,
        results=results,
        letters=letters,
        progress_unknown=unknown,
    )


def _first_start(claims: Mapping[int, Claim]) -> Bound | None:
    """Where the group began if not at the log's beginning: earlier records are none of its own."""
    since_ms = max((claim.since_wall_ms for claim in claims.values()), default=0)
    return Bound(time_ms=since_ms) if since_ms else None


def _output(reader: AuditReader, topic: str, since_ms: int | None) -> dict[int, Range]:
    log = reader.log(topic, to_the_end=True)
    if since_ms is None:
        return log
    begins = reader.offsets_at(topic, log, since_ms)
    return {
        partition: held._replace(begin=max(held.begin, begins[partition]))
        for partition, held in log.items()
    }


def _feed(planned: _Planned, reader: AuditReader, codec: AvroCodec, moved: Progress) -> None:
    config, audit = planned.config, planned.audit
    stages: list[tuple[str, Mapping[int, Range], Callable[[Message, int, int], None]]] = [
        (config.gift_result, planned.results, lambda *at: _feed_result(audit, *at)),
        (
            config.dead_letters,
            planned.letters,
            lambda *at: _feed_letter(audit, config.gift_sent, *at),
        ),
        (config.gift_sent, planned.sources, lambda *at: _feed_sent(audit, codec, *at)),
    ]
    for topic, ranges, feed in stages:
        positions = {partition: each.begin for partition, each in ranges.items()}
        total = sum(each.offsets_count for each in ranges.values())
        done = 0
        for messages in reader.read(topic, ranges):
            for message in messages:
                partition, offset = message.partition(), message.offset()
                if partition is None or offset is None:
                    continue
                feed(message, partition, offset)
                done += offset + 1 - positions[partition]
                positions[partition] = offset + 1
            moved(topic, done, total)
        moved(topic, total, total)


def _feed_result(audit: Audit, message: Message, partition: int, offset: int) -> None:
    try:
        result = decode_result(message.value() or b"")
    except Exception as error:  # noqa: BLE001  bytes from outside: any error means unreadable
        why = f"{type(error).__name__}: {error}"[:200]
        audit.unreadable_result(partition, offset, why)
    else:
        audit.result(partition, offset, result)


def _feed_letter(
    audit: Audit, gift_sent: str, message: Message, partition: int, offset: int
) -> None:
    headers: dict[str, Any] = dict(message.headers() or ())
    try:
        topic = headers["giftcheck.source.topic"].decode()
        source = (
            int(headers["giftcheck.source.partition"]),
            int(headers["giftcheck.source.offset"]),
        )
    except (KeyError, ValueError, AttributeError, TypeError):
        audit.unreadable_letter(partition, offset, "its headers do not name its source")
        return
    if topic == gift_sent:
        audit.dead_letter(partition, offset, *source)
    else:
        audit.unreadable_letter(partition, offset, f"its source is of topic {topic[:80]!r}")


def _feed_sent(
    audit: Audit, codec: AvroCodec, message: Message, partition: int, offset: int
) -> None:
    audit.sent(partition, decoded(codec, message, offset))


def _silent(topic: str, done: int, total: int) -> None:
    """Nobody watches."""


def _shown(ranges: Mapping[int, Range]) -> dict[str, list[int]]:
    return {str(partition): [each.begin, each.end] for partition, each in ranges.items()}
