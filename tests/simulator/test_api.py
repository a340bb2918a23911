"""The vendor's contract, code by code, without a socket."""

from typing import Any

import orjson
import pytest

from consumer.simulator.api import Contract, VendorApi
from consumer.simulator.codes import MESSAGES
from consumer.simulator.request import read_request
from consumer.simulator.truth import Fate, Gift, Truth
from tests.simulator.vendor import APP_ID, NOW_MS, SECRET, check_body, sent_gift, target

CHECK = check_body("m1")
SEND = "SendDanmakuGifts"


def ask(
    target: bytes = target(),
    body: bytes = CHECK,
    *,
    truth: Truth | None = None,
    method: str = "POST",
    host: str = "api",
    now_ms: int = NOW_MS,
    over_limit: bool = False,
    forced_code: int | None = None,
    contract: Contract | None = None,
) -> dict[str, Any]:
    """Return the document that answers a request."""
    contract = contract or Contract(apps={APP_ID: SECRET, 2: ""}, games=frozenset({"game"}))
    api = VendorApi(contract, truth or Truth())
    code, document = api.answer(
        read_request(method, target, host, body),
        "sim-0",
        now_ms,
        over_limit=over_limit,
        forced_code=forced_code,
    )
    answer: dict[str, Any] = orjson.loads(document)
    assert answer["Code"] == code
    assert answer["RequestId"] == "sim-0"
    return answer


def test_a_consumed_gift_is_in_the_results_with_its_timestamp() -> None:
    """The entry has Result, Msg, MsgId and the Timestamp it was sent with."""
    truth = Truth()
    truth.send(Gift(APP_ID, "room", "game", "m1", 77), NOW_MS, fate=Fate(NOW_MS, NOW_MS, 0))
    truth.send(Gift(APP_ID, "room", "game", "m2", 78), NOW_MS, fate=Fate(NOW_MS, NOW_MS, 10003))
    expected = [
        {"Result": 0, "Msg": "success", "MsgId": "m1", "Timestamp": 77},
        {"Result": 10003, "Msg": "delivery failed", "MsgId": "m2", "Timestamp": 78},
    ]
    answer = ask(body=check_body("m1", "m2", "m1"), truth=truth)
    assert expected == answer["Data"]["Results"]
    assert answer["Message"] == "succeed"


def test_a_gift_that_is_not_consumed_is_absent() -> None:
    """Pending, never consumed and unknown gifts look alike: there is no entry."""
    truth = Truth()
    truth.send(Gift(APP_ID, "room", "game", "m1", 77), NOW_MS, fate=Fate(NOW_MS, NOW_MS + 1, 0))
    truth.send(Gift(APP_ID, "room", "game", "m2", 77), NOW_MS, fate=Fate(NOW_MS, None, 0))
    answer = ask(body=check_body("m1", "m2", "m3"), truth=truth)
    assert answer["Data"] == {"Results": []}


