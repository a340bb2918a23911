"""The image as the Pod that the chart renders, against a real Kafka and the simulated API."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from consumer.adapters.avro import decode_result, encode_sent
from consumer.core.metadata import decode_metadata
from consumer.core.model import GiftSent
from consumer.demo.kafka_broker import KafkaBroker, free_ports
from consumer.demo.kafka_security import allow
from tests.helm.chart import NAMESPACE, of_kind, only, render
from tests.image.pods import Document, RunningPod, first_pod, playing
from tests.image.workshop import IMAGE, Workshop
from tests.kafka.secured import USERS, needed
from tests.kafka.topics import TopicNames, committed_offset, committed_values, create, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

APP_ID = 5
SERVER_SECRET = "topsecret"
USER = "user4"
REPOSITORY, _, TAG = IMAGE.partition(":")
STOP_S = 10.0
"""The shutdown budget is a second for answers under way, a commit and leaving; a busy machine."""

WAIT_S = 60.0
CONFIG = "/etc/giftcheck/giftcheck.yaml"
GIFTS = 40


@pytest.fixture
def simulator() -> Iterator[str]:
    """The check API, in a process of its own, and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "consumer", "simulator", "--app-id", str(APP_ID), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GIFTCHECK_SIMULATOR_SECRET": SERVER_SECRET},
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().partition(" at ")[2].partition(",")[0]
        process.terminate()


def documents(broker: KafkaBroker, topics: TopicNames, base_url: str, port: int) -> list[Document]:
    """What the chart renders, its first Pod, and the Secrets that a user has made for it."""
    assert broker.secured is not None
    name = f"pod-{secrets.token_hex(3)}"
    properties = broker.secured.client_properties(USER)
    values = {
        "fullnameOverride": name,
        "image": {"repository": REPOSITORY, "tag": TAG, "pullPolicy": "Never"},
        "kafka": {
            "bootstrapServers": broker.secured.bootstrap_servers,
            "groupId": topics.group_id,
            "security": {
                "protocol": properties["security.protocol"],
                "sasl": {"mechanism": properties["sasl.mechanism"], "existingSecret": USER},
                "tls": {"caSecret": "ca"},
            },
        },
        "topics": {
            "giftSent": topics.gift_sent,
            "giftResult": topics.gift_result,
            "deadLetters": topics.dead_letters,
        },
        "apps": [{"appId": APP_ID, "serverSecret": SERVER_SECRET}],
        "check": {"baseUrl": base_url, "timeout": "2s"},
        "http": {"host": "127.0.0.1", "port": port},
    }
    rendered = render(values=values, release=name)
    return [
        *of_kind(rendered, "ConfigMap"),
        *of_kind(rendered, "Secret"),
        _secret(USER, {"username": USER, "password": USERS[USER]}),
        _secret("ca", {"ca.crt": broker.secured.ca_file.read_text()}),
        first_pod(only(rendered, "StatefulSet"), NAMESPACE),
    ]


def _secret(name: str, texts: dict[str, str]) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": texts,
    }


def test_a_pod_becomes_ready_consumes_and_is_drained(
    workshop: Workshop, secured_broker: KafkaBroker, topics: TopicNames, simulator: str
) -> None:
    """The chart's own; TLS and a password out of mounted files; every gift has its result.

    The doctor finds nothing wrong from inside, beside the consumer, and SIGTERM is in time.
    """
    servers = secured_broker.bootstrap_servers
    create(servers, topics, partitions=2)
    (port,) = free_ports(1)
    told = documents(secured_broker, topics, simulator, port)
    allow(servers, USER, needed(topics, f"{NAMESPACE}.{told[-1]['metadata']['name']}"))
    with playing(workshop, told) as pod:
        wait_for(lambda: status_of(port, "readyz") == 200, pod)
        now_ms = time.time_ns() // 1_000_000
        gifts = [GiftSent("room", "game", f"m{number}", now_ms) for number in range(GIFTS)]
        produce(servers, topics.gift_sent, [encode_sent(gift) for gift in gifts])
        wait_for(lambda: len(results(servers, topics)) >= GIFTS, pod)
        doctor = pod.execute("giftcheck", "doctor", "--config", CONFIG, "--json")
        began = time.monotonic()
        exit_code = pod.stop()
        took_s = time.monotonic() - began
        logs = pod.logs()

    events = [json.loads(line)["event"] for line in logs.err.splitlines()]
    assert (exit_code, "stopping" in events, events[-1]) == (0, True, "stopped"), logs.err
    assert took_s < STOP_S
    levels = {each["check"]: each["level"] for each in json.loads(doctor.out)["checks"]}
    assert doctor.exit_code == 0, doctor.out
    assert {check for check, level in levels.items() if level != "ok"} == {
        "brokers' limits",  # nobody may read them here
        "transactional id",  # there is a rule for this instance's name alone
    }
    assert sorted(gift.msg_id for gift in gifts) == sorted(results(servers, topics))
    assert all(drained(servers, topics, partition) for partition in range(2))
    assert SERVER_SECRET not in logs.err
    assert USERS[USER] not in logs.err


def results(servers: str, topics: TopicNames) -> list[str]:
    """The MsgIds of all results that a read_committed reader sees."""
    values = committed_values(servers, topics.gift_result)
    return [decode_result(value or b"").sent.msg_id for value in values]


def drained(servers: str, topics: TopicNames, partition: int) -> bool:
    """Whether the last commit says that no check was under way any more."""
    metadata = decode_metadata(committed_offset(servers, topics, partition).metadata or "")
    return metadata.drained


def status_of(port: int, path: str) -> int:
    """What HTTP says; 0: nobody is there."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code
    except URLError:
        return 0


def wait_for(condition: Callable[[], bool], pod: RunningPod) -> None:
    """Return once it holds; show what the Pod said if it does not."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, pod.logs()
        time.sleep(0.1)
