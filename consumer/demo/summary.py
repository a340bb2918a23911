"""What came of it: every gift that was sent against every result that became visible.

The ledger is told of gifts and results as they come and judges each result at once; the summary
is its last word. Delay is measured as design §6 says: for `SUCCEEDED` and `FAILED` from the
later of "the game consumed it" and "gift-sent was produced", for `UNCONSUMED` from deadline +
settle, each until the result is visible to a `read_committed` reader.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any, Final

from consumer.core.model import GiftResult, Status
from consumer.demo.load import ProducedGift, gift_of
from consumer.demo.percentiles import Percentiles
from consumer.simulator import Gift

ROOM_REQUESTS_PER_SECOND_MAX: Final = 20
"""The vendor's limit (zego-api.md); one more in any half-open second fails the demo."""

FALSE_REASONS_KEPT_MAX: Final = 5

Judge = Callable[[Gift, GiftResult], str | None]
"""Says what is false about a gift's result; None if it is right."""


class Ledger:
    """Keeps account of gifts and results.

    `delay_ms` and `unconsumed_late_ms` grow with each result, in the order of results;
    `false_reasons` holds the first few.
    """

    def __init__(self, *, timeout_ms: int, settle_ms: int, judge: Judge) -> None:
        self._timeout_ms = timeout_ms
        self._settle_ms = settle_ms
        self._judge = judge
        self._sent: set[Gift] = set()
        self._open: dict[Gift, ProducedGift] = {}
        self._sources: set[tuple[int, int]] = set()
        self.results = Counter(dict.fromkeys(Status, 0))
        self.duplicates = 0
        self.false_verdicts = 0
        self.false_reasons: list[str] = []
        self.delay_ms: list[float] = []
        self.unconsumed_late_ms: list[float] = []

    @property
    def gifts(self) -> int:
        """How many gifts were produced."""
        return len(self._sent)

    @property
    def missing(self) -> int:
        """How many gifts have no result."""
        return len(self._open)

    def overdue(self, now_us: int) -> int:
        """How many gifts have no result though their deadline has passed."""
        since_us = now_us - self._timeout_ms * 1_000
        # Gifts are kept in the order in which they were produced.
        return sum(1 for _ in takewhile(lambda s: s.produced_us <= since_us, self._open.values()))

    def produced(self, produced: ProducedGift) -> None:
        """A gift was sent: one result is due."""
        self._sent.add(produced.gift)
        self._open[produced.gift] = produced

    def visible(self, result: GiftResult, visible_us: int) -> None:
        """A result became visible at `visible_us` (Unix time)."""
        self.results[result.status] += 1
        gift = gift_of(result.sent)
        sent = self._open.pop(gift, None)
        source = (result.source_partition, result.source_offset)
        if source in self._sources or (sent is None and gift in self._sent):
            self.duplicates += 1
        self._sources.add(source)
        false = self._judge(gift, result)
        if false is not None:
            self._note_false(gift, false)
        if sent is not None:
            self._note_delay(sent, result, visible_us)

    def _note_false(self, gift: Gift, reason: str) -> None:
        self.false_verdicts += 1
        if len(self.false_reasons) < FALSE_REASONS_KEPT_MAX:
            self.false_reasons.append(f"{gift.room_id}, {gift.msg_id}: {reason}")

    def _note_delay(self, sent: ProducedGift, result: GiftResult, visible_us: int) -> None:
        if result.status is Status.UNCONSUMED:
            due_us = (result.deadline + self._settle_ms) * 1_000
            self.unconsumed_late_ms.append((visible_us - due_us) / 1_000)
        elif sent.fate.consumed_wall_ms is not None and result.status is not Status.UNVERIFIED:
            knowable_us = max(sent.fate.consumed_wall_ms * 1_000, sent.produced_us)
            self.delay_ms.append((visible_us - knowable_us) / 1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run was, beside its gifts and results.

    `requests` are the checks that reached the simulated API; `room_requests_per_second_max` is
    the most of them in any half-open second of any room, as it saw them. `load_late_ms_max` is
    how late the load generator itself was, at most: where it is large, the machine is too small
    for the rate. `consumer_exit_code` is how the consumer ended when it was asked to stop.
    """

    broker: str
    seed: int
    rate: float
    rooms: int
    timeout_ms: int
    latency_ms: int
    duration_ms: int
    load_late_ms_max: int
    requests: int
    room_requests_per_second_max: int
    consumer_exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of a run, by the names they have in the JSON.

    `injected` is the trouble that whoever watched asked for; a run with `--json` has none.
    """

    gifts: int
    results: dict[str, int]
    missing: int
    duplicates: int
    false_verdicts: int
    delay_ms: Percentiles
    unconsumed_late_ms: Percentiles
    run: Run
    false_reasons: tuple[str, ...] = field(default=(), repr=False)
    injected: tuple[str, ...] = ()

    @property
    def requests_per_gift(self) -> float | None:
        """How many checks a gift cost, None without gifts."""
        return round(self.run.requests / self.gifts, 2) if self.gifts else None

    @property
    def failures(self) -> tuple[str, ...]:
        """Every promise that was broken, in words; none: the run passed."""
        most, exit_code = self.run.room_requests_per_second_max, self.run.consumer_exit_code
        broken = {
            "no gift was sent": self.gifts == 0,
            f"{self.missing} gifts without a result": self.missing > 0,
            f"{self.duplicates} results too many": self.duplicates > 0,
            f"{self.false_verdicts} false verdicts": self.false_verdicts > 0,
            f"{most} requests for a room in one second": most > ROOM_REQUESTS_PER_SECOND_MAX,
            f"the consumer stopped with exit code {exit_code}": exit_code != 0,
        }
        return tuple(sentence for sentence, holds in broken.items() if holds)

    @property
    def exit_code(self) -> int:
        """0 if every promise held, else 1."""
        return 1 if self.failures else 0

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "gifts": self.gifts,
            "results": self.results,
            "missing": self.missing,
            "duplicates": self.duplicates,
            "false_verdicts": self.false_verdicts,
            "room_requests_per_second_max": self.run.room_requests_per_second_max,
            "delay_ms": self.delay_ms._asdict(),
            "unconsumed_late_ms": self.unconsumed_late_ms._asdict(),
            "requests": self.run.requests,
            "requests_per_gift": self.requests_per_gift,
            **asdict(self.run),
            "passed": not self.failures,
        }


def sum_up(ledger: Ledger, run: Run, injected: tuple[str, ...] = ()) -> Summary:
    """The summary of what the ledger holds now."""
    return Summary(
        gifts=ledger.gifts,
        results={status.value: ledger.results[status] for status in Status},
        missing=ledger.missing,
        duplicates=ledger.duplicates,
        false_verdicts=ledger.false_verdicts,
        delay_ms=Percentiles.of(ledger.delay_ms),
        unconsumed_late_ms=Percentiles.of(ledger.unconsumed_late_ms),
        run=run,
        false_reasons=tuple(ledger.false_reasons),
        injected=injected,
    )
