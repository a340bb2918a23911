"""The whole demo, as somebody starts it: parent, child, broker and simulated API."""

import io
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from consumer.demo import DemoOptions, run_demo
from consumer.demo.kafka_broker import KafkaBroker

DELAY_P50_MS = 160
DELAY_P95_MS = 400
REQUESTS_PER_GIFT = 2.2
"""What is promised on a quiet machine; one that runs tests is allowed twice as much."""

GIFTCHECK = (sys.executable, "-m", "consumer", "demo", "--json")


def demo(*options: str) -> dict[str, Any]:
    """Run a demo to its end and return its JSON; the demo must have passed."""
    ended = subprocess.run([*GIFTCHECK, *options], capture_output=True, check=False, timeout=200)
    print(ended.stdout.decode(), ended.stderr.decode())
    assert ended.returncode == 0
    assert ended.stderr == b""
    return judged(ended.stdout)


def judged(document: bytes) -> dict[str, Any]:
    """Return the figures of a demo in which every promise held."""
    figures: dict[str, Any] = orjson.loads(document)
    assert figures["passed"]
    assert figures["gifts"] == sum(figures["results"].values())
    assert (figures["missing"], figures["duplicates"], figures["false_verdicts"]) == (0, 0, 0)
    assert figures["results"]["UNVERIFIED"] == 0
    assert 0 < figures["room_requests_per_second_max"] <= 20
    return figures


def drain(screen: io.FileIO) -> None:
    """Read what a terminal is shown until nobody writes to it, so that writers never wait."""
    with suppress(OSError):  # how Linux says that the other end is closed
        while screen.read(4_096):
            pass


def test_the_default_load_is_answered_as_promised() -> None:
    """Each gift gets one true result, as promptly and with as few requests as promised."""
    figures = demo("--duration", "10s")
    assert figures["broker"] == "embedded broker"
    # Five standard deviations of a Poisson process around 3,000.
    assert 2_700 < figures["gifts"] < 3_300
    assert figures["delay_ms"]["p50"] <= 2 * DELAY_P50_MS
    assert figures["delay_ms"]["p95"] <= 2 * DELAY_P95_MS
    assert figures["requests_per_gift"] <= 2 * REQUESTS_PER_GIFT


def interrupted(when: bytes) -> tuple[int, bytes, bytes]:
    """Press Ctrl-C once a watched demo shows `when`; return exit code, output and display."""
    terminal, shown = pty.openpty()
    options = ("--duration", "1h", "--rate", "50", "--timeout", "1s")
    with (
        os.fdopen(terminal, "rb", buffering=0) as screen,
        subprocess.Popen(
            [*GIFTCHECK, *options],
            stdout=subprocess.PIPE,
            stderr=shown,
            env={**os.environ, "TERM": "xterm"},
        ) as running,
    ):
        os.close(shown)
        seen = b""
        while when not in seen:
            seen += screen.read(4_096)
        running.send_signal(signal.SIGINT)
        threading.Thread(target=drain, args=(screen,), daemon=True).start()
        document, _ = running.communicate(timeout=60)
    print(document.decode())
    return running.returncode, document, seen


def test_an_interrupt_ends_the_load_but_not_the_bookkeeping() -> None:
    """After Ctrl-C what was sent is still answered, judged and summed up."""
    # Shares are shown once there are results; their names stand there before a gift is sent.
    exit_code, document, seen = interrupted(b"%")
    assert b"gifts are sent" in seen
    assert exit_code == 0
    assert judged(document)["duration_ms"] < 60_000


def test_an_interrupt_before_the_load_gives_up() -> None:
    """While nothing has been sent, Ctrl-C ends everything at once."""
    exit_code, document, _ = interrupted(b"the consumer starts")
    assert (exit_code, document) == (130, b"")


def test_keys_inject_faults_and_take_them_back() -> None:
    """In a terminal of its own: a broken game, a flood; all is answered, and the report names both.

    The load ends while the game is still broken: faults end with it.
    """
    person, ours = pty.openpty()
    before = termios.tcgetattr(ours)
    command = (sys.executable, "-m", "consumer", "demo")
    options = ("--duration", "4s", "--rate", "50", "--timeout", "1s")
    with (
        os.fdopen(person, "r+b", buffering=0) as screen,
        subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command, *options],
            stdin=ours,
            stdout=ours,
            stderr=ours,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        ) as running,
    ):
        seen = b""
        for awaited, key in ((b"SUCCEEDED", b"g"), (b"does not ex", b"f"), (b"flood, 10", b"")):
            while awaited not in seen:
                seen += screen.read(4_096)
            screen.write(key)
        while b"PASSED" not in seen and b"FAILED:" not in seen:
            seen += screen.read(4_096)
        threading.Thread(target=drain, args=(screen,), daemon=True).start()
        exit_code = running.wait(30)
        after = termios.tcgetattr(ours)
        os.close(ours)
    report = seen[seen.index(b"Injected") :].decode()
    print(report)
    assert (exit_code, before) == (0, after)
    assert "game-0 broken (" in report
    assert "flood, 10 times the gifts (" in report
    assert "PASSED" in report


def test_who_watches_sees_figures_and_a_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a terminal there is a live view while gifts are sent, and a table at the end."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes the output count as a terminal
    monkeypatch.setenv("COLUMNS", "80")
    options = DemoOptions(duration_ms=2_000, timeout_ms=1_000, rate=100)
    exit_code = run_demo(options)
    shown = capsys.readouterr().out
    print(shown)
    assert exit_code == 0
    for told in ("gifts are sent", "in the consumer", "results come in", "PASSED"):
        assert told in shown


@pytest.mark.kafka
def test_a_kafka_that_is_there_is_left_as_it_was(
    kafka_broker: KafkaBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    """On somebody's Kafka the same promises hold; topics and group are gone afterwards."""
    servers = kafka_broker.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers})
    options = DemoOptions(duration_ms=5_000, timeout_ms=2_000, json=True, bootstrap_servers=servers)
    assert run_demo(options) == 0
    figures = judged(capsys.readouterr().out.encode())
    print(figures)
    assert figures["broker"] == f"Kafka at {servers}"
    assert not [name for name in admin.list_topics(timeout=10).topics if "demo" in name]
    groups = admin.list_consumer_groups().result(10).valid
    assert not [group for group in groups if "demo" in group.group_id]


@pytest.mark.kafka
@pytest.mark.usefixtures("kafka_broker")
def test_the_demo_starts_a_kafka_of_its_own() -> None:
    """With `--broker kafka` nothing has to be there before."""
    figures = demo("--duration", "5s", "--timeout", "2s", "--broker", "kafka")
    assert figures["broker"] == "Apache Kafka"
