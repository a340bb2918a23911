"""What a check found: a level, what was seen, and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from consumer.errors import ConfigurationError

FOUND_SOMETHING: Final = 1


class Level(StrEnum):
    """How it is. `SKIP`: it could not be asked, or need not be; what is found says why."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; its texts may hold others' words.

    Attributes:
        check: what was looked at, as in `topic gift-sent`.
        found: what was seen.
        advice: what to do; empty where nothing is, or where `found` says it.
    """

    check: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found. `unusable`: the configuration was refused, so nothing was asked."""

    findings: tuple[Finding, ...]
    unusable: bool = False

    @property
    def exit_code(self) -> int:
        """0: nothing failed; 1: something did; 2: the configuration is wrong."""
        if self.unusable:
            return ConfigurationError.exit_code
        failed = any(finding.level is Level.FAIL for finding in self.findings)
        return FOUND_SOMETHING if failed else 0

    def as_json(self) -> dict[str, Any]:
        """For machines; `advice` is null where nothing is to be done."""
        return {
            "passed": self.exit_code == 0,
            "exit_code": self.exit_code,
            "counts": {
                level.value: sum(finding.level is level for finding in self.findings)
                for level in Level
            },
            "checks": [
                {
                    "check": finding.check,
                    "level": finding.level.value,
                    "found": finding.found,
                    "advice": finding.advice or None,
                }
                for finding in self.findings
            ],
        }


def refused(error: ConfigurationError) -> Iterator[Finding]:
    """What is wrong with a configuration that cannot be used: a finding for each mistake."""
    for line in str(error).splitlines():
        yield Finding("configuration", Level.FAIL, line)
