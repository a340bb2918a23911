"""One assigned partition: what was read, what was said about it, what the next cut holds (§4).

A result lives in the outbox from its verdict until the transaction that holds it is *committed*:

    decided ──► uncut ──cut──► cut ──committed──► gone
                                └──aborted: stays; the next cut holds it again

Bits in the map of answered offsets are set when the result is cut, and stay: no cut holds a bit
whose result is neither in it nor committed. Until its result is cut a gift is still pending for
its records: a later record of it shares the result; after the cut it is a new one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from consumer.core.gift import Identity
from consumer.core.lease import Lease
from consumer.core.limits import BOUNDS, RELIEVED_AT, Limit, Reached
from consumer.core.metadata import (
    INSTANCE_CHARACTERS_MAX,
    METADATA_CHARACTERS_MAX,
    encode_metadata,
)
from consumer.core.model import (
    CutOffset,
    DeadLetter,
    GiftResult,
    PartitionAssigned,
    PartitionMetadata,
    WindowKey,
)
from consumer.core.progress import Progress
from consumer.core.tally import PartitionStatus
from consumer.core.window import Window

RENEWAL_MS: Final = 1_000
"""With something pending a partition is in a cut at least this often: a third of the lease."""

RENEWAL_ALONG_MS: Final = RENEWAL_MS // 2
"""A cut that is made anyway renews the leases that are half-way there."""


@dataclass(slots=True)
class Said:
    """A result or a dead letter in the outbox, and the offsets it answers."""

    offsets: list[int]
    event: GiftResult | DeadLetter
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class PartitionCut:
    """A partition's share of a cut."""

    offset: CutOffset
    said: tuple[Said, ...]


class Partition:
    """One assignment of one partition; owns its progress, its windows and its outbox.

    `relieved` says that gifts were given up early since the last cut, `withheld` how many more are
    to be once their check has ended: both make room that the levels do not show yet.
    """

    def __init__(
        self, assigned: PartitionAssigned, lease: Lease, instance: str, replay_records_max: int
    ) -> None:
        self.partition = assigned.partition
        self.epoch = assigned.epoch
        self.lease = lease
        self.windows: dict[WindowKey, Window] = {}
        self.pending_count = 0
        self.paused_for: tuple[Limit, ...] = ()
        self.fill = 0.0
        self.reached = Reached()
        self.relieved = False
        self.withheld = 0
        self._replay_records_max = replay_records_max
        answered = assigned.metadata.answered if assigned.metadata else b""
        self.progress = Progress(assigned.offset, answered)
        self._instance = instance
        self._since_wall_ms = assigned.since_wall_ms
        # None: an assignment is committed at once, idle or not, and again after an abort
        self._last_cut_ms: int | None = None
        self._uncut: list[Said] = []
        self._cut: list[Said] = []
        self._uncut_gifts: dict[Identity, Said] = {}

    def levels(self) -> dict[Limit, float]:
        """How much of the partition's own limits is used."""
        replay = self.progress.position - self.progress.offset
        return {Limit.REPLAY: replay / self._replay_records_max, Limit.MAP: self.fill}

    def gauge(self) -> bool:
        """Look which limits are reached; returns whether others are than before."""
        relieving = self.relieved or self.withheld > 0
        return self.reached.update(self.levels(), relieving=relieving)

    def is_pressed(self) -> bool:
        """Whether a limit is so nearly reached that gifts are given up early."""
        return any(level >= BOUNDS[limit].relieve_at for limit, level in self.levels().items())

    def relief_bounds(self) -> Iterator[tuple[Limit, int]]:
        """For each limit that presses, the offset below which overdue gifts are given up.

        The level goes with the span from the offset to commit to the position, so with all below
        answered it falls to `RELIEVED_AT`.
        """
        position = self.progress.position
        span = position - self.progress.offset
        for limit, level in self.levels().items():
            if level >= BOUNDS[limit].relieve_at:
                yield limit, position - int(span * RELIEVED_AT / level)

    def find_uncut(self, identity: Identity) -> Said | None:
        """The result of a gift that is decided but not yet cut."""
        return self._uncut_gifts.get(identity)

    def say(self, said: Said) -> None:
        """Put a result or a dead letter into the outbox."""
        self._uncut.append(said)
        if said.identity is not None:
            self._uncut_gifts[said.identity] = said

    def has_uncut(self) -> bool:
        """Whether there is something to commit but a renewal: an assignment is, or an abort."""
        return self._last_cut_ms is None or bool(self._uncut)

    def renewal_ms(self) -> int | None:
        """When the lease wants a commit; None while nothing is pending."""
        if self._last_cut_ms is None or not self.pending_count:
            return None
        return self._last_cut_ms + RENEWAL_MS

    def belongs_into_cut(self, now_ms: int) -> bool:
        """Whether a cut made now should hold this partition: news, or a renewal."""
        renewal_ms = self.renewal_ms()
        return self.has_uncut() or (
            renewal_ms is not None and now_ms >= renewal_ms - (RENEWAL_MS - RENEWAL_ALONG_MS)
        )

    def cut(self, now_ms: int, wall_ms: int) -> PartitionCut | None:
        """Everything said so far with the progress that goes with it.

        What does not fit the metadata stays for the next cut, highest offsets first. None: the
        map is so full that not even the progress fits; then nothing is lost, the cut is late.
        """
        fresh = sorted(self._uncut, key=lambda said: said.offsets[0])
        count = len(fresh)
        drained = self.lease.is_drained(now_ms)
        while True:
            answered = [offset for said in fresh[:count] for offset in said.offsets]
            self.progress.answer(answered)
            text = self._metadata(wall_ms, drained=drained)
            characters = len(text) - len(self._instance) + INSTANCE_CHARACTERS_MAX
            self.fill = characters / METADATA_CHARACTERS_MAX
            if characters <= METADATA_CHARACTERS_MAX:
                break
            self.progress.withdraw(answered)
            if not count:
                return None
            count //= 2
        self._take(fresh, count)
        self._last_cut_ms = now_ms
        self.relieved = False
        offset = CutOffset(self.partition, self.epoch, self.progress.offset, text)
        self.progress.trim()
        return PartitionCut(offset, tuple(self._cut))

    def committed(self) -> None:
        """The transaction with the last cut is committed."""
        self._cut.clear()

    def aborted(self) -> None:
        """It is known not to be committed: all of it is to be said again, and the lease renewed."""
        self._last_cut_ms = None

    def status(self, now_ms: int) -> PartitionStatus:
        """This partition as people want to see it."""
        return PartitionStatus(
            partition=self.partition,
            offset=self.progress.offset,
            position=self.progress.position,
            pending_gifts=self.pending_count,
            fill=self.fill,
            paused_for=self.paused_for,
            lease_left_ms=max(0, self.lease.until_ms - now_ms),
        )

    def _take(self, fresh: list[Said], count: int) -> None:
        """Move the first `count` from uncut to cut: their gifts are no longer pending."""
        for said in fresh[:count]:
            if said.identity is not None:
                del self._uncut_gifts[said.identity]
        self._cut += fresh[:count]
        self._uncut = fresh[count:]

    def _metadata(self, wall_ms: int, *, drained: bool) -> str:
        return encode_metadata(
            PartitionMetadata(
                instance=self._instance,
                cut_wall_ms=wall_ms,
                since_wall_ms=self._since_wall_ms,
                drained=drained,
                answered=self.progress.bitmap(),
            )
        )
