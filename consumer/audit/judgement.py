"""The audit's rules: it is fed records and says what is wrong with them (`consumer.audit`).

First every answer, in any order, then gift-sent, each partition in order of offsets. A record
that has no answer of its own is, in this order,

- *shared*, if its gift has a true result whose source is a lower offset of its partition;
- *missing*, if the group's progress calls it answered, or its gift should have been given up by
  now: `give_up_ms` after its start (design §3, "Deadline");
- else *pending*.
"""

from collections.abc import Mapping

from consumer.audit.answers import LETTER, NO_ANSWER, VOID, Answer, Answers, identity_bits
from consumer.audit.claims import Claim
from consumer.audit.model import FINDINGS_KEPT_MAX, Counts, Finding, Kind, Place, Report, Scope
from consumer.core.gift import Identity
from consumer.core.model import GiftRead, GiftResult, RecordRefused


class Audit:
    """Takes records, keeps what it must, and reports.

    Args:
        scope: what is audited; answers to anything else are counted as outside.
        claims: the group's progress by partition, as far as it is known, read before the outputs.
        give_up_ms: how long after its start a record without an answer is missing.
        now_wall_ms: the instant that is judged at: when the ends of the logs were read.
        topics: the names of gift-sent, gift-result and the dead letters, for findings.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        claims: Mapping[int, Claim],
        give_up_ms: int,
        now_wall_ms: int,
        topics: tuple[str, str, str] = ("gift-sent", "gift-result", "gift-sent.dlq"),
    ) -> None:
        self._scope = scope
        self._claims = claims
        self._give_up_ms = give_up_ms
        self._now_wall_ms = now_wall_ms
        self._sent_topic, self._result_topic, self._letter_topic = topics
        self._answers = Answers(scope.sources)
        self._next = {partition: source.begin for partition, source in scope.sources.items()}
        self._findings: dict[Kind, list[Finding]] = {kind: [] for kind in Kind}
        self.counts = Counts()

    @property
    def size_bytes(self) -> int:
        """What is kept for judging, findings aside."""
        return self._answers.size_bytes

    def result(self, partition: int, offset: int, result: GiftResult) -> None:
        """A record of gift-result."""
        self.counts.results += 1
        try:
            identity = identity_bits(result.result_id)
        except ValueError:
            self.unreadable_result(partition, offset, f"result_id is {result.result_id[:40]!r}")
            return
        source = Place(self._sent_topic, result.source_partition, result.source_offset)
        index = self._place(Answer(partition, offset, result.status), identity, source)
        if index is not None:
            self._compare(index, source)

    def unreadable_result(self, partition: int, offset: int, why: str) -> None:
        """A record of gift-result that this release cannot have written."""
        at = Place(self._result_topic, partition, offset)
        self._find(Kind.FOREIGN, at, None, f"no gift-result: {why}")

    def dead_letter(
        self, partition: int, offset: int, source_partition: int, source_offset: int
    ) -> None:
        """A record of the dead letters that names this record of gift-sent as its source."""
        self.counts.dead_letters += 1
        source = Place(self._sent_topic, source_partition, source_offset)
        self._place(Answer(partition, offset, None), LETTER, source)

    def unreadable_letter(self, partition: int, offset: int, why: str) -> None:
        """A record of the dead letters that does not say where it is from."""
        self.counts.dead_letters += 1
        self._find(Kind.FOREIGN, Place(self._letter_topic, partition, offset), None, why)

    def sent(self, partition: int, record: GiftRead | RecordRefused) -> None:
        """The next record of gift-sent in a partition; all answers have been fed."""
        index = self._answers.index(partition, record.offset)
        if index is None:
            return
        self._pass(partition, record.offset)
        self.counts.records += 1
        if isinstance(record, GiftRead):
            self.counts.gifts += 1
            self._judge_gift(partition, index, record)
        else:
            self._judge_refused(partition, index, record)

    def report(self) -> Report:
        """The last word, after all of gift-sent: what is answered behind its end is foreign."""
        for partition, source in self._scope.sources.items():
            self._pass(partition, source.end)
        found = tuple(finding for kind in Kind for finding in self._findings[kind])
        return Report(counts=self.counts, findings=found)

    def _place(self, answer: Answer, identity: int, source: Place) -> int | None:
        """Keep an answer at its source and return the index; None if there is nothing to keep."""
        at = self._at(answer)
        index = self._answers.index(source.partition, source.offset)
        if index is None:
            log = self._scope.log.get(source.partition)
            if log is None or source.offset >= log.end:
                self._find(Kind.FOREIGN, at, source, "its source does not exist")
            else:
                self.counts.outside += 1
            return None
        if self._answers.identity(index) != NO_ANSWER:
            first = self._at(self._answers.answer(index))
            detail = f"its source is answered already, at {_named(first)}"
            self._find(Kind.DUPLICATE, at, source, detail)
            self._contradict(index, answer, identity, source)
            return None
        self._answers.put(index, identity, answer)
        return index

    def _contradict(self, index: int, answer: Answer, identity: int, source: Place) -> None:
        """Compare a doubled result, which is not kept, with the first."""
        first = self._answers.answer(index)
        if self._answers.identity(index) == identity and first.status is not answer.status:
            self._find_contradiction(answer, source, first)

    def _compare(self, index: int, source: Place) -> None:
        """Compare a result with an earlier one of the same gift."""
        other = self._answers.enter(index)
        if other is None:
            return
        self.counts.repeated += 1
        answer, first = self._answers.answer(index), self._answers.answer(other)
        if answer.status is not first.status:
            self._find_contradiction(answer, source, first)

    def _find_contradiction(self, answer: Answer, source: Place, first: Answer) -> None:
        says = answer.status.value if answer.status else "dead letter"
        said = first.status.value if first.status else "dead letter"
        detail = f"says {says}, but the gift's result at {_named(self._at(first))} says {said}"
        self._find(Kind.CONTRADICTING, self._at(answer), source, detail)

    def _judge_gift(self, partition: int, index: int, record: GiftRead) -> None:
        sent = record.sent
        result_id = Identity(
            record.app_id, sent.room_id, sent.mini_game_id, sent.msg_id, sent.sent_at
        ).result_id()
        identity, claimed = identity_bits(result_id), self._answers.identity(index)
        if claimed == identity:
            return
        if claimed == LETTER:
            self._reject(index, "a dead letter, but its source is a valid gift")
        elif claimed != NO_ANSWER:
            self._reject(index, f"its source is another gift, result_id {result_id}")
        lowest = self._answers.lowest(identity, partition)
        if lowest is not None and lowest < index:
            self.counts.shared += 1
        else:
            self._unanswered(partition, record, sent.sent_at)

    def _judge_refused(self, partition: int, index: int, record: RecordRefused) -> None:
        claimed = self._answers.identity(index)
        if claimed == LETTER:
            return
        if claimed != NO_ANSWER:
            self._reject(index, f"its source is no valid gift: {record.reason.value}")
        self._unanswered(partition, record, record.timestamp_ms)

    def _unanswered(
        self, partition: int, record: GiftRead | RecordRefused, sent_at_ms: int
    ) -> None:
        """A record that nothing answers: missing, or pending."""
        claim = self._claims.get(partition)
        # A time that has not come yet is a wrong unit or clock and says nothing.
        known = [at for at in (sent_at_ms, record.timestamp_ms) if at <= self._now_wall_ms]
        late_ms = self._now_wall_ms - max(known, default=self._now_wall_ms) - self._give_up_ms
        if claim is not None and claim.says_answered(record.offset):
            detail = "the group's progress calls it answered"
        elif late_ms >= 0:
            progress = "" if claim is None else ", pending in the group's progress"
            detail = f"{late_ms // 1_000} s past the time to give it up{progress}"
        else:
            self.counts.pending += 1
            return
        at = Place(self._sent_topic, partition, record.offset)
        self._find(Kind.MISSING, at, at, detail)

    def _pass(self, partition: int, offset: int) -> None:
        """Up to here there are no more records: what is answered in between is foreign."""
        for index in self._answers.answered(partition, self._next[partition], offset):
            self._reject(index, "its source is no record: a gap in the log")
        self._next[partition] = offset + 1

    def _reject(self, index: int, detail: str) -> None:
        """The answer at an index is not one to the record there."""
        if self._answers.identity(index) == VOID:
            return
        source = Place(self._sent_topic, *self._answers.source(index))
        self._find(Kind.FOREIGN, self._at(self._answers.answer(index)), source, detail)
        self._answers.void(index)

    def _find(self, kind: Kind, at: Place, source: Place | None, detail: str) -> None:
        setattr(self.counts, kind.value, getattr(self.counts, kind.value) + 1)
        kept = self._findings[kind]
        if len(kept) < FINDINGS_KEPT_MAX:
            kept.append(Finding(kind, at, source, detail))

    def _at(self, answer: Answer) -> Place:
        topic = self._letter_topic if answer.status is None else self._result_topic
        return Place(topic, answer.partition, answer.offset)


def _named(place: Place) -> str:
    return f"{place.topic} {place.partition}/{place.offset}"
