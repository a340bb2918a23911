"""What the doctor's report looks like: colours and columns in a terminal, else plain lines."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.doctor.findings import Finding, Level, Report

_STYLES: Final[Mapping[Level, str]] = {
    Level.OK: "green",
    Level.WARN: "yellow",
    Level.FAIL: "bold red",
    Level.SKIP: "blue",
}


@contextmanager
def waiting() -> Iterator[None]:
    """Shows on standard error, if that is a terminal, that something is being done."""
    with Console(stderr=True).status("asking Kafka and the check API"):
        yield


def show(report: Report, *, json: bool) -> None:
    """Print the report on standard output."""
    if json:
        print(orjson.dumps(report.as_json()).decode())  # noqa: T201
    elif sys.stdout.isatty():
        Console().print(_table(report))
    else:
        print(plain_text(report))  # noqa: T201


def plain_text(report: Report) -> str:
    """Aligned, one line for each finding, whatever its length; the last one sums up."""
    width = max(len(finding.check) for finding in report.findings)
    lines = [
        f"{finding.level:<4}  {finding.check:<{width}}  {_words(finding)}"
        for finding in report.findings
    ]
    return "\n".join([*lines, _sum(report)])


def _table(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in report.findings:
        style = _STYLES[finding.level]
        table.add_row(
            Text(finding.level, style), Text(finding.check, "bold"), Text(_words(finding))
        )
    table.add_row("", "", Text(_sum(report), "bold"))
    return table


def _words(finding: Finding) -> str:
    """What was found and what to do, in one line; others' words cannot spoil a terminal."""
    words = f"{finding.found}: {finding.advice}" if finding.advice else finding.found
    return "".join(each if each.isprintable() else " " for each in words)


def _sum(report: Report) -> str:
    counts = report.as_json()["counts"]
    verdict = "PASSED" if report.exit_code == 0 else "FAILED"
    return f"{verdict}: " + ", ".join(f"{count} {level}" for level, count in counts.items())
