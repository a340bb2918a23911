"""A small world for the core: a log, a group's committed progress, an API, a clock, bad luck.

One process owns all partitions; it loses some, gets them back, dies, and is followed by itself or
by another. Everything that happens is drawn from one seed. What the world writes down is what a
reader of the topics, and a server that may count a request anywhere between its sending and its
answer, would see.
"""

import bisect
import heapq
import itertools
import random
from collections import defaultdict
from dataclasses import dataclass, field

from consumer.core.gift import Identity
from consumer.core.learning import LearnedHazards
from consumer.core.messages import (
    CheckAnswered,
    CheckNotWritten,
    CutAborted,
    CutCommitted,
    DrainStarted,
    Input,
    PartitionAssigned,
    PartitionRevoked,
    PauseIntake,
    RecordsRead,
    ResumeIntake,
    SendCheck,
)
from consumer.core.metadata import decode_metadata
from consumer.core.model import Answer, Check, CheckRules, Cut, GiftRead, GiftResult, RecordRefused
from consumer.core.scheduler import Scheduler
from tests.core.builders import (
    APP_ID,
    NOW_MS,
    WALL_MS,
    Ending,
    make_entry,
    make_loss,
    make_record,
    make_refused,
)

RULES = CheckRules(timeout_ms=4_000, settle_ms=200, give_up_after_ms=0, batch_size_max=2)
PARTITIONS = 3
ROOMS = 4
COMMIT_MS = 15
SESSION_MS = 10_000
RESTART_MS = 1_100


@dataclass
class Travel:
    """A request under way: the server may count it at any instant of [sent, end]."""

    room: str
    sent_ms: int
    end_ms: int
    lost: bool = False


@dataclass
class Topic:
    """One partition of gift-sent, and what the group has committed about it."""

    records: list[GiftRead | RecordRefused] = field(default_factory=list)
    end: int = 0
    committed: int = 0
    metadata: str | None = None


