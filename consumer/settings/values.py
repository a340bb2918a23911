"""How single values are written in a configuration, and what the code gets of them."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration_ms(text: object) -> int:
    """Milliseconds of a duration written as `50ms`, `5s`, `2m`, `1h` or `7d`; `0` means never.

    Raises:
        ValueError: no unit, or not a duration; says how to write it.
    """
    if str(text).strip() == "0":
        return 0
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise ValueError("write a duration with its unit, as in 50ms, 5s, 2m, 1h or 7d")
    number, unit = match.groups()
    return round(float(number) * _UNITS_MS[unit])


def parse_start(value: object) -> str | int:
    """`earliest`, `latest`, or the Unix milliseconds of an ISO time, UTC where no zone is said.

    Raises:
        ValueError: anything else, numbers included; says how to write it.
    """
    text = value.isoformat() if isinstance(value, date) else str(value)
    if text in {"earliest", "latest"}:
        return text
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "write earliest, latest or a time, as in 2026-01-31T12:00:00+00:00"
        ) from None
    return int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1_000)


DurationMs = Annotated[int, BeforeValidator(parse_duration_ms), Field(ge=0)]
"""A duration in milliseconds, written with its unit."""


TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
"""Kafka's own rule for a topic's name."""

SchemaId = Annotated[int, Field(ge=0, lt=2**32)]
"""What Confluent framing has four bytes for."""


def read_stripped(file: Path) -> str:
    """A file's text without white space around it, for editors end files with a newline.

    Raises:
        ValueError: it cannot be read; says why, and nothing of what is in it.
    """
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # A decoding error's own text quotes what it could not decode.
        raise ValueError(error.strerror if isinstance(error, OSError) else "not UTF-8") from None


def property_text(given: object) -> object:
    """A scalar as librdkafka writes it; anything else is left for the type to refuse."""
    if isinstance(given, bool):
        return "true" if given else "false"
    return str(given) if isinstance(given, int | float) else given
