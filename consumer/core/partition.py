"""One assigned partition: what was read, what was said about it, what the next cut holds (§4).

A result lives in the outbox from its verdict until the transaction that holds it is *committed*:

    decided ──► uncut ──cut──► cut ──committed──► gone
                  ▲             │
                  └───aborted───┘

Bits in the map of answered offsets are set when the result is cut, and cleared if the cut aborts:
no cut holds a bit whose result is neither in it nor committed. Until its result is first cut a
gift is still pending for its records: a later record of it shares the result; after the cut it is
a new one, also if the cut aborts.

**Where not everything fits the metadata**, answers are held back, highest offsets first. One cut
always fits: that of no answer at all, whose map is the one committed last. So the lease is kept,
the oldest gifts go on being asked about, and their answers shorten the map.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from consumer.core.gift import Identity
from consumer.core.lease import Lease
from consumer.core.limits import BOUNDS, RELIEVED_AT, Limit, Reached
from consumer.core.messages import PartitionAssigned
from consumer.core.metadata import MetadataDraft, TextLimit, draft_metadata
from consumer.core.model import CutOffset, DeadLetter, GiftResult, PartitionMetadata
from consumer.core.progress import Progress
from consumer.core.tally import PartitionStatus
from consumer.core.window import Window

RENEWAL_MS: Final = 1_000
"""With something pending a partition is in a cut at least this often: a third of the lease."""

RENEWAL_ALONG_MS: Final = RENEWAL_MS // 2
"""A cut that is made anyway renews the leases that are half-way there. Answers held back are
tried again as often: trying them all costs as much each time."""

SAID_MAX: Final = 10_000
"""Answers of one partition in one cut: the 10 ms that their bits take at most must not become
more where many were held back. Twenty cuts a second then hold 200,000."""


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
        self.windows: dict[tuple[int, int, str, str], Window] = {}  # by their WindowKey
        self.pending_count = 0
        self.paused_for: tuple[Limit, ...] = ()
        self.fill = 0.0
        self.reached = Reached()
        self.relieved = False
        self.withheld = 0
        self._replay_records_max = replay_records_max
        answered = assigned.metadata.answered if assigned.metadata else b""
        self.progress = Progress(assigned.offset, answered)
        # The end of what is answered and committed: maps must reach so far, gaps above need not.
        self._reach = assigned.offset // 8 * 8 + 8 * len(answered)
        self._instance = instance
        self._since_wall_ms = assigned.since_wall_ms
        # None: an assignment is committed at once, idle or not, and again after an abort
        self._last_cut_ms: int | None = None
        self._last_characters = 0
        self._held_back = False
        self._cut_draining = False
        self.metadata_bytes = 0
        self._uncut: list[Said] = []
        self._cut: list[Said] = []
        self._uncut_gifts: dict[tuple[int, str, str, str, int], Said] = {}

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

    def find_uncut(self, identity: tuple[int, str, str, str, int]) -> Said | None:
        """The result of a gift that is decided but not yet cut, by its Identity."""
        return self._uncut_gifts.get(identity)

    def say(self, said: Said) -> None:
        """Put a result or a dead letter into the outbox."""
        self._uncut.append(said)
        if said.identity is not None:
            self._uncut_gifts[said.identity] = said

    def has_uncut(self) -> bool:
        """Whether there is something to commit at once: an assignment is, and an abort."""
        fresh = bool(self._uncut) and not self._held_back
        draining = self.lease.draining and not self._cut_draining
        return self._last_cut_ms is None or fresh or draining

    def renewal_ms(self) -> int | None:
        """When the lease wants a commit, or what was held back; None while nothing is pending."""
        if self._last_cut_ms is None:
            return None
        if self._held_back:
            return self._last_cut_ms + RENEWAL_ALONG_MS
        return self._last_cut_ms + RENEWAL_MS if self.pending_count else None

    def belongs_into_cut(self, now_ms: int) -> bool:
        """Whether a cut made now should hold this partition: news, or a renewal."""
        if self.has_uncut():
            return True
        return self.renewal_ms() is not None and now_ms >= self.last_cut_ms + RENEWAL_ALONG_MS

    @property
    def last_cut_ms(self) -> int:
        """When it was last cut: those longest ago come first; -1 for never, or aborted."""
        return -1 if self._last_cut_ms is None else self._last_cut_ms

    def cut(self, now_ms: int, wall_ms: int, limit: TextLimit) -> PartitionCut | None:
        """As much of what was said as fits, lowest offsets first, and the progress with it.

        None: not even the progress fits, for it came from a process that packs better than this
        one (another zlib). Then nothing is lost, the cut is late.
        """
        fresh = self._sayable()
        count = len(fresh)
        drained = self.lease.is_drained(now_ms)
        self.progress.answer(_offsets_of(fresh))
        draft = self._draft(fresh, wall_ms, limit, drained=drained)
        self.fill = min(1.0, draft.characters(limit) / limit.characters_max)
        text = draft.text(limit)
        while text is None and count:
            fewer = self._fitting(count, draft.characters(limit), limit)
            self.progress.withdraw(_offsets_of(fresh[fewer:count]))
            count = fewer
            draft = self._draft(fresh[:count], wall_ms, limit, drained=drained)
            text = draft.text(limit)
        if text is None:
            # Accepted before the limit was lowered: it is what the broker holds already.
            text = draft._replace(reserve=0).text(TextLimit())
        if text is None:
            return None
        self._take(fresh[:count])
        self._held_back = bool(self._uncut) and count < SAID_MAX
        self._last_cut_ms = now_ms
        self.relieved = False
        self._last_characters = draft.characters(limit)
        self._cut_draining = self.lease.draining
        self.metadata_bytes = len(text.encode())
        offset = CutOffset(self.partition, self.epoch, self.progress.offset, text)
        return PartitionCut(offset, tuple(self._cut))

    def committed(self) -> None:
        """The transaction with the last cut is committed."""
        self._reach = self._reach_with(self._cut)
        self._cut = []
        self.progress.trim()

    def aborted(self) -> None:
        """It is known not to be committed: all of it is to be said again, and the lease renewed."""
        self.progress.withdraw(_offsets_of(self._cut))
        self._uncut = self._cut + self._uncut
        self._cut = []
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

    def _sayable(self) -> list[Said]:
        """What the next cut may hold, lowest offsets first; its order is also `_uncut`'s."""
        self._uncut.sort(key=_first_offset)
        horizon = self.progress.horizon
        if self.progress.position <= horizon:
            return self._uncut[:SAID_MAX]
        return [said for said in self._uncut if said.offsets[-1] < horizon][:SAID_MAX]

    def _fitting(self, count: int, characters: int, limit: TextLimit) -> int:
        """How many of `count` answers will fit, if all need so many characters; 0 after 1.

        Answers with higher offsets make the map grow faster than those before them, so between
        the last text and this one a straight line lies above it. At least one is tried: the
        oldest pending offset may be in it, which shortens the map.
        """
        room = limit.characters_max - self._last_characters
        grown = characters - self._last_characters
        if count == 1:
            return 0
        if room <= 0 or grown <= 0:
            return 1
        return max(1, min(count // 2, count * room // grown))

    def _take(self, taken: list[Said]) -> None:
        """Move these from uncut to cut: their gifts are no longer pending."""
        for said in taken:
            if said.identity is not None and self._uncut_gifts.get(said.identity) is said:
                del self._uncut_gifts[said.identity]
        if len(taken) == len(self._uncut):
            self._uncut = []
        else:
            gone = set(map(id, taken))
            self._uncut = [said for said in self._uncut if id(said) not in gone]
        self._cut = taken

    def _reach_with(self, said: list[Said]) -> int:
        """How far a map reaches that holds these answers."""
        return max([self._reach, *(one.offsets[-1] + 1 for one in said)])

    def _draft(
        self, said: list[Said], wall_ms: int, limit: TextLimit, *, drained: bool
    ) -> MetadataDraft:
        metadata = PartitionMetadata(
            instance=self._instance,
            cut_wall_ms=wall_ms,
            since_wall_ms=self._since_wall_ms,
            drained=drained,
            answered=self.progress.bitmap(self._reach_with(said)),
        )
        return draft_metadata(metadata, limit)


def _first_offset(said: Said) -> int:
    return said.offsets[0]


def _offsets_of(said: Iterable[Said]) -> Iterator[int]:
    return (offset for one in said for offset in one.offsets)
