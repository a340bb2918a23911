"""How long rooms waited for results, and what the report makes of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from consumer.core.model import GiftResult, GiftSent, Status
from consumer.demo.load import ProducedGift, gift_of
from consumer.simulator import Fate
from tests.chaos.plan import Kind
from tests.chaos.report import AWAY_BOUND_S, OPEN_BOUND_S, Recovery, Report
from tests.chaos.waits import Waits

SETTLE_MS = 1_000
T_MS = 1_800_000_000_000


def happened(waits: Waits, gift: str, due_ms: int | None, visible_ms: int, partition: int) -> None:
    """A gift of the room "room-<partition>", consumed and its result visible so long after T."""
    sent = GiftSent(f"room-{partition}", "game", gift, T_MS - 50_000, 5)
    consumed_ms = None if due_ms is None else T_MS + due_ms
    fate = Fate(sent.sent_at, consumed_ms, 0)
    waits.produced(ProducedGift(gift_of(sent), fate, sent.sent_at * 1_000))
    result = GiftResult(
        sent, "0" * 32, Status.SUCCEEDED, False, 0, None, None, None, 1,  # noqa: FBT003
        T_MS + 5_000, T_MS, partition, 0,
    )  # fmt: skip
    waits.visible(result, (T_MS + visible_ms) * 1_000)


def of_rooms(waits: Waits, partitions: Sequence[int] | None = None) -> list[float]:
    """What was due in the first second after T."""
    return list(waits.of_rooms(T_MS * 1_000, (T_MS + 1_000) * 1_000, partitions).values())


def test_a_rooms_wait_is_its_longest_since_due_or_since_the_fault() -> None:
    """What became visible before the fault, or was due long after it, does not count."""
    waits = Waits(SETTLE_MS)
    happened(waits, "before", -900, -1, 0)
    happened(waits, "on its way", -300, 400, 0)
    happened(waits, "short", 200, 300, 0)
    happened(waits, "later", 1_000, 9_000, 0)
    assert of_rooms(waits) == [0.4]
    happened(waits, "long", 500, 3_000, 0)
    assert of_rooms(waits) == [2.5]


def test_each_room_has_its_wait_and_partitions_select() -> None:
    """In ascending order."""
    waits = Waits(SETTLE_MS)
    happened(waits, "a", 0, 3_000, 1)
    happened(waits, "b", 0, 2_000, 2)
    assert of_rooms(waits) == [2.0, 3.0]
    assert of_rooms(waits, [1]) == [3.0]


def test_what_is_never_consumed_is_due_when_absence_can_be_proven() -> None:
    """Deadline and settle: 6 s after T here."""
    waits = Waits(SETTLE_MS)
    happened(waits, "never", None, 6_500, 1)
    assert waits.of_rooms((T_MS + 6_000) * 1_000, (T_MS + 7_000) * 1_000) == {"room-1": 0.5}


def test_only_a_gifts_first_result_counts() -> None:
    """A second one is a defect, but no wait."""
    waits = Waits(SETTLE_MS)
    happened(waits, "a", 0, 100, 1)
    sent = GiftSent("room-1", "game", "a", T_MS - 50_000, 5)
    result = GiftResult(
        sent, "0" * 32, Status.SUCCEEDED, False, 0, None, None, None, 1,  # noqa: FBT003
        T_MS, T_MS, 1, 0,
    )  # fmt: skip
    waits.visible(result, (T_MS + 9_000) * 1_000)
    assert of_rooms(waits) == [0.1]


GOOD = Report(
    seed=1,
    rate=500,
    duration_s=60,
    gifts=100,
    results={"SUCCEEDED": 100},
    missing=0,
    duplicates=0,
    false_verdicts=0,
    false_reasons=(),
    requests=200,
    room_requests_per_second_max=20,
    load_late_ms_max=5,
    exits={"giftcheck-0": (-9, 0)},
    needed_a_person=(),
    injected={Kind.KILL: 1},
    missed={},
    mixed={Kind.KILL: [1.0]},
    alone=(Recovery(Kind.KILL, (1.0, 5.0)), Recovery(Kind.TERM, ())),
    audit={"gifts": 100, "pending": 0},
    audit_exit_code=0,
    failures=(),
)


def test_a_run_that_kept_every_promise_passes() -> None:
    """Exit code 0; the text and the JSON say so."""
    assert (GOOD.violations, GOOD.exit_code) == ((), 0)
    assert GOOD.as_text().endswith("PASSED")
    assert GOOD.as_json()["passed"] is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gifts": 0, "audit": {"gifts": 0, "pending": 0}}, "no gift was sent"),
        ({"missing": 1}, "1 gifts without a result"),
        ({"duplicates": 2}, "2 results too many"),
        ({"false_verdicts": 3}, "3 false verdicts"),
        ({"room_requests_per_second_max": 21}, "21 requests"),
        ({"audit_exit_code": 1}, "giftcheck audit ended with 1"),
        ({"audit": {"gifts": 99, "pending": 0}}, "saw 99 gifts of 100"),
        ({"audit": {"gifts": 100, "pending": 1}}, "calls 1 gifts pending"),
        ({"audit": {}}, "saw None gifts"),
        ({"needed_a_person": ("giftcheck-0 ended with 71",)}, "ended with 71"),
        ({"failures": ("the watcher itself failed",)}, "the watcher itself failed"),
        ({"alone": (Recovery(Kind.TERM, (2.1, 2.1)),)}, "waited 2.1 s, allowed are 2"),
        ({"alone": (Recovery(Kind.ROLL, (*[1.0] * 99, 3.1)),)}, "waited 3.1 s, allowed are 3"),
        ({"alone": (Recovery(Kind.KILL, (5.1,)),)}, "waited 5.1 s, allowed are 5"),
        ({"alone": (Recovery(Kind.KILL_AND_STAY, (13.1,)),)}, "allowed are 13"),
    ],
)
def test_each_broken_promise_fails_the_run(change: dict[str, Any], said: str) -> None:
    """With its own sentence and exit code 1."""
    report = replace(GOOD, **change)
    assert report.exit_code == 1
    assert any(said in sentence for sentence in report.violations)
    assert said in report.as_text()


def test_one_room_in_twenty_may_have_a_straggler() -> None:
    """But not after a rolling restart."""
    waits = (*[1.0] * 20, 60.0)
    assert replace(GOOD, alone=(Recovery(Kind.TERM, waits),)).violations == ()
    assert replace(GOOD, alone=(Recovery(Kind.ROLL, waits),)).exit_code == 1


def test_a_kill_inside_a_transaction_may_take_until_the_broker_has_ended_it() -> None:
    """Session time-out + 3 s, and then the transaction's time-out and the broker's look for it."""
    assert (AWAY_BOUND_S, OPEN_BOUND_S) == (13.0, 29.0)
    late = Recovery(Kind.KILL_AND_STAY, (28.0,), open_transaction=True)
    assert replace(GOOD, alone=(late,)).violations == ()
