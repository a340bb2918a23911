"""The planted bugs: small ones, as they are made."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug: in `file` of the package, `new` stands where `old` should (which occurs once).

    `seed` is the first that is known to find it.
    """

    name: str
    file: str
    old: str
    new: str
    seed: int = 1


LIMIT: Final = (
    Mutant(
        "permits come back a second after the start of a check",
        "core/limiter.py",
        "state.cooling.append(now_ms + ROUNDING_MS + PERMIT_WINDOW_MS)",
        "state.cooling.append(sent_ms + ROUNDING_MS + PERMIT_WINDOW_MS)",
        5,
    ),
    Mutant(
        "a token bucket: permits come back one after another",
        "core/limiter.py",
        "state.cooling.append(now_ms + ROUNDING_MS + PERMIT_WINDOW_MS)",
        "state.cooling.append(now_ms + PERMIT_WINDOW_MS // self._permits)",
        5,
    ),
    Mutant(
        "a permit is given back when a request times out",
        "core/limiter.py",
        "state.unknown.append(loss)",
        "state.cooling.append(now_ms + ROUNDING_MS + PERMIT_WINDOW_MS)",
        170,
    ),
    Mutant(
        "a room may have any number of checks in flight",
        "core/limiter.py",
        "ROOM_IN_FLIGHT_MAX: Final = 4",
        "ROOM_IN_FLIGHT_MAX: Final = 400",
        5,
    ),
    Mutant(
        "hand-over without cooling",
        "core/lease.py",
        "        return Lease(opens_ms=window_over_ms)\n",
        "        return Lease(opens_ms=now_ms)\n",
        39,
    ),
    Mutant(
        "hand-over without waiting for what the predecessor has under way",
        "core/lease.py",
        "return _suspecting(now_ms + max(0, left_ms), limiter)",
        "return Lease(opens_ms=now_ms)",
        1,
    ),
    Mutant(
        "a restart forgets what it had under way",
        "core/lease.py",
        "opens_ms = max(now_ms, since_ms + ROUNDING_MS + PERMIT_WINDOW_MS)\n"
        "        return _suspecting(opens_ms, limiter)",
        "return Lease(opens_ms=now_ms)",
        29,
    ),
    Mutant(
        "always called drained at a hand-over",
        "core/lease.py",
        "return self.draining and not (self.in_flight or self.losses or inherited)",
        "return self.draining",
        1,
    ),
    Mutant(
        "a check may be written after the lease has ended",
        "core/dispatch.py",
        "write_before_ms=window.lease.until_ms,",
        "write_before_ms=window.lease.until_ms + 3_600_000,",
        5,
    ),
    Mutant(
        "a check is decided without a lease",
        "core/lease.py",
        "return now_ms < self.until_ms and not self.draining",
        "return self.until_ms >= 0 and not self.draining",
        6,
    ),
    Mutant(
        "a cut renews the lease from its commit, not from its making",
        "core/scheduler.py",
        "until_ms = made_ms + self._rules.lease_ms",
        "until_ms = now_ms + self._rules.lease_ms",
        6,
    ),
)

VERDICTS: Final = (
    Mutant(
        "UNCONSUMED from a check sent before the deadline",
        "core/verdict.py",
        "if sent_ms < gift.proof_ms:",
        "if sent_ms < gift.start_ms:",
        102,
    ),
    Mutant(
        "UNCONSUMED from a check sent before the deadline and answered after it",
        "core/ending.py",
        "judge(gift, found, answer, sent_ms, clock",
        "judge(gift, found, answer, now_ms, clock",
        109,
    ),
    Mutant(
        "UNCONSUMED from a check without an answer",
        "core/decision.py",
        "Verdict(Status.UNVERIFIED, reason)",
        "Verdict(Status.UNCONSUMED, reason)",
        313,
    ),
    Mutant(
        "the answer to a check of a previous assignment is accepted",
        "core/ending.py",
        "            if flight.window.open:\n                self._judge",
        "            if True:\n                self._judge",
        538,
    ),
    Mutant(
        "UNCONSUMED at the deadline itself, without settling",
        "core/gift.py",
        "proof_ms = start_ms + rules.timeout_ms + rules.settle_ms",
        "proof_ms = start_ms + rules.timeout_ms",
        102,
    ),
    Mutant(
        "UNCONSUMED from an answer that could not be read in full",
        "core/verdict.py",
        "if not answer.complete:",
        "if answer.code:",
        600,
    ),
    Mutant(
        "UNCONSUMED of a gift taken in by a clock that was in doubt",
        "core/gift.py",
        "undated_proof_ms=proof_ms + clock_lead_ms if clock_lead_ms else proof_ms,",
        "undated_proof_ms=proof_ms,",
        11,
    ),
)

