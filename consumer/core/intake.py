"""Which records are gifts: the validity rule of design §3, and whose app they belong to.

Only what makes a gift impossible to ask about is refused. A `sent_at` in the wrong unit or a year
ahead is no such thing: the deadline rule (`gift`) takes care of it.
"""

import re
from typing import Final, NamedTuple

from consumer.core.model import GiftSent, Reason

RECORD_BYTES_MAX: Final = 64 * 1024
"""A record's value; a gift takes some hundred bytes."""

ROOM_CHARACTERS_MAX: Final = 64
"""The vendor's bound for RoomId."""

_MSG_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
"""The vendor's rule for MsgId."""


class Refusal(NamedTuple):
    """Why a record is no gift; the detail names the field and what is allowed."""

    reason: Reason
    detail: str


def admit(sent: GiftSent, apps: frozenset[int]) -> int | Refusal:
    """The app that a gift belongs to, or why it is refused."""
    if not 0 < len(sent.room_id) <= ROOM_CHARACTERS_MAX:
        length = len(sent.room_id)
        return Refusal(Reason.ROOM_INVALID, f"room_id has {length} characters, allowed are 1 to 64")
    if not sent.mini_game_id:
        return Refusal(Reason.GAME_INVALID, "mini_game_id is empty")
    if _MSG_ID.fullmatch(sent.msg_id) is None:
        return Refusal(Reason.MSG_ID_INVALID, "msg_id must be 1 to 64 of 0-9 A-Z a-z _ -")
    if sent.sent_at <= 0:
        return Refusal(Reason.SENT_AT_INVALID, f"sent_at is {sent.sent_at}, must be above 0")
    return _app_of(sent, apps)


def _app_of(sent: GiftSent, apps: frozenset[int]) -> int | Refusal:
    if sent.app_id is None:
        if len(apps) == 1:
            return next(iter(apps))
        return Refusal(Reason.APP_MISSING, f"app_id is absent and {len(apps)} apps are configured")
    if sent.app_id not in apps:
        return Refusal(Reason.APP_UNKNOWN, f"app_id {sent.app_id} is not configured")
    return sent.app_id
