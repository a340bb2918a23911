"""The load: gifts sent into rooms at random, the same ones for the same seed.

Arrivals are a Poisson process, as those of many people who do not know of each other: instants
are planned beforehand on an axis of their own and kept to, so a late turn of the event loop
delays single gifts but never lowers the rate. What is written down for a gift is the instant at
which it was really produced, not the one it was planned for; at that instant, too, the simulated
API gets to know of it.

Fates are drawn by the simulator from its own seed and a gift's identity. As that contains the
instant of sending, they are the same for the same seed in distribution, not one by one.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Final, NamedTuple, Protocol

from consumer.core.model import GiftSent
from consumer.simulator import Fate, Gift

GAMES_COUNT: Final = 5
"""Each room plays one game; rooms share few games, as they do in the world."""

_USERS_COUNT: Final = 10_000

_CATALOGUE: Final = (("rose", 1), ("heart", 5), ("cake", 52), ("rocket", 500), ("castle", 2_000))
"""Gifts and what one is worth; the dear ones are rarer, see `_WEIGHTS`."""

_WEIGHTS: Final = (50, 30, 13, 5, 2)


class PlannedGift(NamedTuple):
    """A gift that is to be sent `offset_us` after the start; its `sent_at` is still 0."""

    offset_us: int
    sent: GiftSent


class ProducedGift(NamedTuple):
    """A gift that was produced at `produced_us` (Unix time), and what becomes of it."""

    gift: Gift
    fate: Fate
    produced_us: int


def planned_gifts(
    *, app_id: int, rate: float, rooms: int, seed: int, name: str = "gift"
) -> Iterator[PlannedGift]:
    """Endlessly many gifts, `rate` a second in the mean, each room as likely as the next.

    Plans of different names have no MsgId in common.
    """
    random = Random(seed)  # noqa: S311 - a load must be repeatable, not secret
    offset_us = 0.0
    number = 0
    while True:
        offset_us += random.expovariate(rate) * 1_000_000
        room = random.randrange(rooms)
        ((gift_id, value),) = random.choices(_CATALOGUE, _WEIGHTS)
        yield PlannedGift(
            int(offset_us),
            GiftSent(
                room_id=f"room-{room:04}",
                mini_game_id=f"game-{room % GAMES_COUNT}",
                msg_id=f"{name}-{number:08}",
                sent_at=0,
                app_id=app_id,
                user_id=f"user-{random.randrange(_USERS_COUNT)}",
                gift_id=gift_id,
                receiver_id=f"host-{room:04}",
                value=value,
                num=random.randint(1, 9),
            ),
        )
        number += 1


class Truth(Protocol):
    """The simulated API, as the sender of a gift knows it."""

    def send(self, gift: Gift, sent_wall_ms: int) -> Fate:
        """Make the gift known; returns what becomes of it."""
        ...


class Load:
    """Sends what is planned when it is due.

    Args:
        plan: the gifts in ascending order.
        truth: is told of each gift at the instant it is produced.
        produce: puts an event on gift-sent; must not wait.
        clock_us: Unix time in microseconds, the simulator's.
        on_produced: is told of each gift that was produced.
    """

    def __init__(
        self,
        plan: Iterable[PlannedGift],
        *,
        truth: Truth,
        produce: Callable[[GiftSent], None],
        clock_us: Callable[[], int],
        on_produced: Callable[[ProducedGift], None],
    ) -> None:
        self._plan = plan
        self._truth = truth
        self._produce = produce
        self._clock_us = clock_us
        self._on_produced = on_produced
        self._planned_until_us = 0
        self.late_us_max = 0
        """By how much a gift was produced after it was due, at most."""

    async def run(self, duration_ms: int) -> None:
        """Send what is planned for the next `duration_ms` (exclusive); may be cancelled.

        A later run goes on in the plan where this one ended.
        """
        start_us = self._clock_us() - self._planned_until_us
        self._planned_until_us += duration_ms * 1_000
        for planned in self._plan:
            if planned.offset_us >= self._planned_until_us:
                break
            due_us = start_us + planned.offset_us
            # Also if it is due already: a backlog must not keep the loop from its other work.
            await asyncio.sleep(max(0, due_us - self._clock_us()) / 1_000_000)
            self._send(planned.sent, due_us)

    def _send(self, planned: GiftSent, due_us: int) -> None:
        now_us = self._clock_us()
        self.late_us_max = max(self.late_us_max, now_us - due_us)
        sent = planned._replace(sent_at=now_us // 1_000)
        gift = gift_of(sent)
        fate = self._truth.send(gift, sent.sent_at)
        self._produce(sent)
        self._on_produced(ProducedGift(gift, fate, now_us))


def gift_of(sent: GiftSent) -> Gift:
    """The simulator's word for the gift of an event that names its app."""
    return Gift(sent.app_id or 0, sent.room_id, sent.mini_game_id, sent.msg_id, sent.sent_at)
