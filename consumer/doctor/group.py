"""The group: who is in it, and whether its progress can be read and gone on from.

Nothing joins it and nothing is committed. Members are asked for with `list_groups`, for the
reason that `consumer.adapters.kafka.orphans` gives.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig, client_properties
from consumer.adapters.kafka.orphans import assigned
from consumer.adapters.kafka.start import StartRule
from consumer.adapters.kafka.startup import REQUEST_S, Startup, properties_judged, result_of
from consumer.clock import Clock
from consumer.core.metadata import MetadataUnreadable, decode_metadata
from consumer.doctor.findings import Finding, Level
from consumer.errors import ConfigurationError

MEMBERS_SHOWN: Final = 10

_EARLIEST: Final[OffsetSpec] = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]

ASSIGNOR: Final = "cooperative-sticky"


def look_at_members(admin: AdminClient, config: KafkaConfig, partitions: int) -> Finding:
    """The group as it is now; its members are information, whoever shares it in a wrong way not.

    Raises:
        KafkaException: it cannot be asked.
    """
    check = "group members"
    groups: list[Any] = admin.list_groups(config.group_id, timeout=REQUEST_S)
    group = next((each for each in groups if each.id == config.group_id), None)
    if group is None or not group.members:
        return Finding(check, Level.OK, "none now")
    if group.state == "Stable" and group.protocol != ASSIGNOR:
        return Finding(
            check,
            Level.FAIL,
            f"they share partitions by {group.protocol!r}: another program is in the group",
            "give giftcheck a kafka.group_id of its own",
        )
    owned = {
        member.client_id: sum(topic == config.gift_sent for topic, _ in assigned(member.assignment))
        for member in group.members
    }
    names = [f"{name} ({count})" for name, count in sorted(owned.items())[:MEMBERS_SHOWN]]
    more = f" and {len(owned) - MEMBERS_SHOWN} more" if len(owned) > MEMBERS_SHOWN else ""
    seen = f"{group.state}, {len(group.members)} members (partitions): {', '.join(names)}{more}"
    nobodys = partitions - sum(owned.values())
    if group.state == "Stable" and nobodys > 0:
        return Finding(
            check,
            Level.WARN,
            f"{seen}; {nobodys} partitions are nobody's",
            "members mend that within seconds, else restart one",
        )
    return Finding(check, Level.OK, seen)


class ProgressCheck:
    """Reads the committed offsets as a member that starts does (`StartRule`)."""

    def __init__(
        self, admin: AdminClient, config: KafkaConfig, reports: ClientReports, clock: Clock
    ) -> None:
        self._admin = admin
        self._config = config
        self._reports = reports
        self._clock = clock

    def look(self, startup: Startup, partitions: list[int]) -> Iterator[Finding]:
        """Whether each partition can be gone on from.

        Raises:
            KafkaException: it cannot be asked.
            RestartNeeded: no answer in time.
        """
        # What would be gone on from with `continue` is still worth a warning.
        config = replace(self._config, on_data_loss="stop")
        with properties_judged(config):
            consumer = Consumer(
                {
                    **client_properties(config, self._reports.on_error),
                    "group.id": config.group_id,  # whose progress is asked for; nothing joins
                    "isolation.level": "read_committed",
                    "enable.auto.commit": False,
                },
                logger=self._reports.logger,
            )
        with closing(consumer):
            rule = StartRule(consumer, config, self._clock)
            yield from self._look(rule, startup, partitions)

    def _look(self, rule: StartRule, startup: Startup, partitions: list[int]) -> Iterator[Finding]:
        check = "progress"
        committed: dict[int, TopicPartition] = {}

        def ask() -> None:
            committed.update(rule.committed(partitions, REQUEST_S))

        try:
            startup.until_done(ask)
            known = dict(committed)
            starts: dict[int, int] = {}
            if known:
                startup.until_done(
                    lambda: starts.update(
                        (number, start.offset) for number, start in rule.starts(known).items()
                    )
                )
            self._within_the_log(rule, starts)
        except ConfigurationError as loss:
            level = Level.FAIL if self._config.on_data_loss == "stop" else Level.WARN
            yield Finding(check, level, str(loss))
            return
        held = [number for number in partitions if number not in committed]
        if held:
            yield Finding(
                check,
                Level.WARN,
                f"held back by an open transaction in {len(held)} of {len(partitions)} partitions",
                "brokers end it after transaction.timeout.ms (15 s) at the latest; ask again then",
            )
        if committed:
            yield Finding(check, Level.OK, self._seen(committed, partitions))

    def _within_the_log(self, rule: StartRule, starts: Mapping[int, int]) -> None:
        """Raises ConfigurationError where a log does not hold the offset to begin at."""
        if not starts:
            return
        partitions = [TopicPartition(self._config.gift_sent, number) for number in starts]
        begins, ends = (
            {
                at.partition: result_of(answer).offset
                for at, answer in self._admin.list_offsets(
                    dict.fromkeys(partitions, spec), request_timeout=REQUEST_S
                ).items()
            }
            for spec in (_EARLIEST, _LATEST)
        )
        for number, offset in starts.items():
            if not begins[number] <= offset <= ends[number]:
                rule.start_out_of_range(number, offset)

    def _seen(self, committed: Mapping[int, TopicPartition], partitions: list[int]) -> str:
        cuts = [
            metadata
            for each in committed.values()
            if each.offset >= 0 and (metadata := _metadata(each)) is not None
        ]
        if not cuts:
            return f"none yet: the group begins at {self._config.start_from}"
        last = max(cuts, key=lambda cut: cut.cut_wall_ms)
        ago_s = (self._clock.wall_ms() - last.cut_wall_ms) / 1_000
        return (
            f"readable in {len(cuts)} of {len(partitions)} partitions, last written"
            f" {ago_s:.0f} s ago by {last.instance}"
        )


def _metadata(committed: TopicPartition) -> Any:
    try:
        return decode_metadata(committed.metadata or "")
    except MetadataUnreadable:
        return None
