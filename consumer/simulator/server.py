"""The simulator on a port: `async with serve(simulator) as server: server.base_url`.

It runs in the event loop of whoever starts it (uvloop's too); `run_simulator` is the same for a
process or thread of its own. Beside the API itself, on the same port, for whoever watches from
another process (these are no arrivals, and no fault touches them):

    GET  /faults    the faults that hold, as a JSON array
    PUT  /faults    replaces them: `[{"kind": "code", "code": 1, "share": 0.1}]`; `[]`: all well
    GET  /summary   {"gifts": 0, "requests": 0, "room_requests_per_second_max": 0}

A fault's fields are those of `faults.Fault`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Final

import orjson
from pydantic import TypeAdapter, ValidationError

from consumer.simulator.exchange import Reply, Silence, Simulator, SimulatorSettings
from consumer.simulator.faults import Fault, Kind
from consumer.simulator.http import Connection, RawRequest
from consumer.simulator.request import Request, read_request

_FAULTS: Final = TypeAdapter(tuple[Fault, ...])
_OUTAGE: Final = frozenset({Kind.OUTAGE})


class SimulatorServer:
    """A simulator that listens; made by `serve`."""

    def __init__(self, simulator: Simulator, host: str, port: int) -> None:
        self.simulator = simulator
        self._host = host
        self._port = port
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._held: list[tuple[Connection, Request]] = []

    @property
    def base_url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on, the one the system chose if 0 was asked for."""
        return self._port

    @property
    def held_count(self) -> int:
        """How many requests a stall holds back now."""
        return len(self._held)

    async def listen(self) -> None:
        """Accept connections (again), always on the same port.

        Raises:
            OSError: the port is taken.
        """
        self._listener = await asyncio.get_running_loop().create_server(
            partial(Connection, self._receive, self._connections),
            self._host,
            self._port,
            backlog=1024,
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Reset all connections and refuse new ones, until `listen` is called again."""
        if self._listener is None:
            return
        self._listener.close()
        for connection in tuple(self._connections):
            connection.reset()
        await self._listener.wait_closed()
        self._listener = None

    def release(self) -> None:
        """Let those held requests arrive that no stall holds any more, in their order."""
        held, self._held = self._held, []
        for connection, request in held:
            self._reach(connection, request)

    def _receive(self, connection: Connection, raw: RawRequest) -> None:
        """A request has left the client: on its way in it may get lost or take its time."""
        path = raw.target.partition(b"?")[0]
        if path in {b"/faults", b"/summary"}:
            connection.reply(self._control(path, raw), self._wall_s())
            return
        request = read_request(raw.method, raw.target, raw.host, raw.body)
        faults = self.simulator.faults
        if not faults.all:
            self._arrive(connection, request)
        elif faults.strikes(request, _OUTAGE):
            connection.reset()
        elif delay_ms := faults.delay_ms(request, Kind.LATENCY_IN):
            loop = asyncio.get_running_loop()
            loop.call_later(delay_ms / 1000, self._reach, connection, request)
        else:
            self._reach(connection, request)

    def _reach(self, connection: Connection, request: Request) -> None:
        """A request is at the server's door: a server that stands still does not open."""
        if self.simulator.faults.holds_back(request):
            self._held.append((connection, request))
        else:
            self._arrive(connection, request)

    def _arrive(self, connection: Connection, request: Request) -> None:
        reply = self.simulator.arrive(request)
        if isinstance(reply, Silence):
            if reply is Silence.RESET:
                connection.reset()
            return
        if delay_ms := self.simulator.faults.delay_ms(request, Kind.LATENCY_OUT):
            loop = asyncio.get_running_loop()
            loop.call_later(delay_ms / 1000, self._leave, connection, reply)
        else:
            self._leave(connection, reply)

    def _leave(self, connection: Connection, reply: Reply) -> None:
        connection.reply(reply, self._wall_s())

    def _wall_s(self) -> int:
        """Unix seconds as the vendor's clock shows them."""
        return (self.simulator.clock_us() // 1000 + self.simulator.clock_offset_ms) // 1000

    def _control(self, path: bytes, raw: RawRequest) -> Reply:
        simulator = self.simulator
        if path == b"/faults" and raw.method == "PUT":
            try:
                simulator.faults.replace(*_FAULTS.validate_json(raw.body))
            except ValidationError as error:
                return Reply(HTTPStatus.BAD_REQUEST, "text/plain", f"{error}\n".encode())
        elif raw.method != "GET":
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET, or PUT /faults\n")
        if path == b"/faults":
            return _json(simulator.faults.all)
        return _json(
            {
                "gifts": simulator.truth.count,
                "requests": simulator.arrivals.count,
                "room_requests_per_second_max": simulator.arrivals.room_requests_per_second_max(),
            }
        )


def _json(document: object) -> Reply:
    return Reply(HTTPStatus.OK, "application/json", orjson.dumps(document))


@asynccontextmanager
async def serve(
    simulator: Simulator, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[SimulatorServer]:
    """Listen within the block, on a free port if `port` is 0; at its end reset what is open.

    Raises:
        OSError: the port is taken.
    """
    server = SimulatorServer(simulator, host, port)
    await server.listen()
    ignore_faults = simulator.faults.on_change(server.release)
    try:
        yield server
    finally:
        ignore_faults()
        await server.refuse()


async def run_simulator(
    settings: SimulatorSettings,
    host: str,
    port: int,
    on_ready: Callable[[SimulatorServer], None],
) -> None:
    """Serve until cancelled; `on_ready` is called once, as soon as it listens.

    Raises:
        OSError: the port is taken.
    """
    async with serve(Simulator(settings), host, port) as server:
        on_ready(server)
        await asyncio.get_running_loop().create_future()
