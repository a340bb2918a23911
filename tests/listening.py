"""Servers of tests that speak in streams: each connection is closed, however its task ends.

`asyncio.start_server` leaves that to whoever serves, and one that is cancelled before its first
step closes nothing; and in Python 3.11 a connection that comes while the server closes belongs to
nobody. Both stay open until the garbage collector complains of them, in some other test.
"""

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]


class Listener:
    """Lets `serve` handle each connection, within an `async with` block.

    A connection ends when its `serve` does, which may lose it (`OSError`, `IncompleteReadError`).
    At the end of the block all are dropped, those included that have only just been made.

    Args:
        serve: is given both directions of a connection.
        port: where it listens on loopback; 0: any.
        tls: of the server, if it is to speak TLS.
    """

    def __init__(self, serve: Serve, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._serve = serve
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self._socket.settimeout(0)
        self.port = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket, self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await asyncio.sleep(0)  # every task has begun, so that it closes what it was given
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Refuse new connections; the others live on. Again: nothing happens."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _accept(self) -> None:
        with suppress(BlockingIOError):  # it has gone again
            task = self._loop.create_task(self._handle(self._socket.accept()[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, connection: socket.socket) -> None:
        reader = StreamReader()
        protocol = StreamReaderProtocol(reader)
        with suppress(OSError, asyncio.IncompleteReadError):
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls
            )
            writer = StreamWriter(transport, protocol, reader, self._loop)
            try:
                await self._serve(reader, writer)
            finally:
                writer.close()
