"""Checks that the vendor calls bad, step by step (design §7; the whole is in test_trouble)."""

import pytest

from consumer.core.messages import (
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    DrainStarted,
    PartitionRevoked,
)
from consumer.core.model import Answer, CheckRules, Status, Trouble
from tests.core.builders import WALL_MS, Ending, Harness, make_loss, make_record

LATE_MS = 2_000


def refused(count: int = 4, *, rules: CheckRules | None = None) -> Harness:
    """A check for so many gifts of a room was called bad, now."""
    harness = Harness(rules=rules or CheckRules())
    harness.assign()
    harness.read(*(make_record(n) for n in range(count)))
    harness.run(300)
    [(_, check)] = harness.sent
    assert len(check.msg_ids) == count
    harness.answer(check, code=2)
    return harness


def asked(harness: Harness) -> tuple[str, ...]:
    """The ids of the only check that goes out now."""
    return harness.only_check().msg_ids


def suspects(harness: Harness) -> int:
    """In how many windows there are any."""
    return len(harness.scheduler._dispatcher.splits)


def test_a_refused_check_is_asked_again_in_halves_one_after_the_other() -> None:
    """The room has one group in flight; its halves go before other groups."""
    harness = refused()
    assert asked(harness) == ("m0", "m1")
    harness.answer(harness.sent[-1][1], code=7_200_004)
    assert asked(harness) == ("m0",)
    harness.answer(harness.sent[-1][1])
    assert asked(harness) == ("m1",)


def test_a_request_too_large_for_a_gateway_is_split_as_well() -> None:
    """HTTP 413; the next half does not wait for a probe's turn."""
    harness = Harness()
    harness.assign()
    harness.read(*(make_record(n) for n in range(20)))
    harness.run(300)
    harness.handle(CheckLost(1, Trouble.BAD_REQUEST, "HTTP 413"))
    assert len(asked(harness)) == 10


def test_twins_of_one_id_stay_together() -> None:
    """The vendor is asked for ids; both are called poisoned where one is."""
    harness = Harness()
    harness.assign()
    harness.read(make_record(0), make_record(1, msg_id="m0", sent_at=WALL_MS - 5), make_record(2))
    harness.run(300)
    harness.answer(harness.sent[0][1], code=2)
    assert asked(harness) == ("m0",)
    harness.answer(harness.sent[-1][1], code=2)
    assert asked(harness) == ("m2",)
    harness.answer(harness.sent[-1][1])
    assert asked(harness) == ("m0",)
    harness.answer(harness.sent[-1][1], code=2)
    harness.commit()
    assert [r.status for r in harness.results] == [Status.UNVERIFIED] * 2


def test_gifts_that_arrive_meanwhile_do_not_join_the_suspects() -> None:
    """Nor do they wait for them."""
    harness = refused()
    assert asked(harness) == ("m0", "m1")
    harness.read(make_record(9, sent_at=WALL_MS - 60_000))
    harness.run(200)
    assert harness.sent[-1][1].msg_ids == ("m9",)


@pytest.mark.parametrize(
    "ending",
    [
        make_loss,
        lambda check: make_loss(check, stale_connection=True),
        lambda check: CheckAnswered(check.check_id, Answer(1, "busy")),
        lambda check: CheckAnswered(check.check_id, Answer(7, "too many")),
        lambda check: CheckNotWritten(check.check_id, "connection refused"),
    ],
)
def test_a_group_whose_check_told_nothing_is_asked_again(ending: object) -> None:
    """As it was."""
    harness = refused()
    assert asked(harness) == ("m0", "m1")
    assert callable(ending)
    end: Ending = ending(harness.sent[-1][1])
    harness.handle(end)
    harness.run(LATE_MS)
    assert harness.sent[2][1].msg_ids == ("m0", "m1")


def test_a_lone_id_needs_a_success_of_its_game_and_a_second_refusal() -> None:
    """Half a second later; a success of another game proves nothing."""
    harness = refused(1)
    harness.read(make_record(1, room_id="b", game="another"))
    harness.run(300)
    harness.answer(harness.sent[-1][1])
    harness.run(1_000)
    assert [check.msg_ids for _, check in harness.sent[2:]] in ([], [("m1",)])
    harness.read(make_record(2, room_id="c"))
    harness.run(1_000)
    ours = [check for _, check in harness.sent if check.msg_ids == ("m2",)]
    harness.answer(ours[0])
    assert ("m0",) in [check.msg_ids for check in harness.turn()]
    harness.answer(harness.sent[-1][1], code=2)
    harness.commit()
    assert [("m0", Status.UNVERIFIED)] == [(r.sent.msg_id, r.status) for r in harness.results]


