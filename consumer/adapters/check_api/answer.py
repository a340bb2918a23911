"""Reads what the vendor says; pure, so that tables can test it.

What comes is not trusted: types are looked at, `true` is no 1, texts are shortened, and an
answer that cannot be read in all its entries says so, for then it proves no absence (P3).
"""

import functools
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import orjson

from consumer.core.model import Answer, Entry

DETAIL_CHARACTERS_MAX: Final = 200
"""Others' words travel to gift results and logs; so much of them is enough to understand."""

RETRY_AFTER_MS_MAX: Final = 3_600_000
"""Who asks for more than an hour is asked again after that: every wait has its limit (P5)."""

INT32_MAX: Final = 2**31 - 1
"""A gift result's `result_code` is an Avro int: what does not fit would spoil a whole cut."""

TIMESTAMP_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999: readers of results turn `game_timestamp` into a date."""

_DIGITS_MAX: Final = 18
"""A decimal number of so many digits fits 64 bits."""


def read_answer(
    body: bytes, date_wall_ms: int | None = None, retry_after_ms: int | None = None
) -> Answer | None:
    """Read the vendor's JSON; None if it is not: no object, or `Code` no integer.

    `Data` or `Results` absent or null is an empty list. `Results` no list, or an entry that is
    not usable: what can be read counts, and `complete` is False. An entry needs `MsgId` as a
    string, `Result` and `Timestamp` as integers that a gift result can hold; a `Timestamp` written as decimal digits in a
    string is taken too, for it does no harm: it only tells gifts apart.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    code = _integer(document.get("Code"), -INT32_MAX - 1, INT32_MAX)
    if code is None:
        return None
    entries, complete = _read_results(document.get("Data"))
    return Answer(
        code=code,
        message=shortened(document.get("Message")) or "",
        request_id=shortened(document.get("RequestId")),
        entries=entries,
        complete=complete,
        date_wall_ms=date_wall_ms,
        retry_after_ms=retry_after_ms,
    )


def _read_results(data: object) -> tuple[tuple[Entry, ...], bool]:
    if data is None:
        return (), True
    if not isinstance(data, dict):
        return (), False
    results = data.get("Results")
    if results is None:
        return (), True
    if not isinstance(results, list):
        return (), False
    entries = tuple([entry for result in results if (entry := _read_entry(result)) is not None])
    return entries, len(entries) == len(results)


def _read_entry(result: object) -> Entry | None:
    if not isinstance(result, dict):
        return None
    msg_id = result.get("MsgId")
    code = _integer(result.get("Result"), -INT32_MAX - 1, INT32_MAX)
    timestamp = result.get("Timestamp")
    if isinstance(timestamp, str) and timestamp.isascii() and timestamp.isdecimal():
        timestamp = int(timestamp) if len(timestamp) <= _DIGITS_MAX else None
    timestamp_ms = _integer(timestamp, 0, TIMESTAMP_MS_MAX)
    if not isinstance(msg_id, str) or code is None or timestamp_ms is None:
        return None
    return Entry(msg_id, code, shortened(result.get("Msg")), timestamp_ms)


def _integer(value: object, least: int, most: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if least <= value <= most else None


def shortened(value: object) -> str | None:
    """The first 200 characters of a string, None of anything else: others' words are bounded."""
    return value[:DETAIL_CHARACTERS_MAX] if isinstance(value, str) else None


@functools.lru_cache(maxsize=4)
def read_http_date(text: str | None) -> int | None:
    """Unix milliseconds of an HTTP date; None if there is none that can be read.

    All answers of a second have the same one: reading it anew cost a tenth of a check.
    """
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
        # A date without a zone would be taken for local time; HTTP knows none but GMT.
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp()) * 1000
    except (ValueError, OverflowError):
        return None


def read_retry_after(text: str | None, now_wall_ms: int) -> int | None:
    """Milliseconds to wait from `now_wall_ms` by a Retry-After, which may hold seconds or a date.

    Not negative, at most `RETRY_AFTER_MS_MAX`; None if there is none that can be read.
    """
    if text is None:
        return None
    seconds = text.strip()
    if seconds.isascii() and seconds.isdecimal() and len(seconds) <= _DIGITS_MAX:
        wait_ms = int(seconds) * 1000
    elif (date_wall_ms := read_http_date(text)) is not None:
        wait_ms = date_wall_ms - now_wall_ms
    else:
        return None
    return min(max(0, wait_ms), RETRY_AFTER_MS_MAX)