class Process:
    """One life of the consumer: its core, what it owns, and what it has under way."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self.name = name
        self.core = Scheduler(RULES, instance=name, hazards=LearnedHazards(), jitter=dice.random)
        self.epochs: dict[int, int] = {}
        self.positions: dict[int, int] = {}
        self.answered: dict[int, set[int]] = {}
        self.paused: set[int] = set()
        self.draining: dict[int, int] = {}
        self.endings: list[tuple[int, int, Ending, Travel | None]] = []
        self.open_cut: tuple[int, Cut, bool] | None = None


class World:
    """Runs a script drawn from a seed, and remembers what the outside has seen."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now_ms = NOW_MS
        self.topics = [Topic() for _ in range(PARTITIONS)]
        self.fates: dict[Identity, int | None] = {}
        self.sent: dict[str, Identity] = {}
        self.poisoned: set[str] = set()
        self.results: list[GiftResult] = []
        self.dead_letters: set[tuple[int, int]] = set()
        self.travels: list[Travel] = []
        self.answers: list[tuple[int, int]] = []
        self.lives = 0
        self._order = itertools.count()
        self._away: dict[int, int] = {}
        self._down_until_ms = 0
        self._born_ms = NOW_MS
        self._name = "pod-0"
        self._process: Process | None = None
        self._calm = False

    @property
    def wall_ms(self) -> int:
        """Unix time; it goes as the monotonic clock does."""
        return self.now_ms - NOW_MS + WALL_MS

    def run(self, troubled_ms: int, calm_ms: int) -> None:
        """Trouble for a while, then none: everything has time to come to an end."""
        end_ms = self.now_ms + troubled_ms
        happens_ms = self.now_ms
        while self.now_ms < end_ms + calm_ms:
            self._calm = self.now_ms >= end_ms
            if not self._calm and self.now_ms >= happens_ms:
                self._happen()
                happens_ms = self.now_ms + self.dice.randint(1, 400)
            self._turn()
            self.now_ms = max(self.now_ms + 1, min(self._next_ms(), happens_ms))
            if self._calm and self._is_done():
                break

    # --- what happens ---------------------------------------------------------------------------

    def _happen(self) -> None:
        """Something from outside: mostly records."""
        what = self.dice.choices(
            ("records", "burst", "lose", "drain", "outage", "die"), (60, 4, 4, 4, 1, 2)
        )[0]
        match what:
            case "records":
                self._produce(self.dice.randint(1, 5), self.dice.randrange(ROOMS))
            case "burst":
                self._produce(90, self.dice.randrange(ROOMS))
            case "outage":
                self._down_until_ms = self.now_ms + self.dice.randint(100, 12_000)
            case "lose" | "drain" | "die" if self._process is None:
                pass
            case "die":
                self._die()
            case _:
                self._move(drain=what == "drain")

    def _produce(self, count: int, room: int) -> None:
        number = self.dice.randrange(PARTITIONS)
        topic = self.topics[number]
        for _ in range(count):
            topic.end += self.dice.choice((0, 0, 0, 0, 1, 7))
            if self.dice.random() < 0.05:
                topic.records.append(make_refused(topic.end))
            else:
                topic.records.append(self._gift(number, topic, room))
            topic.end += 1

    def _gift(self, number: int, topic: Topic, room: int) -> GiftRead:
        gifts = [record for record in topic.records[-30:] if isinstance(record, GiftRead)]
        if gifts and self.dice.random() < 0.1:
            return self.dice.choice(gifts)._replace(offset=topic.end, timestamp_ms=self.wall_ms)
        gift = make_record(
            topic.end,
            msg_id=f"p{number}-{topic.end}",
            room_id=f"p{number}-{room}",
            sent_at=self.wall_ms - self.dice.randint(0, 50),
        )
        consumed_ms = self.wall_ms + int(self.dice.expovariate(1 / 500))
        never = self.dice.random() < 0.2 or consumed_ms > gift.sent.sent_at + RULES.timeout_ms
        self.sent[gift.sent.msg_id] = identity_of(gift)
        if self.dice.random() < 0.03:
            self.poisoned.add(gift.sent.msg_id)
        self.fates[identity_of(gift)] = None if never else consumed_ms
        return gift

    def _move(self, *, drain: bool) -> None:
        """A partition is taken away, after its last cut or without one, and comes back later."""
        process = self._process
        assert process is not None
        owned = [number for number in process.epochs if number not in process.draining]
        if not owned:
            return
        number = self.dice.choice(owned)
        if drain:
            process.draining[number] = self.now_ms + 1_000
            self._handle(DrainStarted(frozenset({number})))
        else:
            self._revoke(number)

    def _revoke(self, number: int) -> None:
        process = self._process
        assert process is not None
        self._handle(PartitionRevoked(number, process.epochs.pop(number)))
        process.draining.pop(number, None)
        process.paused.discard(number)
        self._away[number] = self.now_ms + self.dice.randint(0, 3_000)

    def _die(self) -> None:
        """The process is gone; what it has sent may still travel."""
        process = self._process
        assert process is not None
        cut = process.open_cut[1] if process.open_cut is not None else None
        if cut is not None and self._is_member(cut) and self.dice.random() < 0.5:
            self._write(cut)
        for *_, travel in process.endings:
            if travel is not None:
                travel.lost, travel.end_ms = True, self.now_ms
        self._process = None
        self._away.clear()
        if self.dice.random() < 0.5:
            self._born_ms = self.now_ms + RESTART_MS
        else:
            self._name = f"pod-{self.lives}"
            self._born_ms = self.now_ms + SESSION_MS

    # --- one turn -------------------------------------------------------------------------------

    def _turn(self) -> None:
        if self._process is None:
            if self.now_ms < self._born_ms:
                return
            self.lives += 1
            self._process = Process(self._name, self.dice)
            self._away = dict.fromkeys(range(PARTITIONS), self.now_ms)
        process = self._process
        self._assign()
        while process.endings and process.endings[0][0] <= self.now_ms:
            self._end_check(*heapq.heappop(process.endings)[2:])
        self._read()
        self._commit()
        for action in process.core.poll(self.now_ms):
            match action:
                case SendCheck():
                    self._send(action.check)
                case PauseIntake():
                    process.paused.add(action.partition)
                case ResumeIntake():
                    process.paused.discard(action.partition)

    def _handle(self, event: Input) -> None:
        assert self._process is not None
        self._process.core.handle(event, self.now_ms, self.wall_ms)

    def _assign(self) -> None:
        process = self._process
        assert process is not None
        for number, at_ms in sorted(self._away.items()):
            if at_ms > self.now_ms or process.open_cut is not None:
                continue
            del self._away[number]
            topic = self.topics[number]
            epoch = process.epochs[number] = next(self._order) + 1
            metadata = decode_metadata(topic.metadata) if topic.metadata else None
            process.positions[number] = topic.committed
            process.answered[number] = self.answered_offsets(number)
            self._handle(PartitionAssigned(number, epoch, topic.committed, 0, metadata))

    def _read(self) -> None:
        """A few records of each partition; those that the committed map answers are skipped."""
        process = self._process
        assert process is not None
        for number, epoch in process.epochs.items():
            topic, position = self.topics[number], process.positions[number]
            if number in process.paused or position >= topic.end:
                continue
            first = bisect.bisect_left(topic.records, position, key=lambda record: record.offset)
            ahead = topic.records[first : first + 40]
            end = ahead[-1].offset + 1 if ahead else topic.end
            answered = process.answered[number]
            fresh = tuple(record for record in ahead if record.offset not in answered)
            process.positions[number] = end
            self._handle(RecordsRead(number, epoch, fresh, end))

    def answered_offsets(self, number: int) -> set[int]:
        """What the committed offset and map of a partition claim to be answered."""
        topic = self.topics[number]
        if topic.metadata is None:
            return set(range(topic.committed))
        answered, base = decode_metadata(topic.metadata).answered, topic.committed // 8 * 8
        bits = {base + n for n in range(len(answered) * 8) if answered[n // 8] >> n % 8 & 1}
        return bits | set(range(topic.committed))

    # --- cuts -----------------------------------------------------------------------------------

    def _commit(self) -> None:
        """The open transaction ends, a drained partition is handed over, or a cut is made."""
        process = self._process
        assert process is not None
        if process.open_cut is not None:
            at_ms, cut, commits = process.open_cut
            if self.now_ms < at_ms:
                return
            process.open_cut = None
            if commits and self._is_member(cut):
                self._write(cut)
                self._handle(CutCommitted(cut.cut_id))
            else:
                self._handle(CutAborted(cut.cut_id))
        for number, until_ms in list(process.draining.items()):
            if self.now_ms >= until_ms or not process.core.in_flight_of(frozenset({number})):
                last = process.core.cut(self.now_ms, self.wall_ms, frozenset({number}))
                if last is not None:
                    self._write(last)
                    self._handle(CutCommitted(last.cut_id))
                self._revoke(number)
        if process.core.wants_cut():
            made = process.core.cut(self.now_ms, self.wall_ms)
            if made is not None:
                commits = self._calm or self.dice.random() > 0.15
                process.open_cut = (self.now_ms + COMMIT_MS, made, commits)

    def _is_member(self, cut: Cut) -> bool:
        """Whether the group still takes these offsets: the fence."""
        process = self._process
        assert process is not None
        return all(process.epochs.get(one.partition) == one.epoch for one in cut.offsets)

    def _write(self, cut: Cut) -> None:
        """A transaction is committed: results, dead letters and progress, all of it."""
        for offset in cut.offsets:
            topic = self.topics[offset.partition]
            topic.committed, topic.metadata = offset.offset, offset.metadata
        self.results += cut.results
        self.dead_letters |= {(one.partition, one.record.offset) for one in cut.dead_letters}
        for offset in cut.offsets:
            self._prove_progress(offset.partition)

    def _prove_progress(self, number: int) -> None:
        """No committed progress claims a gift whose result is not committed."""
        answered = self.answered_offsets(number)
        told: dict[str, int] = {}
        for result in self.results:
            if result.source_partition == number:
                lowest = told.get(result.result_id, result.source_offset)
                told[result.result_id] = min(lowest, result.source_offset)
        for record in self.topics[number].records:
            if record.offset not in answered:
                continue
            if isinstance(record, RecordRefused):
                assert (number, record.offset) in self.dead_letters
            else:
                assert told[identity_of(record).result_id()] <= record.offset

    # --- checks ---------------------------------------------------------------------------------

    def _send(self, check: Check) -> None:
        process = self._process
        assert process is not None
        travel: Travel | None = None
        after_ms, ending = self._reply(check)
        if not isinstance(ending, CheckNotWritten):
            assert self.now_ms < check.write_before_ms
            travel = Travel(check.room_id, self.now_ms, self.now_ms)
            self.travels.append(travel)
        at_ms = self.now_ms + after_ms
        heapq.heappush(process.endings, (at_ms, next(self._order), ending, travel))

    def _reply(self, check: Check) -> tuple[int, Ending]:
        """What becomes of a check: mostly an answer, from an instant somewhere on the way."""
        luck = 1.0 if self._calm else self.dice.random()
        if self.now_ms < self._down_until_ms or luck < 0.03:
            return RULES.request_timeout_ms, make_loss(check)
        if luck < 0.04:
            return 5, CheckNotWritten(check.check_id, "connection refused")
        if luck < 0.05:
            return 5, make_loss(check, stale_connection=True)
        after_ms = self.dice.choice((5, 20, 30, 40, 900))
        if not self._calm and not self.poisoned.isdisjoint(check.msg_ids):
            return after_ms, CheckAnswered(check.check_id, Answer(2, "poisoned"))
        if luck < 0.09:
            # Called bad at random, a lone id would in the end be called poisoned.
            bad = 2 if len(check.msg_ids) > 1 else 1
            code = self.dice.choice((1, 7, 3, bad, 7_202_001, 99))
            return after_ms, CheckAnswered(check.check_id, Answer(code, "trouble"))
        seen_ms = self.wall_ms + self.dice.randint(0, after_ms)
        entries = tuple(
            make_entry(who.msg_id, timestamp_ms=who.sent_at)
            for who in self._asked(check)
            if (consumed_ms := self.fates[who]) is not None and consumed_ms <= seen_ms
        )
        complete = luck > 0.12
        return after_ms, CheckAnswered(
            check.check_id, Answer(0, "success", "req", entries, complete)
        )

    def _asked(self, check: Check) -> list[Identity]:
        return [self.sent[msg_id] for msg_id in check.msg_ids]

    def _end_check(self, ending: Ending, travel: Travel | None) -> None:
        if travel is not None:
            travel.end_ms = self.now_ms
            travel.lost = not isinstance(ending, CheckAnswered)
            if not travel.lost:
                self.answers.append((travel.sent_ms, self.now_ms))
        self._handle(ending)

    # --- the end --------------------------------------------------------------------------------

    def _next_ms(self) -> int:
        process = self._process
        if process is None:
            return self._born_ms
        instants = [process.core.next_wakeup(), *self._away.values(), *process.draining.values()]
        if process.endings:
            instants.append(process.endings[0][0])
        if process.open_cut is not None:
            instants.append(process.open_cut[0])
        return min((at_ms for at_ms in instants if at_ms is not None), default=self.now_ms + 1_000)

    def _is_done(self) -> bool:
        return all(
            topic.committed == (topic.records[-1].offset + 1 if topic.records else 0)
            for topic in self.topics
        )

    def requests_a_second_max(self) -> int:
        """The most requests of any room that a server could count in any half-open second.

        A lost one may arrive until a check sent later is answered: then the server's queue is
        empty; or until the hold is over.
        """
        changes: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for travel in self.travels:
            end_ms = travel.end_ms
            if travel.lost:
                later = [at_ms for sent_ms, at_ms in self.answers if sent_ms > travel.end_ms]
                end_ms = min([*later, travel.end_ms + RULES.unknown_hold_max_ms - 1_000])
            # [t, t + 1000) holds it for t from sent - 999 to end, both inclusive.
            changes[travel.room] += [(travel.sent_ms - 999, 1), (end_ms + 1, -1)]
        return max(
            (max(itertools.accumulate(c for _, c in sorted(steps))) for steps in changes.values()),
            default=0,
        )


def identity_of(record: GiftRead) -> Identity:
    """The gift that a record tells of."""
    sent = record.sent
    return Identity(APP_ID, sent.room_id, sent.mini_game_id, sent.msg_id, sent.sent_at)
