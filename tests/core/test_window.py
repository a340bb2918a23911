"""The pending gifts of a room and game, and when to ask about them (design §6)."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.gift import Gift
from consumer.core.hazard import AGE_BORDERS_MS, AGE_CLASSES, PRIOR, Hazard, age_class
from consumer.core.lease import Lease
from consumer.core.model import CheckRules
from consumer.core.window import Window
from tests.core.builders import NOW_MS, RULES, WALL_MS, make_gift, make_window_key, waiting

PRICE_MS = RULES.request_price_ms
UPTIME_MS = 400 * 24 * 3_600 * 1_000

FLAT = Hazard((0.001,) * AGE_CLASSES)
"""One in a thousand each millisecond, whatever the age."""

RISING = Hazard(tuple(0.0002 * (n + 1) for n in range(AGE_CLASSES)))
"""A game that consumes late."""


def make_window() -> Window:
    """A window without gifts."""
    return Window(make_window_key(), Lease(opens_ms=0))


def add(window: Window, *msg_ids: str, now_ms: int = NOW_MS) -> list[Gift]:
    """Gifts that arrive now, in the moment they were sent."""
    gifts = [make_gift(msg_id=msg_id, now_ms=now_ms) for msg_id in msg_ids]
    for gift in gifts:
        window.add(gift, now_ms)
    return gifts


# --- when ---------------------------------------------------------------------------------------


def test_a_lone_gift_is_asked_about_when_its_waiting_is_worth_a_request() -> None:
    """At one in a thousand a millisecond: 0.001·245²/2 = 30.01."""
    window = make_window()
    add(window, "a")
    assert window.ask_at(FLAT, PRICE_MS, NOW_MS) == NOW_MS + 245
    window.advance(NOW_MS + 244)
    assert window.ask_at(FLAT, PRICE_MS, NOW_MS + 244) == NOW_MS + 245
    window.advance(NOW_MS + 245)
    assert window.ask_at(FLAT, PRICE_MS, NOW_MS + 245) == NOW_MS + 245


def test_where_the_hazard_rises_every_class_border_is_an_instant_to_look_again() -> None:
    """Past it waiting may be worth a request at once."""
    window = make_window()
    add(window, "a")
    instants = []
    for now_ms in (NOW_MS, NOW_MS + 50, NOW_MS + 100, NOW_MS + 200):
        window.advance(now_ms)
        instants.append(window.ask_at(RISING, PRICE_MS, now_ms))
    assert instants == [NOW_MS + 50, NOW_MS + 100, NOW_MS + 200, NOW_MS + 274]


def test_where_the_hazard_falls_only_deadline_and_settle_is() -> None:
    """Past any other border waiting only collects more slowly."""
    window = make_window()
    [gift] = add(window, "a")
    assert window.ask_at(FLAT, PRICE_MS, NOW_MS) == NOW_MS + 245
    now_ms = gift.proof_ms - 7
    window.take(100, FLAT, now_ms)
    window.give_back([gift], now_ms)
    window.advance(now_ms)
    assert gift.proof_ms == window.ask_at(FLAT, PRICE_MS, now_ms)


def test_many_gifts_are_asked_about_earlier() -> None:
    """A hundred at once collect a hundred times as fast: 100·0.001·25²/2 = 31.25."""
    window = make_window()
    add(window, *(f"m{n}" for n in range(100)))
    assert window.ask_at(FLAT, PRICE_MS, NOW_MS) == NOW_MS + 25


def test_past_deadline_and_settle_a_gift_collects_a_millisecond_per_millisecond() -> None:
    """However long ago it was last asked about: its verdict is due from that instant on."""
    window = make_window()
    [gift] = add(window, "a")
    window.advance(gift.proof_ms)
    assert gift.proof_ms + 30 == window.ask_at(PRIOR, PRICE_MS, gift.proof_ms)
    window.advance(gift.proof_ms + 30)
    assert gift.proof_ms + 30 == window.ask_at(PRIOR, PRICE_MS, gift.proof_ms + 30)


def test_a_window_without_waiting_gifts_asks_for_nothing() -> None:
    """Gifts in flight collect nothing."""
    window = make_window()
    assert window.ask_at(PRIOR, PRICE_MS, NOW_MS) is None
    add(window, "a")
    window.take(100, PRIOR, NOW_MS + 10)
    assert window.ask_at(PRIOR, PRICE_MS, NOW_MS + 10) is None


def test_after_an_answer_waiting_begins_at_the_sending_of_the_check() -> None:
    """Until then everything is known; what happened since is not."""
    window = make_window()
    [gift] = add(window, "a")
    window.take(100, FLAT, NOW_MS + 300)
    window.give_back([gift], NOW_MS + 300)
    window.advance(NOW_MS + 400)
    assert window.ask_at(FLAT, PRICE_MS, NOW_MS + 500) == NOW_MS + 300 + 245


def test_after_a_failed_check_waiting_goes_on() -> None:
    """It has told nothing: the gift is as unknown as if it had not been sent."""
    window = make_window()
    [gift] = add(window, "a")
    window.take(100, FLAT, NOW_MS + 300)
    window.give_back([gift], None)
    window.advance(NOW_MS + 300)
    assert window.ask_at(FLAT, PRICE_MS, NOW_MS + 300) == NOW_MS + 300


def test_a_gift_that_grows_old_in_flight_comes_back_into_its_class() -> None:
    """It passed the border to overdue while its check was under way."""
    window = make_window()
    [gift] = add(window, "a")
    window.take(100, PRIOR, gift.proof_ms - 5)
    window.advance(gift.proof_ms + 5)
    window.give_back([gift], gift.proof_ms - 5)
    assert gift.proof_ms + 30 == window.ask_at(PRIOR, PRICE_MS, gift.proof_ms + 5)


def test_a_decided_gift_is_met_again_at_no_border() -> None:
    """Its next border is passed over."""
    window = make_window()
    gifts = add(window, "a", "b")
    window.take(1, PRIOR, NOW_MS + 10)
    window.remove(gifts[0])
    window.advance(NOW_MS + 60)
    assert (1, [gifts[1]]) == (window.waiting_count, list(window))
    assert waiting([gifts[1]], PRIOR, NOW_MS + 60) == window._polynomial(PRIOR, NOW_MS + 60)[0]


def test_in_the_open_last_class_the_next_border_is_deadline_and_settle() -> None:
    """A time-out of hours: no other border is left, and only the floor's chance."""
    window = make_window()
    gift = make_gift(rules=CheckRules(timeout_ms=4 * 3_600_000))
    window.add(gift, NOW_MS)
    now_ms = NOW_MS + 3_500_000
    window.advance(now_ms)
    window.take(100, PRIOR, now_ms)
    window.give_back([gift], now_ms)
    assert gift.age_class == AGE_CLASSES - 1
    assert gift.proof_ms == window._borders[0][0]
    assert now_ms + 1_733 == window.ask_at(PRIOR, PRICE_MS, now_ms)


