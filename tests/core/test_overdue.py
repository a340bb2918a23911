"""Which gifts are overdue, which windows fail alone, and who is given up in which order (P3, P5)."""

import pytest

from consumer.core.gift import Gift
from consumer.core.lease import Lease
from consumer.core.model import CheckRules, Status
from consumer.core.overdue import LATELY_MS, OverdueGifts
from consumer.core.window import Window
from tests.core.builders import (
    NOW_MS,
    WALL_MS,
    Harness,
    make_entry,
    make_gift,
    make_loss,
    make_record,
    make_window_key,
)

PROOF_MS = NOW_MS + 31_000


def make_window(*gifts: Gift, partition: int = 0) -> Window:
    """A window whose gifts have been asked about."""
    window = Window(make_window_key(partition=partition), Lease(opens_ms=NOW_MS))
    for gift in gifts:
        gift.asked = True
        window.add(gift, NOW_MS)
    return window


def fail(
    overdue: OverdueGifts,
    window: Window,
    now_ms: int,
    *,
    told_ms: int = -1,
    paused_ms: int | None = None,
) -> None:
    """A check for all of a window's gifts, sent 100 ms ago, has failed."""
    overdue.failed(
        window,
        tuple(window),
        sent_ms=now_ms - 100,
        told_ms=told_ms,
        paused_ms=paused_ms,
        now_ms=now_ms,
    )


def test_a_gift_that_failed_is_overdue_from_deadline_and_settle_on() -> None:
    """Not before, once however often it fails, and no longer once it is decided."""
    overdue, gift = OverdueGifts(), make_gift()
    window = make_window(gift)
    counts = []
    for now_ms in (NOW_MS + 200, NOW_MS + 900, PROOF_MS - 1, PROOF_MS, PROOF_MS + 5):
        fail(overdue, window, now_ms)
        overdue.advance(now_ms)
        counts.append((overdue.count, overdue.count_of(0)))
    overdue.decided(gift, window)
    assert [(0, 0), (0, 0), (0, 0), (1, 1), (1, 1)] == counts
    assert (0, 0) == (overdue.count, overdue.count_of(0))


def test_a_gift_never_asked_about_is_not_given_up() -> None:
    """Promise P3, whatever presses: no check that held it was written."""
    overdue, gift = OverdueGifts(), make_gift()
    window = make_window(gift)
    gift.asked = False
    fail(overdue, window, PROOF_MS)
    fail(overdue, window, PROOF_MS + 900, told_ms=PROOF_MS + 500)
    assert (0, []) == (overdue.count, overdue.choose(0, None, 10))


def test_a_gift_whose_window_recovered_before_its_proof_is_not_overdue() -> None:
    """The next check decides it; if that fails, it is."""
    overdue, gift = OverdueGifts(), make_gift()
    window = make_window(gift)
    fail(overdue, window, NOW_MS + 200)
    overdue.told(window)
    overdue.advance(PROOF_MS)
    assert overdue.count == 0
    fail(overdue, window, PROOF_MS + 200)
    assert overdue.count == 1


@pytest.mark.parametrize(
    ("again_ms", "told_ms", "paused_ms", "alone"),
    [
        pytest.param(900, -1, None, False, id="nobody was ever answered"),
        pytest.param(900, NOW_MS - 1, None, False, id="another's had been sent before it failed"),
        pytest.param(900, NOW_MS, None, True, id="another's was sent afterwards, and answered"),
        pytest.param(100 + LATELY_MS, NOW_MS, None, True, id="lately"),
        pytest.param(101 + LATELY_MS, NOW_MS, None, False, id="but long ago"),
        pytest.param(60_000, NOW_MS, NOW_MS + LATELY_MS, True, id="nothing new is read since"),
    ],
)
def test_a_window_fails_alone_if_others_succeed_between_two_of_its_failures(
    again_ms: int, told_ms: int, paused_ms: int | None, *, alone: bool
) -> None:
    """So neither the beginning nor the end of a global outage marks anybody."""
    overdue = OverdueGifts()
    window = make_window(make_gift())
    fail(overdue, window, NOW_MS, told_ms=NOW_MS - 200)
    assert not window.fails_alone
    fail(overdue, window, NOW_MS + again_ms, told_ms=told_ms, paused_ms=paused_ms)
    assert alone == window.fails_alone


