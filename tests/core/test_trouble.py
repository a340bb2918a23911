"""One bad id, one broken game, a limit that nobody told of: what is hit, and what is not."""

import itertools

from consumer.core.messages import Fault, ReportFault
from consumer.core.model import CheckRules, Status
from tests.core.vendor import Platform, consumed_after

IMPATIENT = CheckRules(give_up_after_ms=120_000)


def rooms(count: int, game: str = "game", name: str = "room") -> list[tuple[str, str]]:
    """So many rooms of one game."""
    return [(f"{name}-{n}", game) for n in range(count)]


def test_an_undeclared_maximum_is_found_within_a_minute_and_no_gift_suffers() -> None:
    """37 ids; three rooms in which a hundred gifts and more wait at once."""
    platform = Platform()
    platform.vendor.ids_max = 37
    platform.send(rooms(3), 900)
    platform.send(rooms(3), 3_000, every_ms=20)
    harness = platform.harness
    assert 37 >= harness.scheduler.status(harness.now_ms).batch_size_max >= 10
    harness.run(40_000)
    assert (3_900, []) == (len(platform.results()), platform.wrong())


def test_the_maximum_grows_back_at_the_cost_of_one_check_a_minute() -> None:
    """A tenth a minute, tried by one check; what is refused then is split and lost by nobody."""
    platform = Platform()
    platform.vendor.ids_max = 14
    learned, refused = [], []
    for _ in range(8):
        began = len(platform.vendor.checks)
        for _ in range(20):
            platform.send(rooms(2), 40)
            platform.harness.run(3_000)
        learned.append(platform.harness.scheduler.status(0).batch_size_max)
        checks = platform.vendor.checks[began:]
        refused.append(sum(len(check.msg_ids) > 14 for _, check in checks))
    assert sorted(learned) == learned
    assert learned[-1] == 14
    assert max(refused[1:]) == 1
    platform.harness.run(40_000)
    assert (platform.count, []) == (len(platform.results()), platform.wrong())


def test_a_poisoned_id_in_a_busy_room_is_alone_unverified_within_seconds() -> None:
    """With the vendor's words; its neighbours have their verdicts as if it were not there."""
    platform = Platform()
    platform.vendor.poisoned = {"m317"}
    platform.send(rooms(2), 1_000, every_ms=5)
    platform.harness.run(40_000)
    [bad] = [r for r in platform.results() if r.status is Status.UNVERIFIED]
    assert ("m317", "Code 2: refused") == (bad.sent.msg_id, bad.reason)
    assert bad.decided_at - bad.sent.sent_at <= 3_000
    assert (1_000, []) == (len(platform.results()), platform.wrong())
    late = [
        r.decided_at - r.sent.sent_at
        for r in platform.results()
        if r.status is Status.SUCCEEDED and r.sent.sent_at <= bad.decided_at
    ]
    assert max(late) <= 4_500


def test_a_poisoned_id_in_a_quiet_game_waits_for_a_success_elsewhere() -> None:
    """Nothing proves that it is not the game; the next gift's answer does."""
    platform = Platform()
    platform.vendor.poisoned = {"m0"}
    platform.send(rooms(1), 1)
    platform.harness.run(60_000)
    assert platform.results() == []
    assert len(platform.vendor.checks) <= 6
    platform.send([("elsewhere", "game")], 1)
    platform.harness.run(3_000)
    assert {"m0": Status.UNVERIFIED, "m1": Status.SUCCEEDED} == {
        r.sent.msg_id: r.status for r in platform.results()
    }


def test_broken_games_cost_few_requests_and_hit_nobody_else() -> None:
    """One answers 2 to everything, one 7202001: given up when it is time, after being asked."""
    platform = Platform(IMPATIENT)
    platform.vendor.codes = {"two": 2, "gone": 7_202_001}
    traffic = [*rooms(8), *rooms(8, "two"), *rooms(8, "gone")]
    platform.send(traffic, 2_400, every_ms=40)
    harness = platform.harness
    healthy = platform.results()
    assert {"game"} == {r.sent.mini_game_id for r in healthy}
    assert all(r.decided_at - r.sent.sent_at <= 32_000 for r in healthy)
    assert platform.vendor.asked("two") <= 60
    assert platform.vendor.asked("gone") <= 30
    harness.run(180_000)
    broken = [r for r in platform.results() if r.sent.mini_game_id != "game"]
    assert {Status.UNVERIFIED} == {r.status for r in broken}
    assert all(120_000 <= r.decided_at - r.sent.sent_at <= 160_000 for r in broken)
    assert {"gave up: Code 2: refused", "gave up: Code 7202001: refused"} == {
        r.reason for r in broken
    }
    assert 2_400 == len(platform.results())
    asked = {msg_id for _, check in platform.vendor.checks for msg_id in check.msg_ids}
    assert 2_400 == len(asked)
    status = harness.scheduler.status(harness.now_ms)
    assert (0, 0) == (status.scopes_in_trouble, status.windows)


