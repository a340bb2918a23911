"""The contract of the simulated check API: the same tests in process and over HTTP.

The vendor's contract code by code (zego-api.md), the limit to the microsecond, and the faults; so
that what a deterministic simulation is told is what the client would have been told.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from consumer.core.model import Entry
from consumer.simulator import Fate, Fault, Gift, Kind, SimulatorSettings
from consumer.simulator.codes import MESSAGES
from consumer.simulator.exchange import Reply, Silence
from tests.contract.check_api_subjects import (
    CHECK,
    PATIENCE_MS,
    SETTINGS,
    Subject,
    in_process,
    over_http,
)
from tests.simulator.vendor import APP_ID, NOW_MS, check_body, sent_gift, target

SEND = "SendDanmakuGifts"
DAY_MS = 86_400_000
Begin = Callable[[SimulatorSettings], AbstractAsyncContextManager[Subject]]
SUBJECTS: dict[str, Begin] = {"in process": in_process, "over HTTP": over_http}


@pytest.fixture(params=SUBJECTS)
def begin(request: pytest.FixtureRequest) -> Begin:
    """Begins the API, by one way or the other."""
    return SUBJECTS[request.param]


@pytest.fixture
async def api(begin: Begin) -> AsyncIterator[Subject]:
    """The API with one app and one game."""
    async with begin(SETTINGS) as subject:
        yield subject


def consume(
    api: Subject, msg_id: str, timestamp_ms: int, *, result: int = 0, sent_ms: int = NOW_MS
) -> None:
    """A gift was sent and consumed at once."""
    gift = Gift(APP_ID, "room", "game", msg_id, timestamp_ms)
    api.simulator.truth.send(gift, sent_ms, fate=Fate(sent_ms, sent_ms, result))


# --- what a check is told -----------------------------------------------------------------------


async def test_a_consumed_gift_is_in_the_results_with_its_timestamp(api: Subject) -> None:
    """The entry has Result, Msg, MsgId and the Timestamp it was sent with; an id is told once."""
    consume(api, "m1", 77)
    consume(api, "m2", 78, result=10003)
    expected = [
        {"Result": 0, "Msg": "success", "MsgId": "m1", "Timestamp": 77},
        {"Result": 10003, "Msg": "delivery failed", "MsgId": "m2", "Timestamp": 78},
    ]
    document = await api.ask(body=check_body("m1", "m2", "m1"))
    assert expected == document["Data"]["Results"]
    assert (document["Message"], document["RequestId"]) == ("succeed", "sim-0")
    answer = await api.check()
    assert answer is not None
    assert (0, "sim-1", True) == (answer.code, answer.request_id, answer.complete)
    entries = (Entry("m1", 0, "success", 77), Entry("m2", 10003, "delivery failed", 78))
    assert entries == answer.entries


async def test_a_gift_that_is_not_consumed_is_absent(api: Subject) -> None:
    """Pending, never consumed and unknown gifts look alike: there is no entry."""
    truth = api.simulator.truth
    truth.send(Gift(APP_ID, "room", "game", "m1", 77), NOW_MS, fate=Fate(NOW_MS, NOW_MS + 1, 0))
    truth.send(Gift(APP_ID, "room", "game", "m2", 77), NOW_MS, fate=Fate(NOW_MS, None, 0))
    assert {"Results": []} == (await api.ask(body=check_body("m1", "m2", "m3")))["Data"]
    answer = await api.check()
    assert answer is not None
    assert ((), True) == (answer.entries, answer.complete)
    api.time.wall_us += 1_000
    answer = await api.check()
    assert answer is not None
    assert ["m1"] == [entry.msg_id for entry in answer.entries]


async def test_a_gift_is_another_in_another_app_room_or_game(api: Subject) -> None:
    """The check's own app, room and game, and no other."""
    consume(api, "m1", 77)
    found = []
    for check in (CHECK, replace(CHECK, room_id="other"), replace(CHECK, room_id="Room")):
        answer = await api.check(check)
        assert answer is not None
        found.append(len(answer.entries))
    assert [1, 0, 0] == found


async def test_the_look_back_is_thirty_days_or_the_duration(api: Subject) -> None:
    """An older gift is found only if a longer Duration is asked for, up to ninety days."""
    consume(api, "m1", 77, sent_ms=NOW_MS - 40 * DAY_MS)
    consume(api, "m2", 77, sent_ms=NOW_MS - 30 * DAY_MS)
    told = {}
    for days in (None, 39, 40, 90, 91):
        answer = await api.check(replace(CHECK, duration_days=days))
        assert answer is not None
        told[days] = answer.code, [entry.msg_id for entry in answer.entries]
    assert told == {
        None: (0, ["m2"]),
        39: (0, ["m2"]),
        40: (0, ["m1", "m2"]),
        90: (0, ["m1", "m2"]),
        91: (7200004, []),
    }


