"""The vendor's contract: a request and an instant give a `Code` and a JSON document.

Source: zego-api.md and the vendor's pages *Check gift sending results*, *Send gifts*, *Make API
requests* and *Global return codes*. Where the vendor leaves something open, the stricter reading
holds, so that a client that pleases the simulator pleases the vendor:

- common parameters are tested before the limit, the limit before the body's parameters;
- a body that is no JSON is unreadable, one that is no object or holds a wrong type is a wrong
  parameter (2), a parameter that is missing or breaks its rule is invalid (7200004);
- a check without a RoomId, a game or an id is refused, though the vendor's table leaves open
  whether the first two are required;
- an id that occurs twice in one check is answered once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from hmac import compare_digest
from typing import Any, Final, NoReturn

import orjson

from consumer.simulator.codes import MESSAGES
from consumer.simulator.request import CHECK, SEND, Request, read_text, read_unsigned
from consumer.simulator.truth import Fate, Gift, Truth

ROOM_ID_CHARACTERS_MAX: Final = 64
MSG_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
CLOCK_TOLERANCE_S: Final = 600
"""A signature's `Timestamp` may be ten minutes off, in either direction."""
DURATION_DAYS: Final = 30
DURATION_DAYS_MAX: Final = 90

_DAY_MS: Final = 86_400_000
_UINT32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Whom the API serves.

    `apps` maps AppId to ServerSecret; an app with an empty secret has none. `games` are the
    games there are, None for any. `hosts` are the `Host` headers accepted, None for any.
    `adopt_unknown` makes a gift known when a check first asks for it.
    """

    apps: Mapping[int, str]
    apps_not_activated: frozenset[int] = frozenset()
    games: frozenset[str] | None = None
    hosts: frozenset[str] | None = None
    adopt_unknown: bool = False


class _Refused(Exception):
    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class VendorApi:
    """Answers requests by the contract; the limit is counted elsewhere (`limit`)."""

    def __init__(self, contract: Contract, truth: Truth) -> None:
        self._contract = contract
        self._truth = truth

    def answer(
        self,
        request: Request,
        request_id: str,
        now_ms: int,
        *,
        clock_offset_ms: int = 0,
        over_limit: bool = False,
        forced_code: int | None = None,
    ) -> tuple[int, bytes]:
        """The `Code` and the document for a request that arrives at `now_ms` (Unix time).

        `clock_offset_ms` is how wrong the vendor's clock is when it judges signatures.
        `forced_code` is what the answer says if nothing is wrong with the request.
        """
        try:
            self._authenticate(request, (now_ms + clock_offset_ms) // 1000)
            if over_limit:
                _refuse(7)
            self._test_room_and_game(request)
            act = self._describe if request.action == CHECK else self._send
            results = act(request, now_ms, forced_code)
        except _Refused as refused:
            return refused.code, _refusal(refused, request_id)
        document = {
            "Code": 0,
            "Message": MESSAGES[0],
            "RequestId": request_id,
            "Data": {"Results": results},
        }
        return 0, orjson.dumps(document)

    def _authenticate(self, request: Request, now_s: int) -> None:
        """Test everything that stands outside of the body, in the gateway's place."""
        query, contract = request.query, self._contract
        if contract.hosts is not None and request.host not in contract.hosts:
            _refuse(100000000)
        if not query.get("Action"):
            _refuse(100000006)
        if request.action not in {CHECK, SEND} or request.method != "POST":
            _refuse(100000007, f"{request.method} {request.action}")
        app_id = read_unsigned(query.get("AppId", ""))
        if app_id is None or not 0 < app_id <= _UINT32_MAX:
            _refuse(100000001)
        _test_signature_parameters(query, now_s)
        secret = contract.apps.get(app_id)
        if secret is None:
            _refuse(100000011)
        if not secret:
            _refuse(100000010)
        text = f"{query['AppId']}{query['SignatureNonce']}{secret}{query['Timestamp']}"
        expected = md5(text.encode(), usedforsecurity=False).hexdigest()
        if not compare_digest(expected.encode(), query["Signature"].encode()):
            _refuse(100000005)
        if app_id in contract.apps_not_activated:
            _refuse(7202003)

    def _test_room_and_game(self, request: Request) -> None:
        if request.document is None:
            _refuse(100000012)
        if not isinstance(request.document, dict):
            _refuse(2, "the body must be an object")
        room_id = request.document.get("RoomId")
        if room_id is not None and not isinstance(room_id, str):
            _refuse(2, "RoomId must be a string")
        if not room_id or len(room_id) > ROOM_ID_CHARACTERS_MAX:
            _refuse(7200004, "RoomId")
        game = request.document.get("MiniGameId")
        if game is None:
            _refuse(7200004, "MiniGameId")
        if not isinstance(game, str):
            _refuse(7202002)
        if not game or (self._contract.games is not None and game not in self._contract.games):
            _refuse(7202001)

    def _describe(
        self, request: Request, now_ms: int, forced_code: int | None
    ) -> list[dict[str, Any]]:
        _test_msg_id_list(request)
        since_ms = now_ms - _duration_ms(request.document)
        if forced_code is not None:
            _refuse(forced_code)
        where = request.app_id, request.room_id, request.mini_game_id
        msg_ids = tuple(dict.fromkeys(request.msg_ids))
        if self._contract.adopt_unknown:
            for msg_id in msg_ids:
                self._truth.adopt((*where, msg_id), now_ms)
        return [
            _entry(gift, fate)
            for gift, fate in self._truth.consumed(*where, msg_ids, now_ms)
            if fate.sent_wall_ms >= since_ms
        ]

    def _send(self, request: Request, now_ms: int, forced_code: int | None) -> list[dict[str, Any]]:
        sent = request.document.get("GiftList")
        if sent is not None and not isinstance(sent, list):
            _refuse(2, "GiftList must be a list")
        if not sent:
            _refuse(7200004, "GiftList")
        for fields in sent:
            _test_gift(fields)
        if forced_code is not None:
            _refuse(forced_code)
        results = []
        for fields in sent:
            where = request.app_id, request.room_id, request.mini_game_id
            gift = Gift(*where, fields["MsgId"], fields["Timestamp"])
            self._truth.send(gift, now_ms)
            # What it answers is that the gift was taken; the game's say comes with the checks.
            results.append(_entry(self._truth.original(gift), Fate(now_ms, None, 0)))
        return results


