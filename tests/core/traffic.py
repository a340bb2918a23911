"""Gifts for many rooms in virtual time, an API that knows their fates, and what became of them."""

import bisect
import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consumer.core.hazard import PRIOR, Hazard, Hazards, Sighting
from consumer.core.messages import CheckAnswered
from consumer.core.model import Answer, Check, CheckRules, Status
from tests.core.builders import (
    NOW_MS,
    RULES,
    WALL_MS,
    Ending,
    Harness,
    make_entry,
    make_loss,
    make_record,
)

LATENCY_MS = 30

Fate = Callable[[random.Random], int | None]
"""After how many milliseconds a gift is consumed; None: never."""


def exponential(mean_ms: float, consumed_share: float = 0.9) -> Fate:
    """Some are never consumed, the others after an exponential time."""
    return lambda dice: (
        round(dice.expovariate(1 / mean_ms)) if dice.random() < consumed_share else None
    )


class FixedHazards:
    """A belief that nothing changes."""

    def __init__(self, hazard: Hazard = PRIOR) -> None:
        self._hazard = hazard

    def of(self, app_id: int, mini_game_id: str) -> Hazard:
        del app_id, mini_game_id
        return self._hazard

    def learn(self, app_id: int, mini_game_id: str, sightings: Iterable[Sighting]) -> None:
        """No, thank you."""


@dataclass(frozen=True)
class Room:
    """Who gets a gift how often, in which game."""

    name: str
    interval_ms: float
    game: str = "game"


@dataclass(frozen=True)
class Life:
    """One gift: of which room and game, when it was sent, and when it was consumed."""

    room: str
    game: str
    sent_ms: int
    consumed_ms: int | None


@dataclass(frozen=True)
class Figures:
    """What a stretch of time has cost, and how long its consumed gifts waited for their result."""

    gifts: int
    requests_per_gift: float
    mean_ms: float
    p95_ms: float


class Traffic:
    """Poisson arrivals for some rooms of one partition, drawn from a seed, and their API.

    `fate` may be changed while it runs. Whoever is asked about a gift in `hangs` never answers.
    """

    def __init__(
        self,
        seed: int,
        rooms: Sequence[Room],
        fate: Fate,
        *,
        rules: CheckRules = RULES,
        hazards: Hazards | None = None,
        latency_ms: int = LATENCY_MS,
    ) -> None:
        self.dice = random.Random(seed)
        self.fate = fate
        self.hangs: frozenset[str] = frozenset()
        self.lives: dict[str, Life] = {}
        self.asked: dict[str, int] = {}
        self.harness = Harness(rules=rules, hazards=hazards, api=self._reply)
        self.harness.assign()
        self._rules = rules
        self._latency_ms = latency_ms
        self._offsets = itertools.count()
        self._arrivals = [
            (NOW_MS + self.dice.expovariate(1 / room.interval_ms), n, room)
            for n, room in enumerate(rooms)
        ]
        heapq.heapify(self._arrivals)

    def run(self, for_ms: int) -> None:
        """Let gifts arrive for a while."""
        until_ms = self.harness.now_ms + for_ms
        while self._arrivals[0][0] < until_ms:
            at_ms, n, room = self._arrivals[0]
            self.harness.run(max(0, int(at_ms) - self.harness.now_ms))
            self.send(room)
            later_ms = at_ms + self.dice.expovariate(1 / room.interval_ms)
            heapq.heapreplace(self._arrivals, (later_ms, n, room))
        self.harness.run(until_ms - self.harness.now_ms)

    def send(self, room: Room) -> None:
        """A gift is sent and read, now."""
        harness, offset = self.harness, next(self._offsets)
        after_ms = self.fate(self.dice)
        consumed_ms = None if after_ms is None else harness.now_ms + after_ms
        record = make_record(offset, room_id=room.name, game=room.game, sent_at=harness.wall_ms)
        self.lives[record.sent.msg_id] = Life(room.name, room.game, harness.now_ms, consumed_ms)
        harness.read(record)

    def delays_ms(self, *, since_ms: int = 0, rooms: str = "") -> list[int]:
        """Ascending, those of the gifts sent since then to rooms whose name begins so."""
        delays = []
        for result in self.harness.results:
            life = self.lives[result.sent.msg_id]
            if life.sent_ms < since_ms or not life.room.startswith(rooms):
                continue
            if result.status is Status.SUCCEEDED:
                assert life.consumed_ms is not None
                delays.append(result.decided_at - WALL_MS + NOW_MS - life.consumed_ms)
        return sorted(delays)

    def figures(self, *, since_ms: int = 0) -> Figures:
        """Of the gifts sent since then; requests are those written since then."""
        delays = self.delays_ms(since_ms=since_ms)
        gifts = sum(life.sent_ms >= since_ms for life in self.lives.values())
        requests = sum(at_ms >= since_ms for at_ms, _ in self.harness.sent)
        p95_ms = delays[len(delays) * 95 // 100]
        return Figures(gifts, requests / gifts, sum(delays) / len(delays), p95_ms)

    def in_flight_max(self, game: str, duration_ms: int, since_ms: int = 0) -> int:
        """The most checks of a game at once, of those written since then, if each lasts so long."""
        sent = [at for at, check in self.harness.sent if check.mini_game_id == game]
        instants = [at for at in sent if at >= since_ms]
        return max(
            bisect.bisect_right(instants, at) - bisect.bisect_right(instants, at - duration_ms)
            for at in instants
        )

    def _reply(self, check: Check, now_ms: int) -> tuple[int, Ending]:
        for msg_id in check.msg_ids:
            self.asked[msg_id] = self.asked.get(msg_id, 0) + 1
        if check.mini_game_id in self.hangs:
            return self._rules.request_timeout_ms, make_loss(check)
        seen_ms = now_ms + self._latency_ms // 2
        entries = tuple(
            make_entry(msg_id, timestamp_ms=life.sent_ms - NOW_MS + WALL_MS)
            for msg_id in check.msg_ids
            if (life := self.lives[msg_id]).consumed_ms is not None and life.consumed_ms <= seen_ms
        )
        answer = Answer(0, "success", "req", entries)
        return self._latency_ms, CheckAnswered(check.check_id, answer)
