"""The check API's client: what it writes, and how it takes what comes back."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from consumer.adapters.check_api import CheckApi, signature
from consumer.clock import SystemClock
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
    SECRET,
    SetClock,
    api,
    send_to,
)
from tests.adapters.raw_server import RawServer, http, raw_server, saying


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatorServer]:
    """The simulated API, listening."""
    async with serve(Simulator(SimulatorSettings(apps={APP_ID: SECRET}))) as server:
        yield server


def test_the_vendors_signature_vector() -> None:
    """The example of the page *Make API requests*."""
    expected = "43e5cfcca828314675f91b001390566a"
    assert expected == signature(APP_ID, "4fd24687296dd9f3", SECRET, 1_615_186_943)


async def test_a_check_is_one_signed_post_as_the_vendor_wants_it() -> None:
    """Query, body and headers are those of the vendor's page, and nothing is sent twice."""
    async with (
        raw_server(saying(GOOD)) as server,
        api(f"{server.base_url}/", clock=SetClock()) as client,
    ):
        await client.send(CHECK)
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    expected = (
        b"POST /?Action=DescribeDanmakuMsgResults&AppId=12345&SignatureNonce=4fd24687296dd9f3"
        b"&Timestamp=1615186943&SignatureVersion=2.0"
        b"&Signature=43e5cfcca828314675f91b001390566a HTTP/1.1"
    )
    assert expected == head.split(b"\r\n")[0]
    assert b"Content-Type: application/json" in head
    assert b"Cookie" not in head
    fields = {"RoomId": "room", "MiniGameId": "game", "MsgIdList": ["m1", "m2"]}
    assert fields == orjson.loads(body)


async def test_the_instant_of_an_answer_is_read(simulated: SimulatorServer) -> None:
    """It is the server's `Date`, whose clock may differ from ours."""
    simulated.simulator.clock_offset_ms = 300_000
    async with api(simulated.base_url) as client:
        outcome = await client.send(CHECK)
    assert isinstance(outcome, CheckAnswered)
    assert (outcome.check_id, outcome.answer.code) == (7, 0)
    assert outcome.answer.date_wall_ms is not None
    ahead_ms = outcome.answer.date_wall_ms - simulated.simulator.clock_us() // 1000
    assert abs(ahead_ms - 300_000) < 2_000


async def test_a_default_nonce_is_new_for_each_call(simulated: SimulatorServer) -> None:
    """Without a nonce of the test's own the signature is good as well."""
    client = CheckApi(
        base_url=simulated.base_url,
        apps={APP_ID: SECRET},
        request_timeout_ms=5_000,
        requests_in_flight_max=2,
        clock=SystemClock(),
    )
    async with client:
        outcomes = [await client.send(CHECK) for _ in range(2)]
    assert [o.answer.code for o in outcomes if isinstance(o, CheckAnswered)] == [0, 0]


@pytest.mark.parametrize(
    ("status", "trouble", "retry_after_ms"),
    [
        (500, Trouble.TRANSIENT, None),
        (502, Trouble.TRANSIENT, None),
        (503, Trouble.TRANSIENT, None),
        (204, Trouble.TRANSIENT, None),
        (429, Trouble.RATE_LIMITED, 7_000),
        (413, Trouble.BAD_REQUEST, None),
        (414, Trouble.BAD_REQUEST, None),
        (301, Trouble.CONFIGURATION, None),
        (400, Trouble.CONFIGURATION, None),
        (403, Trouble.CONFIGURATION, None),
        (404, Trouble.CONFIGURATION, None),
    ],
)
async def test_an_answer_of_a_gateway_is_classified_by_its_status(
    status: int, trouble: Trouble, retry_after_ms: int | None
) -> None:
    """What is not the vendor's JSON is lost, with the trouble its status means."""
    headers = () if retry_after_ms is None else (f"Retry-After: {retry_after_ms // 1000}",)
    body = b"" if status == 204 else b"<html>"
    outcome = await send_to(http(f"{status} said", body, *headers))
    assert CheckLost(7, trouble, f"HTTP {status}", retry_after_ms) == outcome