def test_with_only_overdue_gifts_there_is_no_border_left() -> None:
    """What is overdue stays so until it is decided."""
    window = make_window()
    gifts = add(window, "a", "b")
    window.advance(gifts[0].proof_ms + 1)
    assert gifts[0].proof_ms + 1 + 14 == window.ask_at(PRIOR, PRICE_MS, gifts[0].proof_ms + 1)


@dataclass
class Story:
    """A window that has lived through a number of random steps, with time near its borders."""

    now_ms: int
    window: Window = field(default_factory=make_window)
    gifts: list[Gift] = field(default_factory=list)
    count: int = 0

    def step(self, what: str, number: int) -> None:
        """One thing happens, perhaps after some time."""
        match what:
            case "pass":
                self.now_ms += number
            case "border":
                border_ms = self.window._borders[0][0] if self.window._borders else self.now_ms
                self.now_ms = max(self.now_ms, border_ms + number % 3 - 1)
            case "proof":
                proofs = [g.proof_ms for g in self.gifts if g.proof_ms > self.now_ms]
                self.now_ms = max(self.now_ms, min(proofs, default=0) + number % 3 - 1)
            case "add":
                self._add(0)
            case "late":
                self._add(number * number % 40_000)
            case "take":
                self.window.advance(self.now_ms)
                self.window.take(1 + number % 5, PRIOR, self.now_ms)
            case "withdraw":
                for gift in [gift for gift in self.gifts if not gift.in_flight][:1]:
                    self.window.withdraw(gift)
                    self.window.remove(gift)
                    self.gifts.remove(gift)
            case "decide" | "answer" | "fail":
                self._end(what, number)

    def _add(self, age_ms: int) -> None:
        """A gift arrives that was sent so long ago; every third MsgId comes twice."""
        self.count += 1
        wall_ms = WALL_MS + self.count * 1_000
        gift = make_gift(
            msg_id=f"m{self.count - (self.count % 3 == 0)}",
            sent_at=wall_ms - age_ms,
            now_ms=self.now_ms,
            wall_ms=wall_ms,
        )
        self.gifts.append(gift)
        self.window.add(gift, self.now_ms)

    def _end(self, what: str, number: int) -> None:
        in_flight = [gift for gift in self.gifts if gift.in_flight][: 1 + number % 5]
        if what == "decide":
            for gift in in_flight:
                self.window.remove(gift)
                self.gifts.remove(gift)
            return
        for gift in in_flight:
            gift.asked = True
        since_ms = self.now_ms - number if what == "answer" else None
        self.window.give_back(in_flight, since_ms)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("pass", "border", "border", "proof", "add", "add", "late", "late"),
                *("take", "take", "decide", "answer", "fail", "withdraw"),
            )
        ),
        st.integers(0, 3_000),
    ),
    max_size=40,
)


