"""Local trouble stays local (promise P5): five kinds of it at once, beside healthy rooms.

Rooms whose requests hang, a game that is not there, a game whose every check is called bad, an
app with a wrong secret, and one id that poisons the checks of a busy room.
"""

from collections import defaultdict
from dataclasses import replace
from functools import partial

import pytest

from consumer.adapters.avro import decode_result
from consumer.core.model import GiftResult, GiftSent, Status
from consumer.demo.load import planned_gifts
from consumer.demo.percentiles import Percentiles
from consumer.simulator import Fault, Kind
from tests.integration.fleet import APP_ID, SECRET, Fleet, Scene, fleet
from tests.kafka.topics import committed_values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

HEALTHY_ROOMS = 200
HANGING = range(200, 220)
WITHOUT_GAME = range(220, 225)
CALLED_BAD = range(225, 230)
WRONG_SECRET = range(230, 235)
BUSY_ROOMS = 235
ROOMS = 236
RATE = 1.5 * ROOMS
"""300 gifts a second in the healthy rooms."""

BUSY = 0
"""This healthy room gets, on top of its own, the gifts of room `BUSY_ROOMS`."""

WRONG_APP = 999
BAD = 2
NO_GAME = 7_202_001
TIMEOUT_MS = 4_000
GIVE_UP_MS = 8_000
GIVE_UP_LATE_MS = 14_000
"""Who is given up when a check ends: one is sent within 10 s, and hangs for 3 s."""


def number_of(sent: GiftSent) -> int:
    """The number of a room."""
    return int(sent.room_id.removeprefix("room-"))


def kind_of(sent: GiftSent) -> str:
    """Which trouble a gift is in, by its room; healthy for most."""
    number = number_of(sent)
    kinds = {
        "hanging": HANGING,
        "without game": WITHOUT_GAME,
        "called bad": CALLED_BAD,
        "wrong secret": WRONG_SECRET,
    }
    return next((kind for kind, rooms in kinds.items() if number in rooms), "healthy")


def in_trouble(sent: GiftSent, *, since: list[bool]) -> GiftSent:
    """The gift as it is sent: each trouble has rooms, a game or an app of its own."""
    number = number_of(sent)
    if number == BUSY_ROOMS:
        return sent._replace(room_id=f"room-{BUSY:04}", mini_game_id="game-0")
    match kind_of(sent):
        case "without game" | "called bad" as kind:
            return sent._replace(mini_game_id=kind)
        case "wrong secret" if since:
            return sent._replace(app_id=WRONG_APP)
    return sent


REASONS = {
    "hanging": "no answer within",
    "without game": f"Code {NO_GAME}",
    "called bad": f"Code {BAD}",
    "wrong secret": "Code 100000005",
}


def results_by_kind(scene: Scene, poisoned: str) -> dict[str, list[GiftResult]]:
    """All published results, by the trouble their gifts were in."""
    found: dict[str, list[GiftResult]] = defaultdict(list)
    for value in committed_values(scene.bootstrap_servers, scene.topics.gift_result):
        assert value is not None
        result = decode_result(value)
        kind = "poisoned" if result.sent.msg_id == poisoned else kind_of(result.sent)
        found[kind].append(result)
    return found


def poisoned_id(seed: int, after_us: int) -> str:
    """The first gift that the busy room gets after a while."""
    plan = planned_gifts(app_id=APP_ID, rate=RATE, rooms=ROOMS, seed=seed)
    return next(
        planned.sent.msg_id
        for planned in plan
        if planned.offset_us > after_us and number_of(planned.sent) in {BUSY, BUSY_ROOMS}
    )


async def test_five_troubles_at_once_are_only_their_own(scene: Scene) -> None:
    """Healthy rooms are as prompt as before, the troubled say what is wrong when it is time."""
    since: list[bool] = []
    scene = replace(
        scene,
        members=1,
        rate=RATE,
        rooms=ROOMS,
        timeout_ms=TIMEOUT_MS,
        check={"give_up_after": f"{GIVE_UP_MS}ms"},
        settings={
            "apps": [
                {"app_id": APP_ID, "server_secret": SECRET},
                {"app_id": WRONG_APP, "server_secret": "not-the-right-one"},
            ]
        },
        apps={APP_ID: SECRET, WRONG_APP: "the-right-one"},
        adapt=partial(in_trouble, since=since),
    )
    poisoned = poisoned_id(scene.seed, after_us=9_000_000)
    async with fleet(scene) as run:
        await run.send_gifts(duration_ms=2_000)  # until it has joined, and a little more
        await run.settle(within_s=30)
        joined = len(run.ledger.delay_ms)
        await run.send_gifts(duration_ms=6_000)
        await run.settle(within_s=30)
        before = len(run.ledger.delay_ms)
        since.append(True)
        with run.simulator.faults.holding(
            *(Fault(kind=Kind.HANG, room_id=f"room-{number:04}") for number in HANGING),
            Fault(kind=Kind.CODE, code=NO_GAME, mini_game_id="without game"),
            Fault(kind=Kind.CODE, code=BAD, mini_game_id="called bad"),
            Fault(kind=Kind.CODE, code=BAD, msg_id=poisoned),
        ):
            await run.send_gifts(duration_ms=12_000)
            await run.settle(within_s=60)
        assert_local(run, joined, before)

    found = results_by_kind(scene, poisoned)
    assert [Status.UNVERIFIED] == [result.status for result in found["poisoned"]]
    assert f"Code {BAD}" in str(found["poisoned"][0].reason)
    assert {Status.UNVERIFIED} == statuses_since_the_trouble(found, "wrong secret")
    assert Status.UNVERIFIED not in {result.status for result in found["healthy"]}
    for kind, reason in REASONS.items():
        given_up = [one for one in found[kind] if one.status is Status.UNVERIFIED]
        assert given_up, kind
        for result in given_up:
            assert reason in str(result.reason), result
            late_ms = result.decided_at - result.sent.sent_at - GIVE_UP_MS
            assert 0 <= late_ms <= GIVE_UP_LATE_MS, (kind, late_ms)


def statuses_since_the_trouble(found: dict[str, list[GiftResult]], kind: str) -> set[Status]:
    """The statuses of this kind's results for the app with the wrong secret."""
    return {result.status for result in found[kind] if result.sent.app_id == WRONG_APP}


def assert_local(run: Fleet, joined: int, before: int) -> None:
    """Nothing lost, nothing twice, nothing false; the healthy as prompt as before."""
    ledger = run.ledger
    print(run.report())
    healthy = Percentiles.of(ledger.delay_ms[joined:before])
    beside = Percentiles.of(ledger.delay_ms[before:])
    print(f"healthy alone {healthy}, beside trouble {beside}")
    assert (0, 0) == (ledger.missing, ledger.duplicates)
    # An UNVERIFIED counts as false there, and is judged in its own right here.
    assert ledger.results[Status.UNVERIFIED] == ledger.false_verdicts
    assert run.requests_per_second_max() <= 20
    assert healthy.p95 is not None
    assert beside.p95 is not None
    assert beside.p95 <= 1.5 * healthy.p95
