"""What this process owns now: the partitions, their pending gifts, pauses and cuts (design §4, P5).

A *cut* is the consistent set of results and progress that one transaction commits. Cuts are
pulled: `wants_cut` says that there is something to say, the Kafka side asks with `cut`, and tells
with CutCommitted or CutAborted how it ended. One is open at a time.

Intake pauses while a limit is reached (`limits`): that of one partition for its map and its records
to replay, that of all for the process's gifts and for its metadata. People see for which.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.core.lease import Lease
from consumer.core.limits import Limit, Reached, pause_reason
from consumer.core.messages import (
    Action,
    CutAborted,
    CutCommitted,
    PartitionAssigned,
    PauseIntake,
    ResumeIntake,
)
from consumer.core.metadata import METADATA_BYTES_MAX, TextLimit
from consumer.core.model import CheckRules, Cut, CutOffset, DeadLetter, GiftResult
from consumer.core.overdue import OverdueGifts
from consumer.core.partition import Partition, Said
from consumer.core.volume import CUT_BYTES_MAX, Volume


@dataclass(frozen=True, slots=True)
class _OpenCut:
    cut_id: int
    made_ms: int
    offsets: tuple[CutOffset, ...]


class Assignment:
    """The partitions this process owns; owns their outboxes' way into cuts."""

    def __init__(self, rules: CheckRules, overdue: OverdueGifts, *, instance: str) -> None:
        self._rules = rules
        self._overdue = overdue
        self._instance = instance
        self._partitions: dict[int, Partition] = {}
        self._pending_count = 0
        self._reached = Reached()
        self._pressed: dict[Partition, None] = {}
        self._ungauged: dict[Partition, None] = {}
        self._pauses_stale = False
        self._paused_ms: int | None = None
        self._cut_count = 0
        self._open_cut: _OpenCut | None = None
        self._text_limit = TextLimit()
        self._volume = Volume()
        self._news = False
        self._renewal_ms: int | None = None

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._partitions.values())

    @property
    def pending_count(self) -> int:
        """Gifts without a verdict, over all partitions."""
        return self._pending_count

    def add(self, assigned: PartitionAssigned, lease: Lease) -> None:
        """A partition is ours from now on; its assignment is committed with the next cut."""
        assert assigned.partition not in self._partitions, "assigned twice without a revocation"
        self._partitions[assigned.partition] = Partition(
            assigned, lease, self._instance, self._rules.replay_records_max
        )
        self._news = self._pauses_stale = True

    def remove(self, partition: Partition) -> None:
        """A partition is gone, and what was said about it and not committed with it."""
        self.count_pending(partition, -partition.pending_count)
        self._overdue.forget(partition.partition)
        self._pressed.pop(partition, None)
        self._ungauged.pop(partition, None)
        del self._partitions[partition.partition]
        self._pauses_stale = True

    def find(self, partition: int, epoch: int) -> Partition | None:
        """The partition, if this is still the same assignment of it."""
        found = self._partitions.get(partition)
        return found if found is not None and found.epoch == epoch else None

    def select(self, partitions: frozenset[int] | None) -> list[Partition]:
        """Those of these partitions that are ours; None means all."""
        return [p for p in self if partitions is None or p.partition in partitions]

    def owner_of(self, partition: int) -> Partition:
        """The partition an open window belongs to; a window never outlives its partition."""
        return self._partitions[partition]

    def say(self, partition: Partition, said: Said) -> None:
        """Put a result or a dead letter into a partition's outbox."""
        partition.say(said)
        self._news = True

    def count_pending(self, partition: Partition, change: int) -> None:
        """Gifts have become pending, or are no longer."""
        partition.pending_count += change
        self._pending_count += change

    @property
    def paused_ms(self) -> int | None:
        """Since when some partition's intake pauses; None: none does."""
        return self._paused_ms

    def note_levels(self, partition: Partition) -> None:
        """A partition's levels have changed: `pressed` says so now, `wake` what pauses for it."""
        self._ungauged[partition] = None
        if partition.is_pressed():
            self._pressed[partition] = None
        else:
            self._pressed.pop(partition, None)

    def pressed(self) -> Iterator[Partition]:
        """The partitions with a limit so nearly reached that gifts are given up early."""
        return iter(self._pressed)

    def note_renewal(self, partition: Partition) -> None:
        """A partition may have got its first pending gift: its lease wants renewing."""
        renewal_ms = partition.renewal_ms()
        if renewal_ms is not None and (self._renewal_ms is None or renewal_ms < self._renewal_ms):
            self._renewal_ms = renewal_ms

    @property
    def renewal_ms(self) -> int | None:
        """When `wake` has something to look at."""
        return self._renewal_ms

    def wake(self, now_ms: int) -> list[Action]:
        """Leases that are due make news; pauses that have begun or ended are returned."""
        if self._renewal_ms is not None and now_ms >= self._renewal_ms:
            self._news, self._renewal_ms = True, None
        levels = {
            Limit.PENDING: self._pending_count / self._rules.pending_gifts_max,
            Limit.OVERDUE: self._overdue.count / self._rules.overdue_gifts_max,
            Limit.VOLUME: self._volume.level,
        }
        for partition in self._ungauged:
            self._pauses_stale |= partition.gauge()
        self._ungauged.clear()
        if not (self._reached.update(levels) or self._pauses_stale):
            return []
        self._pauses_stale = False
        return self._pauses(now_ms)

    def wants_cut(self) -> bool:
        """Whether there is something to commit, and no cut is open."""
        return self._news and self._open_cut is None

    def cut(self, now_ms: int, wall_ms: int, partitions: frozenset[int] | None) -> Cut | None:
        """All that can be said now, for one transaction; None if there is nothing.

        A partition that drains is in one more cut, whatever it has to say: it is handed over. If
        the metadata is more than a transaction takes, those that were cut longest ago come
        first, and the others are the `rest`.
        """
        assert self._open_cut is None, "a cut is still open"
        due = [one for one in self.select(partitions) if one.belongs_into_cut(now_ms)]
        due.sort(key=_last_cut_ms)
        offsets: list[CutOffset] = []
        events: list[GiftResult | DeadLetter] = []
        metadata_bytes = 0
        rest = False
        for partition in due:
            share = partition.cut(now_ms, wall_ms, self._text_limit)
            self.note_levels(partition)
            if share is None:
                continue
            offsets.append(share.offset)
            events += (said.event for said in share.said)
            metadata_bytes += partition.metadata_bytes
            rest = metadata_bytes > CUT_BYTES_MAX - METADATA_BYTES_MAX and partition is not due[-1]
            if rest:
                break
        self._plan_next_cut()
        if not offsets:
            return None
        self._cut_count += 1
        self._open_cut = _OpenCut(self._cut_count, now_ms, tuple(offsets))
        return Cut(
            cut_id=self._cut_count,
            offsets=tuple(offsets),
            results=tuple(event for event in events if isinstance(event, GiftResult)),
            dead_letters=tuple(event for event in events if isinstance(event, DeadLetter)),
            rest=rest,
            interval_ms=self._volume.interval_ms(metadata_bytes),
        )

    def end_cut(self, event: CutCommitted | CutAborted) -> tuple[int, list[Partition]]:
        """The open cut has ended; returns when it was made, and which partitions are committed.

        After an abort nothing is: its results stay in the outbox, and the next cut holds them.
        """
        ended = self._open_cut
        assert ended is not None, "a cut ended that was not open"
        assert ended.cut_id == event.cut_id, "another cut ended than the open one"
        self._open_cut = None
        found = (self.find(offset.partition, offset.epoch) for offset in ended.offsets)
        members = [partition for partition in found if partition is not None]
        if isinstance(event, CutAborted):
            if event.metadata_refused:
                refused = (offset.metadata for offset in ended.offsets)
                self._text_limit = self._text_limit.lowered(refused)
            for partition in members:
                partition.aborted()
                self._news = True
            return ended.made_ms, []
        for partition in members:
            partition.committed()
        return ended.made_ms, members

    def _plan_next_cut(self) -> None:
        """After a cut: what it could not hold is news, and renewals count from it."""
        self._news = any(partition.has_uncut() for partition in self)
        self._renewal_ms = None
        for partition in self:
            self.note_renewal(partition)
        self._volume.note(sum(partition.metadata_bytes for partition in self))

    def _pauses(self, now_ms: int) -> list[Action]:
        """The pauses that begin, with one more reason or end now."""
        actions: list[Action] = []
        for partition in self:
            before = partition.paused_for
            partition.paused_for = now = (*self._reached, *partition.reached)
            if set(now) - set(before):
                reason = pause_reason(now)
                actions.append(PauseIntake(partition.partition, partition.epoch, reason))
            elif before and not now:
                actions.append(ResumeIntake(partition.partition, partition.epoch))
        if not any(partition.paused_for for partition in self):
            self._paused_ms = None
        elif self._paused_ms is None:
            self._paused_ms = now_ms
        return actions


def _last_cut_ms(partition: Partition) -> int:
    return partition.last_cut_ms
