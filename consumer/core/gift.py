"""A pending gift: who it is, when it is due, and what has been asked about it (design §3).

The deadline counts from min(max(sent_at, record timestamp), now): a sender's wrong unit or clock
can neither make a gift overdue before it was sent nor keep it pending for ever. It is turned into
monotonic time here, at intake, so that a step of the wall clock moves no deadline.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from consumer.core.limits import Limit
from consumer.core.model import CheckRules, GiftRead

DAY_MS: Final = 86_400_000

LOOK_BACK_DAYS: Final = 30
LOOK_BACK_DAYS_MAX: Final = 90
"""How far back a check looks without `Duration`, and at most (zego-api.md)."""

MARGIN_DAYS: Final = 1
"""What the vendor counts a gift's age from is not said; with a day to spare it does not matter."""

MILLISECONDS_FROM_MS: Final = 10**12
"""A smaller `sent_at` is no Unix time in milliseconds of this century (it would be from before
September 2001): a sender's wrong unit, and the record's time stands for it."""


class Identity(NamedTuple):
    """What makes two records tell of the same gift."""

    app_id: int
    room_id: str
    mini_game_id: str
    msg_id: str
    sent_at: int

    def result_id(self) -> str:
        """32 hex digits, the same for the same gift, always and everywhere."""
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        text = "".join(f"{len(part)}:{part}" for part in map(str, self))
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(eq=False, slots=True)
class Gift:
    """A gift without a verdict.

    `since_ms` is the later of its arrival and the sending of the last answered check that held
    it: since then we do not know; of what was told until then, `learned_ms` is how far it was
    learned from. `sent_ms` is when it was sent, to within `check.settle`. `proof_ms` is deadline +
    settle: an answered check sent at or after it can prove absence, from `undated_proof_ms` on also
    without a `Date`. `offsets` are all its records', lowest first. `watched` and `overdue` are
    marks of `overdue`; `given_up_for` is the limit for which it is to be given up before its time.
    """

    read: GiftRead
    offsets: list[int]
    start_ms: int
    sent_ms: int
    deadline_wall_ms: int
    proof_ms: int
    undated_proof_ms: int
    give_up_ms: int | None
    since_ms: int
    learned_ms: int
    age_class: int = 0
    in_flight: bool = False
    asked: bool = False
    checks: int = 0
    decided: bool = False
    watched: bool = False
    overdue: bool = False
    given_up_for: Limit | None = None

    @property
    def identity(self) -> Identity:
        """The gift itself, whatever its records."""
        sent = self.read.sent
        return Identity(
            self.read.app_id, sent.room_id, sent.mini_game_id, sent.msg_id, sent.sent_at
        )

    def is_too_old(self, now_ms: int) -> bool:
        """Whether no check can look back as far as this gift: its absence cannot be proven."""
        return now_ms - self.sent_ms > (LOOK_BACK_DAYS_MAX - MARGIN_DAYS) * DAY_MS

    def may_be_given_up(self, now_ms: int) -> bool:
        """Long enough unanswered or in a limit's way, and at least once really asked about (P3)."""
        if not self.asked:
            return False
        overdue = self.give_up_ms is not None and now_ms >= self.give_up_ms
        return overdue or self.given_up_for is not None


def pending_gift(
    read: GiftRead, *, now_ms: int, wall_ms: int, rules: CheckRules, clock_lead_ms: int = 0
) -> Gift:
    """A gift as it arrives now.

    `clock_lead_ms` is how far ahead `wall_ms` may be, and how early the deadline. So much later may it
    be given up, or a clock that is an hour ahead would have every gift given up after its first
    check; and so much later does silence prove absence by our own clock, even if that has been
    set right by then.
    """
    start_wall_ms = min(max(read.sent.sent_at, read.timestamp_ms), wall_ms)
    start_ms = now_ms - (wall_ms - start_wall_ms)
    proof_ms = start_ms + rules.timeout_ms + rules.settle_ms
    sent_at = read.sent.sent_at
    return Gift(
        read=read,
        offsets=[read.offset],
        start_ms=start_ms,
        sent_ms=start_ms if sent_at < MILLISECONDS_FROM_MS else now_ms - (wall_ms - sent_at),
        deadline_wall_ms=start_wall_ms + rules.timeout_ms,
        proof_ms=proof_ms,
        undated_proof_ms=proof_ms + clock_lead_ms if clock_lead_ms else proof_ms,
        give_up_ms=(
            start_ms + rules.give_up_after_ms + clock_lead_ms if rules.give_up_after_ms else None
        ),
        since_ms=now_ms,
        learned_ms=start_ms,
    )


def duration_days(gifts: Iterable[Gift], now_ms: int) -> int | None:
    """The `Duration` that a check for these gifts needs; None if the vendor's own suffices."""
    age_ms = now_ms - min([gift.sent_ms for gift in gifts])
    if age_ms <= (LOOK_BACK_DAYS - MARGIN_DAYS) * DAY_MS:
        return None
    return min(LOOK_BACK_DAYS_MAX, age_ms // DAY_MS + 1 + MARGIN_DAYS)
