"""`--from` and `--to`: a time, an offset, or an offset for each of some partitions of gift-sent."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from consumer.audit.model import Range
from consumer.settings.values import parse_start

_OFFSETS: Final = re.compile(r"\d+:\d+(,\d+:\d+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One of three: the first record at or after a Unix time, one offset everywhere, or several."""

    time_ms: int | None = None
    offset: int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)


def parse_bound(text: str) -> Bound:
    """Read `2026-01-31T12:00:00+00:00` (UTC where no zone is said), `5000` or `0:5000,1:4800`.

    Raises:
        ValueError: anything else; says how to write it.
    """
    if text.isascii() and text.isdecimal():
        return Bound(offset=int(text))
    if _OFFSETS.fullmatch(text):
        pairs = (pair.split(":") for pair in text.split(","))
        return Bound(offsets={int(partition): int(offset) for partition, offset in pairs})
    with suppress(ValueError):
        time_ms = parse_start(text)
        if isinstance(time_ms, int):
            return Bound(time_ms=time_ms)
    raise ValueError(
        "write a time as in 2026-01-31T12:00:00+00:00, an offset as in 5000,"
        " or offsets by partition as in 0:5000,1:4800"
    )


OffsetsAt = Callable[[int], Mapping[int, int]]
"""The first offset at or after a Unix time, for each partition; its end if there is none."""


def audited(
    log: Mapping[int, Range], begin: Bound | None, end: Bound | None, offsets_at: OffsetsAt
) -> dict[int, Range]:
    """The offsets of gift-sent between two bounds: `begin` belongs to them, `end` does not.

    A partition that a bound by offsets does not name is not bounded by it.
    """
    begins = _resolved(log, begin, offsets_at)
    ends = _resolved(log, end, offsets_at)
    audited = {}
    for partition, held in log.items():
        first = max(held.begin, begins.get(partition, held.begin))
        last = min(held.end, ends.get(partition, held.end))
        audited[partition] = Range(min(first, held.end), max(last, min(first, held.end)))
    return audited


def _resolved(
    log: Mapping[int, Range], bound: Bound | None, offsets_at: OffsetsAt
) -> Mapping[int, int]:
    if bound is None:
        return {}
    if bound.time_ms is not None:
        return offsets_at(bound.time_ms)
    if bound.offset is not None:
        return dict.fromkeys(log, bound.offset)
    return bound.offsets
