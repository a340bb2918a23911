"""The promises, each with its checker; `Judge` hands them what happens.

A checker looks at what a reader of the topics, the vendor's server or the machine would see,
never at what the consumer says of itself, but for the bounds of its own queues.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from consumer.adapters.avro import decode_result
from consumer.core.metadata import decode_metadata
from consumer.core.model import GiftResult, Status
from consumer.core.reaction import JITTER, RETRY
from consumer.core.verdict import SAME_GIFT_MS, TIMESTAMP_MISMATCH
from consumer.simulator import Arrivals, Fate, Gift, Truth
from tests.simulation.history import History, Place, Sent
from tests.simulation.hub import MS
from tests.simulation.kafka.log import Record
from tests.simulation.kafka.transactions import Offsets
from tests.simulation.plan import Plan

FOREIGN_ROOM: Final = "x"
"""Rooms that begin so are not keyed by room: the limit is not promised for them."""

DRIFT_MAX: Final = 0.003

PROMPT_MS: Final = int(RETRY.longest_ms * (1 + JITTER)) + 2_000
"""How late a verdict may be when all is well. A room waits for its longest back-off, 10 s, where an
older gift of it cannot be proven absent yet (taken in by a clock that led, answered without a
`Date`); a request and a transaction come on top. Else it is an old gift of a thrifty configuration:
8 s."""

BATCH_MAX: Final = 2_000
"""Records of one turn of the Kafka thread (`session.MESSAGES_MAX`)."""

ROOM_IN_FLIGHT_MAX: Final = 4

LEASE_INEXACT_MS: Final = 10
"""The lease is measured by the monotonic clock, which drifts; and both are rounded."""

TOO_OLD_MS: Final = 89 * 86_400_000
"""Further back no check looks (`gift.is_too_old`)."""

_REFUSING: Final = frozenset({"api bad", "api poison", "api size"})


class Violation(NamedTuple):
    """A promise that was not kept, in words."""

    checker: str
    text: str


class Case(NamedTuple):
    """What all checkers know."""

    plan: Plan
    history: History
    truth: Truth
    arrivals: Arrivals
    tell: Callable[[str, str], None]

    @property
    def steps(self) -> bool:
        """Whether some wall clock is set wrong on the way."""
        return any(trouble.kind == "clock step" for trouble in self.plan.troubles)


class ExactlyOneResult:
    """P1: exactly one result for each gift-sent record, as a `read_committed` reader sees it.

    Records of one gift that are pending together share the result of the lowest offset.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._results: dict[Place, tuple[GiftResult, int]] = {}
        self._by_gift: dict[tuple[int, Gift], list[Place]] = {}

    def result(self, result: GiftResult, now_ms: int) -> None:
        """A transaction with this result is committed."""
        place = result.source_partition, result.source_offset
        sent = self._case.history.sent.get(place)
        if sent is None or sent.gift is None:
            self._tell(f"a result names {place}, where there is no gift")
            return
        if place in self._results:
            self._tell(f"a second result for {place}: {result.status.value}")
            return
        if (result.sent.msg_id, result.sent.room_id) != (sent.gift.msg_id, sent.gift.room_id):
            self._tell(f"the result of {place} tells of another gift")
        self._results[place] = result, now_ms
        self._by_gift.setdefault((place[0], sent.gift), []).append(place)

    def answers(self, sent: Sent) -> bool:
        """Whether a record has its committed result, or shares one."""
        if sent.place in self._results:
            return True
        assert sent.gift is not None
        partition, offset = sent.place
        return any(
            other[1] < offset and self._results[other][1] >= sent.written_ms
            for other in self._by_gift.get((partition, sent.gift), ())
        )

    def end(self) -> None:
        """All has settled: nothing may be missing."""
        missing = [
            sent.place
            for sent in self._case.history.sent.values()
            if sent.gift is not None and not self.answers(sent)
        ]
        if missing:
            self._tell(f"{len(missing)} records without a result, the first is {missing[0]}")

    def _tell(self, text: str) -> None:
        self._case.tell("P1 exactly one result", text)