@pytest.mark.parametrize("status", ["302", "307", "308"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    """One request arrives, and the redirect is a matter of configuration."""
    async with raw_server(saying(GOOD, GOOD)) as target:
        location = f"Location: {target.base_url}/"
        answer = http(f"{status} Moved", b"", location)
        async with raw_server(saying(answer, answer)) as server, api(server.base_url) as client:
            outcome = await client.send(CHECK)
    assert CheckLost(7, Trouble.CONFIGURATION, f"HTTP {status}") == outcome
    assert (len(server.requests), len(target.requests)) == (1, 0)


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"<html>hello</html>", "text/html"),
        (b"", "application/json"),
        (b'{"Code": 0', "application/json"),
        (b'{"Message": "succeed"}', "application/json"),
    ],
)
async def test_a_good_status_with_something_else_is_no_answer(body: bytes, content: str) -> None:
    """HTML, broken JSON or no `Code` under HTTP 200 is lost, and may be tried again."""
    outcome = await send_to(http("200 OK", body, f"Content-Type: {content}"))
    expected = f"HTTP 200 with {content} instead of an answer"
    assert CheckLost(7, Trouble.TRANSIENT, expected) == outcome


async def test_the_vendors_json_is_an_answer_whatever_the_status() -> None:
    """A Code under another status than 200 is heard, with Retry-After."""
    outcome = await send_to(http("429 Slow", b'{"Code": 7}', "Retry-After: 3"))
    assert isinstance(outcome, CheckAnswered)
    assert (outcome.answer.code, outcome.answer.retry_after_ms) == (7, 3_000)


async def test_success_under_an_error_status_is_not_believed() -> None:
    """Code 0 with HTTP 503 must not prove that gifts are absent."""
    outcome = await send_to(http("503 Busy", b'{"Code": 0, "Data": {"Results": []}}'))
    assert CheckLost(7, Trouble.TRANSIENT, "HTTP 503") == outcome


async def test_a_huge_answer_is_not_read_to_its_end() -> None:
    """Above 64 KiB and 512 bytes an id the request is called bad; up to there it is read."""
    allowed = 64 * 1024 + 2 * 512
    good = b'{"Code": 0}' + b" " * (allowed - 11)
    assert isinstance(await send_to(http("200 OK", good)), CheckAnswered)
    outcome = await send_to(http("200 OK", good + b" "))
    assert CheckLost(7, Trouble.BAD_REQUEST, "answer too large") == outcome


async def test_an_endless_answer_is_given_up_while_it_comes() -> None:
    """The client stops reading once it has had enough, long before the end."""

    async def pour(
        server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()

    async with raw_server(pour) as server, api(server.base_url) as client:
        outcome = await client.send(CHECK)
    assert CheckLost(7, Trouble.BAD_REQUEST, "answer too large") == outcome


async def test_an_answer_cut_in_the_middle_is_lost() -> None:
    """Half of a body proves nothing."""
    whole = http("200 OK", b'{"Code": 0, "Data": {"Results": []}}')
    outcome = await send_to(whole[:-5])
    assert CheckLost(7, Trouble.TRANSIENT, "answer cut short") == outcome


async def test_what_is_no_http_is_lost() -> None:
    """An answer that cannot be parsed is told by the kind of the error alone."""
    outcome = await send_to(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    assert isinstance(outcome, CheckLost)
    assert (outcome.trouble, outcome.stale_connection) == (Trouble.TRANSIENT, False)
    assert "Signature" not in outcome.detail


async def test_an_expired_signature_sets_the_signing_clock_right(
    simulated: SimulatorServer,
) -> None:
    """The first answer refuses the time, the next check is signed by the vendor's clock."""
    simulated.simulator.clock_offset_ms = -7_200_000
    async with api(simulated.base_url) as client:
        outcomes = [await client.send(CHECK) for _ in range(2)]
    codes = [outcome.answer.code for outcome in outcomes if isinstance(outcome, CheckAnswered)]
    assert codes == [100000004, 0]


async def test_no_outcome_tells_secret_or_signature(simulated: SimulatorServer) -> None:
    """Whatever goes wrong, details hold neither, and are short."""
    secret = "s3cr3t-" + "x" * 20
    kinds = [Kind.RESET, Kind.STATUS, Kind.HANG, Kind.OUTAGE]
    outcomes = []
    async with api(simulated.base_url, timeout_ms=100, secret=secret) as client:
        for kind in kinds:
            with simulated.simulator.faults.holding(Fault(kind=kind)):
                outcomes.append(await client.send(CHECK))
        await simulated.refuse()
        outcomes.append(await client.send(CHECK))
    for outcome in outcomes:
        assert isinstance(outcome, CheckLost | CheckNotWritten)
        assert secret not in repr(outcome)
        assert "Signature" not in repr(outcome)
        assert len(outcome.detail) <= 200
