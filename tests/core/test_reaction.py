"""What is to be done about an answer's code (design §7)."""

import pytest

from consumer.core.model import Trouble, WindowKey
from consumer.core.reaction import (
    TROUBLE_BY_CODE,
    Backoffs,
    Scope,
    scope_and_pace,
    trouble_of,
)
from tests.core.builders import make_window_key

WINDOW = make_window_key()

RETURN_CODES = {
    Trouble.TRANSIENT: "1 7202000 7210000 7210001 100000012 100000015",
    Trouble.BAD_REQUEST: "2 7200004",
    Trouble.CREDENTIALS: (
        "3 7200401 7201003 7201005 7202003 7203001 100000001 100000005 100000010 100000011"
        " 100000016 100000017"
    ),
    Trouble.RATE_LIMITED: "7 206",
    Trouble.THIS_GAME: "7202001 7202002",
    Trouble.CONFIGURATION: (
        "100000000 100000002 100000003 100000006 100000007 100000008 100000009 100000013 100000014"
    ),
    Trouble.CLOCK: "100000004",
}
"""The vendor's table of return codes, kind by kind, and other products' 206."""

TABLE = [(int(code), kind) for kind, codes in RETURN_CODES.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "trouble"), TABLE)
def test_every_return_code_has_its_reaction(code: int, trouble: Trouble) -> None:
    """As the vendor's table of return codes has it."""
    assert trouble is trouble_of(code)


def test_there_is_no_code_that_the_vendor_does_not_name() -> None:
    """Both tables hold the same codes."""
    assert sorted(code for code, _ in TABLE) == sorted(TROUBLE_BY_CODE)


def test_zero_is_no_trouble() -> None:
    """Success."""
    assert trouble_of(0) is None


@pytest.mark.parametrize("code", [-1, 4, 10003, 7_299_999, 100_000_018])
def test_an_unknown_code_is_transient(code: int) -> None:
    """It may pass by itself; nothing is concluded from it."""
    assert Trouble.TRANSIENT is trouble_of(code)


@pytest.mark.parametrize(
    ("trouble", "scope", "first_ms"),
    [
        (Trouble.TRANSIENT, WINDOW, 200),
        (Trouble.RATE_LIMITED, WINDOW, 200),
        (Trouble.BAD_REQUEST, (7, "game"), 5_000),
        (Trouble.THIS_GAME, (7, "game"), 5_000),
        (Trouble.CREDENTIALS, 7, 5_000),
        (Trouble.CONFIGURATION, 7, 5_000),
        (Trouble.CLOCK, 7, 200),
    ],
)
def test_every_trouble_has_a_scope_and_a_pace(
    trouble: Trouble, scope: Scope, first_ms: int
) -> None:
    """Who waits: this room's game, the game in all rooms, or the whole app."""
    found, pace = scope_and_pace(trouble, WINDOW)
    assert (scope, first_ms) == (found, pace.first_ms)


# --- back-off -----------------------------------------------------------------------------------


def make_backoffs(jitter: float = 0.0) -> Backoffs:
    """Back-offs whose dice always fall the same way."""
    return Backoffs(lambda: jitter)


def fail(backoffs: Backoffs, trouble: Trouble, sent_ms: int, now_ms: int) -> Trouble | None:
    """A check of the window met trouble; which one has begun by that in its scope."""
    return backoffs.failed(trouble, "what was said", WINDOW, sent_ms, now_ms)


def waits(trouble: Trouble, rounds: int, *, jitter: float = 0.0) -> list[int]:
    """How long a window waits after each of so many failures in a row."""
    backoffs, now_ms, lengths = make_backoffs(jitter), 0, []
    for _ in range(rounds):
        fail(backoffs, trouble, now_ms, now_ms)
        until_ms = backoffs.until(WINDOW)
        lengths.append(until_ms - now_ms)
        now_ms = until_ms
    return lengths


def test_retries_slow_down_to_eight_seconds() -> None:
    """Doubling from 200 ms."""
    assert waits(Trouble.TRANSIENT, 8) == [200, 400, 800, 1_600, 3_200, 6_400, 8_000, 8_000]


def test_what_somebody_has_to_mend_is_tried_once_a_minute() -> None:
    """Doubling from 5 s."""
    assert waits(Trouble.CREDENTIALS, 6) == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]


def test_a_thousand_failures_wait_no_longer_than_the_longest() -> None:
    """Growth ends, however long an outage lasts."""
    assert waits(Trouble.TRANSIENT, 1_000)[-1] == 8_000


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 8_000), (0.5, 9_000), (0.9999999, 9_999)])
def test_jitter_lengthens_a_wait_by_up_to_a_quarter(jitter: float, expected: int) -> None:
    """Never shortens it."""
    assert expected == waits(Trouble.TRANSIENT, 7, jitter=jitter)[-1]


def test_failures_of_one_round_count_once() -> None:
    """Checks sent before or when the wait began tell nothing new."""
    backoffs = make_backoffs()
    for now_ms in (100, 110, 120):
        fail(backoffs, Trouble.THIS_GAME, 0, now_ms)
    fail(backoffs, Trouble.THIS_GAME, 100, 130)
    assert backoffs.until(WINDOW) == 5_100
    fail(backoffs, Trouble.THIS_GAME, 101, 140)
    assert backoffs.until(WINDOW) == 10_140


