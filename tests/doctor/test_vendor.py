"""What the doctor says of the check API, which is simulated, and of the clock."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from consumer.clock import Clock, SystemClock
from consumer.core.messages import CheckAnswered
from consumer.core.model import Answer
from consumer.core.reaction import TROUBLE_BY_CODE
from consumer.doctor.findings import Finding, Level
from consumer.doctor.vendor import Asked, judge, judge_clock, look_at_check_api
from consumer.settings import load_settings
from consumer.simulator import (
    Fault,
    Kind,
    Simulator,
    SimulatorServer,
    SimulatorSettings,
    serve,
)
from tests.adapters.check_api_client import SetClock

APPS = {5: "first-topsecret", 6: "second-topsecret"}
NOW_MS = 1_800_000_000_000


@pytest.fixture
async def server() -> AsyncIterator[SimulatorServer]:
    """The API, for two apps."""
    async with serve(Simulator(SimulatorSettings(apps=APPS))) as server:
        yield server


async def found(
    folder: Path,
    base_url: str,
    apps: dict[int, str] = APPS,
    clock: Clock | None = None,
) -> dict[str, Finding]:
    """The findings by what was looked at; none of them shows a secret or a signature."""
    file = folder / "giftcheck.yaml"
    document = {
        "kafka": {"bootstrap_servers": "x"},
        "apps": [{"app_id": app, "server_secret": secret} for app, secret in apps.items()],
        "check": {"base_url": base_url, "request_timeout": "500ms"},
    }
    file.write_text(yaml.safe_dump(document))
    findings = await look_at_check_api(load_settings(file), apps, clock or SystemClock())
    assert "topsecret" not in str(findings)
    assert "Signature" not in str(findings)
    return {finding.check: finding for finding in findings}


async def test_each_app_is_asked_for_once(server: SimulatorServer, tmp_path: Path) -> None:
    """In a room that nobody has; its credentials are accepted, and the clocks agree."""
    findings = await found(tmp_path, server.base_url)

    assert [Level.OK] * 3 == [finding.level for finding in findings.values()]
    assert list(findings) == ["check API, app 5", "check API, app 6", "clock"]
    assert "Code 0" in findings["check API, app 5"].found
    assert [5, 6] == sorted(arrival.app_id for arrival in server.simulator.arrivals)
    assert len({arrival.room_id for arrival in server.simulator.arrivals}) == 2
    assert all(each.room_id.startswith("giftcheck-doctor-") for each in server.simulator.arrivals)


async def test_a_wrong_secret_is_told_of_its_app_alone(
    server: SimulatorServer, tmp_path: Path
) -> None:
    """With the vendor's code and words, and where to compare."""
    findings = await found(tmp_path, server.base_url, APPS | {6: "wrong-topsecret"})

    assert findings["check API, app 5"].level is Level.OK
    wrong = findings["check API, app 6"]
    assert wrong.level is Level.FAIL
    assert "Code 100000005 'signature wrong'" in wrong.found
    assert "ServerSecret" in wrong.advice


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(kind=Kind.STATUS, status=503), "HTTP 503"),
        (Fault(kind=Kind.STATUS, status=404), "HTTP 404"),
        (Fault(kind=Kind.HANG), "no answer within 0.5 s"),
        (Fault(kind=Kind.RESET), "disconnected before an answer"),
        (Fault(kind=Kind.CODE, code=7210000), "Code 7210000"),
    ],
)
async def test_an_api_in_trouble_fails(
    server: SimulatorServer, tmp_path: Path, fault: Fault, says: str
) -> None:
    """In the words that the service would log."""
    with server.simulator.faults.holding(fault):
        finding = (await found(tmp_path, server.base_url))["check API, app 5"]

    assert (finding.level, says in finding.found) == (Level.FAIL, True), finding


async def test_an_api_that_is_not_there_fails(tmp_path: Path) -> None:
    """With the address, and what lies on the way."""
    findings = await found(tmp_path, "http://127.0.0.1:1")

    assert "cannot connect to 127.0.0.1:1" in findings["check API, app 5"].found
    assert "check.base_url" in findings["check API, app 5"].advice
    assert findings["clock"].level is Level.SKIP


async def test_a_clock_that_is_off_is_told_and_credentials_are_judged(
    server: SimulatorServer, tmp_path: Path
) -> None:
    """An hour late: the signature's clock is set right by the answer, as the service does."""
    clock = SetClock(wall_ms=SystemClock().wall_ms() - 3_600_000)
    findings = await found(tmp_path, server.base_url, clock=clock)

    assert findings["check API, app 5"].level is Level.OK
    assert findings["clock"].level is Level.WARN
    assert " -3" in findings["clock"].found


@pytest.mark.parametrize("code", [0, 99, *TROUBLE_BY_CODE])
def test_every_code_means_something(code: int) -> None:
    """None but success and an unknown game are good; whatever is not has an advice."""
    answered = Asked(CheckAnswered(1, Answer(code, "m", None, (), complete=True)), 0, 7)
    finding = judge(5, answered, "http://api")

    assert (finding.level is Level.OK) == (code in {0, 7202001, 7202002})
    assert (finding.level is Level.OK) == (finding.advice == "")
    assert f"Code {code} 'm' in 7 ms" in finding.found


@pytest.mark.parametrize(
    ("date_ms", "level"),
    [
        (NOW_MS, Level.OK),
        (NOW_MS - 3_000, Level.OK),
        (NOW_MS + 2_500, Level.OK),
        (NOW_MS - 4_000, Level.WARN),
        (NOW_MS + 3_000, Level.WARN),
        (None, Level.SKIP),
    ],
)
def test_the_clock_is_judged_by_what_the_date_allows(date_ms: int | None, level: Level) -> None:
    """A `Date` is whole seconds, rounded down, made between sending and end (500 ms here)."""
    answer = Answer(0, "", None, (), complete=True, date_wall_ms=date_ms)
    asked = Asked(CheckAnswered(1, answer), NOW_MS, NOW_MS + 500)

    assert [level] == [finding.level for finding in judge_clock([asked])]
