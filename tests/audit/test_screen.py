"""What an audit looks like: the report as text and JSON, the bar where somebody looks."""

import io
import json
import sys
from typing import Any

import pytest

from consumer.audit.claims import Claim
from consumer.audit.model import Report
from consumer.audit.screen import SHOWN_MAX, json_text, open_progress, report_text
from tests.audit.builders import new_audit, read, result

TOLD: dict[str, Any] = {"topics": {}, "progress_unknown": None, "state_bytes": 1}


def report_with(missing: int) -> Report:
    """So many gifts without a result, and one with."""
    audit = new_audit({0: Claim(120)})
    audit.result(3, 7, result((1, 0), "answered"))
    for offset in range(100, 100 + missing):
        audit.sent(0, read(offset, f"gift-{offset}"))
    audit.sent(1, read(0, "answered"))
    return audit.report()


def test_a_report_without_findings_says_passed() -> None:
    """And how many there were of what."""
    lines = report_text(report_with(0), TOLD).splitlines()
    assert lines[-1].startswith("PASSED: ")
    assert any(line.split()[:2] == ["results", "1"] for line in lines)


def test_a_finding_is_one_line_with_its_place_and_reason() -> None:
    """A record that is missing has no source but itself."""
    lines = report_text(report_with(1), TOLD).splitlines()
    assert "missing: gift-sent 0/100: the group's progress calls it answered" in lines
    assert lines[-1] == "FAILED."


def test_the_source_of_an_answer_is_told() -> None:
    """Partition and offset of gift-sent, beside its own."""
    audit = new_audit()
    audit.result(3, 7, result((1, 500), "a"))
    text = report_text(audit.report(), TOLD)
    assert "foreign: gift-result 3/7 (source 1/500): its source does not exist" in text


def test_many_findings_are_cut_and_counted() -> None:
    """The text shows the first; the JSON has more."""
    report = report_with(SHOWN_MAX)
    assert "more" not in report_text(report, TOLD)
    audit = new_audit()
    for number in range(SHOWN_MAX + 3):
        audit.unreadable_result(0, number, "no Avro")
    text = report_text(audit.report(), TOLD)
    assert text.count("foreign: gift-result") == SHOWN_MAX
    assert "foreign: and 3 more" in text
    assert len(json.loads(json_text(audit.report(), TOLD))["findings"]) == SHOWN_MAX + 3


def test_an_unknown_progress_is_told_with_its_reason() -> None:
    """Then only time tells what is missing."""
    text = report_text(report_with(0), {**TOLD, "progress_unknown": "no such group"})
    assert "The group's progress is not known: no such group." in text


def test_the_json_has_every_count_and_each_findings_places() -> None:
    """By their names."""
    told = json.loads(json_text(report_with(1), TOLD))
    assert (told["passed"], told["missing"], told["records"]) == (False, 1, 2)
    assert told["findings"] == [
        {
            "kind": "missing",
            "topic": "gift-sent",
            "partition": 0,
            "offset": 100,
            "source_partition": 0,
            "source_offset": 100,
            "detail": "the group's progress calls it answered",
        }
    ]


class Terminal(io.StringIO):
    """Standard error, as somebody looks at it or not."""

    def __init__(self, *, looks: bool) -> None:
        super().__init__()
        self._looks = looks

    def isatty(self) -> bool:
        return self._looks


@pytest.mark.parametrize("looks", [1, 0])
def test_a_bar_for_each_topic_where_somebody_looks(
    looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal not a byte."""
    terminal = Terminal(looks=bool(looks))
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with open_progress() as moved:
        moved("gift-result", 5, 10)
        moved("gift-sent", 0, 10)
        moved("gift-result", 10, 10)
    told = terminal.getvalue()
    if looks:
        assert "gift-result" in told
        assert "10/10" in told
    else:
        assert told == ""
