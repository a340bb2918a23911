"""The words of the audit: what is audited, what was found, and the report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Kind(StrEnum):
    """What can be wrong; see `consumer.audit`."""

    MISSING = "missing"
    DUPLICATE = "duplicate"
    CONTRADICTING = "contradicting"
    FOREIGN = "foreign"


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class Range(NamedTuple):
    """Offsets [begin, end) of a partition."""

    begin: int
    end: int

    @property
    def offsets_count(self) -> int:
        """How many offsets it holds, gaps included."""
        return max(0, self.end - self.begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is audited.

    `sources` are the audited offsets of gift-sent, by partition. `log` is what all of gift-sent
    held when the outputs had been read: an answer to a source below it cannot be judged any more,
    one to a source above it is foreign.
    """

    sources: Mapping[int, Range]
    log: Mapping[int, Range]


class Finding(NamedTuple):
    """One defect: the record that is wrong (of gift-sent where it is missing), and why.

    `source` is the record of gift-sent that it speaks of; None if it cannot be read.
    """

    kind: Kind
    at: Place
    source: Place | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints for it."""
        return {
            "kind": self.kind.value,
            **self.at._asdict(),
            "source_partition": self.source.partition if self.source else None,
            "source_offset": self.source.offset if self.source else None,
            "detail": self.detail,
        }


FINDINGS_KEPT_MAX: Final = 1_000
"""Of each kind; more are counted only, for a wrong topic would make every record a finding."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """How many there were of what; the module's table and `consumer.audit` say what they mean."""

    records: int = 0
    gifts: int = 0
    results: int = 0
    dead_letters: int = 0
    pending: int = 0
    shared: int = 0
    repeated: int = 0
    outside: int = 0
    missing: int = 0
    duplicate: int = 0
    contradicting: int = 0
    foreign: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The audit's last word; `findings` are the first `FINDINGS_KEPT_MAX` of each kind."""

    counts: Counts
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        counts = asdict(self.counts)
        return not any(counts[kind.value] for kind in Kind)

    @property
    def exit_code(self) -> int:
        """0 if nothing is wrong, else 1."""
        return 0 if self.passed else 1

    def as_json(self) -> dict[str, Any]:
        """The part of `--json` that the rules have found."""
        return {
            "passed": self.passed,
            **asdict(self.counts),
            "findings": [finding.as_json() for finding in self.findings],
        }
