"""The ledger and the summary: what is counted, how delay is measured, what fails a run."""

from typing import Any

import orjson
import pytest

from consumer.core.model import Status
from consumer.demo.percentiles import Percentiles
from consumer.demo.summary import sum_up
from tests.demo.builders import SETTLE_MS, START_MS, TIMEOUT_MS, ledger, produced, result, run

US = 1_000


def test_every_gift_answered_once_passes() -> None:
    """A run in which each gift got one true result within the limit has exit code 0."""
    book = ledger()
    for number in range(3):
        book.produced(produced(number))
    book.visible(result(0), (START_MS + 500) * US)
    book.visible(result(1, Status.FAILED), (START_MS + 600) * US)
    book.visible(result(2, Status.UNCONSUMED), (START_MS + 6_100) * US)
    summary = sum_up(book, run(requests=5))
    assert (summary.exit_code, summary.failures) == (0, ())
    assert summary.results == {"SUCCEEDED": 1, "FAILED": 1, "UNCONSUMED": 1, "UNVERIFIED": 0}
    assert summary.requests_per_gift == 1.67


def test_a_gift_without_a_result_fails_the_run() -> None:
    """A missing result is counted and makes the exit code 1."""
    book = ledger()
    book.produced(produced(0))
    book.produced(produced(1))
    book.visible(result(0), START_MS * US)
    summary = sum_up(book, run())
    assert (
        summary.exit_code,
        summary.missing,
        summary.failures,
    ) == (1, 1, ("1 gifts without a result",))


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(result(0), id="the same record again"),
        pytest.param(result(0, source_offset=9), id="the same gift, another source"),
        pytest.param(result(1, source_offset=0), id="the same source, another gift"),
    ],
)
def test_a_second_result_fails_the_run(second: Any) -> None:
    """Two results of one record, or more results than records of one gift, are a duplicate."""
    book = ledger()
    book.produced(produced(0))
    book.produced(produced(1))
    book.visible(result(0), START_MS * US)
    book.visible(second, START_MS * US)
    summary = sum_up(book, run())
    assert (summary.exit_code, summary.duplicates) == (1, 1)
    assert "1 results too many" in summary.failures


def test_a_false_verdict_fails_the_run_and_says_why() -> None:
    """A verdict that the judge rejects is counted, with the room and the gift named."""
    book = ledger("unverified")
    book.produced(produced(0))
    book.visible(result(0, Status.UNVERIFIED), START_MS * US)
    summary = sum_up(book, run())
    assert (summary.exit_code, summary.false_verdicts) == (1, 1)
    assert summary.false_reasons == ("room, gift-0: unverified",)
    assert summary.failures == ("1 false verdicts",)


def test_only_the_first_falsehoods_are_kept() -> None:
    """Many false verdicts are all counted, few are told."""
    book = ledger(*["false"] * 100)
    for number in range(100):
        book.produced(produced(number))
        book.visible(result(number), START_MS * US)
    summary = sum_up(book, run())
    assert (summary.false_verdicts, len(summary.false_reasons)) == (100, 5)


@pytest.mark.parametrize(
    ("changed", "failures"),
    [
        ({"room_requests_per_second_max": 20}, ()),
        (
            {"room_requests_per_second_max": 21},
            ("21 requests for a room in one second",),
        ),
        ({"consumer_exit_code": 70}, ("the consumer stopped with exit code 70",)),
        ({"consumer_exit_code": -9}, ("the consumer stopped with exit code -9",)),
    ],
)
def test_what_the_run_itself_must_keep(changed: dict[str, int], failures: tuple[str, ...]) -> None:
    """A broken limit fails the run, and so does a consumer that does not stop as it should."""
    book = ledger()
    book.produced(produced(0))
    book.visible(result(0), START_MS * US)
    summary = sum_up(book, run(**changed))
    assert (failures, 1 if failures else 0) == (summary.failures, summary.exit_code)


def test_a_run_without_gifts_shows_nothing() -> None:
    """Where no gift was sent, nothing has been shown: exit code 1."""
    summary = sum_up(ledger(), run())
    assert (
        summary.exit_code,
        summary.failures,
        summary.requests_per_gift,
    ) == (1, ("no gift was sent",), None)


