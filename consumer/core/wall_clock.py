"""Whether our wall clock can be believed (design §7, [R 5c]).

Deadlines are wall time, turned into monotonic time at intake. A clock that is an hour ahead makes
every gift overdue at once, and the vendor tolerates ten minutes, so nobody else notices. Two
things put it in doubt:

- a *step*: between two readings it has moved by over `TOLERANCE_MS` more or less than the
  monotonic clock did. Which side of the step was right cannot be told from here;
- the answers' `Date`, in `DATES_MIN` answers in a row (one misconfigured gateway of many is not
  our fault), lies over `TOLERANCE_MS` outside of the check's own time.

While it is in doubt, silence proves absence only with a `Date` at or after the deadline
(`verdict`). **It ends** when `DATES_MIN` answers in a row have a `Date` that agrees, or when a step
is taken back, or, since an API might never send a `Date`, `STEP_MEMORY_MS` after the last step: the
gifts that were taken in before it are gone by then. A slow drift is no step; only `Date` shows it.
"""

from typing import Final

TOLERANCE_MS: Final = 2_000
"""Slewing and jitter stay far below; a `Date` has whole seconds."""

DATE_RESOLUTION_MS: Final = 1_000

DATES_MIN: Final = 3

STEP_MEMORY_MS: Final = 3_600_000
"""The default of `check.give_up_after`: no gift is pending for longer."""


class WallClock:
    """Compares what is read with what was read before, and with what the answers say."""

    def __init__(self) -> None:
        self._offset_ms: int | None = None
        self._before_step_ms: int | None = None
        self._stepped_ms = -1
        self._differing = 0
        self._agreeing = 0
        self._ahead_ms: int | None = None

    @property
    def doubt(self) -> str | None:
        """Why the clock cannot be believed now, in words for people; None: it can."""
        step_ms = self._step_ms()
        if step_ms is not None:
            return f"the wall clock has stepped by {step_ms / 1_000:+.1f} s"
        if self._ahead_ms is not None:
            return f"the wall clock is {self._ahead_ms / 1_000:+.1f} s off the answers' Date"
        return None

    @property
    def may_lead_ms(self) -> int:
        """How far ahead the clock may be; 0 while there is no doubt.

        One that lags makes no deadline early: a gift's time counts from now at the latest.
        """
        return max(0, self._step_ms() or 0, self._ahead_ms or 0)

    def read(self, now_ms: int, wall_ms: int) -> None:
        """Both clocks have been read, one right after the other."""
        before_ms, offset_ms = self._offset_ms, wall_ms - now_ms
        self._offset_ms = offset_ms
        if before_ms is not None and abs(offset_ms - before_ms) > TOLERANCE_MS:
            self._stepped_ms = now_ms
            if self._before_step_ms is None:
                self._before_step_ms = before_ms
        if self._before_step_ms is None:
            return
        taken_back = abs(offset_ms - self._before_step_ms) <= TOLERANCE_MS
        if taken_back or now_ms - self._stepped_ms >= STEP_MEMORY_MS:
            self._before_step_ms = None

    def date(self, date_wall_ms: int, sent_wall_ms: int, wall_ms: int) -> None:
        """An answer that came at `wall_ms`, to a check sent at `sent_wall_ms`, had this `Date`."""
        early_ms = sent_wall_ms - (date_wall_ms + DATE_RESOLUTION_MS)
        late_ms = date_wall_ms - wall_ms
        if max(early_ms, late_ms) > TOLERANCE_MS:
            self._agreeing = 0
            self._differing += 1
            if self._differing >= DATES_MIN:
                self._ahead_ms = wall_ms - date_wall_ms
            return
        self._differing = 0
        self._agreeing += 1
        if self._agreeing >= DATES_MIN:
            self._ahead_ms = None
            self._before_step_ms = None

    def _step_ms(self) -> int | None:
        if self._before_step_ms is None or self._offset_ms is None:
            return None
        return self._offset_ms - self._before_step_ms
