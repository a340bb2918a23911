"""The process' own endpoints, asked over a socket."""

import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import pytest

from consumer.adapters.http import HttpServer
from consumer.core.tally import CoreStatus, Tally
from consumer.errors import ConfigurationError

EXPOSITION = (b"giftcheck_rooms 3.0\n", "text/plain; version=1.0.0; charset=utf-8")


@dataclass
class SetProbe:
    """Says what it is set to."""

    not_alive: list[str] = field(default_factory=list)
    not_ready: list[str] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)

    def alive(self) -> list[str]:
        return self.not_alive

    def ready(self) -> list[str]:
        return self.not_ready

    def status(self) -> dict[str, Any]:
        return self.said


class Said(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: str
    text: str


class Served:
    """A server on a free loopback port, and a client that asks it."""

    def __init__(self, probe: SetProbe) -> None:
        self.server = HttpServer(
            host="127.0.0.1", port=0, probe=probe, exposition=lambda: EXPOSITION
        )

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        self._client = aiohttp.ClientSession(f"http://127.0.0.1:{self.server.port}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()
        await self.server.__aexit__(kind, error, traceback)

    async def get(self, path: str) -> Said:
        async with self._client.get(path) as response:
            return Said(response.status, response.headers["Content-Type"], await response.text())

    async def get_json(self, path: str) -> Any:
        async with self._client.get(path) as response:
            return await response.json()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_all_is_well_where_no_reason_speaks_against_it(path: str) -> None:
    """200, in words that people read too."""
    async with Served(SetProbe()) as served:
        said = await served.get(path)
    assert (said.status, said.text) == (200, "ok\n")


async def test_a_dead_process_says_why_and_may_still_be_ready() -> None:
    """503 with every reason on a line; the two endpoints judge apart."""
    async with Served(SetProbe(not_alive=["no turn for 200 s", "and more"])) as served:
        live, ready = await served.get("/livez"), await served.get("/readyz")
    assert (live.status, live.text) == (503, "no turn for 200 s\nand more\n")
    assert ready.status == 200


async def test_readiness_follows_its_probe_from_request_to_request() -> None:
    """Nothing is remembered between two requests."""
    probe = SetProbe(not_ready=["not yet a member of the group"])
    async with Served(probe) as served:
        before = await served.get("/readyz")
        probe.not_ready = []
        after = await served.get("/readyz")
    assert (before.status, before.text) == (503, "not yet a member of the group\n")
    assert after.status == 200


async def test_metrics_are_served_as_they_were_made() -> None:
    """With the content type that says which text format it is."""
    async with Served(SetProbe()) as served:
        said = await served.get("/metrics")
    assert said == (200, EXPOSITION[1], EXPOSITION[0].decode())


async def test_the_status_is_json_whatever_the_core_counts_by() -> None:
    """Dataclasses, counters with numbers as keys, tuples and None come out readable."""
    tally = Tally()
    tally.answers[0] += 2
    tally.answers[7] += 1
    tally.results["SUCCEEDED"] += 3
    core = CoreStatus(
        pending_gifts=4, pending_gifts_max=20, overdue_gifts=0, overdue_gifts_max=10,
        replay_records_max=100, windows=2, rooms=1, requests_in_flight=1, request_price_ms=30.0,
        slots=256, windows_queued=0, scopes_in_trouble=0, troubles=("one",),
        faults={"host_down": "no answer", "wall_clock": None}, batch_size_max=50,
        partitions=(), tally=tally,
    )  # fmt: skip
    async with Served(SetProbe(said={"instance": "giftcheck-0", "core": core})) as served:
        status = await served.get_json("/status")
    assert status["instance"] == "giftcheck-0"
    assert (status["core"]["pending_gifts"], status["core"]["troubles"]) == (4, ["one"])
    assert status["core"]["tally"]["answers"] == {"0": 2, "7": 1}
    assert status["core"]["tally"]["results"] == {"SUCCEEDED": 3}


async def test_there_is_nothing_else() -> None:
    """An unknown path is no endpoint."""
    async with Served(SetProbe()) as served:
        said = await served.get("/")
    assert said.status == 404


async def test_a_taken_port_is_a_mistake_in_the_configuration() -> None:
    """The line names the key, the address and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HttpServer(
            host="127.0.0.1", port=port, probe=SetProbe(), exposition=lambda: EXPOSITION
        )
        with pytest.raises(ConfigurationError, match=rf"http\.port: .*127\.0\.0\.1:{port}"):
            await server.__aenter__()


async def test_an_address_of_another_machine_is_a_mistake_in_the_configuration() -> None:
    """One line with the address; 192.0.2.1 is kept for examples and never ours."""
    server = HttpServer(host="192.0.2.1", port=0, probe=SetProbe(), exposition=lambda: EXPOSITION)
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1") as refused:
        await server.__aenter__()
    assert len(str(refused.value).splitlines()) == 1


async def test_a_stopped_server_has_left_its_port() -> None:
    """Whoever comes next can listen there."""
    async with Served(SetProbe()) as served:
        port = served.server.port
    with socket.create_server(("127.0.0.1", port)) as free:
        assert port == free.getsockname()[1]
