"""What a dead letter looks like: the record as it came, and why it is here (design §3).

Byte for byte, unless the broker refused it for its size. Then each part that is too long is cut:
the value and the key to their first 64 KiB, the headers left out; `giftcheck.truncated` holds
the value's original length, and offset and partition say where the whole record is.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from consumer.core.model import DeadLetter, Headers

KEPT_BYTES: Final = 64 * 1024
"""The largest valid record (design §3): whatever a topic allows, it allows as much as this."""

_VERSION: Final = version("giftcheck")


@dataclass(frozen=True, slots=True)
class LetterRecord:
    """A dead letter as it goes to its topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def whole(letter: DeadLetter, topic: str) -> LetterRecord:
    """The record byte for byte; `topic` is where it was read."""
    record = letter.record
    return LetterRecord(record.key, record.value, record.headers + _reasons(letter, topic))


def truncated(letter: DeadLetter, topic: str) -> LetterRecord:
    """The record with its long parts cut."""
    record = letter.record
    kept = record.headers if _headers_bytes(record.headers) <= KEPT_BYTES else ()
    length = ("giftcheck.truncated", str(len(record.value or b"")).encode())
    return LetterRecord(
        record.key[:KEPT_BYTES] if record.key is not None else None,
        record.value[:KEPT_BYTES] if record.value is not None else None,
        (*kept, *_reasons(letter, topic), length),
    )


def size_bytes(letter: DeadLetter) -> int:
    """How long the record is, to find which of several a broker refused."""
    record = letter.record
    return len(record.key or b"") + len(record.value or b"") + _headers_bytes(record.headers)


def _reasons(letter: DeadLetter, topic: str) -> Headers:
    record = letter.record
    texts = {
        "giftcheck.reason": record.reason.value,
        "giftcheck.detail": record.detail,
        "giftcheck.source.topic": topic,
        "giftcheck.source.partition": str(letter.partition),
        "giftcheck.source.offset": str(record.offset),
        "giftcheck.source.timestamp": str(record.timestamp_ms),
        "giftcheck.version": _VERSION,
    }
    return tuple((name, text.encode("utf-8", "replace")) for name, text in texts.items())


def _headers_bytes(headers: Headers) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers)
