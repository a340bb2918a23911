"""A server that says exactly what it is told to, byte for byte, for the nasty cases."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.listening import Listener

Behaviour = Callable[["RawServer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """What a raw server saw: `requests` as bytes, in order, and how many connections."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.base_url = ""

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request with a Content-Length, and note it."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        return request


@asynccontextmanager
async def raw_server(
    behave: Behaviour, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Let `behave` handle each connection; at the end those still open are dropped."""
    server = RawServer()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        await behave(server, reader, writer)

    async with Listener(handle, tls=tls) as listener:
        scheme = "https" if tls else "http"
        server.base_url = f"{scheme}://127.0.0.1:{listener.port}"
        yield server


def saying(*answers: bytes, then_close: bool = True) -> Behaviour:
    """Give these answers on each connection, one for each request, then close or fall silent."""

    async def behave(
        server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for answer in answers:
            await server.read_request(reader)
            writer.write(answer)
            await writer.drain()
        if not then_close:
            await server.read_request(reader)
            await reader.read()

    return behave


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
