"""The proxy harms as it is told, and otherwise passes every byte on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop

from tests.chaos.proxy import Proxy
from tests.listening import Listener

SECONDS = 5.0


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says everything back; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async with Listener(serve) as listener:
        yield listener.port


class Client:
    """One connection through a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, text: bytes) -> bytes:
        """Say something and wait until as much has come back."""
        self.writer.write(text)
        async with asyncio.timeout(SECONDS):
            return await self.reader.readexactly(len(text))

    async def rest(self) -> bytes:
        """What comes until the connection ends, however it ends."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self.reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def client_of(proxy: Proxy) -> AsyncIterator[Client]:
    """A connection to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def test_everything_passes_in_order() -> None:
    """More than any buffer holds, in both directions at once."""
    sent = bytes(range(256)) * 20_000
    async with echo() as port, Proxy(port) as proxy, client_of(proxy) as client:
        client.writer.write(sent)
        async with asyncio.timeout(SECONDS):
            assert sent == await client.reader.readexactly(len(sent))


async def test_a_cut_breaks_what_is_there_and_nothing_later() -> None:
    """The next connection passes."""
    async with echo() as port, Proxy(port) as proxy:
        async with client_of(proxy) as client:
            assert await client.ask(b"a") == b"a"
            proxy.cut()
            assert await client.rest() == b""
        async with client_of(proxy) as client:
            assert await client.ask(b"b") == b"b"


async def test_nobody_gets_through_while_it_refuses() -> None:
    """Old connections and new ones are reset; afterwards they pass."""
    async with echo() as port, Proxy(port) as proxy, client_of(proxy) as old:
        assert await old.ask(b"a") == b"a"
        with proxy.refusing():
            assert await old.rest() == b""
            async with client_of(proxy) as new:
                assert await new.rest() == b""
        async with client_of(proxy) as later:
            assert await later.ask(b"b") == b"b"


async def test_slowing_delays_both_directions_and_keeps_the_order() -> None:
    """What is still under way when it ends is not overtaken by what comes later."""
    async with echo() as port, Proxy(port) as proxy, client_of(proxy) as client:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with proxy.slowing(0.1):
            assert await client.ask(b"slow") == b"slow"
            # uvloop counts whole milliseconds: exact, but for the last binary digit
            assert round(loop.time() - began_s, 3) >= 0.2
            client.writer.write(b"first,")
            await client.writer.drain()
            await asyncio.sleep(0.05)
        assert await client.ask(b"second") == b"first,"
        async with asyncio.timeout(SECONDS):
            assert await client.reader.readexactly(6) == b"second"


async def test_what_is_held_passes_when_the_holding_ends() -> None:
    """Old connections and new ones stand still meanwhile."""
    async with echo() as port, Proxy(port) as proxy, client_of(proxy) as old:
        assert await old.ask(b"a") == b"a"
        with proxy.holding():
            asking = asyncio.create_task(old.ask(b"held"))
            async with client_of(proxy) as new:
                also = asyncio.create_task(new.ask(b"too"))
                done, _ = await asyncio.wait((asking, also), timeout=0.2)
                assert not done
                # The new one's connection ends with its block; the old one's answer comes.
                also.cancel()
        assert await asking == b"held"


async def test_an_answer_is_cut_in_the_middle() -> None:
    """Its first half arrives, then the connection ends."""
    async with echo() as port, Proxy(port) as proxy, client_of(proxy) as client:
        with proxy.halving(1.0):
            client.writer.write(b"0123456789")
            assert await client.rest() in {b"01234", b""}, "a reset may overtake what came before"


async def test_a_server_that_is_gone_is_a_reset() -> None:
    """Not a connection that hangs."""
    async with echo() as port:
        pass
    async with Proxy(port) as proxy, client_of(proxy) as client:
        assert await client.rest() == b""


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_is_halved_is_drawn_from_the_seed(seed: int) -> None:
    """The same for the same seed."""
    one, other = halving(seed), halving(seed)
    drawn = [one.halves() for _ in range(50)]
    assert drawn == [other.halves() for _ in range(50)]
    assert 5 < sum(drawn) < 45


def halving(seed: int) -> Proxy:
    """A proxy that halves every other answer."""
    proxy = Proxy(1, seed=seed)
    proxy.halved_share = 0.5
    return proxy


@pytest.mark.parametrize(
    "behaves",
    [
        test_everything_passes_in_order,
        test_slowing_delays_both_directions_and_keeps_the_order,
        test_what_is_held_passes_when_the_holding_ends,
        test_nobody_gets_through_while_it_refuses,
    ],
)
def test_it_does_so_on_the_loop_that_chaos_uses(
    behaves: Callable[[], Coroutine[None, None, None]],
) -> None:
    """Uvloop begins to read at another moment than asyncio (seen: nothing passed)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(behaves())
