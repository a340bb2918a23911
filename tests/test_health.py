"""What the process says of itself: alive, ready, and the whole of its status."""

from dataclasses import dataclass, replace

import aiohttp
import orjson
import pytest

from consumer.adapters.http import HttpServer
from consumer.adapters.kafka import KafkaState
from consumer.core.learning import LearnedHazards
from consumer.core.messages import RecordsRead
from consumer.core.model import CheckRules
from consumer.core.scheduler import Scheduler
from consumer.health import FAILING_MAX_MS, Health
from tests.core.builders import NOW_MS, WALL_MS, make_assigned, make_record

SILENCE_MAX_MS = 150_000
WELL = KafkaState(last_turn_ms=NOW_MS, joined=True)


@dataclass
class SetClock:
    """A clock that stands where it is put."""

    ms: int = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def wall_ms(self) -> int:
        return self.ms - NOW_MS + WALL_MS


@dataclass
class SetKafka:
    """A Kafka thread that says what it is set to."""

    now: KafkaState

    def state(self) -> KafkaState:
        return self.now


def make_core() -> Scheduler:
    """A core that owns nothing."""
    return Scheduler(CheckRules(), instance="pod-0", hazards=LearnedHazards(), jitter=lambda: 0.0)


def make_health(kafka: KafkaState, core: Scheduler | None = None) -> Health:
    """Health at `NOW_MS`, with the Kafka thread in this state."""
    return Health(
        core or make_core(),
        SetKafka(kafka),
        clock=SetClock(),
        instance="pod-0",
        kafka_silence_max_ms=SILENCE_MAX_MS,
    )


def test_a_joined_process_without_partitions_is_alive_and_ready() -> None:
    """More processes than partitions: the one that waits is as healthy as the others."""
    health = make_health(WELL)
    assert ([], []) == (health.alive(), health.ready())


@pytest.mark.parametrize(
    ("silence_ms", "reasons"),
    [(SILENCE_MAX_MS, []), (SILENCE_MAX_MS + 1, ["the Kafka thread does not move"])],
)
def test_a_kafka_thread_that_hangs_makes_the_process_dead(
    silence_ms: int, reasons: list[str]
) -> None:
    """The bound is inclusive: a thread may be silent for exactly so long."""
    assert reasons == make_health(replace(WELL, last_turn_ms=NOW_MS - silence_ms)).alive()


def test_a_process_that_has_not_joined_is_alive_but_not_ready() -> None:
    """A broker that is away is nothing that a restart mends."""
    health = make_health(replace(WELL, joined=False))
    assert ([], ["not yet a member of the group"]) == (health.alive(), health.ready())


@pytest.mark.parametrize(
    ("failing_ms", "ready"), [(0, True), (FAILING_MAX_MS, True), (FAILING_MAX_MS + 1, False)]
)
def test_transactions_that_fail_for_too_long_make_it_unready(
    failing_ms: int, *, ready: bool
) -> None:
    """Over ten seconds; the reason holds what Kafka said last."""
    since_ms = NOW_MS - failing_ms
    failing = replace(WELL, transaction_failing_since_ms=since_ms, last_error="no coordinator")
    reasons = make_health(failing).ready()
    assert reasons == ([] if ready else ["transactions fail: no coordinator"])


def test_a_stopping_process_is_not_ready_and_still_alive() -> None:
    """Nobody should kill what is handing over its work."""
    health = make_health(WELL)
    health.stopping = True
    assert ([], ["stopping"]) == (health.alive(), health.ready())


def test_everything_that_speaks_against_it_is_said() -> None:
    """Each reason is there, not only the first."""
    health = make_health(
        KafkaState(last_turn_ms=0, transaction_failing_since_ms=0, last_error="fenced")
    )
    health.stopping = True
    expected = [
        "the Kafka thread does not move",
        "stopping",
        "not yet a member of the group",
        "transactions fail: fenced",
    ]
    status = health.status()
    assert expected == [*health.alive(), *health.ready()]
    assert (False, False, expected) == (status["alive"], status["ready"], status["reasons"])


def test_the_status_holds_core_and_kafka_as_they_stand_now() -> None:
    """The core is asked at this very instant; nothing in it changes by being looked at."""
    core = make_core()
    core.handle(make_assigned(3), NOW_MS, WALL_MS)
    core.handle(RecordsRead(3, 1, (make_record(0),), 1), NOW_MS, WALL_MS)
    health = make_health(WELL, core)
    first, second = health.status(), health.status()
    assert ("pod-0", True, True, []) == (
        first["instance"], first["alive"], first["ready"], first["reasons"],
    )  # fmt: skip
    assert (1, [3]) == (
        health.core().pending_gifts, [each.partition for each in health.core().partitions],
    )  # fmt: skip
    assert core.status(NOW_MS) == first["core"] == second["core"]
    assert WELL == first["kafka"]


async def test_the_status_can_be_written_as_json() -> None:
    """Whatever core and Kafka thread hold: `/status` is for tools, too."""
    core = make_core()
    core.handle(make_assigned(3), NOW_MS, WALL_MS)
    health = make_health(replace(WELL, intake_lag={3: 17}), core)
    server = HttpServer(host="127.0.0.1", port=0, probe=health, exposition=lambda: (b"", ""))
    async with server:
        status = orjson.loads(await get(server.port, "/status"))
    assert {"instance", "alive", "ready", "reasons", "core", "kafka"} == set(status)
    assert {"3": 17} == status["kafka"]["intake_lag"]
    assert 3 == status["core"]["partitions"][0]["partition"]


async def get(port: int, path: str) -> bytes:
    """The body of an answer."""
    address = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as client, client.get(address) as response:
        return await response.read()
