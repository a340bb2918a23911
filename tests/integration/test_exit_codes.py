"""How `giftcheck run` ends when Kafka says no: exit codes and messages, as a supervisor sees them."""

import asyncio
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from consumer.adapters.avro import encode_sent
from consumer.adapters.kafka.config import KafkaConfig
from consumer.core.model import GiftSent
from consumer.demo.kafka_broker import KafkaBroker
from consumer.errors import ConfigurationError
from consumer.settings.groups import SESSION_TIMEOUT_MS
from tests.conftest import BROKER_PROPERTIES, load_coordinators, no_kafka
from tests.integration.kafka_proxy import TXN_OFFSET_COMMIT, KafkaProxy
from tests.kafka.topics import TopicNames, commit_by_tool, create, produce
from tests.test_process import APP_ID, configuration, giftcheck, read_line

pytestmark = pytest.mark.kafka

TRANSACTION_TIMEOUT_S = (
    KafkaConfig(bootstrap_servers="", group_id="", instance="").transaction_timeout_ms / 1_000
)

ABORTED_AFTER_S = 2
"""The broker of the tests looks every second."""


class BehindProxy(NamedTuple):
    """A broker whose clients come through a port where a test puts its proxy."""

    broker: KafkaBroker
    port: int

    def proxy(self) -> KafkaProxy:
        """The proxy, not yet listening."""
        return KafkaProxy(self.port, self.broker.bootstrap_servers)


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[BehindProxy]:
    """A broker of this module's own, which advertises the proxy's port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    advertised = {"advertised.listeners": f"PLAIN://127.0.0.1:{port}"}
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(KafkaBroker(properties=BROKER_PROPERTIES | advertised))
        except ConfigurationError as error:
            no_kafka(error)
        yield BehindProxy(broker, port)


def configured(folder: Path, servers: str, topics: TopicNames, **kafka: object) -> str:
    """The configuration of a consumer named "pod-0" whose API cannot be reached."""
    names = {
        "gift_sent": topics.gift_sent,
        "gift_result": topics.gift_result,
        "dead_letters": topics.dead_letters,
    }
    return configuration(
        folder,
        kafka={
            "bootstrap_servers": servers,
            "group_id": topics.group_id,
            "instance_id": "pod-0",
            **kafka,
        },
        topics=names,
        check={"base_url": "http://127.0.0.1:1"},
    )


def send_gift(servers: str, topics: TopicNames) -> None:
    """One gift that stays pending, so that there is a transaction every second."""
    sent = GiftSent("room", "game", "m1", time.time_ns() // 1_000_000, app_id=APP_ID)
    produce(servers, topics.gift_sent, [encode_sent(sent)])


async def ended(process: Process) -> tuple[int, dict[str, Any], str]:
    """Its exit code, the last line of its log, and all it wrote on standard error from now on."""
    _, err = await process.communicate()
    assert process.returncode is not None
    text = err.decode()
    return process.returncode, orjson.loads(text.splitlines()[-1]), text


async def test_lost_data_ends_it_with_2_and_the_way_on(
    kafka_broker: KafkaBroker, topics: TopicNames, tmp_path: Path
) -> None:
    """One critical line that names partition, group, what happened and the setting to go on with."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    commit_by_tool(servers, topics, 0)
    async with giftcheck("run", "--config", configured(tmp_path, servers, topics)) as process:
        exit_code, told, _ = await ended(process)
    assert (exit_code, told["exit_code"], told["level"]) == (2, 2, "critical")
    for part in ('partition 0 of "', f'group "{topics.group_id}"', "kafka.on_data_loss: continue"):
        assert part in told["event"]


async def test_the_older_of_two_processes_of_one_name_ends_with_71(
    kafka_broker: KafkaBroker, topics: TopicNames, tmp_path: Path
) -> None:
    """It says so at once, waits for one session time-out and ends; the newer one works on."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    file = configured(tmp_path, servers, topics)
    async with giftcheck("run", "--config", file) as older:
        await read_line(older.stderr, "partition assigned")
        async with giftcheck("run", "--config", file) as newer:
            await read_line(newer.stderr, "partition assigned")
            said = await read_line(older.stderr, "another process uses the name")
            said_s = time.monotonic()
            exit_code, told, _ = await ended(older)
            waited_s = time.monotonic() - said_s
            newer.send_signal(signal.SIGTERM)
            newer_exit_code, _, _ = await ended(newer)
    assert (exit_code, told["exit_code"], newer_exit_code) == (71, 71, 0)
    assert said["event"] == told["event"]
    assert f'"pod-0" in group "{topics.group_id}"' in told["event"]
    assert "give each process its own kafka.instance_id" in told["event"]
    assert SESSION_TIMEOUT_MS / 1_000 - 0.5 < waited_s < SESSION_TIMEOUT_MS / 1_000 + 5


async def test_a_process_that_stood_still_in_a_transaction_ends_with_70(
    behind_proxy: BehindProxy, topics: TopicNames, tmp_path: Path
) -> None:
    """The broker has ended the transaction: no twin is blamed, a restart reads the truth."""
    servers = f"127.0.0.1:{behind_proxy.port}"
    async with behind_proxy.proxy() as proxy:
        await asyncio.to_thread(load_coordinators, servers)
        await asyncio.to_thread(create, servers, topics)
        await asyncio.to_thread(send_gift, servers, topics)
        async with giftcheck("run", "--config", configured(tmp_path, servers, topics)) as process:
            await read_line(process.stderr, "partition assigned")
            await proxy.act_at(TXN_OFFSET_COMMIT, lambda _: process.send_signal(signal.SIGSTOP))
            await asyncio.sleep(TRANSACTION_TIMEOUT_S + ABORTED_AFTER_S)
            process.send_signal(signal.SIGCONT)
            exit_code, told, _ = await ended(process)
    assert (exit_code, told["exit_code"]) == (70, 70)
    assert "longer than its time-out of 15000 ms" in told["event"]


async def test_a_client_call_that_never_returns_ends_it_with_70(
    behind_proxy: BehindProxy, topics: TopicNames, tmp_path: Path
) -> None:
    """The watchdog ends it, and shows in which call it hangs.

    The call is real: librdkafka sends offsets to the group's coordinator over a connection that
    is gone for good, while that to the transactions' coordinator lives, and forgets its time-out.
    """
    servers = f"127.0.0.1:{behind_proxy.port}"
    async with behind_proxy.proxy() as proxy:
        await asyncio.to_thread(load_coordinators, servers)
        await asyncio.to_thread(create, servers, topics)
        await asyncio.to_thread(send_gift, servers, topics)
        file = configured(tmp_path, servers, topics, outage_max="3s")
        async with giftcheck("run", "--config", file) as process:
            await read_line(process.stderr, "partition assigned")
            await proxy.act_at(TXN_OFFSET_COMMIT, proxy.cut)
            exit_code, told, err = await ended(process)
    assert exit_code == 70
    assert told["event"] == "the Kafka client hangs; only a restart can mend it"
    assert "in _send_offsets" in err