class WithinTheLimit:
    """P2: never more than the permitted requests of a room in any half-open second, on arrival."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def end(self) -> None:
        """Look through the whole record of arrivals."""
        permits = self._case.plan.rules.room_permits
        times: dict[tuple[int, str], list[int]] = {}
        for arrival in self._case.arrivals:
            if not arrival.room_id.startswith(FOREIGN_ROOM):
                times.setdefault((arrival.app_id, arrival.room_id), []).append(arrival.time_us)
        for (_, room), times_us in times.items():
            for first, last in zip(times_us, times_us[permits:], strict=False):
                if last - first < 1_000 * MS:
                    text = f"room {room} got {permits + 1} requests within {(last - first) / MS} ms"
                    self._case.tell("P2 within the limit", f"{text}, from {first // MS} on")
                    return


class WithinTheLease:
    """P2: a process asks about a partition only within the lease of its last committed cut.

    Asking is writing the request; the lease counts from the wall time in the cut's metadata.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._cuts: dict[tuple[str, int], int] = {}

    def transaction(self, offsets: Offsets) -> None:
        """A transaction is committed."""
        for partition, (_, metadata) in offsets.items():
            written = decode_metadata(metadata)
            self._cuts[written.instance, partition] = written.cut_wall_ms

    def written(self, instance: str, partition: int, room_id: str, wall_ms: int) -> None:
        """A check was written, at that time of the pod's own wall clock."""
        if room_id.startswith(FOREIGN_ROOM) or self._case.steps:
            return
        cut_ms = self._cuts.get((instance, partition))
        if cut_ms is None or wall_ms > cut_ms + self._case.plan.rules.lease_ms + LEASE_INEXACT_MS:
            age = "without one" if cut_ms is None else f"{wall_ms - cut_ms} ms after it"
            text = f"{instance} asks about {room_id} without the lease of a cut: {age}"
            self._case.tell("P2 within the lease", text)


class NoFalseVerdict:
    """P3: what a result says is true, and UNVERIFIED is never said without having asked."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def result(self, result: GiftResult, now_ms: int) -> None:
        """Judge a committed result by truth and arrivals."""
        place = result.source_partition, result.source_offset
        sent = self._case.history.sent.get(place)
        if sent is None or sent.gift is None:
            return  # P1 tells
        fate = self._case.truth.fate(sent.gift)
        if fate is None:
            self._tell(place, "of a gift the API was never told of")
            return
        if result.status is Status.UNVERIFIED:
            self._unverified(result, sent, now_ms)
            return
        arrival = self._case.arrivals.by_request_id(result.request_id or "")
        if arrival is None:
            self._tell(place, f"{result.status.value} by an answer to no request that arrived")
        elif arrival.code != 0 or sent.gift.msg_id not in arrival.msg_ids:
            self._tell(place, f"{result.status.value} by {result.request_id}, no answer about it")
        elif result.status is Status.UNCONSUMED:
            self._unconsumed(result, sent, fate, arrival.wall_ms)
        else:
            self._consumed(result, sent, fate, arrival.wall_ms)

    def _consumed(self, result: GiftResult, sent: Sent, fate: Fate, arrived_ms: int) -> None:
        expected = Status.SUCCEEDED if fate.result_code == 0 else Status.FAILED
        if fate.consumed_wall_ms is None or fate.consumed_wall_ms > arrived_ms:
            self._tell(sent.place, f"{result.status.value} before it was consumed")
        elif (result.status, result.result_code) != (expected, fate.result_code):
            self._tell(sent.place, f"{result.status.value} instead of {expected.value}")

    def _unconsumed(self, result: GiftResult, sent: Sent, fate: Fate, arrived_ms: int) -> None:
        rules, skew_ms = self._case.plan.rules, self._case.plan.skew_max_us // MS
        deadline_ms = sent.written_ms + rules.timeout_ms
        inexact_ms = skew_ms + 2 + int(DRIFT_MAX * (rules.timeout_ms + rules.settle_ms))
        consumed_ms = fate.consumed_wall_ms
        if consumed_ms is not None and consumed_ms <= deadline_ms - inexact_ms:
            late_ms = deadline_ms - consumed_ms
            self._tell(sent.place, f"UNCONSUMED, but consumed {late_ms} ms before its deadline")
        elif not self._case.steps and not 0 <= deadline_ms - result.deadline <= skew_ms + 1:
            self._tell(sent.place, f"deadline {result.deadline} instead of {deadline_ms}")
        earliest_ms = deadline_ms - inexact_ms + (0 if self._case.steps else rules.settle_ms)
        if arrived_ms < earliest_ms:
            early_ms = earliest_ms - arrived_ms
            self._tell(sent.place, f"UNCONSUMED by a check that came {early_ms} ms too early")

    def _unverified(self, result: GiftResult, sent: Sent, now_ms: int) -> None:
        assert sent.gift is not None
        rules, reason = self._case.plan.rules, result.reason or ""
        asked_ms = self._case.history.asked_ms.get(sent.gift[:4])
        if asked_ms is None or asked_ms < sent.written_ms:
            self._tell(sent.place, f"UNVERIFIED ({reason}) without having asked")
        if reason.startswith("gave up early"):
            return
        if reason.startswith("gave up"):
            age_ms = now_ms - sent.written_ms
            if rules.give_up_after_ms == 0 or age_ms < rules.give_up_after_ms - 500:
                self._tell(sent.place, f"given up after only {age_ms} ms")
            return
        if sent.written_ms - sent.gift.timestamp_ms > TOO_OLD_MS:
            return
        if reason == TIMESTAMP_MISMATCH and self._has_namesake(sent.gift):
            return
        if not self._case.history.had(_REFUSING, sent.written_ms, now_ms):
            self._tell(sent.place, f"UNVERIFIED without need: {reason}")

    def _has_namesake(self, gift: Gift) -> bool:
        """Whether the API was told of this MsgId on another day, too."""
        others = (other.gift for other in self._case.history.sent.values() if other.gift)
        return any(
            other[:4] == gift[:4] and abs(other.timestamp_ms - gift.timestamp_ms) >= SAME_GIFT_MS
            for other in others
        )

    def _tell(self, place: Place, text: str) -> None:
        self._case.tell("P3 no false verdict", f"{place}: {text}")


class VerdictsNeverChange:
    """Once the game's word on a gift is published, no result says otherwise."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._said: dict[str, tuple[Status, int | None]] = {}

    def result(self, result: GiftResult, _now_ms: int) -> None:
        """A result is committed."""
        before = self._said.get(result.result_id)
        now = result.status, result.result_code
        if before is not None and now != before and result.status is not Status.UNVERIFIED:
            text = f"{result.result_id} was {before[0].value} and is {now[0].value}"
            self._case.tell("verdicts never change", text)
        if result.status in {Status.SUCCEEDED, Status.FAILED}:
            self._said.setdefault(result.result_id, now)