def test_the_lowest_offsets_of_a_partition_go_first_and_only_below_the_bound() -> None:
    """Whatever the order in which they became overdue; decided ones are passed over."""
    overdue = OverdueGifts()
    gifts = [make_gift(msg_id=f"m{offset}", offset=offset) for offset in (7, 3, 9, 1)]
    window = make_window(*gifts)
    fail(overdue, window, PROOF_MS)
    fail(overdue, window, PROOF_MS + 900, told_ms=PROOF_MS + 500)
    overdue.decided(gifts[1], window)
    assert [] == overdue.choose(1, None, 10)
    assert [(window, gifts[3]), (window, gifts[0])] == overdue.choose(0, 9, 10)
    assert [(window, gifts[2])] == overdue.choose(0, None, 10)
    assert overdue.count == 0


def test_a_partition_that_is_gone_takes_its_overdue_gifts_along() -> None:
    """Also those that are not overdue yet: their window is closed."""
    overdue = OverdueGifts()
    window, young = make_window(make_gift()), make_window(make_gift(now_ms=NOW_MS + 50))
    stays = make_window(make_gift(), partition=1)
    for each in (window, stays):
        fail(overdue, each, PROOF_MS)
    fail(overdue, young, NOW_MS + 100)
    overdue.forget(0)
    young.open = False
    overdue.advance(PROOF_MS + 100)
    assert (1, 0, 1) == (overdue.count, overdue.count_of(0), overdue.count_of(1))


def test_what_is_decided_does_not_pile_up_behind_a_gift_that_is_not() -> None:
    """Memory goes with the overdue, not with all that ever were."""
    overdue = OverdueGifts()
    gifts = [make_gift(msg_id=f"m{offset}", offset=offset) for offset in range(1_000)]
    window = make_window(*gifts)
    fail(overdue, window, PROOF_MS)
    for gift in gifts[1:]:
        overdue.decided(gift, window)
    assert overdue.count == 1
    assert len(overdue._heaps[0]) < 100


# --- through the whole core ---------------------------------------------------------------------


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "lost"])
def test_a_gift_in_flight_is_given_up_only_when_its_check_has_ended(*, answered: bool) -> None:
    """Its answer may still decide."""
    harness = Harness(rules=CheckRules(overdue_gifts_max=2))
    harness.assign()
    harness.read(make_record(0, room_id="a", sent_at=WALL_MS - 40_000))
    harness.run(100)
    harness.handle(make_loss(harness.sent[-1][1]))
    harness.read(make_record(1, room_id="b"))
    harness.run(500)
    harness.answer(harness.sent[-1][1], make_entry("m1"))  # others are answered
    harness.run(1_000)
    harness.handle(make_loss(harness.sent[-1][1]))
    harness.run(4_000)
    in_flight = harness.sent[-1][1]
    harness.read(make_record(2, room_id="c", sent_at=WALL_MS - 40_000))
    harness.run(100)
    harness.handle(make_loss(harness.sent[-1][1]))  # the second overdue gift: that is the limit
    assert (["b", "a"], ["m1"]) == (
        [check.room_id for _, check in harness.sent[1:3]],
        [result.sent.msg_id for result in harness.results],
    )
    assert in_flight.room_id == "a"
    if answered:
        harness.answer(in_flight, make_entry("m0"))
    else:
        harness.handle(make_loss(in_flight))
    harness.run(100)
    [result] = [each for each in harness.results if each.sent.msg_id == "m0"]
    reason = "gave up early for limits.overdue_gifts_max: no answer within 3 s"
    expected = (Status.SUCCEEDED, None) if answered else (Status.UNVERIFIED, reason)
    assert expected == (result.status, result.reason)
