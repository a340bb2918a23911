"""Checks that the vendor calls bad: whose fault it is, found by halves (design §7, [R 10]).

"This request is bad" may mean one poisoned id, too many ids, or that nothing of this game can be
asked about any more. Guessing wrong closes down a platform, so:

- The gifts of a refused check become *suspects*: two groups that are asked on their own, refused
  ones in halves again. Gifts that arrive meanwhile do not join them, and a room has one group in
  flight at a time, so its other gifts go on beside it.
- Both halves good: it was the size (`batch`).
- One id left: it is poisoned, `UNVERIFIED`, only if the same app and game got a Code 0 to a check
  that was sent since this split began and within `PROOF_MS`, and the id was refused alone twice:
  a vendor who refuses at random would otherwise close gifts that nothing is wrong with.
- Else it stays pending and is asked again slowly. Two such ids of a game mean that the game itself
  is refused: trouble of that (app, game) for people to mend (`reaction`), single small checks
  probe it, and nothing is split meanwhile. A Code 0 ends that, and all suspects are asked again.

Until a Code 0 has been seen a game has one group in flight in all rooms together: a vendor who
refuses everything costs some ten requests for a game, not two for every gift.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from consumer.core.batch import BatchLimit
from consumer.core.gift import Gift
from consumer.core.window import Window

PROOF_MS: Final = 60_000
"""A Code 0 older than that says nothing of how the game is now."""

CONFIRM_MS: Final = 500
"""How long after its first refusal a lone id is asked again, if the game works otherwise."""

REFUSALS_MIN: Final = 2

DOUBT_MS: Final = 5_000
DOUBT_DOUBLINGS_MAX: Final = 3
"""Without proof a lone id is asked again after 5, 10, 20, 40, 40 … s."""

DOUBTS_MAX: Final = 2
"""One refused id of a game may be poisoned; two of them without any success are the game's."""

AT_ONCE: Final = -1

Game = tuple[int, str]


@dataclass(eq=False, slots=True)
class _Whole:
    """A refused check of several ids, and how many of its halves were good."""

    count: int
    good_halves: int = 0


@dataclass(eq=False, slots=True)
class Group:
    """Suspects that are asked together; their gifts count as in flight for their window.

    `began_ms` is when the split began, `due_ms` when they may be asked again; `refusals` counts
    those of a lone id.
    """

    gifts: tuple[Gift, ...]
    began_ms: int
    due_ms: int = AT_ONCE
    half_of: _Whole | None = None
    refusals: int = 0

    @property
    def give_up_ms(self) -> int | None:
        """When the oldest of them may be given up."""
        return self.gifts[0].give_up_ms


@dataclass(eq=False, slots=True)
class _Held:
    """A window's groups, the next one first, and the one in flight."""

    groups: deque[Group] = field(default_factory=deque)
    asked: Group | None = None


@dataclass(eq=False, slots=True)
class _Case:
    """A game with suspects: in which windows, whether it is known to work, and who doubts it."""

    held: dict[Window, _Held] = field(default_factory=dict)
    in_flight: int = 0
    began_ms: int = -1
    proof_ms: int = -1
    doubts: set[str] = field(default_factory=set)


class Finding(Enum):
    """What a refused check means for its gifts."""

    UNDECIDED = auto()
    """They wait, or are suspects."""
    POISONED = auto()
    """It is this one id alone: in the game's other checks nothing is wrong."""
    GAME_REFUSED = auto()
    """Nothing of the game can be asked about, as far as is known."""