def test_the_look_back_is_thirty_days_or_the_duration() -> None:
    """An older gift is found only if a longer Duration is asked for."""
    truth = Truth()
    sent_ms = NOW_MS - 40 * 86_400_000
    truth.send(Gift(APP_ID, "room", "game", "m1", 77), sent_ms, fate=Fate(sent_ms, sent_ms, 0))
    assert ask(truth=truth)["Data"]["Results"] == []
    assert len(ask(body=check_body("m1", Duration=41), truth=truth)["Data"]["Results"]) == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Action": None}, 100000006),
        ({"Action": "DescribeSomethingElse"}, 100000007),
        ({"AppId": None}, 100000001),
        ({"AppId": "twelve"}, 100000001),
        ({"AppId": "0"}, 100000001),
        ({"AppId": "4294967296"}, 100000001),
        ({"AppId": "9" * 30}, 100000001),
        ({"SignatureNonce": None}, 100000008),
        ({"Timestamp": None}, 100000002),
        ({"Timestamp": "-1"}, 100000003),
        ({"Timestamp": "1.5"}, 100000003),
        ({"Timestamp": str(NOW_MS // 1000 - 601)}, 100000004),
        ({"Timestamp": str(NOW_MS // 1000 + 601)}, 100000004),
        ({"Timestamp": str(NOW_MS)}, 100000004),
        ({"Timestamp": str(NOW_MS // 1000 - 600)}, 100000005),
        ({"SignatureVersion": None}, 100000013),
        ({"SignatureVersion": "1.0"}, 100000014),
        ({"Signature": None}, 100000009),
        ({"Signature": "0" * 32}, 100000005),
        ({"Signature": "é"}, 100000005),
        ({"SignatureNonce": "another"}, 100000005),
        ({"AppId": "54321"}, 100000011),
        ({"AppId": "2"}, 100000010),
    ],
)
def test_wrong_common_parameters_have_a_code_each(changed: dict[str, Any], code: int) -> None:
    """What is wrong in the query is told by its own code."""
    assert ask(target(**changed))["Code"] == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 100000012),
        (b"{", 100000012),
        (b"[]", 2),
        (check_body("m1", RoomId=None), 7200004),
        (check_body("m1", RoomId=""), 7200004),
        (check_body("m1", RoomId="r" * 65), 7200004),
        (check_body("m1", RoomId="字" * 64), 0),
        (check_body("m1", RoomId=5), 2),
        (check_body("m1", MiniGameId=None), 7200004),
        (check_body("m1", MiniGameId=5), 7202002),
        (check_body("m1", MiniGameId="other"), 7202001),
        (check_body("m1", MiniGameId=""), 7202001),
        (check_body(), 7200004),
        (check_body(MsgIdList=None), 7200004),
        (check_body(MsgIdList="m1"), 2),
        (check_body(MsgIdList=["m1", 5]), 2),
        (check_body(""), 7200004),
        (check_body("m" * 64), 0),
        (check_body("m" * 65), 7200004),
        (check_body("m 1"), 7200004),
        (check_body("m1\n"), 7200004),
        (check_body("m1", "é"), 7200004),
        (check_body("m1", Duration=90), 0),
        (check_body("m1", Duration=91), 7200004),
        (check_body("m1", Duration=0), 7200004),
        (check_body("m1", Duration="30"), 2),
        (check_body("m1", Duration=True), 2),
    ],
)
def test_wrong_bodies_of_a_check_have_their_codes(body: bytes, code: int) -> None:
    """What is wrong in the body is told by the code for its kind of mistake."""
    assert ask(body=body)["Code"] == code


@pytest.mark.parametrize(
    ("gifts", "code"),
    [
        ([sent_gift()], 0),
        (None, 7200004),
        ([], 7200004),
        ("m1", 2),
        (["m1"], 2),
        ([sent_gift(MsgId="m 1")], 7200004),
        ([sent_gift(MsgId=5)], 7200004),
        ([sent_gift(Timestamp=0)], 7200004),
        ([sent_gift(Timestamp=True)], 7200004),
        ([sent_gift(UserInfo=None)], 7200004),
        ([sent_gift(UserInfo={"UserId": "u1", "Nickname": "one"})], 7200004),
        ([sent_gift(GiftInfo={"Num": 1})], 7200004),
        ([sent_gift(GiftInfo={"GiftId": "rocket"})], 7200004),
        ([sent_gift(GiftInfo={"GiftId": "rocket", "Num": 0})], 7200004),
    ],
)
def test_wrong_gifts_have_their_codes(gifts: Any, code: int) -> None:
    """SendDanmakuGifts wants everything that its page calls required, and takes nothing else."""
    truth = Truth()
    body = check_body(MsgIdList=None, GiftList=gifts)
    assert ask(target(Action=SEND), body, truth=truth)["Code"] == code
    assert truth.count == (1 if code == 0 else 0)


def test_a_gift_sent_twice_within_24_hours_gets_the_result_of_the_first() -> None:
    """The second answer speaks of the first gift's Timestamp, and nothing is given twice."""
    truth = Truth()
    first, second = (
        ask(
            target(Action=SEND),
            check_body(MsgIdList=None, GiftList=[sent_gift(timestamp_ms=timestamp_ms)]),
            truth=truth,
        )
        for timestamp_ms in (NOW_MS, NOW_MS + 1)
    )
    expected = [{"Result": 0, "Msg": "success", "MsgId": "m1", "Timestamp": NOW_MS}]
    assert expected == first["Data"]["Results"] == second["Data"]["Results"]
    assert truth.count == 1


def test_the_limit_is_told_to_who_may_ask_at_all() -> None:
    """Over the limit is Code 7, before the body is looked at and after the signature is."""
    assert ask(over_limit=True)["Code"] == 7
    assert ask(body=b"[]", over_limit=True)["Code"] == 7
    assert ask(target(Signature="0"), over_limit=True)["Code"] == 100000005


def test_hosts_methods_and_services_are_tested_where_they_are_configured() -> None:
    """A wrong Host, another method and an app without the service are refused."""
    contract = Contract(
        apps={APP_ID: SECRET},
        hosts=frozenset({"api"}),
        apps_not_activated=frozenset({APP_ID}),
    )
    assert ask(host="other", contract=contract)["Code"] == 100000000
    assert ask(contract=contract)["Code"] == 7202003
    assert ask(method="GET")["Code"] == 100000007


def test_a_forced_code_comes_only_if_nothing_else_is_wrong() -> None:
    """A fault's code stands behind the contract's own, for both actions."""
    sending = check_body(MsgIdList=None, GiftList=[sent_gift()])
    truth = Truth()
    assert ask(forced_code=1)["Code"] == 1
    assert ask(forced_code=1, over_limit=True)["Code"] == 7
    assert ask(target(Action=SEND), sending, forced_code=1, truth=truth)["Code"] == 1
    assert truth.count == 0
    assert ask(forced_code=999)["Message"] == "unknown"


def test_the_query_may_be_percent_encoded() -> None:
    """Signs that are encoded in the target are what they stand for."""
    encoded = target().replace(b"Signature", b"%53ignature").replace(b"2.0", b"2%2E0")
    assert ask(encoded)["Code"] == 0


def test_a_refusal_has_no_data_and_names_its_code() -> None:
    """The message is the one of the vendor's table."""
    answer = ask(body=check_body("m 1"))
    assert answer["Data"] is None
    assert answer["Message"] == f"{MESSAGES[7200004]}: MsgIdList"


def test_unknown_gifts_are_adopted_if_that_is_chosen() -> None:
    """A check makes its gifts known, once; they are consumed in their time."""
    truth = Truth()
    contract = Contract(apps={APP_ID: SECRET}, adopt_unknown=True)
    body = check_body(*[f"m{number}" for number in range(50)])
    assert ask(body=body, truth=truth, contract=contract)["Data"]["Results"] == []
    later_ms = NOW_MS + 60_000
    answer = ask(target(later_ms), body, truth=truth, contract=contract, now_ms=later_ms)
    assert truth.count == 50
    assert 40 <= len(answer["Data"]["Results"]) <= 50