class NothingLost:
    """P4: what is no gift goes to the dead letters, once, byte for byte, with its reason."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._letters: set[Place] = set()

    def letter(self, record: Record) -> None:
        """A transaction with this dead letter is committed."""
        headers = {name: (value or b"").decode() for name, value in record.headers}
        partition = int(headers["giftcheck.source.partition"])
        place = partition, int(headers["giftcheck.source.offset"])
        sent = self._case.history.sent.get(place)
        if sent is None or sent.gift is not None:
            self._tell(f"{place} is no record that must be refused")
        elif place in self._letters:
            self._tell(f"a second dead letter for {place}")
        elif "giftcheck.truncated" in headers:
            if (record.value or b"") != (sent.value or b"")[: 64 * 1024]:
                self._tell(f"{place} is cut to something else than its beginning")
        elif (record.key, record.value) != (sent.key, sent.value):
            self._tell(f"{place} is not kept byte for byte")
        elif not headers.get("giftcheck.reason"):
            self._tell(f"{place} has no reason")
        self._letters.add(place)

    def holds(self, place: Place) -> bool:
        """Whether the record is among the committed dead letters."""
        return place in self._letters

    def end(self) -> None:
        """All has settled: nothing may be missing."""
        missing = [
            sent.place
            for sent in self._case.history.sent.values()
            if sent.gift is None and sent.place not in self._letters
        ]
        if missing:
            self._tell(f"{len(missing)} are missing, the first is {missing[0]}")

    def _tell(self, text: str) -> None:
        self._case.tell("P4 nothing lost", text)


class HonestProgress:
    """Progress and results agree in every committed transaction.

    It never claims a record as answered that has no committed result or dead letter; it claims
    what the same transaction answers, and never goes back.
    """

    def __init__(self, case: Case, results: ExactlyOneResult, letters: NothingLost) -> None:
        self._case = case
        self._results = results
        self._letters = letters
        self._proven: set[Place] = set()
        self._offsets: dict[int, int] = {}

    def transaction(self, answered: Iterable[Place], offsets: Offsets) -> None:
        """A transaction is committed that answers these records."""
        claims = {partition: _claimed(*at) for partition, at in offsets.items()}
        for partition, offset in answered:
            claimed = claims.get(partition)
            if claimed is None:
                self._tell(f"({partition}, {offset}) is answered without its partition's offset")
            elif not (offset < offsets[partition][0] or offset in claimed):
                self._tell(f"({partition}, {offset}) is answered, and progress does not say so")
        for partition, claimed in claims.items():
            first = self._offsets.get(partition, 0)
            for offset in (*range(first, offsets[partition][0]), *claimed):
                self._prove((partition, offset))

    def committed(self, partition: int, offset: int) -> None:
        """The group holds this offset from now on."""
        before = self._offsets.get(partition, 0)
        if offset < before:
            self._tell(f"partition {partition} went back from {before} to {offset}")
        self._offsets[partition] = offset

    def end(self) -> None:
        """All has settled: every record lies below its partition's offset."""
        pending = next(self.pending(), None)
        if pending is not None:
            self._tell(f"{pending} is still pending for its progress")

    def pending(self) -> Iterator[Place]:
        """The records at or above their partition's committed offset."""
        return (
            place for place in self._case.history.sent if place[1] >= self._offsets.get(place[0], 0)
        )

    def _prove(self, place: Place) -> None:
        if place in self._proven:
            return
        sent = self._case.history.sent.get(place)
        if sent is not None:
            if sent.gift is None and not self._letters.holds(place):
                self._tell(f"{place} counts as answered without a dead letter")
            elif sent.gift is not None and not self._results.answers(sent):
                self._tell(f"{place} counts as answered without a result")
        self._proven.add(place)

    def _tell(self, text: str) -> None:
        self._case.tell("progress is honest", text)