@given(steps=STEPS, uptime_ms=st.sampled_from([0, NOW_MS, UPTIME_MS]))
def test_sums_agree_with_the_definition(steps: list[tuple[str, int]], uptime_ms: int) -> None:
    """What the window knows without touching its gifts is what each of them has collected."""
    story = Story(uptime_ms)
    for what, number in steps:
        story.step(what, number)
        story.window.advance(story.now_ms)
        expected = waiting(story.gifts, PRIOR, story.now_ms)
        found = story.window._polynomial(PRIOR, story.now_ms)[0]
        assert pytest.approx(expected, rel=1e-12, abs=1e-12) == found
        count_and_find(story.gifts, story.window)


def count_and_find(gifts: list[Gift], window: Window) -> None:
    """What a window says of its gifts is so."""
    rest = [gift for gift in gifts if not gift.in_flight]
    unasked = [gift for gift in rest if not gift.asked]
    assert (len(rest), len(unasked)) == (window.waiting_count, window.unasked_count)
    assert set(gifts) == set(window)
    assert bool(gifts) == bool(window)
    for gift in gifts:
        assert gift is window.find(gift.read.sent.msg_id, gift.read.sent.sent_at)
    assert next((gift for gift in gifts if not gift.asked), None) is window.oldest_unasked()
    assert (window.oldest_waiting() in rest) is bool(rest)


def test_a_decided_gift_s_next_border_is_no_reason_to_look_again() -> None:
    """It was one: the window woke up for gifts it no longer had."""
    story = Story(0)
    for what, number in [("add", 0), ("take", 0), ("decide", 0), ("pass", 1), ("add", 0)]:
        story.step(what, number)
    story.window.advance(story.now_ms)
    [gift] = story.gifts
    next_border_ms = gift.start_ms + AGE_BORDERS_MS[age_class(story.now_ms - gift.start_ms)]
    assert next_border_ms == story.window.ask_at(RISING, 1e9, story.now_ms)