def _refusal(refused: _Refused, request_id: str) -> bytes:
    message = MESSAGES.get(refused.code, "unknown")
    if refused.detail:
        message = f"{message}: {refused.detail}"
    return orjson.dumps(
        {"Code": refused.code, "Message": message, "RequestId": request_id, "Data": None}
    )


def _refuse(code: int, detail: str = "") -> NoReturn:
    raise _Refused(code, detail)


def _test_signature_parameters(query: Mapping[str, str], now_s: int) -> None:
    if not query.get("SignatureNonce"):
        _refuse(100000008)
    if not query.get("Timestamp"):
        _refuse(100000002)
    timestamp_s = read_unsigned(query["Timestamp"])
    if timestamp_s is None:
        _refuse(100000003)
    if not query.get("SignatureVersion"):
        _refuse(100000013)
    if query["SignatureVersion"] != "2.0":
        _refuse(100000014)
    if not query.get("Signature"):
        _refuse(100000009)
    if abs(timestamp_s - now_s) > CLOCK_TOLERANCE_S:
        _refuse(100000004)


def _test_msg_id_list(request: Request) -> None:
    listed = request.document.get("MsgIdList")
    if listed is not None and not isinstance(listed, list):
        _refuse(2, "MsgIdList must be a list")
    if not listed:
        _refuse(7200004, "MsgIdList")
    if len(request.msg_ids) != len(listed):
        _refuse(2, "MsgIdList must hold strings")
    for msg_id in request.msg_ids:
        if MSG_ID.fullmatch(msg_id) is None:
            _refuse(7200004, "MsgIdList")


def _duration_ms(document: dict[str, Any]) -> int:
    duration = document.get("Duration", DURATION_DAYS)
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        _refuse(2, "Duration must be a number")
    if not 0 < duration <= DURATION_DAYS_MAX:
        _refuse(7200004, "Duration")
    return int(duration * _DAY_MS)


def _test_gift(fields: object) -> None:
    """Test an element of `GiftList` for what the page *Send gifts* calls required."""
    if not isinstance(fields, dict):
        _refuse(2, "GiftList must hold objects")
    msg_id, timestamp = fields.get("MsgId"), fields.get("Timestamp")
    if not isinstance(msg_id, str) or MSG_ID.fullmatch(msg_id) is None:
        _refuse(7200004, "MsgId")
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or timestamp <= 0:
        _refuse(7200004, "Timestamp")
    for part, names in (("UserInfo", ("UserId", "Nickname", "Avatar")), ("GiftInfo", ("GiftId",))):
        values = fields.get(part)
        if not isinstance(values, dict):
            _refuse(7200004, part)
        for name in names:
            if not read_text(values.get(name)):
                _refuse(7200004, f"{part}.{name}")
    num = fields["GiftInfo"].get("Num")
    if isinstance(num, bool) or not isinstance(num, int) or num < 1:
        _refuse(7200004, "GiftInfo.Num")


def _entry(gift: Gift, fate: Fate) -> dict[str, Any]:
    return {
        "Result": fate.result_code,
        "Msg": "success" if fate.result_code == 0 else "delivery failed",
        "MsgId": gift.msg_id,
        "Timestamp": gift.timestamp_ms,
    }