def test_two_to_every_check_of_every_game_gives_up_nobody_and_passes() -> None:
    """A vendor's change: asked seldom while it lasts, and everybody right when it ends."""
    platform = Platform()
    games = [f"game-{n}" for n in range(5)]
    traffic = [room for n in range(10) for game in games for room in [(f"{game}-{n}", game)]]
    platform.send(traffic, 1_000, every_ms=10)
    platform.vendor.codes = dict.fromkeys(games, 2)
    began_ms, decided = platform.harness.now_ms, len(platform.results())
    platform.send(traffic, 6_000, every_ms=100)
    assert len(platform.results()) <= decided + 60
    for game in games:
        assert platform.vendor.asked(game, began_ms + 60_000) <= 40
        assert platform.vendor.asked(game, began_ms) <= 150
    platform.vendor.codes = {}
    platform.harness.run(125_000)
    assert (7_000, []) == (len(platform.results()), platform.wrong())
    assert len(platform.harness.scheduler._dispatcher.splits) == 0


def test_an_outage_opens_the_breaker_and_an_answer_closes_it() -> None:
    """While it is open one probe at a time goes out, at most 1 + 8 s (and the time-out) apart."""
    platform = Platform()
    platform.send(rooms(40), 400, every_ms=10)
    platform.vendor.down = True
    down_ms = platform.harness.now_ms
    platform.send(rooms(40), 600, every_ms=100)
    status = platform.harness.scheduler.status(platform.harness.now_ms)
    assert status.faults["host_down"] is not None
    probes = [at for at, _ in platform.vendor.checks if at >= down_ms + 10_000]
    assert len(probes) <= 10
    assert all(b - a >= 3_000 for a, b in itertools.pairwise(probes))
    platform.vendor.down = False
    platform.harness.run(12_000)
    told = [action for action in platform.harness.told if isinstance(action, ReportFault)]
    assert [True, False] == [fault.detail is not None for fault in told]
    assert {Fault.HOST_DOWN} == {fault.fault for fault in told}
    platform.harness.run(60_000)
    assert (1_000, []) == (len(platform.results()), platform.wrong())


def test_twenty_hanging_rooms_never_open_the_breaker_beside_healthy_ones() -> None:
    """Nor do they slow them down."""
    platform = Platform()
    hanging = rooms(20, name="hanging")
    platform.vendor.hanging = {room for room, _ in hanging}
    platform.send([*hanging, *rooms(20)], 2_000, every_ms=50)
    assert [] == [a for a in platform.harness.told if isinstance(a, ReportFault)]
    healthy = [r for r in platform.results() if r.status is Status.SUCCEEDED]
    assert max(r.decided_at - r.sent.sent_at for r in healthy) <= 3_500


def delay_p95_ms(*, troubled: bool) -> int:
    """The healthy rooms' delay, with all kinds of trouble beside them or without; all are right."""
    platform = Platform()
    healthy = rooms(40, name="healthy")
    traffic = list(healthy)
    if troubled:
        hanging = rooms(20, name="hanging")
        traffic += [*hanging, *rooms(5, "two", "t"), *rooms(5, "gone", "g")]
        platform.vendor.hanging = {room for room, _ in hanging}
        platform.vendor.codes = {"two": 2, "gone": 7_202_001}
        platform.vendor.poisoned = {"m710"}  # a healthy room's
    platform.send(traffic, len(traffic) * 25, every_ms=600 // len(traffic))
    platform.harness.run(35_000)
    assert platform.wrong() == []
    results = [r for r in platform.results() if r.sent.room_id.startswith("healthy")]
    assert len(results) == len(healthy) * 25
    delays = sorted(
        r.decided_at - r.sent.sent_at - after_ms
        for r in results
        if (after_ms := consumed_after(r.sent.msg_id)) is not None and r.status is Status.SUCCEEDED
    )
    return delays[len(delays) * 95 // 100]


def test_all_kinds_of_trouble_at_once_do_not_slow_the_healthy_rooms_down() -> None:
    """Hanging rooms, a game that is gone, one that is refused, and a poisoned id."""
    assert delay_p95_ms(troubled=True) <= 1.5 * delay_p95_ms(troubled=False)
