"""Stands between Kafka's clients and a broker, and acts at the request a test waits for.

The broker must advertise the proxy's address, or clients go past it. Requests are read as the
frames they are (length, then API key), answers are passed on as bytes.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from typing import Final, Self

from tests.listening import Listener

TXN_OFFSET_COMMIT: Final = 28
"""The API key of the request that sends a transaction's offsets to the group's coordinator."""

Act = Callable[[StreamWriter], None]
"""Is given the connection to the client; if it closes that, the request is not passed on."""


class KafkaProxy:
    """Listens at `port` on loopback within an `async with` block."""

    def __init__(self, port: int, broker: str) -> None:
        self._listener = Listener(self._serve, port=port)
        self._broker = broker
        self._awaited: tuple[int, Act] | None = None
        self._acted = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._listener.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.__aexit__()

    async def act_at(self, api_key: int, act: Act) -> None:
        """Do this at the next such request of any client; returns when it is done."""
        self._acted.clear()
        self._awaited = api_key, act
        await self._acted.wait()

    def cut(self, client: StreamWriter) -> None:
        """Break this one connection and refuse new ones; the others live on."""
        client.transport.abort()
        self._listener.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        host, port = self._broker.split(":")
        broker_reader, broker_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(
                self._pass_requests(reader, broker_writer, writer),
                _pass_answers(broker_reader, writer),
            )
        finally:
            broker_writer.close()

    async def _pass_requests(
        self, reader: StreamReader, broker: StreamWriter, client: StreamWriter
    ) -> None:
        while True:
            head = await reader.readexactly(4)
            request = await reader.readexactly(int.from_bytes(head))
            api_key = int.from_bytes(request[:2])
            if self._awaited is not None and self._awaited[0] == api_key:
                (_, act), self._awaited = self._awaited, None
                act(client)
                self._acted.set()
            if client.is_closing():
                raise ConnectionResetError
            broker.write(head + request)
            await broker.drain()


async def _pass_answers(broker: StreamReader, client: StreamWriter) -> None:
    while answer := await broker.read(65_536):
        client.write(answer)
        await client.drain()
    raise ConnectionResetError  # ends the other direction, too
