"""What trouble keeps a window from, and when it asks all the same (design §7, P3, P5).

While a room, a game or an app backs off its windows wait, and one that is refused asks with a single
id. That must not keep gifts from ever being asked about, for without that they cannot be given up:

- a window that fails alone, with a full check of gifts never asked about, asks: a busy room would
  fill the memory;
- so does one with a gift past its proof, where others are answered, or past giving up.
"""

from typing import Final

from consumer.core.model import CheckRules
from consumer.core.overdue import LATELY_MS
from consumer.core.reaction import Backoffs
from consumer.core.split import Group
from consumer.core.window import Window

IMPATIENCE_MS: Final = 10_000
"""Also while its game or app is in trouble a gift must be asked about: once past deadline + settle
where others are answered, so that it can be given up early, and when it is to be given up anyhow.
So long after that, that others whose time has come are in the same check."""


class Restraint:
    """Says how trouble restrains windows; owns when others were last answered.

    Attributes:
        told_ms: when the latest check that was answered with success had been sent; -1: none.
    """

    def __init__(self, rules: CheckRules, backoffs: Backoffs) -> None:
        self._batch_size_max = rules.batch_size_max
        self._backoffs = backoffs
        self.told_ms = -1

    def told(self, sent_ms: int) -> None:
        """A check sent then was answered with success."""
        self.told_ms = max(self.told_ms, sent_ms)

    def until_ms(self, window: Window, group: Group | None, now_ms: int) -> int:
        """Until when a window waits, with these suspects or without; now: it need not."""
        until_ms = self._backoffs.until(window.key)
        if until_ms <= now_ms or self._is_overfull(window):
            return now_ms
        return self._backoffs.until(window.key, self._impatient_ms(window, group, now_ms))

    def only_probes(self, window: Window, now_ms: int) -> bool:
        """Whether the next check may carry one id alone: a probe of a game that is refused."""
        if not self._backoffs.game_refused(window.key) or self._is_overfull(window):
            return False
        impatient_ms = self._impatient_ms(window, None, now_ms)
        return impatient_ms is None or now_ms < impatient_ms

    def _is_overfull(self, window: Window) -> bool:
        """Whether a window fails alone and has a whole check of gifts never asked about."""
        return window.fails_alone and window.unasked_count >= self._batch_size_max

    def _impatient_ms(self, window: Window, group: Group | None, now_ms: int) -> int | None:
        """From when on a window asks although its game or app is in trouble: see IMPATIENCE_MS."""
        local = self.told_ms >= now_ms - LATELY_MS
        unasked, oldest = window.oldest_unasked() if local else None, window.oldest_waiting()
        due_ms = (
            unasked.proof_ms if unasked else None,
            oldest.give_up_ms if oldest else None,
            group.give_up_ms if group else None,
        )
        return min((at_ms + IMPATIENCE_MS for at_ms in due_ms if at_ms is not None), default=None)


def group_due_ms(group: Group) -> int:
    """When suspects are asked about again: also once they may be given up."""
    if group.give_up_ms is None:
        return group.due_ms
    return min(group.due_ms, group.give_up_ms + IMPATIENCE_MS)
