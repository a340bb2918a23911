"""The servers of the tests leave no connection behind."""

import asyncio
import socket

import pytest

from tests.listening import Listener


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say back what comes."""
    while data := await reader.read(100):
        writer.write(data)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other side has ended the connection, however it did; waits for that."""
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize("steps", range(8))
async def test_a_connection_that_was_just_made_is_closed(steps: int) -> None:
    """Wherever the end comes between its arrival and the first step of its task, and after."""
    async with Listener(echo) as listener:
        client = socket.create_connection(("127.0.0.1", listener.port))
        for _ in range(steps):
            await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection(sock=client)
    assert await is_closed(reader)
    writer.close()


async def test_a_connection_ends_with_whoever_serves_it() -> None:
    """Whether he returns or lost it; others go on."""

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) == b"!":
            raise ConnectionResetError
        writer.write(b"served")

    async with Listener(lose) as listener:
        for said, expected in ((b"!", b""), (b"?", b"served")):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(said)
            assert expected == await reader.read()
            writer.close()
