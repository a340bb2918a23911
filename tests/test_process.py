"""The command as a process: what crosses its border is an exit code, lines, and a socket."""

import asyncio
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
import yaml
from confluent_kafka import Producer

from consumer.adapters.check_api import CheckApi
from consumer.clock import SystemClock
from consumer.core.messages import CheckAnswered
from consumer.core.model import Check
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.topics import TopicNames

APP_ID = 12345
SECRET = "topsecret"
STOP_S = 5
UNREACHABLE = "127.0.0.1:1"  # nobody listens on tcpmux's port


@asynccontextmanager
async def giftcheck(*arguments: str) -> AsyncIterator[Process]:
    """A process of its own, gone when the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumer", *arguments, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> tuple[int | None, str, str]:
    """Its exit code, and what it still had to say."""
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def configuration(folder: Path, bootstrap_servers: str = UNREACHABLE, **groups: object) -> str:
    """A file with what is required, a free port, and these groups."""
    document: dict[str, object] = {
        "kafka": {"bootstrap_servers": bootstrap_servers},
        "apps": [{"app_id": APP_ID, "server_secret": SECRET}],
        "http": {"host": "127.0.0.1", "port": 0},
    }
    file = folder / "giftcheck.yaml"
    file.write_text(yaml.safe_dump(document | groups))
    return str(file)


async def read_line(stream: asyncio.StreamReader | None, containing: str) -> dict[str, object]:
    """The first log line of this event."""
    assert stream is not None
    while line := await stream.readline():
        if containing in line.decode():
            found: dict[str, object] = orjson.loads(line)
            return found
    raise AssertionError(f"the log ended without {containing!r}")


async def test_each_mistake_in_the_configuration_is_a_line_and_the_exit_code_2(
    tmp_path: Path,
) -> None:
    """No traceback, nothing on standard output."""
    file = configuration(tmp_path, check={"timeout": 5}, limits={"pending_gifts_mx": 1})
    async with giftcheck("run", "--config", file) as process:
        exit_code, out, err = await ended(process)
    assert (exit_code, out) == (2, "")
    assert [["giftcheck", "check.timeout"], ["giftcheck", "limits.pending_gifts_mx"]] == [
        line.split(": ")[:2] for line in err.splitlines()
    ]


async def test_a_taken_port_ends_the_consumer_with_2(tmp_path: Path) -> None:
    """Before Kafka is asked for anything, with one line that names the setting and the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = configuration(tmp_path, http={"host": "127.0.0.1", "port": port})
        async with giftcheck("run", "--config", file) as process:
            exit_code, out, err = await ended(process)
    (line,) = err.splitlines()
    assert (exit_code, out) == (2, "")
    assert f"http.port: cannot listen on 127.0.0.1:{port}" in orjson.loads(line)["event"]


async def test_a_consumer_without_a_broker_says_so_once_and_waits(tmp_path: Path) -> None:
    """One warning after 15 s; meanwhile alive and not ready; SIGTERM ends it at once, with 0."""
    began_s = time.monotonic()
    async with giftcheck("run", "--config", configuration(tmp_path)) as process:
        started = await read_line(process.stderr, "started")
        address = f"http://127.0.0.1:{started['http_port']}"
        async with aiohttp.ClientSession(address) as client:
            async with client.get("/livez") as live, client.get("/readyz") as ready:
                states = (live.status, ready.status, await ready.text())
            async with client.get("/metrics") as metrics:
                exposition = await metrics.text()
        warning = await read_line(process.stderr, "warning")
        warned_s = time.monotonic() - began_s
        process.send_signal(signal.SIGTERM)
        stopped_s = time.monotonic()
        exit_code, _, rest = await ended(process)
        took_s = time.monotonic() - stopped_s
    assert states == (200, 503, "not yet a member of the group\n")
    assert "giftcheck_group_joined 0.0" in exposition
    assert warning["event"] == "the brokers do not answer, waiting"
    assert 14 < warned_s < 20
    assert ["stopping", "stopped"] == [orjson.loads(line)["event"] for line in rest.splitlines()]
    assert exit_code == 0
    assert took_s < STOP_S


async def test_the_simulator_answers_a_signed_check() -> None:
    """What `giftcheck run` would send to it is understood, and Ctrl-C is its proper end."""
    async with giftcheck(
        "simulator", "--port", "0", "--app-id", str(APP_ID), "--secret", SECRET
    ) as process:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address is not None, line
        answer = await ask(address[0])
        process.send_signal(signal.SIGINT)
        stopped_s = time.monotonic()
        exit_code, _, err = await ended(process)
        took_s = time.monotonic() - stopped_s
    assert isinstance(answer, CheckAnswered)
    assert (answer.answer.code, answer.answer.complete) == (0, True)
    assert (exit_code, err) == (0, "")
    assert took_s < STOP_S


async def ask(base_url: str) -> object:
    """Send one check, as the consumer does."""
    clock = SystemClock()
    check = Check(1, APP_ID, "room", "game", ("m1",), clock.now_ms() + 60_000)
    async with CheckApi(
        base_url=base_url,
        apps={APP_ID: SECRET},
        request_timeout_ms=5_000,
        requests_in_flight_max=1,
        clock=clock,
    ) as client:
        return await client.send(check)


@pytest.mark.kafka
async def test_topics_are_created_once_and_then_found(
    kafka_broker: KafkaBroker, topics: TopicNames, tmp_path: Path
) -> None:
    """The second time changes nothing and says so; both end with 0."""
    names = (topics.gift_sent, topics.gift_result, topics.dead_letters)
    file = configuration(
        tmp_path,
        kafka_broker.bootstrap_servers,
        topics=dict(zip(("gift_sent", "gift_result", "dead_letters"), names, strict=True)),
    )
    told = []
    for _ in range(2):
        async with giftcheck(
            "topics", "create", "--config", file, "--gift-sent-partitions", "3"
        ) as process:
            exit_code, out, err = await ended(process)
        assert (exit_code, err) == (0, "")
        told.append(sorted(out.splitlines()))
    assert told == [
        sorted(f"{name}: {done}, 3 partitions, 1 replicas" for name in names)
        for done in ("created", "exists")
    ]
    assert partitions_of(kafka_broker.bootstrap_servers, names) == [3, 3, 3]


def partitions_of(bootstrap_servers: str, names: tuple[str, ...]) -> list[int]:
    """How many partitions the cluster says these topics have."""
    known = Producer({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=10).topics
    return [len(known[name].partitions) for name in names]
