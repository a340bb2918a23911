"""The check API in process: the one of `consumer.simulator`, without its sockets.

A request travels, arrives (also if its sender has died), is judged by the simulator's own
contract, truth, limit and faults, and its answer travels back. `Sender` is what stands in for
the HTTP client of one pod: it tests the lease where the bytes are written, signs, waits for the
answer within the request's time-out, and reads it with the adapter's own reader.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast

import orjson

from consumer.adapters.check_api.answer import read_answer, read_retry_after
from consumer.adapters.check_api.client import SIGNATURE_EXPIRED, _trouble, signature
from consumer.clock import Clock
from consumer.core.messages import CheckAnswered, CheckLost, CheckNotWritten
from consumer.core.model import Check, Trouble
from consumer.simulator import Gift, Kind, Simulator, SimulatorSettings, Truth
from consumer.simulator.exchange import Reply, Silence
from consumer.simulator.request import CHECK, Request
from consumer.simulator.truth import Fate
from tests.simulation.hub import MS, SECOND, Hub, Process
from tests.simulation.loop import VirtualLoop

OUTAGE: Final = frozenset({Kind.OUTAGE})

OK: Final = 200

Answered = Callable[["Reply | Silence | None"], None]
"""Gets the answer; None: the connection was refused or reset before anything arrived."""


class LaggingTruth(Truth):
    """A truth that is read from replicas: what has just happened may not be there yet."""

    def __init__(self, random: Random, lag_max_ms: int) -> None:
        super().__init__()
        self._random = random
        self._lag_max_ms = lag_max_ms

    def consumed(
        self, app_id: int, room_id: str, mini_game_id: str, msg_ids: Any, now_wall_ms: int
    ) -> list[tuple[Gift, Fate]]:
        """What one replica knows."""
        lag_ms = self._random.randint(0, self._lag_max_ms) if self._lag_max_ms else 0
        return super().consumed(app_id, room_id, mini_game_id, msg_ids, now_wall_ms - lag_ms)


@dataclass(slots=True)
class ApiWeather:
    """What is wrong beyond the simulator's own faults.

    Attributes:
        garbled: the share of answers with an entry that cannot be read.
        write_us: the longest wait between deciding a check and writing it.
        refuses: during an outage no connection is made at all.
    """

    garbled: float = 0.0
    write_us: int = 0
    refuses: bool = False


class ApiHost:
    """The vendor's host; owns the record of what has arrived."""

    def __init__(
        self,
        hub: Hub,
        random: Random,
        *,
        apps: Mapping[int, str],
        per_second_max: int,
        lag_max_ms: int,
        latency_us: tuple[int, int],
        dates: bool,
    ) -> None:
        self.hub = hub
        self.random = random
        self.weather = ApiWeather()
        self.secrets = dict(apps)
        self.server_secrets = dict(apps)
        self.simulator = Simulator(
            SimulatorSettings(
                apps=self.server_secrets, room_requests_per_second_max=per_second_max
            ),
            clock_us=lambda: hub.now_us,
        )
        self.simulator.faults._random = random
        self.truth = LaggingTruth(random, lag_max_ms)
        self.simulator.truth = self.simulator._api._truth = self.truth
        self._latency_us = latency_us
        self._dates = dates
        self._held: list[tuple[Request, Answered]] = []
        self.simulator.faults.on_change(self._release)

    def send(self, request: Request, answered: Answered) -> None:
        """Take a request on its way."""
        faults = self.simulator.faults
        if faults.strikes(request, OUTAGE):
            self.hub.after(self.random.randint(*self._latency_us), answered, None)
            return
        delay_us = self.random.randint(*self._latency_us)
        delay_us += round(faults.delay_ms(request, Kind.LATENCY_IN) * MS)
        self.hub.after(delay_us, self._reach, request, answered)

    def refuses(self, request: Request) -> bool:
        """Whether no connection can be made for this request."""
        faults = self.simulator.faults
        return self.weather.refuses and faults.strikes(request, OUTAGE) is not None

    def date_wall_ms(self) -> int | None:
        """The `Date` of an answer that leaves now."""
        if not self._dates:
            return None
        return (self.hub.now_us // MS + self.simulator.clock_offset_ms) // 1_000 * 1_000

    def _reach(self, request: Request, answered: Answered) -> None:
        if self.simulator.faults.holds_back(request):
            self._held.append((request, answered))
            return
        reply = self.simulator.arrive(request)
        if reply is Silence.HANG:
            return
        delay_us = self.random.randint(*self._latency_us)
        delay_us += round(self.simulator.faults.delay_ms(request, Kind.LATENCY_OUT) * MS)
        if isinstance(reply, Reply) and self.random.random() < self.weather.garbled:
            reply = garbled(reply)
        self.hub.after(delay_us, answered, reply)

    def _release(self) -> None:
        held, self._held = self._held, []
        for request, answered in held:
            self._reach(request, answered)


def garbled(reply: Reply) -> Reply:
    """The same answer, its first entry unreadable, or with one too many."""
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return reply
    if document.get("Data"):
        results = document["Data"]["Results"]
        document["Data"]["Results"] = [{"MsgId": 5}, *results[1:]]
    return Reply(reply.status, reply.content_type, orjson.dumps(document), reply.retry_after)


class Sender:
    """Sends one pod's checks; `on_written` is told of each at the instant of its writing."""

    def __init__(
        self,
        process: Process,
        loop: VirtualLoop,
        host: ApiHost,
        clock: Clock,
        *,
        request_timeout_ms: int,
        on_written: Callable[[Check], None],
    ) -> None:
        self._process = process
        self._loop = loop
        self._host = host
        self._clock = clock
        self._timeout_ms = request_timeout_ms
        self._on_written = on_written
        self._signing_offset_ms = 0
        self.in_flight = 0
        self.in_flight_max = 0
        self.of_room_max = 0
        self._of_room: Counter[tuple[int, str]] = Counter()

    async def send(self, check: Check) -> CheckAnswered | CheckLost | CheckNotWritten:
        """Ask, and say what came of it."""
        room = check.app_id, check.room_id
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        self._of_room[room] += 1
        self.of_room_max = max(self.of_room_max, self._of_room[room])
        try:
            return await self._send(check)
        finally:
            self.in_flight -= 1
            self._of_room[room] -= 1

    def under_way(self) -> Iterator[tuple[int, str]]:
        """The rooms with a check in flight."""
        return (room for room, count in self._of_room.items() if count)

    async def _send(self, check: Check) -> CheckAnswered | CheckLost | CheckNotWritten:
        until_us = self._process.hub.now_us + self._timeout_ms * MS
        write_us = self._host.weather.write_us
        if write_us:
            await self._sleep(min(self._host.random.randint(0, write_us), self._timeout_ms * MS))
        # After a stop both are over, the wait and the time-out: either may be noticed first.
        late = self._process.hub.now_us >= until_us
        if late and self._host.random.random() < 0.5:
            return CheckNotWritten(check.check_id, "no connection in time")
        if self._clock.now_ms() >= check.write_before_ms:
            return CheckNotWritten(check.check_id, "lease over", lease_over=True)
        request = self._request(check)
        if self._host.refuses(request):
            await self._sleep(MS)
            return CheckNotWritten(check.check_id, "cannot connect")
        self._on_written(check)
        answer: asyncio.Future[Reply | Silence | None] = self._loop.create_future()
        self._host.send(request, self._hand_over(answer))
        left_us = max(MS, until_us - self._process.hub.now_us)
        timer = self._loop.call_later(left_us / SECOND, _settle, answer, Silence.HANG)
        reply = await answer
        timer.cancel()
        return self._outcome(check, reply)

    def _hand_over(self, answer: "asyncio.Future[Reply | Silence | None]") -> Answered:
        def answered(reply: Reply | Silence | None) -> None:
            self._process.after(0, _settle, answer, reply)

        return answered

    def _outcome(
        self, check: Check, reply: Reply | Silence | None
    ) -> CheckAnswered | CheckLost | CheckNotWritten:
        check_id = check.check_id
        if reply is None:
            return CheckLost(check_id, Trouble.TRANSIENT, "disconnected", stale_connection=True)
        if reply is Silence.RESET:
            stale = self._host.random.random() < 0.5
            return CheckLost(check_id, Trouble.TRANSIENT, "reset", stale_connection=stale)
        if isinstance(reply, Silence):
            return CheckLost(check_id, Trouble.TRANSIENT, "no answer in time")
        wall_ms = self._clock.wall_ms()
        date_wall_ms = self._host.date_wall_ms()
        retry_after_ms = read_retry_after(reply.retry_after, wall_ms)
        answer = read_answer(reply.body, date_wall_ms, retry_after_ms)
        if answer is None or (reply.status != OK and answer.code == 0):
            response = SimpleNamespace(status=reply.status, content_type=reply.content_type)
            trouble, detail = _trouble(cast("Any", response))
            return CheckLost(check_id, trouble, detail, retry_after_ms)
        if answer.code == SIGNATURE_EXPIRED and date_wall_ms is not None:
            self._signing_offset_ms = date_wall_ms - wall_ms
        return CheckAnswered(check_id, answer)

    def _request(self, check: Check) -> Request:
        timestamp_s = (self._clock.wall_ms() + self._signing_offset_ms) // 1_000
        nonce = f"{check.check_id:016x}"
        secret = self._host.secrets[check.app_id]
        query = {
            "Action": CHECK,
            "AppId": str(check.app_id),
            "SignatureNonce": nonce,
            "Timestamp": str(timestamp_s),
            "SignatureVersion": "2.0",
            "Signature": signature(check.app_id, nonce, secret, timestamp_s),
        }
        document: dict[str, object] = {
            "RoomId": check.room_id,
            "MiniGameId": check.mini_game_id,
            "MsgIdList": list(check.msg_ids),
        }
        if check.duration_days is not None:
            document["Duration"] = check.duration_days
        return Request(
            "POST",
            "api",
            query,
            document,
            check.app_id,
            CHECK,
            check.room_id,
            check.mini_game_id,
            check.msg_ids,
        )

    async def _sleep(self, delay_us: int) -> None:
        over: asyncio.Future[None] = self._loop.create_future()
        self._loop.call_later(delay_us / SECOND, _settle, over, None)
        await over


def _settle(future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        future.set_result(value)
