"""Hand-written builders of what the core speaks of, and a harness that drives it in virtual time.

`NOW_MS` and `WALL_MS` are the two axes' common instant: tests write instants as offsets from
them, and neither is small, as neither is on a machine that has been up for a while.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable

from hypothesis import settings

from consumer.core.gift import Gift, pending_gift
from consumer.core.hazard import Hazard, Hazards, age_class
from consumer.core.learning import LearnedHazards
from consumer.core.messages import (
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    CutAborted,
    CutCommitted,
    Input,
    PartitionAssigned,
    PauseIntake,
    RecordsRead,
    ReportFault,
    ReportGiveUps,
    ReportTrouble,
    ResumeIntake,
    SendCheck,
)
from consumer.core.metadata import TextLimit, draft_metadata
from consumer.core.model import (
    Answer,
    Check,
    CheckRules,
    Cut,
    Entry,
    GiftRead,
    GiftResult,
    GiftSent,
    Headers,
    PartitionMetadata,
    Reason,
    RecordRefused,
    Trouble,
    WindowKey,
)
from consumer.core.scheduler import Scheduler

NOW_MS = 1_000_000
WALL_MS = 1_700_000_000_000
APP_ID = 7
RULES = CheckRules()

EXAMPLES = settings.get_profile(settings.get_current_profile_name()).max_examples
"""How many examples a property is tried with; stories of many steps take a share of them."""

Ending = CheckAnswered | CheckLost | CheckNotWritten
Api = Callable[[Check, int], tuple[int, Ending]]
"""What becomes of a check written at an instant: after how many milliseconds it ends, and how."""


def make_record(
    offset: int,
    *,
    msg_id: str | None = None,
    room_id: str = "room",
    game: str = "game",
    sent_at: int = WALL_MS,
    timestamp_ms: int | None = None,
    headers: Headers = (),
    keyed_by_room: bool = True,
) -> GiftRead:
    """A gift-sent record; its MsgId is `m<offset>` unless told."""
    sent = GiftSent(room_id, game, msg_id or f"m{offset}", sent_at)
    stamped_ms = sent_at if timestamp_ms is None else timestamp_ms
    return GiftRead(offset, stamped_ms, APP_ID, sent, headers, keyed_by_room)


def make_refused(offset: int) -> RecordRefused:
    """A record that is no gift."""
    return RecordRefused(offset, WALL_MS, Reason.NOT_AVRO, "no magic byte", b"room", b"garbage")


def make_gift(
    *,
    msg_id: str = "m0",
    sent_at: int = WALL_MS,
    offset: int = 0,
    now_ms: int = NOW_MS,
    wall_ms: int = WALL_MS,
    rules: CheckRules = RULES,
    clock_lead_ms: int = 0,
) -> Gift:
    """A gift that arrives at `now_ms`, by default in the moment it was sent."""
    record = make_record(offset, msg_id=msg_id, sent_at=sent_at)
    return pending_gift(
        record, now_ms=now_ms, wall_ms=wall_ms, rules=rules, clock_lead_ms=clock_lead_ms
    )


def waiting(gifts: list[Gift], hazard: Hazard, now_ms: int) -> float:
    """What the gifts that are not in flight have collected: the definition, gift by gift."""
    collected = []
    for gift in gifts:
        if gift.in_flight:
            continue
        if now_ms >= gift.proof_ms:
            collected.append(float(now_ms - max(gift.since_ms, gift.proof_ms)))
        else:
            rate = hazard.rates_per_ms[age_class(now_ms - gift.start_ms)]
            collected.append(rate * (now_ms - gift.since_ms) ** 2 / 2)
    return math.fsum(collected)


def make_entry(
    msg_id: str = "m0", *, result: int = 0, message: str | None = None, timestamp_ms: int = WALL_MS
) -> Entry:
    """The API's word about a gift, by default that it was consumed."""
    return Entry(msg_id, result, message, timestamp_ms)


def make_window_key(
    room_id: str = "room", game: str = "game", *, partition: int = 0, app_id: int = APP_ID
) -> WindowKey:
    """A room window's key."""
    return WindowKey(partition, app_id, room_id, game)


def make_metadata(
    *,
    instance: str = "pod-9",
    cut_wall_ms: int = WALL_MS,
    drained: bool = False,
    answered: bytes = b"",
) -> PartitionMetadata:
    """What a predecessor left written, by default another one that did not drain."""
    return PartitionMetadata(instance, cut_wall_ms, 0, drained, answered)


def encode_metadata(metadata: PartitionMetadata, limit: TextLimit | None = None) -> str:
    """The text of a progress that fits, by default within what a broker takes."""
    limit = limit or TextLimit()
    text = draft_metadata(metadata, limit).text(limit)
    assert text is not None
    return text


def make_assigned(
    partition: int = 0,
    *,
    epoch: int = 1,
    offset: int = 0,
    metadata: PartitionMetadata | None = None,
) -> PartitionAssigned:
    """An assignment, by default the very first."""
    return PartitionAssigned(partition, epoch, offset, 0, metadata)


def never_answer(check: Check, now_ms: int) -> tuple[int, Ending]:
    """An API that is down: every check is given up after the request time-out."""
    del now_ms
    return RULES.request_timeout_ms, make_loss(check)


def say_absent(check: Check, now_ms: int) -> tuple[int, Ending]:
    """An API that answers at once and knows of no gift."""
    del now_ms
    return 10, CheckAnswered(check.check_id, Answer(0, "success"))


def say_consumed(check: Check, now_ms: int) -> tuple[int, Ending]:
    """An API that answers at once and says of every gift that it was consumed."""
    del now_ms
    entries = tuple(make_entry(msg_id) for msg_id in check.msg_ids)
    return 10, CheckAnswered(check.check_id, Answer(0, "success", "req", entries))


