"""What was written and what is not known: time-outs, disconnects, the lease, no connection."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from weakref import WeakSet

import aiohttp
import pytest
import trustme

from consumer.adapters.check_api.client import _LeasedBody
from consumer.core.messages import CheckAnswered, CheckLost, CheckNotWritten
from consumer.core.model import Trouble
from consumer.simulator import (
    Fault,
    Kind,
    Simulator,
    SimulatorServer,
    SimulatorSettings,
    serve,
)
from tests.adapters.check_api_client import (
    APP_ID,
    CHECK,
    GOOD,
    NEVER_MS,
    SECRET,
    SetClock,
    api,
)
from tests.adapters.raw_server import RawServer, raw_server, saying


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatorServer]:
    """The simulated API, listening."""
    async with serve(Simulator(SimulatorSettings(apps={APP_ID: SECRET}))) as server:
        yield server


async def test_no_answer_in_time_is_lost(simulated: SimulatorServer) -> None:
    """A server that hangs costs the time-out, and the check may have arrived."""
    with simulated.simulator.faults.holding(Fault(kind=Kind.HANG)):
        async with api(simulated.base_url, timeout_ms=100) as client:
            outcome = await client.send(CHECK)
    assert CheckLost(7, Trouble.TRANSIENT, "no answer within 0.1 s") == outcome
    assert simulated.simulator.arrivals.count == 1


async def test_a_body_that_comes_too_slowly_is_lost() -> None:
    """The time-out covers the last byte, not only the first."""

    async def drip(
        server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read_request(reader)
        writer.write(GOOD[:-5])
        await reader.read()

    async with raw_server(drip) as server, api(server.base_url, timeout_ms=100) as client:
        outcome = await client.send(CHECK)
    assert CheckLost(7, Trouble.TRANSIENT, "no answer within 0.1 s") == outcome


@pytest.mark.parametrize("reset", [False, True])
async def test_a_disconnect_on_a_new_connection_is_lost_and_counts(reset: bool) -> None:  # noqa: FBT001 - a case
    """The server took the request and went: nothing stale about it."""

    async def leave(
        server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read_request(reader)
        if reset:
            linger_not = struct.pack("ii", 1, 0)
            connected = writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)

    async with raw_server(leave) as server, api(server.base_url) as client:
        outcome = await client.send(CHECK)
    assert CheckLost(7, Trouble.TRANSIENT, "disconnected before an answer") == outcome


async def test_a_disconnect_on_a_reused_connection_is_stale() -> None:
    """The second request of a connection gets none, and is lost without blame; none is repeated."""

    async def answer_once(
        server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read_request(reader)
        writer.write(GOOD)
        await server.read_request(reader)

    async with raw_server(answer_once) as server, api(server.base_url) as client:
        first, second, third = [await client.send(CHECK) for _ in range(3)]
    assert isinstance(first, CheckAnswered)
    expected = CheckLost(
        7, Trouble.TRANSIENT, "disconnected before an answer", stale_connection=True
    )
    assert expected == second
    assert isinstance(third, CheckAnswered)
    assert (len(server.requests), server.connections) == (3, 2)


async def test_an_answer_cut_short_on_a_reused_connection_is_not_stale() -> None:
    """Once a byte of the answer came, the server had the request."""
    async with (
        raw_server(saying(GOOD, GOOD[:-5])) as server,
        api(server.base_url) as client,
    ):
        await client.send(CHECK)
        outcome = await client.send(CHECK)
    assert CheckLost(7, Trouble.TRANSIENT, "answer cut short") == outcome


async def test_after_the_lease_nothing_is_written() -> None:
    """At the lease's end (exclusive) not one byte leaves, though a connection is there."""
    clock = SetClock(now_ms=999)
    leased = replace(CHECK, write_before_ms=1_000)
    async with (
        raw_server(saying(GOOD, then_close=False)) as server,
        api(server.base_url, clock=clock) as client,
    ):
        assert isinstance(await client.send(leased), CheckAnswered)
        clock.now = 1_000
        outcome = await client.send(leased)
    assert CheckNotWritten(7, "lease over", lease_over=True) == outcome
    assert len(server.requests) == 1