PROGRESS: Final = (
    Mutant(
        "the map of answered offsets is ignored on restart",
        "adapters/kafka/intake.py",
        "if not owned.is_answered(offset):",
        "if True:",
        103,
    ),
    Mutant(
        "the map of answered offsets is read off by one",
        "adapters/kafka/assignment.py",
        "divmod(offset - self.map_start, 8)",
        "divmod(offset - self.map_start + 1, 8)",
        103,
    ),
    Mutant(
        "the map begins at the committed offset, not at its byte",
        "adapters/kafka/assignment.py",
        "map_start=start.offset // 8 * 8,",
        "map_start=start.offset,",
        103,
    ),
    Mutant(
        "the map loses the bits of its last byte",
        "core/progress.py",
        "max(0, end + 7 - self._base) // 8",
        "max(0, end - self._base) // 8",
        100,
    ),
    Mutant(
        "the position is committed, not the oldest pending gift",
        "core/partition.py",
        "self.partition, self.epoch, self.progress.offset, text)",
        "self.partition, self.epoch, self.progress.position, text)",
        100,
    ),
    Mutant(
        "one gift with two records counts once in progress",
        "core/scheduler.py",
        "            pending.offsets.append(record.offset)\n",
        "",
        101,
    ),
    Mutant(
        "a record below the committed offset is taken as new",
        "adapters/kafka/intake.py",
        "if owned is None or offset < owned.next_offset:",
        "if owned is None:",
        103,
    ),
    Mutant(
        "dead letters are counted and forgotten",
        "core/scheduler.py",
        "                self._assignment.say(partition, Said([record.offset], letter))\n",
        "                partition.progress.answer([])\n",
        101,
    ),
)

TRANSACTIONS: Final = (
    Mutant(
        "a transaction without an offset for every partition it touches",
        "adapters/kafka/transaction.py",
        "            for at in cut.offsets\n        ]\n        self._insist",
        "            for at in cut.offsets[:1]\n        ]\n        self._insist",
        102,
    ),
    Mutant(
        "cached group metadata",
        "adapters/kafka/cuts.py",
        "group_metadata = self._consumer.consumer_group_metadata()",
        'self._cached = getattr(self, "_cached", None) or self._consumer.consumer_group_metadata()\n'
        "        group_metadata = self._cached",
        100,
    ),
    Mutant(
        "results are dropped after an abort",
        "core/partition.py",
        "self._uncut = self._cut + self._uncut",
        "self._uncut = self._uncut + []",
        109,
    ),
    Mutant(
        "results are sent twice after an abort",
        "core/partition.py",
        "self._uncut = self._cut + self._uncut",
        "self._uncut = self._cut + self._cut + self._uncut",
        109,
    ),
    Mutant(
        "answered offsets stay in the map though their results were aborted",
        "core/partition.py",
        "        self.progress.withdraw(_offsets_of(self._cut))\n"
        "        self._uncut = self._cut + self._uncut\n"
        "        self._cut = []\n"
        "        self._last_cut_ms = None\n",
        "        self._cut = []\n        self._last_cut_ms = None\n",
        109,
    ),
    Mutant(
        "an unknown outcome of a commit is taken for an abort",
        "adapters/kafka/transaction.py",
        "over = committing or error.fatal() or error.retriable()",
        "over = error.fatal() or error.retriable()",
        378,
    ),
    Mutant(
        "a cut is sent though its partition is gone",
        "adapters/kafka/cuts.py",
        "        if gone:\n",
        "        if False:\n",
        336,
    ),
    Mutant(
        "a committed cut is reported as aborted",
        "adapters/kafka/cuts.py",
        "            self._host.feed(CutCommitted(cut.cut_id))\n",
        "            self._host.feed(CutAborted(cut.cut_id))\n",
        100,
    ),
    Mutant(
        "a lost partition is kept",
        "adapters/kafka/session.py",
        "        self._release(partitions, lost=True)\n",
        "        self._consumer.incremental_unassign([])\n",
        130,
    ),
)

TIME: Final = (
    Mutant(
        "due time is compared with a second reading of the clock",
        "runner.py",
        "        inbox, self._inbox = self._inbox, []\n",
        "        if self._timer_due_ms is not None and not (self._inbox or self._cut_requests):\n"
        "            if self._clock.now_ms() < self._timer_due_ms:\n"
        "                return\n"
        "        inbox, self._inbox = self._inbox, []\n",
        3,
    ),
    Mutant(
        "leases of pending gifts are not renewed",
        "core/partition.py",
        "return self._last_cut_ms + RENEWAL_MS if self.pending_count else None",
        "return None",
        3,
    ),
    Mutant(
        "slots are given by the waiting collected alone",
        "core/fair_queue.py",
        "self._longest_due() if self._most_was_last else self._most_waiting()",
        "self._most_waiting()",
        54,
    ),
    Mutant(
        "intake is never resumed",
        "core/assignment.py",
        "            elif before and not now:\n",
        "            elif False:\n",
        3,
    ),
)

MUTANTS: Final = (*LIMIT, *VERDICTS, *PROGRESS, *TRANSACTIONS, *TIME)