def make_loss(check: Check, *, stale_connection: bool = False) -> CheckLost:
    """No answer within the request time-out, or a reused connection that was closed."""
    return CheckLost(
        check.check_id, Trouble.TRANSIENT, "no answer within 3 s", None, stale_connection
    )


class Harness:
    """One Scheduler in virtual time.

    `turn` does what a runner's turn does; `run` lets time pass, ends checks as `api` says, and
    commits whenever something wants to be committed, at most every 50 ms, unless `commits` is off.
    """

    def __init__(
        self,
        *,
        rules: CheckRules = RULES,
        instance: str = "pod-0",
        api: Api | None = None,
        now_ms: int = NOW_MS,
        hazards: Hazards | None = None,
    ) -> None:
        self.scheduler = Scheduler(
            rules,
            instance=instance,
            hazards=LearnedHazards() if hazards is None else hazards,
            jitter=lambda: 0.0,
        )
        self.api = api
        self.now_ms = now_ms
        self.start_wall_ms = WALL_MS
        self.commits = True
        self.sent: list[tuple[int, Check]] = []
        self.told: list[
            PauseIntake | ResumeIntake | ReportTrouble | ReportGiveUps | ReportFault
        ] = []
        self.cuts: list[Cut] = []
        self.cut_instants: list[int] = []
        self._endings: list[tuple[int, int, Ending]] = []
        self._order = itertools.count()

    @property
    def wall_ms(self) -> int:
        """Unix time; it goes as the monotonic clock does, unless `start_wall_ms` is changed."""
        return self.now_ms - NOW_MS + self.start_wall_ms

    @property
    def results(self) -> list[GiftResult]:
        """Everything committed, in order."""
        return [result for cut in self.cuts for result in cut.results]

    def handle(self, *events: Input) -> None:
        """Tell the core what happened, now."""
        for event in events:
            self.scheduler.handle(event, self.now_ms, self.wall_ms)

    def read(
        self,
        *records: GiftRead | RecordRefused,
        partition: int = 0,
        epoch: int = 1,
        next_offset: int | None = None,
    ) -> None:
        """Records of a partition arrive now."""
        end = records[-1].offset + 1 if next_offset is None else next_offset
        self.handle(RecordsRead(partition, epoch, records, end))

    def assign(self, assigned: PartitionAssigned | None = None) -> None:
        """A partition is assigned, and its assignment committed, now."""
        self.handle(assigned or make_assigned())
        self.commit()

    def turn(self) -> list[Check]:
        """What is to be done now; returns the checks to write."""
        checks: list[Check] = []
        for action in self.scheduler.poll(self.now_ms):
            if isinstance(action, SendCheck):
                checks.append(action.check)
                self._write(action.check)
            else:
                self.told.append(action)
        return checks

    def only_check(self) -> Check:
        """What is to be done now, which is to write exactly one check."""
        checks = self.turn()
        assert len(checks) == 1
        return checks[0]

    def cut(self, partitions: Iterable[int] | None = None) -> Cut:
        """The cut made now, which must not be empty; it stays open."""
        chosen = None if partitions is None else frozenset(partitions)
        made = self.scheduler.cut(self.now_ms, self.wall_ms, chosen)
        assert made is not None
        return made

    def commit(self, partitions: Iterable[int] | None = None) -> Cut:
        """Cut and commit, now."""
        cut = self.cut(partitions)
        self.handle(CutCommitted(cut.cut_id))
        self.cuts.append(cut)
        self.cut_instants.append(self.now_ms)
        return cut

    def abort(self) -> Cut:
        """Cut and abort, now."""
        cut = self.cut()
        self.handle(CutAborted(cut.cut_id))
        return cut

    def answer(self, check: Check, *entries: Entry, code: int = 0) -> None:
        """The API answers a check, now."""
        self.handle(CheckAnswered(check.check_id, Answer(code, "said", "req", entries)))

    def run(self, for_ms: int) -> None:
        """Let time pass; at its end, everything due then has happened."""
        until_ms = self.now_ms + for_ms
        next_commit_ms = self.now_ms
        while True:
            self._end_checks()
            self.turn()
            wants = self.commits and self.scheduler.wants_cut()
            if wants and self.now_ms >= next_commit_ms:
                next_commit_ms = self.now_ms + self._commit_if_any()
                self.turn()
            instants = [
                self.scheduler.next_wakeup(),
                self._endings[0][0] if self._endings else None,
            ]
            if self.commits and self.scheduler.wants_cut():
                instants.append(next_commit_ms)
            ahead = [max(at_ms, self.now_ms + 1) for at_ms in instants if at_ms is not None]
            if min(ahead, default=until_ms + 1) > until_ms:
                break
            self.now_ms = min(ahead)
        self.now_ms = until_ms

    def _write(self, check: Check) -> None:
        self.sent.append((self.now_ms, check))
        if self.api is not None:
            after_ms, ending = self.api(check, self.now_ms)
            heapq.heappush(self._endings, (self.now_ms + after_ms, next(self._order), ending))

    def _end_checks(self) -> None:
        while self._endings and self._endings[0][0] <= self.now_ms:
            self.handle(heapq.heappop(self._endings)[2])

    def _commit_if_any(self) -> int:
        """Returns after how many milliseconds the next commit may come."""
        cut = self.scheduler.cut(self.now_ms, self.wall_ms)
        if cut is None:
            return 50
        self.handle(CutCommitted(cut.cut_id))
        self.cuts.append(cut)
        self.cut_instants.append(self.now_ms)
        return max(50, cut.interval_ms)
