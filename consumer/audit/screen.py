"""What an audit looks like: the bar while it reads, the report as text and as JSON."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from consumer.audit.model import Kind, Report

Progress = Callable[[str, int, int], None]
"""Is told: of this topic, so many offsets are read, of so many."""

SHOWN_MAX: Final = 20
"""Findings of a kind that the text shows; `--json` has more."""

_MEANINGS: Final[Mapping[str, str]] = {
    "records": "of gift-sent",
    "gifts": "of these: valid gifts",
    "results": "of gift-result",
    "dead_letters": "of the dead letters",
    "pending": "without an answer yet, in time",
    "shared": "answered by the result of an earlier record of the same gift",
    "repeated": "results whose result_id had one before: allowed, keep the first",
    "outside": "answers to records that are not audited",
    "missing": "records without an answer",
    "duplicate": "second answers to one record",
    "contradicting": "results with another status than their result_id had before",
    "foreign": "answers to no such record, or to another gift",
}


@contextmanager
def open_progress() -> Iterator[Progress]:
    """A bar for each topic on standard error, within a `with` block; nothing without a terminal."""
    if not sys.stderr.isatty():
        yield lambda _topic, _done, _total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def moved(topic: str, done: int, total: int) -> None:
            if topic not in tasks:
                tasks[topic] = bar.add_task(topic, total=total)
            bar.update(tasks[topic], completed=done)

        yield moved


def json_text(report: Report, told: Mapping[str, Any]) -> str:
    """One JSON object: what was found, and what of."""
    return orjson.dumps({**report.as_json(), **told}).decode()


def report_text(report: Report, told: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{name:>14} {count:>12,}  {_MEANINGS[name]}"
        for name, count in asdict(report.counts).items()
    ]
    if told["progress_unknown"]:
        lines.append(f"The group's progress is not known: {told['progress_unknown']}.")
    for kind in Kind:
        found = [finding for finding in report.findings if finding.kind is kind]
        for finding in found[:SHOWN_MAX]:
            at, source = finding.at, finding.source
            of = "" if source in {None, at} else f" (source {source.partition}/{source.offset})"
            lines.append(
                f"{kind.value}: {at.topic} {at.partition}/{at.offset}{of}: {finding.detail}"
            )
        count = getattr(report.counts, kind.value)
        if count > SHOWN_MAX:
            lines.append(f"{kind.value}: and {count - SHOWN_MAX:,} more (--json shows up to 1,000)")
    verdict = "every record audited has exactly one right answer, or is pending in time"
    lines.append(f"PASSED: {verdict}." if report.passed else "FAILED.")
    return "\n".join(lines)
