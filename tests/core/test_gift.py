"""A gift's identity and its deadline (design §3)."""

import pytest

from consumer.core.gift import Identity, pending_gift
from consumer.core.model import CheckRules
from tests.core.builders import NOW_MS, RULES, WALL_MS, make_gift, make_record

YEAR_MS = 365 * 24 * 3_600 * 1_000


@pytest.mark.parametrize(
    ("sent_at", "timestamp_ms", "start_wall_ms"),
    [
        pytest.param(WALL_MS - 100, WALL_MS - 40, WALL_MS - 40, id="the record came later"),
        pytest.param(WALL_MS - 40, WALL_MS - 100, WALL_MS - 40, id="the sending came later"),
        pytest.param(WALL_MS // 1_000, WALL_MS - 40, WALL_MS - 40, id="sent_at in seconds"),
        pytest.param(WALL_MS + YEAR_MS, WALL_MS - 40, WALL_MS, id="sent_at a year ahead"),
        pytest.param(WALL_MS - 40, WALL_MS + 5_000, WALL_MS, id="the broker's clock ahead"),
        pytest.param(WALL_MS - YEAR_MS, WALL_MS - YEAR_MS, WALL_MS - YEAR_MS, id="replayed"),
    ],
)
def test_deadline_counts_from_the_later_of_both_times_but_never_from_the_future(
    sent_at: int, timestamp_ms: int, start_wall_ms: int
) -> None:
    """Neither a wrong unit nor a wrong clock makes a gift overdue early or keeps it for ever."""
    record = make_record(0, sent_at=sent_at, timestamp_ms=timestamp_ms)
    gift = pending_gift(record, now_ms=NOW_MS, wall_ms=WALL_MS, rules=RULES)
    start_ms = NOW_MS - (WALL_MS - start_wall_ms)
    assert start_wall_ms + 30_000 == gift.deadline_wall_ms
    assert (start_ms, start_ms + 31_000, start_ms + 3_600_000) == (
        gift.start_ms,
        gift.proof_ms,
        gift.give_up_ms,
    )
    assert gift.since_ms == NOW_MS


def test_a_gift_never_asked_about_is_never_given_up() -> None:
    """However old a gift is, one check that held it must have been written first."""
    gift = make_gift()
    assert not gift.may_be_given_up(NOW_MS + 3_600_000)
    gift.asked = True
    assert not gift.may_be_given_up(NOW_MS + 3_599_999)
    assert gift.may_be_given_up(NOW_MS + 3_600_000)


def test_without_give_up_after_a_gift_stays_pending_for_ever() -> None:
    """Zero means never."""
    gift = make_gift(rules=CheckRules(give_up_after_ms=0))
    gift.asked = True
    assert not gift.may_be_given_up(NOW_MS + 1_000 * YEAR_MS)


def test_result_id_is_the_same_for_the_same_gift_always_and_everywhere() -> None:
    """The literal value is what downstream may have stored: it must never change."""
    expected = "6e5a70e033b58d5ae19a7c32a020251a"
    assert expected == Identity(7, "room", "game", "m0", 1_700_000_000_000).result_id()
    assert expected == make_gift(offset=9).identity.result_id()


@pytest.mark.parametrize(
    "other",
    [
        Identity(8, "ab", "c", "m", 1),
        Identity(7, "a", "bc", "m", 1),
        Identity(7, "ab", "d", "m", 1),
        Identity(7, "ab", "c", "n", 1),
        Identity(7, "ab", "c", "m", 2),
        Identity(7, "ab1:c", "", "m", 1),
        Identity(7, "ab", "c\ud800", "m", 1),
    ],
)
def test_gifts_that_differ_in_anything_have_different_result_ids(other: Identity) -> None:
    """Moving a letter from one part to the next is a difference too, half a surrogate as well."""
    assert Identity(7, "ab", "c", "m", 1).result_id() != other.result_id()
