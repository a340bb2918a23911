"""Fates: drawn from seed and identity alone, and the vendor's rule of 24 hours."""

import pytest

from consumer.simulator.truth import SAME_GIFT_MS, Fate, Gift, Truth, TruthSettings

NOW_MS = 1_790_000_000_000


def gift(msg_id: str = "m1", timestamp_ms: int = NOW_MS) -> Gift:
    """Return a gift of one app, room and game."""
    return Gift(1, "room", "game", msg_id, timestamp_ms)


def test_a_gift_has_the_same_fate_whatever_was_sent_before_it() -> None:
    """The fate hangs on seed and identity, not on the order of sending."""
    forwards, backwards = Truth(), Truth()
    gifts = [gift(f"m{number}") for number in range(100)]
    for each in gifts:
        forwards.send(each, NOW_MS)
    for each in reversed(gifts):
        backwards.send(each, NOW_MS)
    assert [forwards.fate(each) for each in gifts] == [backwards.fate(each) for each in gifts]


def test_another_seed_tells_another_story() -> None:
    """Two seeds give different fates to the same gifts."""
    fates = [
        [truth.send(gift(f"m{number}"), NOW_MS) for number in range(20)]
        for truth in (Truth(TruthSettings(seed=1)), Truth(TruthSettings(seed=2)))
    ]
    assert fates[0] != fates[1]


def test_the_default_shares_and_mean_are_those_documented() -> None:
    """Of 20,000 gifts about 10 % are never consumed, 2 % fail, and the mean wait is 0.5 s."""
    truth = Truth()
    fates = [truth.send(gift(f"m{number}"), NOW_MS) for number in range(20_000)]
    waits_ms = [fate.consumed_wall_ms - NOW_MS for fate in fates if fate.consumed_wall_ms]
    assert 1900 < 20_000 - len(waits_ms) < 2100
    assert 340 < sum(fate.result_code == 10003 for fate in fates) < 460
    assert 485 < sum(waits_ms) / len(waits_ms) < 515


def test_delay_and_shares_can_be_chosen() -> None:
    """A fixed delay and shares of nought make every gift a success after that delay."""
    truth = Truth(TruthSettings(fixed_delay_ms=700, never_share=0, failed_share=0))
    assert Fate(NOW_MS, NOW_MS + 700, 0) == truth.send(gift(), NOW_MS)


def test_the_fate_of_one_gift_can_be_overridden() -> None:
    """A fate handed in is the one that is kept."""
    truth = Truth()
    fate = Fate(NOW_MS, NOW_MS + 5, 10004)
    truth.send(gift(), NOW_MS, fate=fate)
    assert fate == truth.fate(gift())


def test_a_gift_is_consumed_from_its_instant_on() -> None:
    """It is among the consumed at the very millisecond, and not at the one before."""
    truth = Truth()
    truth.send(gift(), NOW_MS, fate=Fate(NOW_MS, NOW_MS + 5, 0))
    assert truth.consumed(1, "room", "game", ["m1"], NOW_MS + 4) == []
    assert len(truth.consumed(1, "room", "game", ["m1"], NOW_MS + 5)) == 1


def test_a_gift_belongs_to_its_app_room_and_game() -> None:
    """The same MsgId elsewhere is another gift."""
    truth = Truth()
    truth.send(gift(), NOW_MS, fate=Fate(NOW_MS, NOW_MS, 0))
    assert truth.consumed(2, "room", "game", ["m1"], NOW_MS) == []
    assert truth.consumed(1, "other", "game", ["m1"], NOW_MS) == []
    assert truth.consumed(1, "room", "other", ["m1"], NOW_MS) == []


def test_a_msg_id_repeated_within_24_hours_is_the_first_gift() -> None:
    """The repetition gets the first one's fate and is not consumed a second time."""
    truth = Truth()
    first = truth.send(gift(), NOW_MS, fate=Fate(NOW_MS, NOW_MS, 0))
    later_ms = NOW_MS + SAME_GIFT_MS - 1
    repeated = gift(timestamp_ms=later_ms)
    assert first == truth.send(repeated, later_ms)
    assert first == truth.fate(repeated)
    assert gift() == truth.original(repeated)
    assert [(gift(), first)] == truth.consumed(1, "room", "game", ["m1"], later_ms)
    assert truth.count == 1


def test_a_msg_id_used_again_after_24_hours_is_another_gift() -> None:
    """Both are known then, told apart by their Timestamp; sending either again changes nothing."""
    truth = Truth()
    later_ms = NOW_MS + SAME_GIFT_MS
    again = gift(timestamp_ms=later_ms)
    first_fate, again_fate = Fate(NOW_MS, NOW_MS, 0), Fate(later_ms, later_ms, 10003)
    truth.send(gift(), NOW_MS, fate=first_fate)
    truth.send(again, later_ms, fate=again_fate)
    assert first_fate == truth.send(gift(), later_ms)
    expected = [(gift(), first_fate), (again, again_fate)]
    assert expected == truth.consumed(1, "room", "game", ["m1"], later_ms)


def test_an_adopted_gift_has_the_fate_of_its_id_whenever_it_is_first_seen() -> None:
    """Adoption draws without the Timestamp, so the wait is the same at any hour."""
    waits = []
    for now_ms in (NOW_MS, NOW_MS + 12_345):
        truth = Truth(TruthSettings(never_share=0))
        truth.adopt((1, "room", "game", "m1"), now_ms)
        truth.adopt((1, "room", "game", "m1"), now_ms + 1)
        fate = truth.fate(gift(timestamp_ms=now_ms))
        assert fate is not None
        assert fate.consumed_wall_ms is not None
        waits.append(fate.consumed_wall_ms - now_ms)
    assert waits[0] == waits[1]


def test_shares_are_parts_of_one_whole() -> None:
    """Shares that add up to more than one are refused."""
    with pytest.raises(ValueError, match="shares of one whole"):
        TruthSettings(never_share=0.6, failed_share=0.5)


def test_an_unknown_gift_has_no_fate() -> None:
    """What was never sent has none."""
    assert Truth().fate(gift()) is None