async def test_unknown_gifts_are_adopted_if_that_is_chosen(begin: Begin) -> None:
    """A check makes its gifts known, once; they are consumed in their time."""
    async with begin(replace(SETTINGS, adopt_unknown=True)) as api:
        body = check_body(*[f"m{number}" for number in range(50)])
        assert [] == (await api.ask(body=body))["Data"]["Results"]
        api.time.wall_us += 60_000_000
        document = await api.ask(target(api.time.wall_ms()), body)
        assert 50 == api.simulator.truth.count
        assert 40 <= len(document["Data"]["Results"]) <= 50


# --- who may ask, and how -----------------------------------------------------------------------


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
async def test_wrong_common_parameters_have_a_code_each(
    api: Subject, changed: dict[str, Any], code: int
) -> None:
    """What is wrong in the query is told by its own code."""
    assert code == (await api.ask(target(**changed)))["Code"]


async def test_a_check_is_signed_with_the_secret_of_its_app_and_the_time(api: Subject) -> None:
    """Another secret, another app or a clock more than ten minutes off are refused."""
    api.time.wall_us += 999_000  # whole seconds are signed, rounded down on both sides
    codes = []
    for check, secret in ((CHECK, {}), (CHECK, {"secret": "x"}), (replace(CHECK, app_id=8), {})):
        answer = await api.check(check, **secret)
        assert answer is not None
        codes.append(answer.code)
    for offset_ms in (-601_000, -600_000, 600_000, 601_000):
        api.simulator.clock_offset_ms = offset_ms
        answer = await api.check()
        assert answer is not None
        codes.append(answer.code)
    assert [0, 100000005, 100000011, 100000004, 0, 0, 100000004] == codes


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
async def test_wrong_bodies_of_a_check_have_their_codes(
    api: Subject, body: bytes, code: int
) -> None:
    """What is wrong in the body is told by the code for its kind of mistake."""
    assert code == (await api.ask(body=body))["Code"]


async def test_hosts_methods_and_services_are_tested_where_they_are_configured(
    begin: Begin,
) -> None:
    """A wrong Host, another method and an app without the service are refused."""
    settings = replace(SETTINGS, hosts=frozenset({"api"}), apps_not_activated=frozenset({APP_ID}))
    async with begin(settings) as api:
        assert 100000000 == (await api.ask(host="other"))["Code"]
        assert 100000007 == (await api.ask(method="GET"))["Code"]
        assert 7202003 == (await api.ask())["Code"]


async def test_the_query_may_be_percent_encoded(api: Subject) -> None:
    """Signs that are encoded in the target are what they stand for."""
    encoded = target().replace(b"Signature", b"%53ignature").replace(b"2.0", b"2%2E0")
    assert 0 == (await api.ask(encoded))["Code"]


async def test_a_refusal_has_no_data_and_names_its_code(api: Subject) -> None:
    """The message is the one of the vendor's table."""
    document = await api.ask(body=check_body("m 1"))
    assert document["Data"] is None
    assert f"{MESSAGES[7200004]}: MsgIdList" == document["Message"]
    answer = await api.check(replace(CHECK, msg_ids=("m 1",)))
    assert answer is not None
    assert (7200004, f"{MESSAGES[7200004]}: MsgIdList") == (answer.code, answer.message)


# --- sending gifts ------------------------------------------------------------------------------


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
async def test_wrong_gifts_have_their_codes(api: Subject, gifts: Any, code: int) -> None:
    """SendDanmakuGifts wants everything that its page calls required, and takes nothing else."""
    body = check_body(MsgIdList=None, GiftList=gifts)
    assert code == (await api.ask(target(Action=SEND), body))["Code"]
    assert (1 if code == 0 else 0) == api.simulator.truth.count


async def test_a_gift_sent_twice_within_24_hours_gets_the_result_of_the_first(
    api: Subject,
) -> None:
    """The second answer speaks of the first gift's Timestamp, and nothing is given twice."""
    first, second = [
        await api.ask(
            target(Action=SEND),
            check_body(MsgIdList=None, GiftList=[sent_gift(timestamp_ms=timestamp_ms)]),
        )
        for timestamp_ms in (NOW_MS, NOW_MS + 1)
    ]
    expected = [{"Result": 0, "Msg": "success", "MsgId": "m1", "Timestamp": NOW_MS}]
    assert expected == first["Data"]["Results"] == second["Data"]["Results"]
    assert 1 == api.simulator.truth.count


# --- the limit ----------------------------------------------------------------------------------


async def codes_of(api: Subject, count: int, *, room: str = "room") -> list[int]:
    """The codes of so many checks that arrive in the same microsecond."""
    answers = [await api.check(replace(CHECK, room_id=room)) for _ in range(count)]
    return [answer.code for answer in answers if answer is not None]