def test_a_success_of_long_ago_proves_nothing() -> None:
    """It is older than a minute: the id goes on waiting."""
    harness = refused(2, rules=CheckRules(timeout_ms=10**6))
    assert asked(harness) == ("m0",)
    harness.answer(harness.sent[-1][1], code=2)
    assert asked(harness) == ("m1",)
    harness.handle(DrainStarted(frozenset({1})))
    harness.answer(harness.sent[-1][1])
    assert asked(harness) == ("m0",)
    harness.now_ms += 61_000
    harness.answer(harness.sent[-1][1], code=2)
    harness.commit()
    assert (harness.results, suspects(harness)) == ([], 1)


def test_suspects_are_given_up_when_it_is_time() -> None:
    """Whole groups, and what is left of them."""
    harness = Harness(rules=CheckRules(give_up_after_ms=35_000))
    harness.assign()
    harness.read(*(make_record(n) for n in range(4)))
    harness.run(300)
    harness.answer(harness.sent[0][1], code=2)
    [first] = harness.turn()
    harness.now_ms += 40_000
    harness.handle(make_loss(first))
    harness.run(10)
    assert {"m0", "m1"} == {r.sent.msg_id for r in harness.results}
    assert suspects(harness) == 1
    harness.run(3_000)
    harness.answer(harness.sent[-1][1], code=2)
    harness.run(10)
    assert [Status.UNVERIFIED] * 4 == [r.status for r in harness.results]
    assert suspects(harness) == 0


@pytest.mark.parametrize("in_flight", [True, False])
def test_with_their_partition_suspects_are_gone(*, in_flight: bool) -> None:
    """Also those in flight, whose check ends later; nothing is kept."""
    harness = refused()
    checks = harness.turn() if in_flight else []
    harness.handle(PartitionRevoked(0, 1))
    for check in checks:
        harness.answer(check, code=2)
    assert suspects(harness) == 0
    assert harness.turn() == []
    assert harness.scheduler.status(harness.now_ms).requests_in_flight == 0


def test_a_draining_partition_asks_about_no_suspects() -> None:
    """They are as pending as the others: the successor asks."""
    harness = refused()
    harness.handle(DrainStarted(frozenset({0})))
    harness.run(LATE_MS)
    assert len(harness.sent) == 1


def test_of_several_rooms_one_splits_until_a_success_is_seen() -> None:
    """Then the others follow at once: a vendor who refuses everything is not asked 2n times."""
    harness = Harness()
    harness.assign()
    harness.read(*(make_record(n, room_id=f"room-{n % 3}") for n in range(12)))
    harness.run(300)
    checks = [check for _, check in harness.sent]
    for check in checks:
        harness.answer(check, code=2)
    assert len(harness.turn()) == 1
    harness.answer(harness.sent[-1][1])
    assert len(harness.turn()) == 3


def test_while_a_game_is_refused_nothing_of_it_is_split() -> None:
    """A large check of gifts whose time has come, or a group left over, is refused as a whole."""
    harness = Harness(rules=CheckRules(give_up_after_ms=35_000))
    harness.assign()
    harness.read(*(make_record(n, room_id="a") for n in range(8)))
    harness.api = lambda check, _: (10, CheckAnswered(check.check_id, Answer(2, "no")))
    harness.run(2_000)
    assert harness.scheduler.status(0).troubles == ("(7, 'game'): bad_request: Code 2: no",)
    harness.read(*(make_record(n, room_id="b", sent_at=harness.wall_ms) for n in range(8, 16)))
    harness.run(60_000)
    sizes = [len(check.msg_ids) for _, check in harness.sent if check.room_id == "b"]
    assert max(sizes) >= 7
    assert sizes.count(8) + sizes.count(7) + sizes.count(6) == 1
    assert len(harness.results) == 16
