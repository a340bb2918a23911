"""An answer's code: what is to be done about it (design §7; codes: the vendor's return codes).

Every trouble has a scope (whose checks wait) and a back-off (how long, growing with each failed
round, with jitter so that rooms do not come back in step). Waiting never decides a verdict: gifts
stay pending meanwhile.

A game or an app in trouble is probed by one check at a time: whoever asks first after the wait
keeps the others waiting until its check must have ended, and asks last in the next round. Its
success ends the trouble for all of them.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    A bad request is a trouble of the game only once splits have shown that it is (`split`). The
    signing clock is set right by the answer that calls it wrong: the retry follows at once.
    """
    match trouble:
        case Trouble.TRANSIENT | Trouble.RATE_LIMITED:
            return window, RETRY
        case Trouble.BAD_REQUEST | Trouble.THIS_GAME:
            return (window.app_id, window.mini_game_id), SLOW
        case Trouble.CREDENTIALS | Trouble.CONFIGURATION:
            return window.app_id, SLOW
        case Trouble.CLOCK:
            return window.app_id, RETRY
    assert_never(trouble)


@dataclass(frozen=True, slots=True)
class Wait:
    """A scope in trouble: since when, for how many rounds, what was said last, who asked last."""

    trouble: Trouble
    detail: str
    rounds: int
    began_ms: int
    until_ms: int
    prober: WindowKey | None = None


class Backoffs:
    """Who waits until when; owns one entry for each scope in trouble, none for the others.

    Windows are told of by `open` and `close`: a scope without windows is in no trouble.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._waits: dict[Scope, Wait] = {}
        self._windows: Counter[Scope] = Counter()

    def __len__(self) -> int:
        return len(self._waits)

    def open(self, window: WindowKey) -> None:
        """A window begins."""
        self._windows.update(_scopes(window))

    def close(self, window: WindowKey) -> None:
        """A window is gone, its own wait with it, and that of a game or app without windows."""
        for scope in _scopes(window):
            self._windows[scope] -= 1
            if not self._windows[scope]:
                del self._windows[scope]
                self._waits.pop(scope, None)

    def until(self, window: WindowKey, impatient_ms: int | None = None) -> int:
        """The earliest instant for this window's next check, as far as trouble goes.

        From `impatient_ms` on only its own wait counts, not that of its game or app.
        """
        if not self._waits:
            return -1
        own, *shared = (self._waits.get(scope) for scope in _scopes(window))
        until_ms = max((_turn_of(window, wait) for wait in shared if wait), default=-1)
        if impatient_ms is not None:
            until_ms = min(until_ms, impatient_ms)
        return until_ms if own is None else max(until_ms, own.until_ms)

    def asked(self, window: WindowKey, probe_end_ms: int) -> None:
        """A check of this window goes out, and has ended by `probe_end_ms`.

        Where its game or app is in trouble, it is the probe, and the others wait for its end.
        """
        if not self._waits:
            return
        for scope in _scopes(window)[1:]:
            wait = self._waits.get(scope)
            if wait is not None:
                until_ms = max(wait.until_ms, probe_end_ms)
                self._waits[scope] = replace(wait, until_ms=until_ms, prober=window)

    def game_refused(self, window: WindowKey) -> bool:
        """Whether the vendor calls every check of this window's game bad, as far as is known."""
        wait = self._waits.get((window.app_id, window.mini_game_id))
        return wait is not None and wait.trouble is Trouble.BAD_REQUEST

    def failed(
        self,
        trouble: Trouble,
        detail: str,
        window: WindowKey,
        sent_ms: int,
        now_ms: int,
        *,
        retry_after_ms: int | None = None,
    ) -> Trouble | None:
        """A check of this window met trouble; returns it if its scope was not in it before.

        Checks sent before the wait began tell nothing new: failures of one round count once. The
        wait is at least `retry_after_ms`. A clock that is wrong although it has just been set
        right is a matter of configuration.
        """
        scope, pace = scope_and_pace(trouble, window)
        wait = self._waits.get(scope)
        if wait is not None and sent_ms <= wait.began_ms:
            return None
        if trouble is Trouble.CLOCK and wait is not None:
            trouble, pace = Trouble.CONFIGURATION, SLOW
        rounds = wait.rounds + 1 if wait is not None else 0
        length_ms = min(pace.first_ms << min(rounds, 16), pace.longest_ms)
        length_ms += int(length_ms * JITTER * self._jitter())
        until_ms = now_ms + max(length_ms, retry_after_ms or 0)
        prober = wait.prober if wait is not None else None
        self._waits[scope] = Wait(trouble, detail, rounds, now_ms, until_ms, prober)
        return trouble if wait is None or wait.trouble is not trouble else None

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


def _scopes(window: WindowKey) -> tuple[Scope, ...]:
    return window, (window.app_id, window.mini_game_id), window.app_id


def _turn_of(window: WindowKey, wait: Wait) -> int:
    """Whoever probed last lets the others go first."""
    return wait.until_ms + (wait.prober == window)
