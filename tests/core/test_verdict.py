"""An answer and a gift: a verdict, or not yet (design §6, "Proof of absence")."""

from dataclasses import replace

import pytest

from consumer.core.model import Answer, CheckRules, Entry, Status
from consumer.core.verdict import Clause, Verdict, gift_result, judge, open_clause
from tests.core.builders import NOW_MS, WALL_MS, make_entry, make_gift, make_record

PROOF_MS = NOW_MS + 31_000
DEADLINE_WALL_MS = WALL_MS + 30_000
DAY_MS = 24 * 3_600 * 1_000

SILENCE = Answer(0, "success", "req-1", date_wall_ms=DEADLINE_WALL_MS)
"""An answer that proves absence if its check was sent at `PROOF_MS` or later."""

ABSENT = Verdict(Status.UNCONSUMED, "not consumed by the deadline")
MISMATCH = Verdict(Status.UNVERIFIED, "timestamp_mismatch")


# --- each clause of proof of absence ------------------------------------------------------------


def test_silence_after_deadline_and_settle_proves_absence() -> None:
    """All clauses hold, each of them just so."""
    assert judge(make_gift(), [], SILENCE, PROOF_MS) == ABSENT


def test_an_answer_with_another_code_proves_nothing() -> None:
    """What failed says nothing about a gift."""
    answer = replace(SILENCE, code=1)
    assert Clause.NOT_SUCCESSFUL is judge(make_gift(), [], answer, PROOF_MS)


def test_a_malformed_answer_proves_nothing() -> None:
    """The gift may be in the part that could not be read."""
    answer = replace(SILENCE, complete=False)
    assert Clause.INCOMPLETE is judge(make_gift(), [], answer, PROOF_MS)


def test_a_check_sent_before_deadline_and_settle_proves_nothing() -> None:
    """One millisecond before, the game may still consume it or the vendor not yet know."""
    assert Clause.TOO_EARLY is judge(make_gift(), [], SILENCE, PROOF_MS - 1)


def test_settle_is_part_of_the_instant_that_proves() -> None:
    """A vendor that reads from a replica gets the time to see what was consumed at the last."""
    gift = make_gift(rules=CheckRules(settle_ms=7_000))
    assert Clause.TOO_EARLY is judge(gift, [], SILENCE, NOW_MS + 36_999)
    assert judge(gift, [], SILENCE, NOW_MS + 37_000) == ABSENT


def test_a_server_whose_clock_lies_before_the_deadline_proves_nothing() -> None:
    """One wrong clock, ours or theirs, must not refund everything."""
    answer = replace(SILENCE, date_wall_ms=DEADLINE_WALL_MS - 1)
    assert Clause.SERVER_CLOCK is judge(make_gift(), [], answer, PROOF_MS)


def test_a_server_without_a_date_is_believed() -> None:
    """There is nothing to compare with."""
    assert judge(make_gift(), [], replace(SILENCE, date_wall_ms=None), PROOF_MS) == ABSENT


def test_a_gift_taken_in_by_a_doubtful_clock_needs_a_date_or_more_time() -> None:
    """Its deadline lies wrong by the clock's error, also once the clock is right again."""
    gift = make_gift(clock_lead_ms=30_000)
    undated = replace(SILENCE, date_wall_ms=None)
    assert Clause.OUR_CLOCK is judge(gift, [], undated, PROOF_MS + 29_999)
    assert judge(gift, [], undated, PROOF_MS + 30_000) == ABSENT
    assert judge(gift, [], SILENCE, PROOF_MS) == ABSENT


def test_the_clauses_are_looked_at_in_order() -> None:
    """What is reported is the first thing in the way."""
    early = judge(make_gift(), [], Answer(1, "busy", complete=False, date_wall_ms=0), NOW_MS)
    assert Clause.NOT_SUCCESSFUL is early
    assert open_clause(make_gift(), SILENCE, PROOF_MS) is None


# --- which entry is the gift's ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timestamps", "chosen"),
    [
        pytest.param([0], 0, id="exact"),
        pytest.param([5, 0, -5], 0, id="exact before near"),
        pytest.param([-3_000, 2_999], 2_999, id="the nearest"),
        pytest.param([DAY_MS - 1], DAY_MS - 1, id="within 24 h, later"),
        pytest.param([1 - DAY_MS], 1 - DAY_MS, id="within 24 h, earlier"),
        pytest.param([-40 * DAY_MS, 77], 77, id="an older namesake does not hide it"),
    ],
)
def test_the_nearest_timestamp_within_a_day_is_the_gift(timestamps: list[int], chosen: int) -> None:
    """Within 24 hours a repeated MsgId is the same gift for the vendor."""
    entries = [make_entry(timestamp_ms=WALL_MS + delta_ms) for delta_ms in timestamps]
    expected = Verdict(Status.SUCCEEDED, None, make_entry(timestamp_ms=WALL_MS + chosen))
    assert expected == judge(make_gift(), entries, SILENCE, NOW_MS)


