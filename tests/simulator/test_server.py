"""The simulator on a port: HTTP, faults as a client meets them, and what is recorded of them."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import aiohttp
import orjson
import pytest

from consumer.simulator import (
    Fate,
    Fault,
    Gift,
    Kind,
    Simulator,
    SimulatorServer,
    SimulatorSettings,
    run_simulator,
    serve,
)
from tests.simulator.vendor import APP_ID, SECRET, check_body, target


@pytest.fixture
async def server() -> AsyncIterator[SimulatorServer]:
    """A simulator that listens."""
    async with serve(Simulator(SimulatorSettings(apps={APP_ID: SECRET}))) as server:
        yield server


def request(server: SimulatorServer, body: bytes = check_body("m1"), **headers: str) -> bytes:
    """Return a signed check as it goes over the wire."""
    head = {"Host": "api", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
    signed = target(server.simulator.clock_us() // 1000)
    return b"POST " + signed + b" HTTP/1.1\r\n" + lines.encode() + b"\r\n" + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of the next answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    headers["status"] = lines[0].split(" ")[1]
    return headers, await reader.readexactly(int(headers["Content-Length"]))


async def ask(server: SimulatorServer) -> tuple[dict[str, str], bytes]:
    """Return what one check on a connection of its own gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request(server))
    try:
        return await read_answer(reader)
    finally:
        writer.close()


async def arrived(server: SimulatorServer, count: int) -> None:
    """Return once so many requests have arrived; what never comes is the test's time-out."""
    while server.simulator.arrivals.count < count:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0)


async def test_pipelined_requests_are_answered_in_order(server: SimulatorServer) -> None:
    """A connection is kept alive, and of many requests at once each gets its answer in turn."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with server.simulator.faults.holding(
        Fault(kind=Kind.LATENCY_OUT, delay_ms=5, share=0.5),
        Fault(kind=Kind.LATENCY_IN, delay_ms=5, share=0.5),
    ):
        writer.write(b"".join(request(server, check_body(f"m{number}")) for number in range(8)))
        answers = [orjson.loads((await read_answer(reader))[1]) for _ in range(8)]
    asked = [arrival.msg_ids for arrival in server.simulator.arrivals]
    assert [(f"m{number}",) for number in range(8)] == asked
    assert [f"sim-{number}" for number in range(8)] == [a["RequestId"] for a in answers]
    writer.close()


async def test_a_thousand_pipelined_requests_do_not_exhaust_the_stack(
    server: SimulatorServer,
) -> None:
    """However many wait on one connection behind a stall, all are answered after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with server.simulator.faults.holding(Fault(kind=Kind.STALL)):
        writer.write(request(server) * 1_000)
        await writer.drain()
        await server_holds(server, 1)
    for _ in range(1_000):
        await read_answer(reader)
    writer.close()


async def server_holds(server: SimulatorServer, count: int) -> None:
    """Return once the server holds so many requests back."""
    while server.held_count < count:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0)


async def test_a_chunked_body_in_small_pieces_is_read(server: SimulatorServer) -> None:
    """Chunked encoding is understood, however the bytes are cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head, _, body = request(server).partition(b"\r\n\r\n")
    head = head.partition(b"\r\nContent-Length")[0] + b"\r\nTransfer-Encoding: chunked"
    chunks = f"5\r\n{body[:5].decode()}\r\n{len(body) - 5:x}\r\n{body[5:].decode()}\r\n0\r\n\r\n"
    for byte in head + b"\r\n\r\n" + chunks.encode():
        writer.write(bytes([byte]))
        await writer.drain()
    assert orjson.loads((await read_answer(reader))[1])["Code"] == 0
    writer.close()


async def test_connection_close_is_honoured(server: SimulatorServer) -> None:
    """Who asks for the end of the connection gets it after the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request(server, Connection="close"))
    headers, _ = await read_answer(reader)
    assert headers["Connection"] == "close"
    assert await reader.read() == b""
    writer.close()


async def test_what_is_no_http_ends_the_connection(server: SimulatorServer) -> None:
    """Garbage gets no answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_the_date_is_the_vendors_also_when_its_clock_is_wrong(
    server: SimulatorServer,
) -> None:
    """`Date` shows the simulator's clock, and a clock set wrong refuses signatures."""
    now_s = server.simulator.clock_us() // 1_000_000
    headers, _ = await ask(server)
    assert 0 <= parsedate_to_datetime(headers["Date"]).timestamp() - now_s <= 1
    server.simulator.clock_offset_ms = 3_600_000
    headers, body = await ask(server)
    assert 3_600 <= parsedate_to_datetime(headers["Date"]).timestamp() - now_s <= 3_602
    assert orjson.loads(body)["Code"] == 100000004


