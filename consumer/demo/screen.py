"""The terminal of a demo: shows the live view a few times a second, where there is one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

from consumer.demo.faults import Switchboard
from consumer.demo.figures import Observer
from consumer.demo.process import Backlog
from consumer.demo.view import Stage, Trouble, render_live

_REFRESH_S: Final = 0.25

AskBacklog = Callable[[], Awaitable[Backlog | None]]
"""Asks the consumer what waits in it."""


class Screen:
    """What is on display: the phase the run is in and, once there is something, its figures."""

    def __init__(self, console: Console, title: str, clock_us: Callable[[], int]) -> None:
        self._console = console
        self._clock_us = clock_us
        self._observed: tuple[Observer, AskBacklog] | None = None
        self._switchboard: Switchboard | None = None
        self._stage = Stage(title=title, phase="")
        self._since_us = clock_us()

    @property
    def watched(self) -> bool:
        """Whether somebody can see it."""
        return self._console.is_terminal

    def enter(self, phase: str, total_ms: int | None = None, hint: str = "Ctrl-C: give up") -> None:
        """A new phase begins, which takes `total_ms` at most; `hint` is what can be done in it."""
        self._stage = replace(self._stage, phase=phase, total_ms=total_ms, hint=hint)
        self._since_us = self._clock_us()

    def show_faults(self, switchboard: Switchboard) -> None:
        """From now on what is on there is shown, and what the consumer does about it."""
        self._switchboard = switchboard

    def watch(self, observer: Observer, ask_backlog: AskBacklog) -> None:
        """From now on there are figures."""
        self._observed = observer, ask_backlog

    async def show(self) -> None:
        """Refresh until cancelled; does nothing where nobody can see it."""
        if not self.watched:
            return
        # The alternate screen is drawn anew each time: neither the terminal's own "^C" nor a
        # change of its size leaves anything behind.
        with Live(console=self._console, auto_refresh=False, screen=True) as live:
            while True:
                live.update(await self._frame(), refresh=True)
                await asyncio.sleep(_REFRESH_S)

    async def _frame(self) -> RenderableType:
        figures, backlog = None, None
        if self._observed is not None:
            observer, ask_backlog = self._observed
            backlog = await ask_backlog()
            figures = observer.figures(self._clock_us(), backlog)
        elapsed_ms = (self._clock_us() - self._since_us) // 1_000
        trouble = None
        if self._switchboard is not None:
            told = () if backlog is None else backlog.told
            trouble = Trouble(self._switchboard.on(), told)
        return render_live(replace(self._stage, elapsed_ms=elapsed_ms), figures, trouble)
