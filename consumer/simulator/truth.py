"""What becomes of each gift, known beforehand.

A gift's fate is drawn from the seed and its identity alone: the same seed tells the same story
in whatever order gifts come, so a failure can be played again. By default a gift is consumed
after an exponentially distributed time (mean 0.5 s), one in ten is never consumed, and one in
fifty is consumed without success (`Result` 10003).

The vendor's rule of 24 hours holds here: a MsgId that comes again in its room and game within
that time *is* the first gift, whatever its `Timestamp`; later it is another one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from math import log1p
from typing import Final, NamedTuple

DELIVERY_FAILED: Final = 10003
"""`Result` of a gift that was not delivered (zego-api.md: user not in the game, room over)."""

SAME_GIFT_MS: Final = 24 * 3600 * 1000
"""For so long a repeated MsgId is the same gift (zego-api.md, SendDanmakuGifts)."""


class Gift(NamedTuple):
    """A gift's identity; `timestamp_ms` is the `Timestamp` it was sent with."""

    app_id: int
    room_id: str
    mini_game_id: str
    msg_id: str
    timestamp_ms: int


class Fate(NamedTuple):
    """When the API was told of a gift, when the game consumes it, and how that ends.

    `consumed_wall_ms` is None for a gift that is never consumed; from that instant on
    (inclusive) the gift is in answers. `result_code` is the entry's `Result`.
    """

    sent_wall_ms: int
    consumed_wall_ms: int | None
    result_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthSettings:
    """The distribution of fates.

    `fixed_delay_ms` replaces the exponential time. `never_share` and `failed_share` are shares
    of all gifts and exclude each other.
    """

    seed: int = 1
    mean_delay_ms: float = 500
    fixed_delay_ms: int | None = None
    never_share: float = 0.10
    failed_share: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.never_share <= self.never_share + self.failed_share <= 1:
            raise ValueError("never_share and failed_share must be shares of one whole")


_Key = tuple[int, str, str, str]


class Truth:
    """Every gift the API was told of, and its fate."""

    def __init__(self, settings: TruthSettings | None = None) -> None:
        self._settings = settings or TruthSettings()
        self._sent: dict[_Key, list[tuple[Gift, Fate]]] = {}
        self._first: dict[Gift, Gift] = {}

    @property
    def count(self) -> int:
        """How many gifts the API was told of, repetitions not counted."""
        return sum(map(len, self._sent.values()))

    def send(self, gift: Gift, sent_wall_ms: int, *, fate: Fate | None = None) -> Fate:
        """Make a gift known at `sent_wall_ms` and return its fate; `fate` overrides the draw.

        A repetition (see the module) changes nothing and returns the fate of the first.
        """
        key = gift[:4]
        sent = self._sent.setdefault(key, [])
        if sent and (gift in self._first or sent_wall_ms - sent[-1][1].sent_wall_ms < SAME_GIFT_MS):
            first = self._first.setdefault(gift, sent[-1][0])
            return next(fate for known, fate in sent if known == first)
        if fate is None:
            fate = self._draw(gift, str(gift.timestamp_ms), sent_wall_ms)
        sent.append((gift, fate))
        self._first[gift] = gift
        return fate

    def adopt(self, key: tuple[int, str, str, str], now_wall_ms: int) -> None:
        """Make a gift known that a check asks for, unless it is: as if sent this instant.

        A check does not say the `Timestamp`, so this instant stands for it; the draw leaves it
        out.
        """
        if key not in self._sent:
            gift = Gift(*key, now_wall_ms)
            self.send(gift, now_wall_ms, fate=self._draw(gift, "adopted", now_wall_ms))

    def fate(self, gift: Gift) -> Fate | None:
        """The fate of a gift, None if the API was never told of it."""
        first = self._first.get(gift)
        if first is None:
            return None
        return next(fate for known, fate in self._sent[first[:4]] if known == first)

    def original(self, gift: Gift) -> Gift:
        """The gift that this one repeats, itself if it repeats none."""
        return self._first.get(gift, gift)

    def consumed(
        self, app_id: int, room_id: str, mini_game_id: str, msg_ids: Iterable[str], now_wall_ms: int
    ) -> list[tuple[Gift, Fate]]:
        """Those of the named gifts that are consumed at `now_wall_ms`, in the order named.

        A MsgId that was used again after 24 hours can bring more than one.
        """
        known = self._sent.get
        return [
            sent
            for msg_id in msg_ids
            for sent in known((app_id, room_id, mini_game_id, msg_id), ())
            if (consumed := sent[1].consumed_wall_ms) is not None and consumed <= now_wall_ms
        ]

    def _draw(self, gift: Gift, timestamp: str, sent_wall_ms: int) -> Fate:
        settings = self._settings
        identity = (str(settings.seed), *map(str, gift[:4]), timestamp)
        digest = blake2b("\0".join(identity).encode(), digest_size=16).digest()
        kind = int.from_bytes(digest[:8]) / 2**64
        if kind < settings.never_share:
            return Fate(sent_wall_ms, None, 0)
        result_code = DELIVERY_FAILED if kind < settings.never_share + settings.failed_share else 0
        delay_ms = settings.fixed_delay_ms
        if delay_ms is None:
            # 53 bits, so that the quotient is exact and never 1, whose logarithm is infinite.
            delay_ms = round(
                -settings.mean_delay_ms * log1p(-(int.from_bytes(digest[8:]) >> 11) / 2**53)
            )
        return Fate(sent_wall_ms, sent_wall_ms + delay_ms, result_code)