async def test_twenty_requests_fit_a_half_open_second_and_not_twenty_one(api: Subject) -> None:
    """Counted where they arrive: a second later is another second, a microsecond less is not."""
    assert [0] * 20 == await codes_of(api, 20)
    api.time.wall_us += 999_999
    assert [7] == await codes_of(api, 1)
    api.time.wall_us += 1
    assert [0] * 19 + [7] == await codes_of(api, 20)
    assert 21 == api.simulator.arrivals.room_requests_per_second_max()


async def test_a_refused_request_counts_too(api: Subject) -> None:
    """Whoever goes on asking stays refused, and who stops for a second is served."""
    assert [0] * 20 + [7] * 20 == await codes_of(api, 40)
    api.time.wall_us += 999_999
    assert [7] == await codes_of(api, 1)
    api.time.wall_us += 1_000_000
    assert [0] == await codes_of(api, 1)


async def test_rooms_and_actions_have_limits_of_their_own(api: Subject) -> None:
    """What one room uses up is no other's; sends are counted apart from checks."""
    assert [0] * 20 == await codes_of(api, 20)
    assert [0] * 20 == await codes_of(api, 20, room="other")
    sending = check_body(MsgIdList=None, GiftList=[sent_gift()])
    assert 0 == (await api.ask(target(Action=SEND), sending))["Code"]
    assert [7] == await codes_of(api, 1)


async def test_the_limit_is_told_to_who_may_ask_at_all(api: Subject) -> None:
    """Over the limit is Code 7, before the body is looked at and after the signature is."""
    await codes_of(api, 20)
    wrong = check_body("m1", MiniGameId="other")
    assert 7 == (await api.ask(body=wrong))["Code"]
    assert 100000005 == (await api.ask(target(Signature="0")))["Code"]


# --- faults -------------------------------------------------------------------------------------


async def test_a_forced_code_comes_only_if_nothing_else_is_wrong(api: Subject) -> None:
    """A fault's code stands behind the contract's own, for both actions."""
    sending = check_body(MsgIdList=None, GiftList=[sent_gift()])
    with api.simulator.faults.holding(Fault(kind=Kind.CODE, code=7210000)):
        answer = await api.check()
        assert answer is not None
        assert (7210000, MESSAGES[7210000], ()) == (answer.code, answer.message, answer.entries)
        assert 7210000 == (await api.ask(target(Action=SEND), sending))["Code"]
        assert 100000005 == (await api.ask(target(Signature="0")))["Code"]
        assert 7200004 == (await api.ask(body=check_body("m 1")))["Code"]
    assert 0 == api.simulator.truth.count
    with api.simulator.faults.holding(Fault(kind=Kind.CODE, code=999)):
        assert "unknown" == (await api.ask())["Message"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind=Kind.STATUS),
        Fault(kind=Kind.STATUS, status=200),
        Fault(kind=Kind.STATUS, status=599),
        Fault(kind=Kind.STATUS, status=429, retry_after="7"),
    ],
)
async def test_a_gateway_s_page_is_no_answer_of_the_vendor_s(api: Subject, fault: Fault) -> None:
    """It is HTML, whatever its status, and the request has arrived."""
    with api.simulator.faults.holding(fault):
        reply = await api.post(target(), check_body("m1"))
        assert await api.check() is None
    assert isinstance(reply, Reply)
    expected = fault.status, "text/html", fault.retry_after
    assert expected == (reply.status, reply.content_type, reply.retry_after)
    assert [None, None] == [arrival.code for arrival in api.simulator.arrivals]


@pytest.mark.parametrize(
    ("kind", "silence"), [(Kind.RESET, Silence.RESET), (Kind.HANG, Silence.HANG)]
)
async def test_silence_comes_after_the_arrival(api: Subject, kind: Kind, silence: Silence) -> None:
    """The request is counted and recorded, only an answer never comes; then all is well again."""
    api.patience_ms = 500
    with api.simulator.faults.holding(Fault(kind=kind)):
        assert silence is await api.post(target(), check_body("m1"))
        assert await api.check() is None
    assert [None, None] == [arrival.code for arrival in api.simulator.arrivals]
    api.patience_ms = PATIENCE_MS
    assert [0] * 18 + [7] == await codes_of(api, 19)


async def test_a_fault_strikes_whom_it_selects(api: Subject) -> None:
    """By one of the ids asked for, by their number, by room."""
    api.simulator.faults.replace(
        Fault(kind=Kind.CODE, code=2, msg_id="m2"),
        Fault(kind=Kind.CODE, code=1, ids_above=2),
        Fault(kind=Kind.RESET, room_id="other"),
    )
    checks = (
        CHECK,
        replace(CHECK, msg_ids=("m1",)),
        replace(CHECK, msg_ids=("m1", "m3", "m4")),
        replace(CHECK, room_id="other", msg_ids=("m1",)),
    )
    answers = [await api.check(check) for check in checks]
    assert [2, 0, 1, None] == [answer and answer.code for answer in answers]
