"""Which records are gifts, and whose (design §3, "Valid")."""

import pytest

from consumer.core.intake import Refusal, admit
from consumer.core.model import GiftSent, Reason

APP_ID = 1_234_567_890
ONE_APP = frozenset({APP_ID})
TWO_APPS = frozenset({APP_ID, 7})
YEAR_MS = 365 * 86_400_000
SENT = GiftSent("room", "game", "msg-1", 1_700_000_000_000, APP_ID)


@pytest.mark.parametrize(
    "sent",
    [
        SENT,
        SENT._replace(room_id="r" * 64),
        SENT._replace(room_id="直" * 64),
        SENT._replace(msg_id="m" * 64),
        SENT._replace(msg_id="-_azAZ09"),
        SENT._replace(sent_at=1),
        SENT._replace(sent_at=SENT.sent_at // 1000),
        SENT._replace(sent_at=SENT.sent_at + YEAR_MS),
    ],
    ids=["plain", "room 64", "room 64 wide", "msg 64", "alphabet", "first ms", "seconds", "a year"],
)
def test_a_gift_that_can_be_asked_about_is_admitted(sent: GiftSent) -> None:
    """Bounds are inclusive, and a strange but positive sent_at is the deadline rule's concern."""
    assert admit(sent, ONE_APP) == APP_ID


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (SENT._replace(room_id=""), Reason.ROOM_INVALID),
        (SENT._replace(room_id="r" * 65), Reason.ROOM_INVALID),
        (SENT._replace(mini_game_id=""), Reason.GAME_INVALID),
        (SENT._replace(msg_id=""), Reason.MSG_ID_INVALID),
        (SENT._replace(msg_id="m" * 65), Reason.MSG_ID_INVALID),
        (SENT._replace(msg_id="a b"), Reason.MSG_ID_INVALID),
        (SENT._replace(msg_id="a\n"), Reason.MSG_ID_INVALID),
        (SENT._replace(msg_id="é"), Reason.MSG_ID_INVALID),
        (SENT._replace(msg_id="٣"), Reason.MSG_ID_INVALID),
        (SENT._replace(sent_at=0), Reason.SENT_AT_INVALID),
        (SENT._replace(sent_at=-1), Reason.SENT_AT_INVALID),
        (SENT._replace(app_id=8), Reason.APP_UNKNOWN),
        (SENT._replace(app_id=-1), Reason.APP_UNKNOWN),
    ],
)
def test_what_cannot_be_asked_about_is_refused_with_its_reason(
    sent: GiftSent, reason: Reason
) -> None:
    """Each field out of its bounds has a reason of its own and a detail that says what is allowed."""
    refused = admit(sent, ONE_APP)
    assert isinstance(refused, Refusal)
    assert reason == refused.reason
    assert refused.detail != ""


def test_a_gift_without_an_app_belongs_to_the_only_one() -> None:
    """With one app configured its id may be left out."""
    assert admit(SENT._replace(app_id=None), ONE_APP) == APP_ID


def test_a_gift_without_an_app_is_refused_where_there_are_several() -> None:
    """With several apps configured nobody can tell whose it is."""
    refused = admit(SENT._replace(app_id=None), TWO_APPS)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.APP_MISSING


def test_each_of_several_apps_admits_its_own() -> None:
    """The app id of the event decides."""
    assert admit(SENT._replace(app_id=7), TWO_APPS) == 7
