"""Verdicts against the truth: what counts as false, clause by clause."""

import pytest

from consumer.simulator.arrivals import Arrivals
from consumer.simulator.judge import false_verdict
from consumer.simulator.request import CHECK, Request
from consumer.simulator.truth import Fate, Gift, Truth

GIFT = Gift(1, "room", "game", "m1", 500)
ARRIVED_MS = 2_000


def judged(
    status: str,
    consumed_ms: int | None,
    *,
    result_code: int = 0,
    said_code: int | None = None,
    asked: tuple[str, ...] = ("m1",),
    code: int | None = 0,
    request_id: str | None = "sim-0",
) -> str | None:
    """Return the judgement on one result, whose deciding check came at `ARRIVED_MS`."""
    truth, arrivals = Truth(), Arrivals()
    truth.send(GIFT, 500, fate=Fate(500, consumed_ms, result_code))
    request = Request("POST", "", {}, None, 1, CHECK, "room", "game", asked)
    arrivals.record(request, ARRIVED_MS * 1000 + 999, code)
    return false_verdict(
        truth, arrivals, GIFT, status=status, result_code=said_code, request_id=request_id
    )


@pytest.mark.parametrize(
    ("status", "consumed_ms", "result_code", "said_code"),
    [
        pytest.param("UNCONSUMED", None, 0, None, id="never consumed"),
        pytest.param("UNCONSUMED", ARRIVED_MS + 1, 0, None, id="consumed just after"),
        pytest.param("SUCCEEDED", ARRIVED_MS, 0, 0, id="consumed just in time"),
        pytest.param("FAILED", 1_000, 10003, 10003, id="failed"),
    ],
)
def test_a_verdict_that_agrees_with_the_truth_is_right(
    status: str, consumed_ms: int | None, result_code: int, said_code: int | None
) -> None:
    """What was true when the deciding check arrived is a right verdict."""
    assert judged(status, consumed_ms, result_code=result_code, said_code=said_code) is None


@pytest.mark.parametrize(
    ("status", "consumed_ms", "result_code", "said_code"),
    [
        pytest.param("UNCONSUMED", ARRIVED_MS, 0, None, id="was consumed"),
        pytest.param("SUCCEEDED", ARRIVED_MS + 1, 0, 0, id="not yet consumed"),
        pytest.param("SUCCEEDED", None, 0, 0, id="never consumed"),
        pytest.param("SUCCEEDED", 1_000, 10003, 10003, id="failed in truth"),
        pytest.param("FAILED", 1_000, 0, 0, id="succeeded in truth"),
        pytest.param("FAILED", 1_000, 10003, 10004, id="another code"),
        pytest.param("UNVERIFIED", None, 0, None, id="unverified"),
    ],
)
def test_a_verdict_unlike_the_truth_is_false(
    status: str, consumed_ms: int | None, result_code: int, said_code: int | None
) -> None:
    """What was not true when the deciding check arrived is false, and so is not knowing."""
    assert judged(status, consumed_ms, result_code=result_code, said_code=said_code) is not None


def test_a_deciding_check_must_have_asked_for_the_gift_and_been_answered() -> None:
    """A verdict by another request, a refused one or none at all is false."""
    assert judged("UNCONSUMED", None, asked=("m2",)) is not None
    assert judged("UNCONSUMED", None, code=7) is not None
    assert judged("UNCONSUMED", None, request_id="sim-1") is not None
    assert judged("UNCONSUMED", None, request_id=None) is not None


def test_a_gift_that_was_never_sent_has_no_right_verdict() -> None:
    """Results about gifts nobody sent are false."""
    verdict = false_verdict(
        Truth(), Arrivals(), GIFT, status="UNCONSUMED", result_code=None, request_id="sim-0"
    )
    assert verdict == "the API was never told of this gift"
