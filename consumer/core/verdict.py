"""Answer and gift: a verdict, or not yet (design §6, "Proof of absence").

The API answers for gifts that the game has consumed and is silent about all others. Silence means
something only if every clause of `proves_absence` holds; anything less keeps the gift pending.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from consumer.core.gift import Gift
from consumer.core.model import Answer, Entry, GiftResult, Status

SAME_GIFT_MS: Final = 24 * 3_600 * 1_000
"""Within 24 hours a repeated MsgId is the same gift for the vendor, whatever its Timestamp."""

TIMESTAMP_MISMATCH: Final = "timestamp_mismatch"
"""The API knows the MsgId only with Timestamps of other days: neither consumed nor absent."""


TOO_OLD: Final = "sent more than 90 days ago, further than the API looks back"
"""Said of a gift only after a check that asked for it: silence proves nothing then, an entry does."""


class Verdict(NamedTuple):
    """What a gift's result will say; `entry` is the API's word where it decided."""

    status: Status
    reason: str | None
    entry: Entry | None = None


class Clause(Enum):
    """Why an answer without the gift does not prove its absence."""

    NOT_SUCCESSFUL = "the answer's Code is not 0"
    INCOMPLETE = "the answer was malformed"
    TOO_EARLY = "the check was sent before deadline + settle"
    SERVER_CLOCK = "the server's Date lies before the deadline"
    OUR_CLOCK = "our clock is or was in doubt and the answer has no Date"


def open_clause(
    gift: Gift, answer: Answer, sent_ms: int, *, clock_in_doubt: bool = False
) -> Clause | None:
    """The first clause that keeps silence from proving absence; None: it is proven.

    `sent_ms` is when the check was decided: never after it was written, so a bound in our favour
    is never claimed. `Date` has whole seconds, rounded down: never later than the truth. With
    `clock_in_doubt` (`wall_clock`) nothing but a `Date` tells that the deadline is over; for a gift
    taken in meanwhile that holds for as long again as the clock may have led.
    """
    if answer.code != 0:
        return Clause.NOT_SUCCESSFUL
    if not answer.complete:
        return Clause.INCOMPLETE
    if sent_ms < gift.proof_ms:
        return Clause.TOO_EARLY
    if answer.date_wall_ms is None:
        doubtful = clock_in_doubt or sent_ms < gift.undated_proof_ms
        return Clause.OUR_CLOCK if doubtful else None
    return Clause.SERVER_CLOCK if answer.date_wall_ms < gift.deadline_wall_ms else None


def judge(
    gift: Gift,
    entries: Sequence[Entry],
    answer: Answer,
    sent_ms: int,
    *,
    clock_in_doubt: bool = False,
) -> Verdict | Clause:
    """The verdict on a gift that a check asked for, or the clause that keeps it pending.

    `entries` are those of the answer with the gift's MsgId. One with another Timestamp within 24
    hours is the same gift for the vendor: the nearest Timestamp wins, an exact one first.
    """
    sent_at = gift.read.sent.sent_at
    if answer.code == 0 and entries:
        nearest = min(entries, key=lambda entry: abs(entry.timestamp_ms - sent_at))
        if abs(nearest.timestamp_ms - sent_at) < SAME_GIFT_MS:
            return _consumed(nearest)
    clause = open_clause(gift, answer, sent_ms, clock_in_doubt=clock_in_doubt)
    if clause is not None:
        return clause
    if entries:
        return Verdict(Status.UNVERIFIED, TIMESTAMP_MISMATCH)
    if gift.is_too_old(sent_ms):
        return Verdict(Status.UNVERIFIED, TOO_OLD)
    return Verdict(Status.UNCONSUMED, "not consumed by the deadline")


def gift_result(
    gift: Gift, verdict: Verdict, *, partition: int, wall_ms: int, request_id: str | None
) -> GiftResult:
    """The event that tells of a verdict reached now; its source is the gift's lowest offset."""
    entry = verdict.entry
    return GiftResult(
        sent=gift.read.sent,
        result_id=gift.identity.result_id(),
        status=verdict.status,
        synthetic=entry is None,
        result_code=entry.result if entry else None,
        reason=verdict.reason,
        game_timestamp=entry.timestamp_ms if entry else None,
        request_id=request_id,
        checks=gift.checks,
        deadline=gift.deadline_wall_ms,
        decided_at=wall_ms,
        source_partition=partition,
        source_offset=gift.offsets[0],
        headers=gift.read.headers,
    )


def _consumed(entry: Entry) -> Verdict:
    if entry.result == 0:
        return Verdict(Status.SUCCEEDED, None, entry)
    return Verdict(Status.FAILED, entry.message, entry)
