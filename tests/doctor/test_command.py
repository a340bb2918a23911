"""`giftcheck doctor` as people and machines meet it."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
import yaml

from consumer.cli import main
from consumer.demo.kafka_broker import KafkaBroker
from consumer.doctor import run
from consumer.doctor.findings import Finding, Level, Report
from consumer.doctor.screen import plain_text, show
from tests.kafka.topics import TopicNames, create

SECRET = "topsecret"
BOUND_S = 30.0


class Ended(NamedTuple):
    """How the command ended, and what it said."""

    exit_code: object
    out: str


Doctor = Callable[..., Ended]


@pytest.fixture
def doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Doctor]:
    """Runs the command in this process, on a configuration."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def ask(document: object, *options: str) -> Ended:
        file = tmp_path / "giftcheck.yaml"
        file.write_text(yaml.safe_dump(document))
        arguments = ["giftcheck", "doctor", "--config", str(file), *options]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert err == ""
        assert SECRET not in out
        return Ended(ended.value.code, out)

    yield ask
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(servers: str, base_url: str, **groups: object) -> dict[str, Any]:
    """A configuration of one app."""
    return {
        "kafka": {"bootstrap_servers": servers},
        "apps": [{"app_id": 5, "server_secret": SECRET}],
        "check": {"base_url": base_url},
        **groups,
    }


@pytest.fixture
def simulator() -> Iterator[str]:
    """The simulated API, in a process of its own, and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "consumer", "simulator", "--app-id", "5", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GIFTCHECK_SIMULATOR_SECRET": SECRET},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.partition(" at ")[2].partition(",")[0]
        process.terminate()


@pytest.mark.kafka
def test_all_is_well(
    kafka_broker: KafkaBroker, topics: TopicNames, simulator: str, doctor: Doctor
) -> None:
    """Exit code 0; one object for machines, aligned lines for people, and no colours in a pipe."""
    create(kafka_broker.bootstrap_servers, topics)
    names = {
        "gift_sent": topics.gift_sent,
        "gift_result": topics.gift_result,
        "dead_letters": topics.dead_letters,
    }
    document = configured(kafka_broker.bootstrap_servers, simulator, topics=names)
    document["kafka"]["group_id"] = topics.group_id
    for_machines = doctor(document, "--json")
    for_people = doctor(document)

    told = json.loads(for_machines.out)
    assert (for_machines.exit_code, told["passed"], told["exit_code"]) == (0, True, 0)
    assert {"ok"} == {check["level"] for check in told["checks"]}
    assert told["counts"] == {"ok": len(told["checks"]), "warn": 0, "fail": 0, "skip": 0}
    assert for_people.exit_code == 0
    *lines, last = for_people.out.splitlines()
    assert [check["check"] for check in told["checks"]] == [
        line.removeprefix("ok").split("  ")[2].strip() for line in lines
    ]
    assert last == f"PASSED: {len(lines)} ok, 0 warn, 0 fail, 0 skip"
    assert "\x1b" not in for_people.out


def test_nothing_answers(doctor: Doctor) -> None:
    """Both are told in one run, and in time."""
    began = time.monotonic()
    ended = doctor(configured("127.0.0.1:1", "http://127.0.0.1:2"), "--json")

    levels = {check["check"]: check["level"] for check in json.loads(ended.out)["checks"]}
    assert ended.exit_code == 1
    assert (levels["configuration"], levels["brokers"]) == ("ok", "fail")
    assert (levels["topics, rights, group"], levels["check API, app 5"]) == ("skip", "fail")
    assert time.monotonic() - began < BOUND_S


def test_a_schema_that_cannot_be_read_is_told_beside_the_rest(
    doctor: Doctor, tmp_path: Path
) -> None:
    """With key and file."""
    (tmp_path / "old.avsc").write_text("{")
    document = configured("x", "http://x", format={"writer_schemas": str(tmp_path)})
    # A property that the client refuses: Kafka need not be waited for.
    document["kafka"]["properties"] = {"no.such.property": SECRET}
    checks = {each["check"]: each for each in json.loads(doctor(document, "--json").out)["checks"]}

    assert checks["schemas"]["level"] == "fail"
    assert "format.writer_schemas: " in checks["schemas"]["found"]
    assert 'No such configuration property: "no.such.property"' in checks["brokers"]["found"]


def test_a_configuration_that_cannot_be_used_ends_with_2(doctor: Doctor) -> None:
    """Nothing is asked; each mistake has its line, for machines too."""
    document = configured("x", "y", http={"port": -1})
    lines = doctor(document)
    told = doctor(document, "--json")

    assert (lines.exit_code, told.exit_code) == (2, 2)
    assert [line.split()[2] for line in lines.out.splitlines()[:-1]] == [
        "check.base_url:",
        "http.port:",
    ]
    assert json.loads(told.out)["exit_code"] == 2
    assert json.loads(told.out)["counts"]["fail"] == 2


def test_a_client_that_hangs_beyond_its_time_outs_does_not_hold_the_report_up(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has found by then is told, and that it does not come back."""
    over = threading.Event()

    class Hanging:
        def __init__(self, *_: object) -> None:
            pass

        def look(self) -> Iterator[Finding]:
            yield Finding("brokers", Level.OK, "3 answer")
            over.wait()

    monkeypatch.setattr(run, "ClusterCheck", Hanging)
    monkeypatch.setattr(run, "KAFKA_S", 0.1)
    ended = doctor(configured("x", "http://127.0.0.1:2"))
    over.set()

    assert ended.exit_code == 1
    assert "ok    brokers           3 answer\n" in ended.out
    assert "fail  Kafka             the client does not come back within 0.1 s: see" in ended.out


def test_others_words_cannot_spoil_the_screen() -> None:
    """A server's message comes in one line and without control characters."""
    report = Report((Finding("api", Level.WARN, "a\x1b[2J\nb", "c"),))
    assert plain_text(report).splitlines()[0] == "warn  api  a [2J b: c"


def test_a_terminal_gets_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long finding is folded within its column."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "dumb")
    show(Report((Finding("brokers", Level.FAIL, "word " * 20),)), json=False)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("fail  brokers  word")
    assert second.startswith(" " * 15 + "word")
