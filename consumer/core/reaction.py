"""An answer's code: what is to be done about it (design §7; codes: the vendor's return codes).

Every trouble has a scope (whose checks wait) and a back-off (how long, growing with each failed
round, with jitter so that rooms do not come back in step). Waiting never decides a verdict: gifts
stay pending meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from consumer.core.model import Trouble, WindowKey

SUCCESS: Final = 0

TROUBLE_BY_CODE: Final[dict[int, Trouble]] = {
    **dict.fromkeys((1, 7_202_000, 7_210_000, 7_210_001), Trouble.TRANSIENT),
    **dict.fromkeys((100_000_012, 100_000_015), Trouble.TRANSIENT),
    **dict.fromkeys((2, 7_200_004), Trouble.BAD_REQUEST),
    **dict.fromkeys((7, 206), Trouble.RATE_LIMITED),
    **dict.fromkeys((7_202_001, 7_202_002), Trouble.THIS_GAME),
    **dict.fromkeys((3, 7_200_401, 7_201_003, 7_201_005), Trouble.CREDENTIALS),
    **dict.fromkeys((7_202_003, 7_203_001), Trouble.CREDENTIALS),
    **dict.fromkeys((100_000_001, 100_000_005, 100_000_010), Trouble.CREDENTIALS),
    **dict.fromkeys((100_000_011, 100_000_016, 100_000_017), Trouble.CREDENTIALS),
    **dict.fromkeys((100_000_000, 100_000_002, 100_000_003), Trouble.CONFIGURATION),
    **dict.fromkeys((100_000_006, 100_000_007, 100_000_008), Trouble.CONFIGURATION),
    **dict.fromkeys((100_000_009, 100_000_013, 100_000_014), Trouble.CONFIGURATION),
    100_000_004: Trouble.CLOCK,
}
"""Every return code of the vendor's page but success; 206 is other ZEGOCLOUD products' 7."""


def trouble_of(code: int) -> Trouble | None:
    """What is wrong by this `Code`; None for success. An unknown code is transient."""
    if code == SUCCESS:
        return None
    return TROUBLE_BY_CODE.get(code, Trouble.TRANSIENT)


class Pace(NamedTuple):
    """A back-off: first wait, and the longest, before jitter."""

    first_ms: int
    longest_ms: int


RETRY: Final = Pace(200, 8_000)
"""For what passes by itself; 8 s as the limiter's slowest probe, so neither waits for the other."""

SLOW: Final = Pace(5_000, 60_000)
"""For what somebody has to mend: soon enough after it is mended, and no load until then."""

JITTER: Final = 0.25
"""Each wait is lengthened by up to this share."""

Scope = WindowKey | tuple[int, str] | int
"""Whose checks wait: a room's game, an (app, game), or an app."""


def scope_and_pace(trouble: Trouble, window: WindowKey) -> tuple[Scope, Pace]:
    """Whose checks wait after this trouble with a check of `window`, and how long.

    Too many requests is the room's affair and the limiter's; what is left for the retry is short.
    """
    match trouble:
        case Trouble.TRANSIENT | Trouble.RATE_LIMITED:
            return window, RETRY
        case Trouble.BAD_REQUEST:
            return window, SLOW
        case Trouble.THIS_GAME:
            return (window.app_id, window.mini_game_id), SLOW
        case Trouble.CREDENTIALS | Trouble.CONFIGURATION | Trouble.CLOCK:
            return window.app_id, SLOW
    assert_never(trouble)


@dataclass(frozen=True, slots=True)
class Wait:
    """A scope in trouble: since when, for how many rounds, and what was said last."""

    trouble: Trouble
    detail: str
    rounds: int
    began_ms: int
    until_ms: int


class Backoffs:
    """Who waits until when; owns one entry for each scope in trouble, none for the others."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._waits: dict[Scope, Wait] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def until(self, window: WindowKey) -> int:
        """The earliest instant for this window's next check, as far as trouble goes."""
        if not self._waits:
            return -1
        waits = (self._waits.get(scope) for scope in _scopes(window))
        return max((wait.until_ms for wait in waits if wait is not None), default=-1)

    def failed(
        self, trouble: Trouble, detail: str, window: WindowKey, sent_ms: int, now_ms: int
    ) -> bool:
        """A check of this window met trouble; returns whether its scope had none before.

        Checks sent before the wait began tell nothing new: failures of one round count once.
        """
        scope, pace = scope_and_pace(trouble, window)
        wait = self._waits.get(scope)
        if wait is not None and sent_ms <= wait.began_ms:
            return False
        rounds = wait.rounds + 1 if wait is not None else 0
        length_ms = min(pace.first_ms << min(rounds, 16), pace.longest_ms)
        until_ms = now_ms + length_ms + int(length_ms * JITTER * self._jitter())
        self._waits[scope] = Wait(trouble, detail, rounds, now_ms, until_ms)
        return wait is None

    def shared(self) -> dict[Scope, Wait]:
        """The games and apps in trouble; that of single rooms is only counted."""
        return {
            scope: wait for scope, wait in self._waits.items() if not isinstance(scope, WindowKey)
        }

    def succeeded(self, window: WindowKey) -> bool:
        """A check of this window was answered with success: none of its scopes is in trouble.

        Returns whether others waited for that too: its game's or its app's trouble is over.
        """
        if not self._waits:
            return False
        _, *shared = _scopes(window)
        self._waits.pop(window, None)
        ended = [self._waits.pop(scope, None) for scope in shared]
        return any(wait is not None for wait in ended)

    def close(self, window: WindowKey) -> None:
        """A window is gone, and its own wait with it."""
        self._waits.pop(window, None)


def _scopes(window: WindowKey) -> tuple[Scope, ...]:
    return window, (window.app_id, window.mini_game_id), window.app_id