@given(
    steps=STEPS,
    uptime_ms=st.sampled_from([0, NOW_MS, UPTIME_MS]),
    price_ms=st.floats(1.0, 1_000.0),
    hazard=st.sampled_from([PRIOR, FLAT, RISING]),
)
def test_the_instant_to_ask_is_never_later_than_the_first_that_is_worth_it(
    steps: list[tuple[str, int]], uptime_ms: int, price_ms: float, hazard: Hazard
) -> None:
    """No earlier instant is worth a request; and it is itself, or it is one to look again."""
    story = Story(uptime_ms)
    for what, number in steps:
        story.step(what, number)
    now_ms, window = story.now_ms, story.window
    window.advance(now_ms)
    ask_ms = window.ask_at(hazard, price_ms, now_ms)
    if not window.waiting_count:
        assert ask_ms is None
        return
    assert ask_ms is not None
    assert (ask_ms == now_ms) == (waiting(story.gifts, hazard, now_ms) >= price_ms)
    for earlier_ms in (ask_ms - 1, (now_ms + ask_ms) // 2, *borders_between(story, ask_ms)):
        if now_ms <= earlier_ms < ask_ms:
            assert waiting(story.gifts, hazard, earlier_ms) < price_ms * (1 + 1e-9)
    frozen = {gift: age_class(now_ms - gift.start_ms) for gift in story.gifts}
    if ask_ms > now_ms and not any(borders_between(story, ask_ms + 1)):
        assert frozen == {gift: age_class(ask_ms - gift.start_ms) for gift in story.gifts}
        assert waiting(story.gifts, hazard, ask_ms) >= price_ms * (1 - 1e-9)


def borders_between(story: Story, until_ms: int) -> list[int]:
    """The instants before `until_ms` at which a gift changes its class, and those before them."""
    borders = {
        border_ms
        for gift in story.gifts
        for border_ms in (gift.proof_ms, *(gift.start_ms + age for age in AGE_BORDERS_MS))
        if story.now_ms < border_ms < until_ms
    }
    return sorted(borders | {border_ms - 1 for border_ms in borders})


def test_waiting_is_exact_after_400_days_of_uptime() -> None:
    """Sums of squares of such instants are far beyond what a float holds."""
    window = make_window()
    gifts = []
    for n in range(1_000):
        gift = make_gift(msg_id=f"m{n}", now_ms=UPTIME_MS + n % 7)
        gifts.append(gift)
        window.add(gift, UPTIME_MS + n % 7)
    now_ms = UPTIME_MS + 49
    assert (
        pytest.approx(waiting(gifts, PRIOR, now_ms), rel=1e-12)
        == (window._polynomial(PRIOR, now_ms)[0])
    )


# --- which --------------------------------------------------------------------------------------


def taken(window: Window, count_max: int, now_ms: int, hazard: Hazard = PRIOR) -> list[str]:
    """The MsgIds of a check sent now."""
    window.advance(now_ms)
    return [gift.read.sent.msg_id for gift in window.take(count_max, hazard, now_ms)]


def test_all_waiting_gifts_go_where_they_fit() -> None:
    """Ids are cheap; those in flight wait for their answer."""
    window = make_window()
    add(window, "a", "b")
    assert taken(window, 100, NOW_MS + 1) == ["a", "b"]
    add(window, "c", now_ms=NOW_MS + 1)
    assert taken(window, 100, NOW_MS + 2) == ["c"]
    assert taken(window, 100, NOW_MS + 3) == []


def test_those_that_prove_absence_go_first() -> None:
    """Their verdict is due; the longest overdue of them before the others."""
    window = make_window()
    add(window, "old", now_ms=NOW_MS)
    add(window, "older", now_ms=NOW_MS - 100)
    now_ms = NOW_MS + 31_000
    add(window, *(f"new{n}" for n in range(9)), now_ms=now_ms - 90)
    assert taken(window, 2, now_ms) == ["older", "old"]


def test_then_those_most_likely_consumed() -> None:
    """A gift 300 ms old is likelier to be consumed than one 20 ms old."""
    window = make_window()
    add(window, "early", now_ms=NOW_MS)
    add(window, "late", now_ms=NOW_MS + 280)
    assert taken(window, 1, NOW_MS + 300) == ["early"]


@pytest.mark.parametrize(("waited_ms", "first"), [(600, "new"), (1_200, "old")])
def test_none_starves(waited_ms: int, first: str) -> None:
    """An old gift, hardly likely to be consumed, has its turn once it has waited long enough."""
    window = make_window()
    now_ms = NOW_MS + 10_000
    [old] = add(window, "old", now_ms=NOW_MS)
    window.take(1, PRIOR, now_ms - waited_ms)
    window.give_back([old], now_ms - waited_ms)
    add(window, "new", now_ms=now_ms - 100)
    assert [first] == taken(window, 1, now_ms)


def test_gifts_as_urgent_as_each_other_go_in_order_of_arrival() -> None:
    """The order is always the same."""
    window = make_window()
    add(window, "a", "b", "c")
    assert taken(window, 2, NOW_MS + 60) == ["a", "b"]


def test_twins_of_one_msg_id_are_two_gifts() -> None:
    """They are found by their Timestamps, and one goes without the other."""
    window = make_window()
    first, second = make_gift(sent_at=1), make_gift(sent_at=2)
    for gift in (first, second):
        window.add(gift, NOW_MS)
    assert (first, second, None) == tuple(window.find("m0", sent_at) for sent_at in (1, 2, 3))
    window.take(100, PRIOR, NOW_MS)
    window.remove(first)
    assert (None, second, True) == (window.find("m0", 1), window.find("m0", 2), bool(window))
    window.remove(second)
    assert (window.find("m0", 2), bool(window)) == (None, False)


def test_a_verdict_without_a_check_is_a_programming_error() -> None:
    """Nothing is decided that was not asked."""
    window = make_window()
    [gift] = add(window, "a")
    with pytest.raises(AssertionError, match="without a check"):
        window.remove(gift)


def test_a_waiting_gift_can_be_decided_without_a_check_once_it_is_withdrawn() -> None:
    """It collects nothing any more; one in flight has its check to wait for."""
    window = make_window()
    gone, asked = add(window, "a", "b")
    window.withdraw(gone)
    window.remove(gone)
    assert (1, [asked]) == (window.waiting_count, list(window))
    window.take(100, PRIOR, NOW_MS)
    with pytest.raises(AssertionError, match="while a check asks"):
        window.withdraw(asked)


def test_of_gifts_past_their_proof_those_never_asked_about_go_first() -> None:
    """The others have failed, and where checks go on failing the rest would never be asked."""
    window = make_window()
    for gift in add(window, "a", "b", "c"):
        gift.asked = gift.read.sent.msg_id != "c"
    window.advance(NOW_MS + 40_000)
    assert taken(window, 1, NOW_MS + 40_000) == ["c"]


def test_a_gift_changes_class_at_most_once_for_each_class() -> None:
    """However long it stays pending, its moves are bounded."""
    window = make_window()
    [gift] = add(window, "a")
    moves = 0
    while window._borders:
        window.advance(window._borders[0][0])
        moves += 1
    assert sum(border < gift.proof_ms - gift.start_ms for border in AGE_BORDERS_MS) + 1 == moves