@pytest.mark.parametrize(
    ("consumed_after_ms", "visible_after_ms", "delay_ms"),
    [
        pytest.param(400, 530, 130.0, id="consumed after it was produced"),
        pytest.param(-50, 130, 130.0, id="consumed before it was produced"),
        pytest.param(0, 90, 90.0, id="consumed at once"),
    ],
)
def test_delay_counts_from_when_it_could_be_known(
    consumed_after_ms: int, visible_after_ms: int, delay_ms: float
) -> None:
    """The delay of a gift begins when it is consumed, but not before it was produced."""
    book = ledger()
    book.produced(produced(0, consumed_after_ms=consumed_after_ms))
    book.visible(result(0), (START_MS + visible_after_ms) * US)
    assert [delay_ms] == book.delay_ms
    assert book.unconsumed_late_ms == []


def test_unconsumed_is_late_after_deadline_and_settle() -> None:
    """How late `UNCONSUMED` is counts from deadline + settle, and is no delay."""
    book = ledger()
    book.produced(produced(0, consumed_after_ms=None))
    book.visible(result(0, Status.UNCONSUMED), (START_MS + TIMEOUT_MS + SETTLE_MS) * US + 41_500)
    assert (book.unconsumed_late_ms, book.delay_ms) == ([41.5], [])


@pytest.mark.parametrize(
    ("status", "consumed_after_ms"),
    [
        pytest.param(Status.UNVERIFIED, 400, id="unverified"),
        pytest.param(Status.SUCCEEDED, None, id="said to have succeeded though never consumed"),
    ],
)
def test_no_delay_where_nothing_was_to_be_known(
    status: Status, consumed_after_ms: int | None
) -> None:
    """A result that stands for no consumption has no delay."""
    book = ledger()
    book.produced(produced(0, consumed_after_ms=consumed_after_ms))
    book.visible(result(0, status), (START_MS + 900) * US)
    assert (book.delay_ms, book.unconsumed_late_ms) == ([], [])


def test_a_result_of_an_unknown_gift_is_the_judges_business() -> None:
    """A result of a gift that was never sent is counted and judged, but has no delay."""
    book = ledger("the API was never told of this gift")
    book.visible(result(0), START_MS * US)
    assert (
        book.false_verdicts,
        book.duplicates,
        book.missing,
        book.delay_ms,
    ) == (1, 0, 0, [])


def test_overdue_counts_the_unanswered_past_their_deadline() -> None:
    """A gift is overdue from its deadline on, until its result is visible."""
    book = ledger()
    book.produced(produced(0))
    book.produced(produced(1))
    deadline_us = (START_MS + TIMEOUT_MS) * US
    assert (book.overdue(deadline_us - 1), book.overdue(deadline_us)) == (0, 2)
    book.visible(result(0), deadline_us)
    assert book.overdue(deadline_us) == 1


def test_the_json_has_every_figure_by_its_name() -> None:
    """The JSON object holds what a script needs, in plain numbers."""
    book = ledger()
    book.produced(produced(0))
    book.visible(result(0), (START_MS + 500) * US)
    document = orjson.loads(orjson.dumps(sum_up(book, run()).as_json()))
    assert document == {
        "gifts": 1,
        "results": {"SUCCEEDED": 1, "FAILED": 0, "UNCONSUMED": 0, "UNVERIFIED": 0},
        "missing": 0,
        "duplicates": 0,
        "false_verdicts": 0,
        "room_requests_per_second_max": 20,
        "delay_ms": {"p50": 100.0, "p95": 100.0, "p99": 100.0},
        "unconsumed_late_ms": {"p50": None, "p95": None, "p99": None},
        "requests": 10,
        "requests_per_gift": 10.0,
        "broker": "a broker",
        "seed": 1,
        "rate": 300,
        "rooms": 100,
        "timeout_ms": 5_000,
        "latency_ms": 30,
        "duration_ms": 20_000,
        "load_late_ms_max": 3,
        "consumer_exit_code": 0,
        "passed": True,
    }
    assert Percentiles(None, None, None) == sum_up(book, run()).unconsumed_late_ms
