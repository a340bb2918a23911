"""HTTP/1.1 for the simulator: httptools for the parsing, the least that is correct around it.

Connections are kept alive. Requests that are pipelined on one connection are taken one after the
other, so that answers keep their order. Bodies may come with a length or in chunks.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import httptools

from consumer.simulator.exchange import Reply

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""Far above 100,000 ids of 64 characters; a longer body ends the connection."""

_LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends a reset instead of an end."""


class RawRequest(NamedTuple):
    """A request as it came over the wire."""

    method: str
    target: bytes
    host: str
    body: bytes
    keep_alive: bool


class Connection(asyncio.Protocol):
    """One client's connection; hands requests to `receive`, which answers with `reply`."""

    def __init__(
        self,
        receive: Callable[["Connection", RawRequest], None],
        connections: set["Connection"],
    ) -> None:
        self._receive = receive
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[RawRequest] = deque()
        self._current: RawRequest | None = None
        self._target = b""
        self._host = ""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # A cast, for uvloop's transports do not descend from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End; a request that is on its way in still arrives, only nobody hears the answer."""
        self._transport = None
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._host = ""
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        """A part of the request target, for it may come in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; only Host matters, the parser itself minds the rest."""
        if name.lower() == b"host":
            self._host = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body += body
        if len(self._body) > BODY_BYTES_MAX:
            self.reset()

    def on_message_complete(self) -> None:
        """The request is whole: take it, or let it wait for those before it."""
        method = self._parser.get_method().decode("latin-1")
        keep_alive = self._parser.should_keep_alive()
        self._waiting.append(
            RawRequest(method, self._target, self._host, bytes(self._body), keep_alive)
        )
        self._next()

    # What follows is called by whoever answers.

    def reply(self, reply: Reply, wall_s: int) -> None:
        """Answer the request that was handed over, and take the next; a gone client is fine."""
        request, self._current = self._current, None
        if self._transport is None or self._transport.is_closing() or request is None:
            return
        self._transport.write(_head(reply, wall_s, keep_alive=request.keep_alive) + reply.body)
        if not request.keep_alive:
            self._transport.close()
        elif self._waiting:
            # Not by a call, for a thousand pipelined requests would nest a thousand times.
            asyncio.get_running_loop().call_soon(self._next)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        if self._transport is not None:
            connected = self._transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self._transport.abort()

    def _next(self) -> None:
        if self._waiting and self._current is None:
            self._current = self._waiting.popleft()
            self._receive(self, self._current)


@lru_cache(maxsize=1)
def _http_date(wall_s: int) -> str:
    return formatdate(wall_s, usegmt=True)


def _head(reply: Reply, wall_s: int, *, keep_alive: bool) -> bytes:
    retry_after = f"Retry-After: {reply.retry_after}\r\n" if reply.retry_after else ""
    connection = "" if keep_alive else "Connection: close\r\n"
    return (
        f"HTTP/1.1 {reply.status} {_phrase(reply.status)}\r\n"
        f"Date: {_http_date(wall_s)}\r\n"
        f"Content-Type: {reply.content_type}\r\n"
        f"{retry_after}{connection}"
        f"Content-Length: {len(reply.body)}\r\n\r\n"
    ).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
