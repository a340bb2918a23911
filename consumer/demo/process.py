"""The consumer under demonstration: one child process, the real one.

It gets a configuration file and a port for its HTTP endpoints, and is asked there whether it is
ready and what waits. It has a session of its own, so that Ctrl-C reaches the demo alone, which
lets it finish first. Whatever ends the demo ends the child; only a demo that is killed outright
leaves one behind, which ends by itself when its broker has been away for `kafka.outage_max`.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import aiohttp
import yaml

from consumer.demo.status import told_by
from consumer.errors import GiftcheckError

STOP_S: Final = 15.0
"""A graceful stop waits up to 1 s for answers and commits once; what takes this long hangs."""

READY_S: Final = 60.0
"""Seen: 1 s against a real Kafka, 4 s with the embedded broker, whose first join takes 3 s."""

_ASK_EVERY_S: Final = 0.05

_ANSWER_S: Final = 2.0

LOG_TAIL_LINES: Final = 12

_PREFIX: Final = "GIFTCHECK_"
"""Environment variables outrank the configuration file; the demo's consumer shall not have any."""


class ConsumerEnded(GiftcheckError):
    """The consumer under demonstration ended by itself, or did not come up."""

    exit_code = 1


class Backlog(NamedTuple):
    """What waits in the consumer: gifts without a verdict, and checks without an answer.

    `told` is what it says of itself besides, line by line.
    """

    pending: int
    in_flight: int
    told: tuple[str, ...] = ()


class ConsumerProcess:
    """The running child, within an `async with` block that begins when it has been started.

    Args:
        configuration: the content of its configuration file, all but `http` and `log`.
        folder: gets the configuration and the log.
        embedded_broker: start it through `consumer.demo.child`, not as `giftcheck run`.
    """

    def __init__(
        self, configuration: Mapping[str, Any], folder: Path, *, embedded_broker: bool
    ) -> None:
        self._configuration = configuration
        self._config_file = folder / "giftcheck.yaml"
        self._log_file = folder / "giftcheck.log"
        self._stopping = False
        self._arguments = ["consumer.demo.child"] if embedded_broker else ["consumer", "run"]

    async def __aenter__(self) -> Self:
        """Write the configuration and start."""
        port = _free_port()
        http = {"host": "127.0.0.1", "port": port}
        self._config_file.write_text(
            yaml.safe_dump({**self._configuration, "http": http, "log": {"format": "json"}})
        )
        with self._log_file.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._arguments,
                "--config",
                str(self._config_file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: v for name, v in os.environ.items() if not name.startswith(_PREFIX)},
                start_new_session=True,
            )
        self._http = aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(total=_ANSWER_S)
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the child, gently if it lets itself be."""
        await self._http.close()
        await self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def stop(self) -> int:
        """Ask it to stop, wait, and return its exit code; negative: the signal that killed it."""
        self._stopping = True
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                return await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()

    async def watch(self) -> None:
        """Wait until the child ends; if it was not asked to, say so.

        Raises:
            ConsumerEnded: it has ended by itself; the end of its log is in the message.
        """
        exit_code = await self._process.wait()
        if not self._stopping:
            raise ConsumerEnded(
                f"the consumer ended by itself, exit code {exit_code}:\n{self.log_tail()}"
            )

    async def ready(self) -> None:
        """Wait until it owns its partitions.

        Raises:
            ConsumerEnded: that takes longer than `READY_S`.
        """
        try:
            async with asyncio.timeout(READY_S):
                while not await self._is_ready():  # noqa: ASYNC110 - no event tells of another process
                    await asyncio.sleep(_ASK_EVERY_S)
        except TimeoutError:
            raise ConsumerEnded(
                f"the consumer is not ready after {READY_S:.0f} s:\n{self.log_tail()}"
            ) from None

    async def backlog(self) -> Backlog | None:
        """What waits in it now, as its `/status` says; None if it does not answer."""
        try:
            async with self._http.get("/status") as response:
                status = await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return None
        core = status["core"]
        return Backlog(core["pending_gifts"], core["requests_in_flight"], told_by(status))

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self._log_file.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    async def _is_ready(self) -> bool:
        try:
            async with self._http.get("/readyz") as response:
                return response.ok
        except (aiohttp.ClientError, TimeoutError):
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