@pytest.mark.parametrize("delta_ms", [DAY_MS, -DAY_MS, -40 * DAY_MS])
def test_entries_of_other_days_alone_leave_the_gift_unverified_at_the_deadline(
    delta_ms: int,
) -> None:
    """It is neither consumed nor absent: never UNCONSUMED, and not before absence would count."""
    entries = [make_entry(timestamp_ms=WALL_MS + delta_ms)]
    assert Clause.TOO_EARLY is judge(make_gift(), entries, SILENCE, PROOF_MS - 1)
    assert judge(make_gift(), entries, SILENCE, PROOF_MS) == MISMATCH


def test_entries_of_other_days_need_the_same_proof_as_absence() -> None:
    """The gift's own entry may be the one that could not be read."""
    answer = replace(SILENCE, complete=False)
    entries = [make_entry(timestamp_ms=WALL_MS - DAY_MS)]
    assert Clause.INCOMPLETE is judge(make_gift(), entries, answer, PROOF_MS)


def test_twins_of_one_msg_id_get_the_same_verdict() -> None:
    """Two pending gifts a second apart: one entry tells of both, with the game's Timestamp."""
    entry = make_entry(result=10003, message="not joined", timestamp_ms=WALL_MS + 1_000)
    twins = make_gift(), make_gift(sent_at=WALL_MS + 1_000, wall_ms=WALL_MS + 1_000)
    expected = Verdict(Status.FAILED, "not joined", entry)
    assert [expected] * 2 == [judge(gift, [entry], SILENCE, NOW_MS) for gift in twins]


def test_the_readable_entries_of_a_malformed_answer_count() -> None:
    """Presence needs no proof."""
    answer = replace(SILENCE, complete=False)
    expected = Verdict(Status.SUCCEEDED, None, make_entry())
    assert expected == judge(make_gift(), [make_entry()], answer, NOW_MS)


def test_entries_of_an_answer_that_failed_do_not_count() -> None:
    """What comes with an error code is nothing the vendor promises."""
    answer = replace(SILENCE, code=7_210_001)
    assert Clause.NOT_SUCCESSFUL is judge(make_gift(), [make_entry()], answer, PROOF_MS)


@pytest.mark.parametrize(
    ("result", "status"),
    [(0, Status.SUCCEEDED), (10003, Status.FAILED), (10004, Status.FAILED), (-1, Status.FAILED)],
)
def test_a_result_of_zero_is_success_and_any_other_failure(result: int, status: Status) -> None:
    """The vendor's rule; unknown results are failures with the vendor's words."""
    verdict = judge(make_gift(), [make_entry(result=result)], SILENCE, NOW_MS)
    assert isinstance(verdict, Verdict)
    assert status is verdict.status


# --- the event ----------------------------------------------------------------------------------


def test_a_consumed_gifts_event_carries_what_the_api_said() -> None:
    """Not synthetic, with Result, Msg, Timestamp and RequestId; its source is the lowest offset."""
    gift = make_gift(offset=40)
    gift.offsets += [41, 50]
    gift.checks = 3
    entry = Entry("m0", 10004, "no such gift", WALL_MS + 5)
    verdict = Verdict(Status.FAILED, "no such gift", entry)
    result = gift_result(gift, verdict, partition=3, wall_ms=WALL_MS + 900, request_id="req-1")
    assert (
        result.status,
        result.synthetic,
        result.result_code,
        result.reason,
        result.game_timestamp,
        result.request_id,
    ) == (Status.FAILED, False, 10004, "no such gift", WALL_MS + 5, "req-1")
    assert (gift.read.sent, gift.identity.result_id()) == (result.sent, result.result_id)
    assert (
        result.checks,
        result.deadline,
        result.decided_at,
    ) == (3, WALL_MS + 30_000, WALL_MS + 900)
    assert (result.source_partition, result.source_offset) == (3, 40)


def test_a_synthetic_event_says_so_and_headers_pass_through() -> None:
    """Nothing of it was said by the API."""
    gift = make_gift()
    gift.read = make_record(0, headers=(("traceparent", b"00-1"),))
    result = gift_result(gift, ABSENT, partition=0, wall_ms=WALL_MS, request_id="req-1")
    assert (result.synthetic, result.result_code, result.game_timestamp) == (True, None, None)
    assert result.headers == (("traceparent", b"00-1"),)