@pytest.mark.parametrize(
    ("trouble", "waiting"),
    [
        (Trouble.TRANSIENT, [True, False, False, False, False]),
        (Trouble.THIS_GAME, [True, True, False, False, False]),
        (Trouble.CREDENTIALS, [True, True, True, True, False]),
    ],
)
def test_only_those_in_the_scope_wait(trouble: Trouble, waiting: list[bool]) -> None:
    """A room's trouble is not the next room's, nor a game's the next game's."""
    others: list[WindowKey] = [
        WINDOW,
        make_window_key("another room"),
        make_window_key(game="another game"),
        make_window_key("another room", "another game"),
        make_window_key(app_id=8),
    ]
    backoffs = make_backoffs()
    fail(backoffs, trouble, 0, 0)
    assert waiting == [backoffs.until(window) > 0 for window in others]


def test_the_longest_of_several_waits_counts() -> None:
    """A game in trouble inside an app in trouble."""
    backoffs = make_backoffs()
    fail(backoffs, Trouble.CREDENTIALS, 0, 0)
    fail(backoffs, Trouble.TRANSIENT, 0, 0)
    assert backoffs.until(WINDOW) == 5_000


def test_success_ends_the_trouble_of_all_its_scopes() -> None:
    """The app's credentials work, the game exists, the room answers."""
    backoffs = make_backoffs()
    for trouble in (Trouble.TRANSIENT, Trouble.THIS_GAME, Trouble.CREDENTIALS):
        fail(backoffs, trouble, 0, 0)
    assert len(backoffs) == 3
    backoffs.succeeded(WINDOW)
    assert (len(backoffs), backoffs.until(WINDOW)) == (0, -1)


def test_success_without_trouble_changes_nothing() -> None:
    """The usual case."""
    backoffs = make_backoffs()
    backoffs.succeeded(WINDOW)
    assert len(backoffs) == 0


def test_a_window_that_is_gone_takes_along_the_waits_that_nobody_shares_any_more() -> None:
    """Its own at once, its game's and its app's with the last of their windows."""
    backoffs, other = make_backoffs(), make_window_key("another room")
    for window in (WINDOW, other):
        backoffs.open(window)
    for trouble in (Trouble.TRANSIENT, Trouble.THIS_GAME, Trouble.CREDENTIALS):
        fail(backoffs, trouble, 0, 0)
    left = []
    for window in (WINDOW, other):
        backoffs.close(window)
        left.append(len(backoffs))
    assert left == [2, 0]


def test_a_game_in_trouble_is_probed_by_one_check_at_a_time() -> None:
    """The others wait for its end; whoever probed last goes last in the next round."""
    backoffs, other = make_backoffs(), make_window_key("another room")
    fail(backoffs, Trouble.THIS_GAME, 0, 0)
    backoffs.asked(WINDOW, 8_000)
    assert (backoffs.until(WINDOW), backoffs.until(other)) == (8_001, 8_000)
    fail(backoffs, Trouble.THIS_GAME, 5_000, 5_030)
    assert (backoffs.until(WINDOW), backoffs.until(other)) == (15_031, 15_030)


def test_who_is_impatient_waits_only_for_itself() -> None:
    """A gift that may be given up is asked about although its game is in trouble."""
    backoffs = make_backoffs()
    fail(backoffs, Trouble.THIS_GAME, 0, 0)
    assert backoffs.until(WINDOW, 1_000) == 1_000
    fail(backoffs, Trouble.TRANSIENT, 0, 2_000)
    assert backoffs.until(WINDOW, 1_000) == 2_200


def test_a_wrong_clock_is_retried_once_and_then_a_matter_of_configuration() -> None:
    """The answer that calls the signature expired has set the signing clock right by its Date."""
    backoffs = make_backoffs()
    said = [fail(backoffs, Trouble.CLOCK, now_ms, now_ms) for now_ms in (0, 1_000, 20_000)]
    assert [Trouble.CLOCK, Trouble.CONFIGURATION, None] == said
    assert backoffs.until(WINDOW) == 40_000


def test_retry_after_lengthens_a_wait_and_never_shortens_it() -> None:
    """Whoever says it, and whatever is wrong."""
    for retry_after_ms, until_ms in ((9_000, 9_000), (1, 200)):
        backoffs = make_backoffs()
        backoffs.failed(Trouble.TRANSIENT, "HTTP 503", WINDOW, 0, 0, retry_after_ms=retry_after_ms)
        assert until_ms == backoffs.until(WINDOW)


def test_only_the_first_failure_begins_a_trouble() -> None:
    """What people are told once is told once, until a success ends it."""
    backoffs = make_backoffs()
    said = [fail(backoffs, Trouble.THIS_GAME, now_ms, now_ms) for now_ms in (0, 0, 9_000)]
    backoffs.succeeded(WINDOW)
    said.append(fail(backoffs, Trouble.THIS_GAME, 20_000, 20_000))
    assert said == [Trouble.THIS_GAME, None, None, Trouble.THIS_GAME]


def test_the_troubles_of_games_and_apps_are_told_apart_from_those_of_rooms() -> None:
    """A thousand rooms in trouble are a number; a game or an app in trouble is a sentence."""
    backoffs = make_backoffs()
    for trouble in (Trouble.TRANSIENT, Trouble.THIS_GAME, Trouble.CREDENTIALS):
        fail(backoffs, trouble, 0, 100)
    told = [
        (scope, wait.trouble, wait.detail, wait.rounds, wait.began_ms, wait.until_ms)
        for scope, wait in backoffs.shared().items()
    ]
    assert told == [
        ((7, "game"), Trouble.THIS_GAME, "what was said", 0, 100, 5_100),
        (7, Trouble.CREDENTIALS, "what was said", 0, 100, 5_100),
    ]
