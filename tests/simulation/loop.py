"""An event loop on simulated time: as much of asyncio as the runner uses, and no more.

Tasks, futures, events and groups are asyncio's own; the loop calls what is ready, in order, and
plans timers on the hub. It belongs to a process: it stands still and dies with it.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.hub import Process

EARLY_US = 400


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs what is ready as soon as its process can; `late_us` later while that is set."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ready: deque[asyncio.Handle] = deque()
        self._planned = False
        self.late_us = 0
        self.failures: list[BaseException] = []

    def time(self) -> float:
        """Seconds of the world's clock."""
        return self._process.hub.now_us / 1_000_000

    def get_debug(self) -> bool:
        """Never."""
        return False

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: object = None, context: Any = None
    ) -> "asyncio.Task[Any]":
        """A task of this loop; its name is not kept."""
        return asyncio.Task(coro, loop=self, context=context)

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Run it after what is ready already."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._planned:
            self._planned = True
            self._process.after(self.late_us, self.run_ready)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """The same: all threads of the simulation are one."""
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it so many seconds from now."""
        # Real loops know milliseconds, and fire up to half of one early.
        due_us = self._process.hub.now_us + max(0, round(delay * 1_000_000) - EARLY_US)
        handle = asyncio.TimerHandle(due_us / 1_000_000, callback, args, self, context)
        self._process.at(due_us, self._fire, handle)
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody awaits: a failure of the simulation or of what it runs."""
        self.failures.append(context.get("exception") or RuntimeError(context["message"]))

    def run_ready(self) -> None:
        """One iteration: what is ready now, not what becomes so meanwhile."""
        self._planned = False
        ready, self._ready = self._ready, deque()
        asyncio._set_running_loop(self)
        try:
            for handle in ready:
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def within(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, called with this loop as the running one."""
        asyncio._set_running_loop(self)
        try:
            return call()
        finally:
            asyncio._set_running_loop(None)

    def end(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a task and all that follows from it, for a process that is dead."""
        task.cancel()
        while self._ready:
            self.run_ready()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by asyncio; the hub finds a cancelled handle by itself."""

    def _fire(self, handle: asyncio.TimerHandle) -> None:
        if not handle.cancelled():
            self.call_soon(handle._callback, *handle._args)  # type: ignore[attr-defined]
