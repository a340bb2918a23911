"""The simulated check API, called in process and over HTTP: two subjects of one contract.

Both are a `Simulator` with a clock that stands until it is set; the one is handed requests, the
other serves them on a port, to a bare HTTP client (`post`) and to our own (`check`).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from consumer.adapters.check_api import CheckApi
from consumer.adapters.check_api.answer import read_answer
from consumer.core.messages import CheckAnswered
from consumer.core.model import Answer, Check
from consumer.simulator import Simulator, SimulatorServer, SimulatorSettings, serve
from consumer.simulator.exchange import Reply, Silence
from consumer.simulator.request import read_request
from tests.simulator.vendor import APP_ID, NOW_MS, SECRET, check_body, target

SETTINGS: Final = SimulatorSettings(apps={APP_ID: SECRET, 2: ""}, games=frozenset({"game"}))
CHECK: Final = Check(7, APP_ID, "room", "game", ("m1", "m2"), 2**62)
PATIENCE_MS: Final = 5_000
"""How long an answer is waited for; those that come take a millisecond."""


class Time:
    """A clock for both sides, which shows what it is set to."""

    def __init__(self) -> None:
        self.wall_us = NOW_MS * 1_000

    def now_ms(self) -> int:
        """Monotonic milliseconds: no lease ends here."""
        return 0

    def wall_ms(self) -> int:
        """Unix milliseconds, rounded down."""
        return self.wall_us // 1_000


class Subject(ABC):
    """The API under test; `simulator` tells it the truth and its faults, `time` what time it is."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.time = Time()
        self.patience_ms = PATIENCE_MS
        self.simulator = Simulator(settings, clock_us=lambda: self.time.wall_us)

    @abstractmethod
    async def post(
        self, target: bytes, body: bytes, *, method: str = "POST", host: str = "api"
    ) -> Reply | Silence:
        """What a request of any kind gets."""

    @abstractmethod
    async def check(self, check: Check = CHECK, *, secret: str = SECRET) -> Answer | None:
        """What the vendor says to a check, signed now; None if it says nothing."""

    async def ask(
        self, target: bytes = target(), body: bytes = check_body("m1"), **how: str
    ) -> dict[str, Any]:
        """The document that answers a request, under HTTP 200."""
        reply = await self.post(target, body, **how)
        assert isinstance(reply, Reply)
        assert (200, "application/json") == (reply.status, reply.content_type)
        document: dict[str, Any] = orjson.loads(reply.body)
        assert {"Code", "Message", "RequestId", "Data"} == document.keys()
        return document


class InProcess(Subject):
    """Requests are handed to the simulator, and answers read, without a socket."""

    async def post(
        self, target: bytes, body: bytes, *, method: str = "POST", host: str = "api"
    ) -> Reply | Silence:
        return self.simulator.arrive(read_request(method, target, host, body))

    async def check(self, check: Check = CHECK, *, secret: str = SECRET) -> Answer | None:
        days = {} if check.duration_days is None else {"Duration": check.duration_days}
        body = check_body(
            *check.msg_ids, RoomId=check.room_id, MiniGameId=check.mini_game_id, **days
        )
        signed = target(self.time.wall_ms(), app_id=check.app_id, secret=secret)
        reply = await self.post(signed, body)
        return read_answer(reply.body) if isinstance(reply, Reply) else None


class OverHttp(Subject):
    """Requests go through sockets to the simulator's server; checks are sent by our client."""

    def __init__(self, settings: SimulatorSettings, session: aiohttp.ClientSession) -> None:
        super().__init__(settings)
        self._session = session
        self.server: SimulatorServer | None = None

    async def post(
        self, target: bytes, body: bytes, *, method: str = "POST", host: str = "api"
    ) -> Reply | Silence:
        assert self.server is not None
        url = URL(f"{self.server.base_url}{target.decode()}", encoded=True)
        try:
            async with (
                asyncio.timeout(self.patience_ms / 1_000),
                self._session.request(method, url, data=body, headers={"Host": host}) as response,
            ):
                return Reply(
                    response.status,
                    response.content_type,
                    await response.read(),
                    response.headers.get("Retry-After"),
                )
        except TimeoutError:
            return Silence.HANG
        except aiohttp.ClientError:
            return Silence.RESET

    async def check(self, check: Check = CHECK, *, secret: str = SECRET) -> Answer | None:
        assert self.server is not None
        secrets: Mapping[int, str] = {check.app_id: secret}
        client = CheckApi(
            base_url=self.server.base_url,
            apps=secrets,
            request_timeout_ms=self.patience_ms,
            requests_in_flight_max=1,
            clock=self.time,
        )
        async with client:
            outcome = await client.send(check)
        return outcome.answer if isinstance(outcome, CheckAnswered) else None


@asynccontextmanager
async def in_process(settings: SimulatorSettings) -> AsyncIterator[Subject]:
    """The API without sockets."""
    yield InProcess(settings)


@asynccontextmanager
async def over_http(settings: SimulatorSettings) -> AsyncIterator[Subject]:
    """The API on a port."""
    async with aiohttp.ClientSession() as session:
        subject = OverHttp(settings, session)
        async with serve(subject.simulator) as server:
            subject.server = server
            yield subject
