"""A request to the vendor's API as it can be read, before anybody judges it.

Faults select by what is read here, the record keeps it, and the contract (`api`) judges it. So
reading never fails: what is missing or makes no sense is 0, empty or None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

CHECK: Final = "DescribeDanmakuMsgResults"
SEND: Final = "SendDanmakuGifts"

_DIGITS_MAX: Final = 20
"""No number in a query is as long; what is longer is not turned into one."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was read, good or bad; what could not be read is 0, empty or None.

    `document` is the JSON of the body, None if it is none. For SendDanmakuGifts `msg_ids` are
    those of the gifts.
    """

    method: str
    host: str
    query: Mapping[str, str]
    document: Any
    app_id: int
    action: str
    room_id: str
    mini_game_id: str
    msg_ids: tuple[str, ...]


def read_request(method: str, target: bytes, host: str, body: bytes) -> Request:
    """Read what can be read of a request; judges nothing and never fails."""
    query = _read_query(target.partition(b"?")[2].decode("latin-1"))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    fields = document if isinstance(document, dict) else {}
    action = query.get("Action", "")
    return Request(
        method,
        host,
        query,
        document,
        read_unsigned(query.get("AppId", "")) or 0,
        action,
        read_text(fields.get("RoomId")),
        read_text(fields.get("MiniGameId")),
        _msg_ids(fields, action),
    )


def _read_query(text: str) -> dict[str, str]:
    if "%" in text or "+" in text:
        return dict(parse_qsl(text, keep_blank_values=True))
    # The usual case, for which the library's way takes a fifth of the time of a whole request.
    return dict([part.partition("=")[::2] for part in text.split("&")])


def read_text(value: object) -> str:
    """The value if it is a string, else the empty one."""
    return value if isinstance(value, str) else ""


def _msg_ids(fields: dict[str, Any], action: str) -> tuple[str, ...]:
    if action == SEND:
        gifts = fields.get("GiftList")
        ids = [gift.get("MsgId") for gift in _list(gifts) if isinstance(gift, dict)]
    else:
        ids = _list(fields.get("MsgIdList"))
    return tuple([msg_id for msg_id in ids if isinstance(msg_id, str)])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def read_unsigned(text: str) -> int | None:
    """The number that `text` writes in plain decimal digits, else None."""
    plain = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
    return int(text) if plain else None
