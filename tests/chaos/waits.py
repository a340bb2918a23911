"""How long results kept somebody waiting, by what a fault struck.

A result is *due* from the later of "the game consumed the gift" and "it was produced" on; for
what is never consumed, from deadline + settle on. After a fault at `from_us`, a room has waited
for its results until the last of those that were due shortly after it became visible: the wait of
a gift is counted from its due time, but not from before the fault.
"""

from collections import defaultdict
from collections.abc import Collection
from typing import Final, NamedTuple

from consumer.core.model import GiftResult
from consumer.demo.load import ProducedGift, gift_of
from consumer.simulator import Gift

DUE_WITHIN_US: Final = 1_000_000
"""What was due in the second after the fault waits for the recovery itself; later gifts arrive in
the middle of it and wait less."""


class Visible(NamedTuple):
    """A result that became visible: of which partition and room, due when, visible when."""

    partition: int
    room_id: str
    due_us: int
    visible_us: int


class Waits:
    """Remembers when each result was due and when it came."""

    def __init__(self, settle_ms: int) -> None:
        self._settle_ms = settle_ms
        self._due_us: dict[Gift, int | None] = {}
        self._visible: list[Visible] = []

    def produced(self, produced: ProducedGift) -> None:
        """A gift was sent."""
        consumed_ms = produced.fate.consumed_wall_ms
        due_us = None if consumed_ms is None else max(consumed_ms * 1_000, produced.produced_us)
        self._due_us[produced.gift] = due_us

    def visible(self, result: GiftResult, visible_us: int) -> None:
        """A result became visible; only a gift's first counts."""
        gift = gift_of(result.sent)
        if gift not in self._due_us:
            return
        due_us = self._due_us.pop(gift)
        if due_us is None:
            due_us = (result.deadline + self._settle_ms) * 1_000
        self._visible.append(Visible(result.source_partition, gift.room_id, due_us, visible_us))

    def of_rooms(
        self, from_us: int, until_us: int, partitions: Collection[int] | None = None
    ) -> dict[str, float]:
        """The longest wait of each room, in seconds, for results due in this time; ascending.

        Of these partitions' rooms, or of all; rooms for which nothing was due are left out.
        """
        longest: defaultdict[str, int] = defaultdict(int)
        for each in self._visible:
            if partitions is not None and each.partition not in partitions:
                continue
            if each.visible_us >= from_us and each.due_us < until_us:
                waited_us = each.visible_us - max(each.due_us, from_us)
                longest[each.room_id] = max(longest[each.room_id], waited_us)
        waits = ((room, waited / 1_000_000) for room, waited in longest.items())
        return dict(sorted(waits, key=lambda wait: wait[1]))