async def test_the_twenty_first_request_of_a_room_is_refused(server: SimulatorServer) -> None:
    """Twenty-one at once: one gets Code 7, and all are in the record."""
    answers = await asyncio.gather(*[ask(server) for _ in range(21)])
    codes = sorted(orjson.loads(body)["Code"] for _, body in answers)
    assert codes == [0] * 20 + [7]
    assert server.simulator.arrivals.room_requests_per_second_max() == 21


async def test_an_answer_says_what_was_true_when_the_request_arrived(
    server: SimulatorServer,
) -> None:
    """However late it leaves, it does not know what happened after the arrival."""
    now_ms = server.simulator.clock_us() // 1000
    gift = Gift(APP_ID, "room", "game", "m1", now_ms)
    server.simulator.truth.send(gift, now_ms, fate=Fate(now_ms, now_ms + 40, 0))
    with server.simulator.faults.holding(Fault(kind=Kind.LATENCY_OUT, delay_ms=60)):
        _, body = await ask(server)
    assert orjson.loads(body)["Data"]["Results"] == []
    _, body = await ask(server)
    assert len(orjson.loads(body)["Data"]["Results"]) == 1


async def test_a_slow_way_in_delays_the_arrival(server: SimulatorServer) -> None:
    """Latency on the way in lies before the instant that is recorded."""
    sent_us = server.simulator.clock_us()
    with server.simulator.faults.holding(Fault(kind=Kind.LATENCY_IN, delay_ms=50)):
        await ask(server)
    (arrival,) = server.simulator.arrivals
    assert arrival.time_us - sent_us >= 50_000 - 2_000


async def test_a_stalled_server_takes_everything_in_afterwards(server: SimulatorServer) -> None:
    """What came during a stall arrives at its end, also from clients that have gone."""
    with server.simulator.faults.holding(Fault(kind=Kind.STALL)):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request(server))
            await writer.drain()
            writer.close()
        waiting = asyncio.create_task(ask(server))
        await server_holds(server, 6)
        assert server.simulator.arrivals.count == 0
        resumed_us = server.simulator.clock_us()
    _, body = await waiting
    assert orjson.loads(body)["Code"] == 0
    assert server.simulator.arrivals.count == 6
    assert all(arrival.time_us >= resumed_us for arrival in server.simulator.arrivals)


async def test_a_reset_comes_after_the_arrival_and_an_outage_before(
    server: SimulatorServer,
) -> None:
    """Both reset the connection, but only the first is recorded."""
    for fault, arrivals in ((Fault(kind=Kind.OUTAGE), 0), (Fault(kind=Kind.RESET), 1)):
        with server.simulator.faults.holding(fault), pytest.raises(ConnectionResetError):
            await ask(server)
        assert server.simulator.arrivals.count == arrivals


async def test_a_hanging_server_takes_the_request_and_says_nothing(
    server: SimulatorServer,
) -> None:
    """The request arrives, only an answer never comes."""
    with server.simulator.faults.holding(Fault(kind=Kind.HANG)):
        hanging = asyncio.create_task(ask(server))
        await arrived(server, 1)
    assert orjson.loads((await ask(server))[1])["Code"] == 0
    assert not hanging.done()
    hanging.cancel()


async def test_a_server_that_refuses_connections_can_come_back(server: SimulatorServer) -> None:
    """In between nobody gets a connection; afterwards it is on the same port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await server.refuse()
    await server.refuse()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await ask(server)
    await server.listen()
    assert orjson.loads((await ask(server))[1])["Code"] == 0


async def test_faults_and_figures_over_http() -> None:
    """Another process can set faults as JSON, is told its mistakes, and sees the figures."""
    ready: asyncio.Future[SimulatorServer] = asyncio.get_running_loop().create_future()
    settings = SimulatorSettings(apps={APP_ID: SECRET})
    running = asyncio.create_task(run_simulator(settings, "127.0.0.1", 0, ready.set_result))
    server = await ready
    async with aiohttp.ClientSession(server.base_url) as session:
        async with session.put("/faults", json=[{"kind": "code", "code": 1}]) as response:
            assert (await response.json())[0]["code"] == 1
        assert server.simulator.faults.all == (Fault(kind=Kind.CODE, code=1),)
        for wrong in (b"{", b'[{"kind": "code", "cod": 1}]', b'[{"kind": "hang", "share": 2}]'):
            async with session.put("/faults", data=wrong) as response:
                assert response.status == 400
        async with session.post("/faults") as response:
            assert response.status == 405
        async with session.get("/faults") as response:
            assert [fault["kind"] for fault in await response.json()] == ["code"]
        assert orjson.loads((await ask(server))[1])["Code"] == 1
        async with session.get("/summary") as response:
            expected = {"gifts": 0, "requests": 1, "room_requests_per_second_max": 1}
            assert expected == await response.json()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_endless_body_ends_the_connection(server: SimulatorServer) -> None:
    """A body of more than 8 MiB is not collected."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request(server, bytes(9 * 1024 * 1024)))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert server.simulator.arrivals.count == 0
