"""A TCP proxy that can be told to harm what passes: one port in front of another, on loopback.

What it holds back it hands on in order, on each connection; what a broken connection still held
is lost, as in a network. It reads no protocol.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Final, Self, cast

_TICK_S: Final = 1e-6
"""Between two chunks due at the same instant: equal timers have no order."""


class Proxy:
    """Listens within an `async with` block; harms nothing unless told to.

    Args:
        target_port: where connections go on to.
        port: where it listens; 0: any.
        seed: of which answers are halved.
    """

    def __init__(self, target_port: int, *, port: int = 0, seed: int = 1) -> None:
        self.port = port
        self.delay_s = 0.0
        self.halved_share = 0.0
        self._target_port = target_port
        self._random = Random(seed)
        self._ends: set[_End] = set()
        self._held = False
        self._refusing = False
        self._connecting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        self.cut()

    def cut(self) -> None:
        """Reset every connection; new ones pass."""
        for end in tuple(self._ends):
            end.abort()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Reset every connection, and new ones as soon as they are made."""
        self._refusing = True
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    @contextmanager
    def slowing(self, delay_s: float) -> Iterator[None]:
        """Hand everything on so much later, in both directions."""
        self.delay_s = delay_s
        try:
            yield
        finally:
            self.delay_s = 0.0

    @contextmanager
    def halving(self, share: float) -> Iterator[None]:
        """Of so many chunks from the server hand on the first half, and reset the connection."""
        self.halved_share = share
        try:
            yield
        finally:
            self.halved_share = 0.0

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Take nothing in; whoever writes waits until this ends, then all of it passes."""
        self._held = True
        for end in tuple(self._ends):
            end.hold()
        try:
            yield
        finally:
            self._held = False
            for end in tuple(self._ends):
                end.release()

    def halves(self) -> bool:
        """Whether the next chunk from the server is to be halved; draws."""
        return self.halved_share > 0 and self._random.random() < self.halved_share

    @property
    def held(self) -> bool:
        """Whether nothing may be taken in."""
        return self._held

    def opened(self, end: "_End") -> None:
        """A connection, of either side, has been made."""
        self._ends.add(end)
        if self._held:
            # Not before it has begun to read (uvloop begins after this).
            asyncio.get_running_loop().call_soon(end.hold)

    def closed(self, end: "_End") -> None:
        """A connection is gone."""
        self._ends.discard(end)

    def connect(self, client: "_End") -> None:
        """A client has come: go on to the target, or refuse it."""
        if self._refusing:
            client.abort()
            return
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _accepted(self) -> "_End":
        return _End(self, from_server=False)

    async def _connect(self, client: "_End") -> None:
        loop = asyncio.get_running_loop()
        server = _End(self, from_server=True)
        client.peer, server.peer = server, client
        try:
            await loop.create_connection(lambda: server, "127.0.0.1", self._target_port)
        except OSError:
            client.abort()
            return
        client.begin()


class _End(asyncio.Protocol):
    """One of the two connections that a proxied one consists of; writes to its peer."""

    def __init__(self, proxy: Proxy, *, from_server: bool) -> None:
        self._proxy = proxy
        self._from_server = from_server
        self._loop = asyncio.get_running_loop()
        self._due_s = 0.0
        self._waiting = 0
        self._early: list[bytes] | None = None if from_server else []
        self._peer_is_full = False
        self._transport: asyncio.Transport | None = None
        self.peer: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._proxy.opened(self)
        if not self._from_server:
            self._proxy.connect(self)
        elif self.peer is not None and self.peer.is_gone():
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
            return
        if self._from_server and self._proxy.halves():
            if self.peer is not None:
                self.peer.write(data[: len(data) // 2])
            self._loop.call_later(0.01, self.abort)  # so that the half is seen, not only the end
            return
        if self._proxy.delay_s == 0 and self._waiting == 0:
            self._hand_on(data)
            return
        self._due_s = max(self._due_s + _TICK_S, self._loop.time() + self._proxy.delay_s)
        self._waiting += 1
        self._loop.call_at(self._due_s, self._hand_on_late, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.closed(self)
        self._transport = None
        if self.peer is not None:
            self.peer.close()

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.set_full(full=True)

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.set_full(full=False)

    def begin(self) -> None:
        """The way on is there, also for what the client has said already."""
        early, self._early = self._early or [], None
        for data in early:
            self.data_received(data)

    def hold(self) -> None:
        """Take nothing in."""
        self._read_or_not()

    def release(self) -> None:
        """Take in again."""
        self._read_or_not()

    def set_full(self, *, full: bool) -> None:
        """What the peer has not yet sent on is too much, or no longer."""
        self._peer_is_full = full
        self._read_or_not()

    def write(self, data: bytes) -> None:
        """Send to whoever is at this end."""
        if self._transport is not None:
            self._transport.write(data)

    def is_gone(self) -> bool:
        """Whether its connection has ended."""
        return self._transport is None

    def close(self) -> None:
        """End it after what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset it."""
        if self._transport is not None:
            self._transport.abort()

    def _hand_on_late(self, data: bytes) -> None:
        self._waiting -= 1
        self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        if self.peer is not None and self._transport is not None:
            self.peer.write(data)

    def _read_or_not(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        with suppress(RuntimeError):  # it is so already
            if not self._peer_is_full and not self._proxy.held:
                transport.resume_reading()
            else:
                transport.pause_reading()
