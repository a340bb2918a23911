"""A vendor with troubles, and a busy platform in front of it, both in virtual time.

The vendor answers after 30 ms and knows when each gift is consumed; what it refuses, and whom it
lets hang, can be changed while time passes. A gift's fate follows from its MsgId alone.
"""

from collections.abc import Sequence

from consumer.core.messages import CheckAnswered
from consumer.core.model import Answer, Check, CheckRules, GiftResult, GiftSent, Status
from tests.core.builders import NOW_MS, WALL_MS, Ending, Harness, make_entry, make_loss, make_record

LATENCY_MS = 30
CONSUMED_AFTER_MS = (100, 300, 500, 900, 1_500, None)
"""Each as likely as the others; None: never."""


def consumed_after(msg_id: str) -> int | None:
    """How long after it was sent a gift is consumed, whatever its room."""
    mixed = int(msg_id[1:]) * 2_654_435_761 >> 16  # Knuth's multiplicative hash
    return CONSUMED_AFTER_MS[mixed % len(CONSUMED_AFTER_MS)]


class Vendor:
    """Whom it refuses is what its fields say; `checks` is what it was asked, with the instant."""

    def __init__(self) -> None:
        self.sent: dict[str, GiftSent] = {}
        self.ids_max = 10**6
        self.poisoned: set[str] = set()
        self.codes: dict[str, int] = {}
        self.hanging: set[str] = set()
        self.down = False
        self.checks: list[tuple[int, Check]] = []

    def __call__(self, check: Check, now_ms: int) -> tuple[int, Ending]:
        """What becomes of a check written now."""
        self.checks.append((now_ms, check))
        if self.down or check.room_id in self.hanging:
            return 3_000, make_loss(check)
        code = self.codes.get(check.mini_game_id, 0)
        if not self.poisoned.isdisjoint(check.msg_ids) or len(check.msg_ids) > self.ids_max:
            code = 2
        if code:
            return LATENCY_MS, CheckAnswered(check.check_id, Answer(code, "refused"))
        seen_ms = now_ms - NOW_MS + WALL_MS + LATENCY_MS // 2
        entries = tuple(
            make_entry(msg_id, timestamp_ms=gift.sent_at)
            for msg_id in check.msg_ids
            if (after_ms := consumed_after(msg_id)) is not None
            and (gift := self.sent[msg_id]).sent_at + after_ms <= seen_ms
        )
        answer = Answer(0, "success", "req", entries, date_wall_ms=seen_ms // 1_000 * 1_000)
        return LATENCY_MS, CheckAnswered(check.check_id, answer)

    def asked(self, game: str, since_ms: int = 0) -> int:
        """How many checks of this game came at `since_ms` or later."""
        return sum(check.mini_game_id == game and at >= since_ms for at, check in self.checks)


class Platform:
    """Sends gifts into rooms, `(room, game)` by turns, and judges what came of them."""

    def __init__(self, rules: CheckRules | None = None) -> None:
        self.vendor = Vendor()
        self.harness = Harness(rules=rules or CheckRules(), api=self.vendor)
        self.harness.assign()
        self.count = 0

    def send(self, rooms: Sequence[tuple[str, str]], count: int, every_ms: int = 0) -> None:
        """So many gifts, one each `every_ms`."""
        for _ in range(count):
            room, game = rooms[self.count % len(rooms)]
            record = make_record(self.count, room_id=room, game=game, sent_at=self.harness.wall_ms)
            self.vendor.sent[record.sent.msg_id] = record.sent
            self.harness.read(record)
            self.count += 1
            if every_ms:
                self.harness.run(every_ms)

    def results(self) -> list[GiftResult]:
        """What was decided, in order."""
        return self.harness.results

    def wrong(self) -> list[GiftResult]:
        """The verdicts that are not what became of the gift; of poisoned ones: `UNVERIFIED`."""
        return [
            result for result in self.harness.results if result.status is not self._fate(result)
        ]

    def _fate(self, result: GiftResult) -> Status:
        msg_id = result.sent.msg_id
        if msg_id in self.vendor.poisoned:
            return Status.UNVERIFIED
        return Status.UNCONSUMED if consumed_after(msg_id) is None else Status.SUCCEEDED
