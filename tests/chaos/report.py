"""What came of it: faults done, how long results kept rooms waiting, and what was broken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from consumer.adapters.kafka.config import KafkaConfig
from consumer.demo.percentiles import Percentiles
from consumer.demo.summary import ROOM_REQUESTS_PER_SECOND_MAX
from tests.chaos.plan import Kind

_KAFKA: Final = KafkaConfig(bootstrap_servers="", group_id="", instance="")
SESSION_S: Final = _KAFKA.session_timeout_ms / 1_000
TRANSACTION_S: Final = _KAFKA.transaction_timeout_ms / 1_000
CLEANUP_S: Final = 1.0
"""How often the brokers of the chaos look for transactions that have timed out (Kafka: 10 s)."""

AWAY_BOUND_S: Final = SESSION_S + 3
OPEN_BOUND_S: Final = AWAY_BOUND_S + TRANSACTION_S + CLEANUP_S
BOUNDS_S: Final[Mapping[Kind, float]] = {
    Kind.KILL: 5.0,
    Kind.KILL_AND_STAY: AWAY_BOUND_S,
    Kind.TERM: 2.0,
    Kind.ROLL: 3.0,
}
"""From the fault until results of the rooms concerned flow again (`Recovery.judged_s`); for `KILL_AND_STAY` outside of an open
transaction, else `OPEN_BOUND_S`."""


class Recovery(NamedTuple):
    """A fault that was alone: how long each room concerned waited, in seconds, ascending.

    `open_transaction`: the fault left one behind.
    """

    kind: Kind
    rooms_s: tuple[float, ...]
    open_transaction: bool = False

    @property
    def judged_s(self) -> float:
        """What the bound is for.

        A room's longest wait is more than the time until its first result; in 5 % of the rooms it
        may be a straggler's, which are late without any fault, too. A rolling restart has none to
        spare: it must leave no gap for any room.
        """
        if not self.rooms_s:
            return 0.0
        return (
            max(self.rooms_s) if self.kind is Kind.ROLL else Percentiles.of(self.rooms_s).p95 or 0.0
        )

    @property
    def bound_s(self) -> float:
        """What was promised."""
        return OPEN_BOUND_S if self.open_transaction else BOUNDS_S[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a run has to say; `audit` is what `giftcheck audit --json` printed."""

    seed: int
    rate: float
    duration_s: float
    gifts: int
    results: Mapping[str, int]
    missing: int
    duplicates: int
    false_verdicts: int
    false_reasons: Sequence[str]
    requests: int
    room_requests_per_second_max: int
    load_late_ms_max: int
    exits: Mapping[str, Sequence[int]]
    needed_a_person: Sequence[str]
    injected: Mapping[Kind, int]
    missed: Mapping[Kind, int]
    mixed: Mapping[Kind, Sequence[float]]
    alone: Sequence[Recovery]
    audit: Mapping[str, Any]
    audit_exit_code: int
    failures: Sequence[str]

    @property
    def violations(self) -> tuple[str, ...]:
        """Every promise that was broken, in words; none: the run passed."""
        most = self.room_requests_per_second_max
        broken = {
            "no gift was sent": self.gifts == 0,
            f"{self.missing} gifts without a result": self.missing > 0,
            f"{self.duplicates} results too many": self.duplicates > 0,
            f"{self.false_verdicts} false verdicts: {list(self.false_reasons)}": (
                self.false_verdicts > 0
            ),
            f"{most} requests for a room in one second": most > ROOM_REQUESTS_PER_SECOND_MAX,
            f"giftcheck audit ended with {self.audit_exit_code}": self.audit_exit_code != 0,
            f"giftcheck audit saw {self.audit.get('gifts')} gifts of {self.gifts}": (
                self.audit.get("gifts") != self.gifts
            ),
            f"giftcheck audit calls {self.audit.get('pending')} gifts pending": (
                self.audit.get("pending") != 0
            ),
        }
        late = (
            f"{each.kind}: rooms waited {each.judged_s:.1f} s, allowed are {each.bound_s:.0f}"
            for each in self.alone
            if each.judged_s > each.bound_s
        )
        sentences = (sentence for sentence, holds in broken.items() if holds)
        return (*sentences, *late, *self.needed_a_person, *self.failures)

    @property
    def exit_code(self) -> int:
        """0 if every promise held, else 1."""
        return 1 if self.violations else 0

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "passed": not self.violations,
            "violations": list(self.violations),
            "seed": self.seed,
            "rate": self.rate,
            "duration_s": self.duration_s,
            "gifts": self.gifts,
            "results": dict(self.results),
            "missing": self.missing,
            "duplicates": self.duplicates,
            "false_verdicts": self.false_verdicts,
            "requests": self.requests,
            "room_requests_per_second_max": self.room_requests_per_second_max,
            "load_late_ms_max": self.load_late_ms_max,
            "exits": {name: dict(Counter(map(str, codes))) for name, codes in self.exits.items()},
            "injected": {kind.name: count for kind, count in self.injected.items()},
            "missed": {kind.name: count for kind, count in self.missed.items()},
            "waited_among_others_s": {
                kind.name: percentiles(waits) for kind, waits in self.mixed.items()
            },
            "waited_alone_s": [
                {
                    "kind": each.kind.name,
                    "open_transaction": each.open_transaction,
                    "bound_s": each.bound_s,
                    **percentiles(each.rooms_s),
                }
                for each in self.alone
            ],
            "audit": {name: value for name, value in self.audit.items() if name != "topics"},
        }

    def as_text(self) -> str:
        """The same for people."""
        lines = [f"{'fault':52} {'done':>5} {'waited, s: p50':>15} {'p95':>6} {'max':>6}"]
        for kind in Kind:
            if not self.injected.get(kind):
                continue
            waits = percentiles(self.mixed.get(kind, ()))
            lines.append(f"{kind:52} {self.injected[kind]:5} {_cells(waits)}")
        lines += ["", f"{'alone':52} {'bound':>5} {'waited, s: p50':>15} {'p95':>6} {'max':>6}"]
        for each in self.alone:
            name = each.kind + (", in a transaction" if each.open_transaction else "")
            lines.append(f"{name:52} {each.bound_s:5.0f} {_cells(percentiles(each.rooms_s))}")
        lines += [
            "",
            f"seed {self.seed}: {self.gifts} gifts at {self.rate:.0f}/s, {dict(self.results)}",
            f"missing {self.missing}, duplicates {self.duplicates}, false {self.false_verdicts}",
            f"most requests for a room in a second: {self.room_requests_per_second_max}",
            f"load late by up to {self.load_late_ms_max} ms",
            *(f"{name} ended with {dict(Counter(codes))}" for name, codes in self.exits.items()),
            *(f"VIOLATED: {sentence}" for sentence in self.violations),
            "PASSED" if not self.violations else "FAILED",
        ]
        return "\n".join(lines)


def percentiles(waits: Sequence[float]) -> dict[str, float | int | None]:
    """Of waits in seconds, ascending or not."""
    in_ms = Percentiles.of(wait * 1_000 for wait in waits)
    p50, p95 = (None if each is None else each / 1_000 for each in in_ms[:2])
    return {"rooms": len(waits), "p50": p50, "p95": p95, "max": max(waits, default=None)}


def _cells(waits: Mapping[str, float | int | None]) -> str:
    if not waits["rooms"]:
        return ""
    return f"{waits['p50']:15.2f} {waits['p95']:6.2f} {waits['max']:6.2f}"