async def test_the_lease_is_tested_at_the_write_not_where_sending_begins() -> None:
    """A check that waits for a connection until its lease is over is not written."""
    clock = SetClock(now_ms=0)
    release = asyncio.Event()

    async def wait(
        server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read_request(reader)
        clock.now = 5_000
        release.set()
        writer.write(GOOD)
        await server.read_request(reader)

    async with raw_server(wait) as server, api(server.base_url, clock=clock, slots=1) as client:
        first = asyncio.create_task(client.send(CHECK))
        second = asyncio.create_task(client.send(replace(CHECK, write_before_ms=5_000)))
        await release.wait()
        assert isinstance(await first, CheckAnswered)
        outcome = await second
    assert CheckNotWritten(7, "lease over", lease_over=True) == outcome
    assert len(server.requests) == 1


async def test_a_connection_that_closes_before_the_write_is_not_written_to() -> None:
    """The body calls itself written only if there was a socket to hand it to."""
    body = _LeasedBody(b"{}", NEVER_MS, SetClock(), WeakSet())
    protocol = aiohttp.client_proto.ResponseHandler(asyncio.get_running_loop())
    writer = aiohttp.http.StreamWriter(protocol, asyncio.get_running_loop())
    with pytest.raises(aiohttp.ClientConnectionResetError):
        await body.write_with_length(writer, 2)
    assert body.written is False


async def test_a_check_that_gets_no_connection_in_time_is_not_written() -> None:
    """Waiting for a slot until the time-out writes nothing."""
    async with (
        raw_server(saying(then_close=False)) as server,
        api(server.base_url, timeout_ms=200, slots=1) as client,
    ):
        first, second = await asyncio.gather(client.send(CHECK), client.send(CHECK))
    assert CheckLost(7, Trouble.TRANSIENT, "no answer within 0.2 s") == first
    assert CheckNotWritten(7, "no connection within 0.2 s") == second
    assert len(server.requests) == 1


async def test_a_refused_connection_is_not_written(simulated: SimulatorServer) -> None:
    """The detail names the host, the port and the reason."""
    await simulated.refuse()
    async with api(simulated.base_url) as client:
        outcome = await client.send(CHECK)
    assert isinstance(outcome, CheckNotWritten)
    assert f"cannot connect to 127.0.0.1:{simulated.port}: " in outcome.detail
    assert "refused" in outcome.detail or "Connect call failed" in outcome.detail


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "nonsense", "http://"])
async def test_a_host_that_is_none_is_not_written(url: str) -> None:
    """A name that does not resolve and a base URL that is none are told, not raised."""
    async with api(url) as client:
        outcome = await client.send(CHECK)
    assert isinstance(outcome, CheckNotWritten)
    assert "Signature" not in outcome.detail


async def test_an_untrusted_certificate_is_refused() -> None:
    """HTTPS is verified: with a stranger's certificate nothing is written."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with raw_server(saying(GOOD), tls=context) as server, api(server.base_url) as client:
        outcome = await client.send(CHECK)
    assert CheckNotWritten(7, "the certificate of 127.0.0.1 is not valid") == outcome
    assert server.requests == []


async def test_an_app_without_a_secret_and_a_closed_client_write_nothing() -> None:
    """Both are told as checks that were not written."""
    async with api("http://127.0.0.1:1") as client:
        outcome = await client.send(replace(CHECK, app_id=8))
    assert CheckNotWritten(7, "app 8 is not configured") == outcome
    assert CheckNotWritten(7, "the client is closed") == await client.send(CHECK)


async def test_a_cancelled_check_is_cancelled(simulated: SimulatorServer) -> None:
    """Only cancellation comes out of `send`."""
    with simulated.simulator.faults.holding(Fault(kind=Kind.HANG)):
        async with api(simulated.base_url) as client:
            sending = asyncio.create_task(client.send(CHECK))
            while simulated.simulator.arrivals.count == 0:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