class Prompt:
    """P6: when all is well, a verdict comes soon after the game's or the deadline."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.latest_ms = 0

    def visible(self, result: GiftResult, now_ms: int) -> None:
        """A `read_committed` reader sees this result from now on."""
        place = result.source_partition, result.source_offset
        sent = self._case.history.sent.get(place)
        if sent is None or sent.gift is None or sent.kind != "probe":
            return
        fate = self._case.truth.fate(sent.gift)
        rules = self._case.plan.rules
        since_ms = sent.written_ms + rules.timeout_ms + rules.settle_ms
        if result.status is Status.UNVERIFIED:
            self._case.tell("P6 prompt", f"{place}: UNVERIFIED though all is well")
        elif result.status is not Status.UNCONSUMED and fate is not None and fate.consumed_wall_ms:
            since_ms = max(fate.consumed_wall_ms + self._case.plan.lag_max_ms, sent.written_ms)
        late_ms = now_ms - since_ms
        self.latest_ms = max(self.latest_ms, late_ms)
        if late_ms > PROMPT_MS:
            self._case.tell("P6 prompt", f"{place}: {result.status.value} {late_ms} ms late")


def _claimed(offset: int, metadata: str) -> set[int]:
    """The offsets above the committed one that its metadata calls answered."""
    answered = decode_metadata(metadata).answered
    start = offset // 8 * 8
    return {
        start + 8 * index + bit
        for index, byte in enumerate(answered)
        if byte
        for bit in range(8)
        if byte >> bit & 1 and start + 8 * index + bit >= offset
    }


class Judge:
    """Hands everything to the checkers that it concerns; keeps the violations."""

    def __init__(self, plan: Plan, history: History, truth: Truth, arrivals: Arrivals) -> None:
        self.violations: list[Violation] = []
        self.history = history
        self.plan = plan
        case = Case(plan, history, truth, arrivals, self.tell)
        self.results = ExactlyOneResult(case)
        self.limit = WithinTheLimit(case)
        self.lease = WithinTheLease(case)
        self.verdicts = NoFalseVerdict(case)
        self.changes = VerdictsNeverChange(case)
        self.letters = NothingLost(case)
        self.progress = HonestProgress(case, self.results, self.letters)
        self.prompt = Prompt(case)

    def tell(self, checker: str, text: str) -> None:
        """A promise was not kept."""
        self.violations.append(Violation(checker, text))

    def transaction(
        self, results: list[GiftResult], letters: list[Record], offsets: Offsets, now_ms: int
    ) -> None:
        """A transaction is committed."""
        answered: list[Place] = []
        for result in results:
            self.results.result(result, now_ms)
            self.verdicts.result(result, now_ms)
            self.changes.result(result, now_ms)
            answered.append((result.source_partition, result.source_offset))
        for letter in letters:
            self.letters.letter(letter)
        self.progress.transaction(answered, offsets)
        self.lease.transaction(offsets)

    def visible(self, record: Record, now_ms: int) -> None:
        """A record of gift-result can be read."""
        self.prompt.visible(decode_result(record.value or b""), now_ms)

    def end(self) -> None:
        """Everything should have settled."""
        self.results.end()
        self.letters.end()
        self.progress.end()
        self.limit.end()