class Splits:
    """Owns the suspects, by game; nothing is kept for games without any."""

    def __init__(self, batch: BatchLimit) -> None:
        self._batch = batch
        self._cases: dict[Game, _Case] = {}

    def __len__(self) -> int:
        return sum(len(case.held) for case in self._cases.values())

    def next_group(self, window: Window) -> Group | None:
        """The group that this window asks about next, from its `due_ms` on.

        None: there is none, or it has to wait until another one has ended (`released`).
        """
        case = self._cases.get(_game(window))
        held = case.held.get(window) if case is not None else None
        if case is None or held is None or held.asked is not None:
            return None
        group = min(held.groups, key=lambda group: group.due_ms)
        return group if not case.in_flight or case.proof_ms >= group.began_ms else None

    def take(self, window: Window, group: Group) -> None:
        """This group's check goes out."""
        case = self._cases[_game(window)]
        held = case.held[window]
        held.groups.remove(group)
        held.asked = group
        case.in_flight += 1

    def unanswered(self, window: Window, group: Group, survivors: Iterable[Gift]) -> list[Window]:
        """A group's check told nothing about it: those still pending are asked again.

        Returns the windows that may now ask.
        """
        case, held = self._end(window)
        self._keep(held, group, survivors)
        return self._tidy(window, case, held)

    def answered(
        self, window: Window, group: Group | None, sent_ms: int, now_ms: int
    ) -> list[Window]:
        """A check was answered with Code 0: its game works, and a group is suspected no more.

        Returns the windows that may now ask.
        """
        case = self._cases.get(_game(window))
        if case is None:
            return []
        unproven = case.proof_ms < case.began_ms
        case.proof_ms = max(case.proof_ms, sent_ms)
        if case.doubts:
            case.doubts.clear()
            for held in case.held.values():
                for waiting in held.groups:
                    waiting.due_ms = AT_ONCE
        released = list(case.held) if unproven else []
        if group is None:
            return released
        whole = group.half_of
        if whole is not None:
            whole.good_halves += 1
            if whole.good_halves == 2:  # noqa: PLR2004  both halves
                self._batch.too_large(whole.count, now_ms)
        case, held = self._end(window)
        return [*released, *self._tidy(window, case, held)]

    def refused(
        self,
        window: Window,
        group: Group | None,
        survivors: tuple[Gift, ...],
        now_ms: int,
        *,
        game_refused: bool,
    ) -> tuple[Finding, list[Window]]:
        """A check was called bad; `survivors` are its gifts that are still pending.

        With `game_refused` that is known of the whole game, and nothing is split. Returns what it
        means, and the windows that may now ask.
        """
        case = self._cases.setdefault(_game(window), _Case())
        held = self._end(window)[1] if group is not None else case.held.setdefault(window, _Held())
        finding = Finding.UNDECIDED
        ids = list(dict.fromkeys(gift.read.sent.msg_id for gift in survivors))
        if len(ids) == 1:
            finding = self._refused_alone(case, held, group, survivors, now_ms)
        elif game_refused:
            finding = Finding.GAME_REFUSED
            if group is None:
                window.give_back(survivors, None)
            else:
                self._keep(held, group, survivors)
        elif ids:
            whole = _Whole(len(ids))
            began_ms = now_ms if group is None else group.began_ms
            case.began_ms = max(case.began_ms, began_ms)
            first = frozenset(ids[: len(ids) // 2])
            for in_first in (False, True):  # each goes before the other groups, the first one last
                half = tuple(g for g in survivors if (g.read.sent.msg_id in first) is in_first)
                held.groups.appendleft(Group(half, began_ms, half_of=whole))
        return finding, self._tidy(window, case, held)

    def close(self, window: Window) -> None:
        """A window is gone, and its suspects with it."""
        case = self._cases.get(_game(window))
        held = case.held.pop(window, None) if case is not None else None
        if case is None or held is None:
            return
        case.in_flight -= held.asked is not None
        if not case.held:
            del self._cases[_game(window)]

    def _refused_alone(
        self,
        case: _Case,
        held: _Held,
        group: Group | None,
        gifts: tuple[Gift, ...],
        now_ms: int,
    ) -> Finding:
        group = group or Group(gifts, now_ms)
        group.gifts = gifts
        group.refusals += 1
        case.began_ms = max(case.began_ms, group.began_ms)
        proven = case.proof_ms >= max(group.began_ms, now_ms - PROOF_MS)
        if proven and group.refusals >= REFUSALS_MIN:
            return Finding.POISONED
        held.groups.append(group)
        if proven:
            group.due_ms = now_ms + CONFIRM_MS
            return Finding.UNDECIDED
        group.due_ms = now_ms + (DOUBT_MS << min(group.refusals - 1, DOUBT_DOUBLINGS_MAX))
        case.doubts.add(gifts[0].read.sent.msg_id)
        return Finding.GAME_REFUSED if len(case.doubts) >= DOUBTS_MAX else Finding.UNDECIDED

    def _keep(self, held: _Held, group: Group, survivors: Iterable[Gift]) -> None:
        group.gifts = tuple(survivors)
        if group.gifts:
            held.groups.appendleft(group)

    def _end(self, window: Window) -> tuple[_Case, _Held]:
        """The group in flight of this window is so no more."""
        case = self._cases[_game(window)]
        case.in_flight -= 1
        held = case.held[window]
        held.asked = None
        return case, held

    def _tidy(self, window: Window, case: _Case, held: _Held) -> list[Window]:
        """Forget what has no suspects; who may ask now that a group has ended."""
        if not held.groups and held.asked is None:
            del case.held[window]
        if not case.held:
            del self._cases[_game(window)]
        return list(case.held) if case.proof_ms < case.began_ms else []


def _game(window: Window) -> Game:
    return window.key.app_id, window.key.mini_game_id
