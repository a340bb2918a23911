"""Requests as the vendor's page describes them, for tests of the simulated API."""

from typing import Any
from urllib.parse import urlencode

import orjson

from consumer.adapters.check_api import signature

APP_ID = 12345
SECRET = "9193cc662a4c0ec135ec71fb57194b38"
NONCE = "4fd24687296dd9f3"
NOW_MS = 1_790_000_000_000


def target(
    now_ms: int = NOW_MS, *, app_id: int = APP_ID, secret: str = SECRET, **changed: str | None
) -> bytes:
    """Return a signed request target; `changed` parameters are not signed anew, None omits one."""
    timestamp_s = now_ms // 1000
    parameters: dict[str, str | None] = {
        "Action": "DescribeDanmakuMsgResults",
        "AppId": str(app_id),
        "SignatureNonce": NONCE,
        "Timestamp": str(timestamp_s),
        "SignatureVersion": "2.0",
        "Signature": signature(app_id, NONCE, secret, timestamp_s),
    }
    parameters.update(changed)
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"/?{urlencode(given)}".encode()


def check_body(*msg_ids: str, **changed: Any) -> bytes:
    """Return the body of a check; a `changed` field that is None is left out."""
    fields = {"RoomId": "room", "MiniGameId": "game", "MsgIdList": list(msg_ids), **changed}
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})


def sent_gift(msg_id: str = "m1", timestamp_ms: int = NOW_MS, **changed: Any) -> dict[str, Any]:
    """Return an element of `GiftList`."""
    return {
        "UserInfo": {"UserId": "u1", "Nickname": "one", "Avatar": "https://example.com/1.png"},
        "GiftInfo": {"GiftId": "rocket", "Value": 10, "Num": 2},
        "Timestamp": timestamp_ms,
        "MsgId": msg_id,
        **changed,
    }
