"""Consumers under a supervisor, as Kubernetes is one: whatever ends is started again.

A pod is a name; its process comes and goes. Each end is noted with its exit code: 0 after a
SIGTERM (−15 if that came before the process had looked for it) and a killed one's −9 are in order,
70 asks for a restart and gets it; anything else would have needed a person.
"""

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

RESTART_S: Final = 0.2
"""What a container takes to be started anew."""

STOP_S: Final = 20.0
ASK_EVERY_S: Final = 0.05

IN_ORDER: Final = frozenset({0, -signal.SIGTERM, -signal.SIGKILL, 70})
"""Exit codes after which a supervisor's restart is all there is to do."""


@dataclass(slots=True)
class Pod:
    """One consumer; `supervise` runs as long as it exists."""

    name: str
    configuration: Path
    log: Path
    http_port: int
    http: aiohttp.ClientSession
    exits: list[int] = field(default_factory=list)
    return_after_s: float = RESTART_S
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False
    _process: asyncio.subprocess.Process | None = None

    async def supervise(self) -> None:
        """Start it while it is wanted, and again whenever it has ended."""
        while not self._closing:
            await self._wanted.wait()
            if self._closing:
                return
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "consumer", "run", "--config", str(self.configuration),
                    stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            self.exits.append(await self._process.wait())
            delay_s, self.return_after_s = self.return_after_s, RESTART_S
            if self._wanted.is_set() and not self._closing:
                await asyncio.sleep(delay_s)

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        return self._process is not None and self._process.returncode is None

    def kill(self, return_after_s: float) -> None:
        """SIGKILL; so much later it is started again."""
        self.return_after_s = return_after_s
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if one runs now."""
        if self.running and self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def start(self) -> None:
        """Want it, from now on."""
        self._wanted.set()

    def scale_away(self) -> None:
        """SIGTERM, and no restart until it is wanted again."""
        self._wanted.clear()
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)

    async def gone(self) -> None:
        """Wait until its process has ended."""
        if self._process is not None:
            await self._process.wait()

    async def restart(self) -> None:
        """SIGTERM, and wait until its successor is ready."""
        self.send(signal.SIGTERM)
        await self.gone()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it says that it is."""
        while not await self._is_ready():  # noqa: ASYNC110  no event tells of another process
            await asyncio.sleep(ASK_EVERY_S)

    async def assigned(self) -> frozenset[int]:
        """The partitions it owns now, as it says; none if it does not answer."""
        status = await self._get("status")
        return frozenset(status["kafka"]["assigned"]) if status else frozenset()

    async def close(self) -> None:
        """End it for good: gracefully, or at once if it does not let itself be ended."""
        self._closing = True
        self._wanted.set()
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self.gone()
        except TimeoutError:
            self.send(signal.SIGKILL)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    async def _is_ready(self) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self.http.get(f"http://127.0.0.1:{self.http_port}/readyz") as response:
                return response.ok
        return False

    async def _get(self, path: str) -> dict[str, Any] | None:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self.http.get(f"http://127.0.0.1:{self.http_port}/{path}") as response:
                document: dict[str, Any] = await response.json()
                return document
        return None
