"""A pending gift: who it is, when it is due, and what has been asked about it (design §3).

The deadline counts from min(max(sent_at, record timestamp), now): a sender's wrong unit or clock
can neither make a gift overdue before it was sent nor keep it pending for ever. It is turned into
monotonic time here, at intake, so that a step of the wall clock moves no deadline.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from consumer.core.limits import Limit
from consumer.core.model import CheckRules, GiftRead


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
    it: since then we do not know. `proof_ms` is deadline + settle: an answered check sent at or
    after it can prove absence. `offsets` are all its records', lowest first. `watched` and `overdue` are
    marks of `overdue`; `given_up_for` is the limit for which it is to be given up before its time.
    """

    read: GiftRead
    offsets: list[int]
    start_ms: int
    deadline_wall_ms: int
    proof_ms: int
    give_up_ms: int | None
    since_ms: int
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

    def may_be_given_up(self, now_ms: int) -> bool:
        """Long enough unanswered or in a limit's way, and at least once really asked about (P3)."""
        if not self.asked:
            return False
        overdue = self.give_up_ms is not None and now_ms >= self.give_up_ms
        return overdue or self.given_up_for is not None


def pending_gift(read: GiftRead, *, now_ms: int, wall_ms: int, rules: CheckRules) -> Gift:
    """A gift as it arrives now."""
    start_wall_ms = min(max(read.sent.sent_at, read.timestamp_ms), wall_ms)
    start_ms = now_ms - (wall_ms - start_wall_ms)
    deadline_ms = start_ms + rules.timeout_ms
    return Gift(
        read=read,
        offsets=[read.offset],
        start_ms=start_ms,
        deadline_wall_ms=start_wall_ms + rules.timeout_ms,
        proof_ms=deadline_ms + rules.settle_ms,
        give_up_ms=start_ms + rules.give_up_after_ms if rules.give_up_after_ms else None,
        since_ms=now_ms,
    )
