"""Reading the vendor's answers: what counts, what does not, and what proves no absence."""

from typing import Any

import orjson
import pytest

from consumer.adapters.check_api import read_answer
from consumer.adapters.check_api.answer import read_http_date, read_retry_after
from consumer.core.model import Answer, Entry

ENTRY = {"Result": 0, "Msg": "success", "MsgId": "m1", "Timestamp": 1701244029266}


def answer(data: object) -> Answer:
    """Return how an answer with this `Data` is read."""
    read = read_answer(orjson.dumps({"Code": 0, "Message": "succeed", "Data": data}))
    assert read is not None
    return read


def test_the_vendors_example_is_read() -> None:
    """The example of the vendor's page, with what the headers said."""
    body = orjson.dumps(
        {"Code": 0, "Message": "succeed", "RequestId": "abcd123", "Data": {"Results": [ENTRY]}}
    )
    expected = Answer(
        code=0,
        message="succeed",
        request_id="abcd123",
        entries=(Entry("m1", 0, "success", 1701244029266),),
        date_wall_ms=5,
        retry_after_ms=6,
    )
    assert expected == read_answer(body, 5, 6)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'"Code"',
        b"{}",
        b'{"Code": null}',
        b'{"Code": "0"}',
        b'{"Code": true}',
        b'{"Code": 0.0}',
        b'{"Code": 2147483648}',
        b'{"Code": 99999999999999999999}',
        b'{"code": 0}',
        b'{"Code": 0',
        b'{"Code": 0}\xff',
        b'{"Code": 0, "Message": "\\ud800"}',
    ],
)
def test_what_is_not_the_vendors_json_is_no_answer(body: bytes) -> None:
    """Without an object that has an integer `Code` there is no answer."""
    assert read_answer(body) is None


@pytest.mark.parametrize("data", [None, {}, {"Results": None}, {"Results": []}])
def test_absent_or_null_results_are_an_empty_list(data: object) -> None:
    """The vendor may leave out what is empty: the answer is complete."""
    assert (answer(data).entries, answer(data).complete) == ((), True)


@pytest.mark.parametrize("data", [[], "", 0, False, {"Results": {}}, {"Results": ""}])
def test_results_that_are_no_list_prove_no_absence(data: object) -> None:
    """Something else in their place has no entries and is not complete."""
    assert (answer(data).entries, answer(data).complete) == ((), False)


@pytest.mark.parametrize(
    "changed",
    [
        {"MsgId": None},
        {"MsgId": 5},
        {"Result": None},
        {"Result": "0"},
        {"Result": True},
        {"Result": 0.0},
        {"Result": 2**31},
        {"Timestamp": None},
        {"Timestamp": True},
        {"Timestamp": 1.5},
        {"Timestamp": -1},
        {"Timestamp": 253_402_300_800_000},
        {"Timestamp": "soon"},
        {"Timestamp": "²"},
        {"Timestamp": "-5"},
        {"Timestamp": "1" * 5_000},
    ],
)
def test_an_unusable_entry_spoils_the_proof_not_the_others(changed: dict[str, Any]) -> None:
    """The readable entry counts, and the answer is not complete."""
    read = answer({"Results": [ENTRY | changed, ENTRY | {"MsgId": "m2"}]})
    assert read.entries == (Entry("m2", 0, "success", 1701244029266),)
    assert read.complete is False


def test_an_entry_that_is_no_object_spoils_the_proof() -> None:
    """A bare id is no entry."""
    read = answer({"Results": ["m1"]})
    assert (read.entries, read.complete) == ((), False)


def test_a_timestamp_may_be_digits_in_a_string_and_a_message_anything() -> None:
    """Neither makes an entry unusable; a message that is no string is none."""
    read = answer({"Results": [ENTRY | {"Timestamp": "1701244029266", "Msg": 5}]})
    assert read.entries == (Entry("m1", 0, None, 1701244029266),)
    assert read.complete is True


def test_others_words_are_shortened() -> None:
    """Messages travel to gift results and logs; 200 characters of them do."""
    read = read_answer(orjson.dumps({"Code": 2, "Message": "x" * 999, "RequestId": "y" * 999}))
    assert read == Answer(code=2, message="x" * 200, request_id="y" * 200)


@pytest.mark.parametrize(
    ("text", "wall_ms"),
    [
        ("Tue, 24 Nov 2026 00:00:01 GMT", 1_795_478_401_000),
        ("Tue, 24 Nov 2026 00:00:01", 1_795_478_401_000),
        ("Tue, 24 Nov 2026 01:00:01 +0100", 1_795_478_401_000),
        ("tomorrow", None),
        ("", None),
        ("Tue, 24 Nov 99999 00:00:01 GMT", None),
        (None, None),
    ],
)
def test_a_date_is_read_or_is_none(text: str | None, wall_ms: int | None) -> None:
    """HTTP dates are GMT also where they do not say so."""
    assert wall_ms == read_http_date(text)


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        ("0", 0),
        (" 7 ", 7_000),
        ("99999999999", 3_600_000),
        ("1" * 5_000, None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Tue, 24 Nov 2026 00:00:01 GMT", 1_000),
        ("Mon, 23 Nov 2026 00:00:01 GMT", 0),
        ("Wed, 25 Nov 2026 00:00:01 GMT", 3_600_000),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_has_a_limit(
    text: str | None, wait_ms: int | None
) -> None:
    """Both forms are milliseconds from now, not negative and at most an hour."""
    assert wait_ms == read_retry_after(text, 1_795_478_400_000)
