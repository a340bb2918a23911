"""The command line: what it calls, what it prints, how it exits."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from consumer.adapters.kafka.topics import TopicReport
from consumer.audit import AuditOptions, Bound
from consumer.cli import main
from consumer.demo import DemoOptions
from consumer.errors import ConfigurationError, GiftcheckError, NameTaken, RestartNeeded
from consumer.settings import Settings

CONFIGURATION = """
kafka: {bootstrap_servers: "127.0.0.1:1"}
apps: [{app_id: 5, server_secret: topsecret}]
"""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    exit_code: object
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def giftcheck(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["giftcheck", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = (_COLOURS.sub("", text) for text in capsys.readouterr())
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration that can be loaded."""
    file = tmp_path / "giftcheck.yaml"
    file.write_text(CONFIGURATION)
    return str(file)


def test_the_version_is_the_distributions(giftcheck: Command) -> None:
    """One line, exit code 0."""
    assert giftcheck("--version") == (0, f"giftcheck {version('giftcheck')}\n", "")


@pytest.mark.parametrize("command", ["run", "demo", "simulator", "topics", "audit", "doctor"])
def test_the_help_names_every_command(giftcheck: Command, command: str) -> None:
    """`giftcheck --help` is where a newcomer begins."""
    ended = giftcheck("--help")
    assert ended.exit_code == 0
    assert command in ended.out


def completion(shell_wants: str, **variables: str) -> str:
    """What the installed command, whose name the shells know, tells a shell that asks."""
    command = Path(sys.executable).with_name("giftcheck")
    told = subprocess.run(
        [command],
        env={**os.environ, "_GIFTCHECK_COMPLETE": shell_wants, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    return told.stdout


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _giftcheck_completion giftcheck"),
        ("zsh", "compdef _giftcheck_completion giftcheck"),
    ],
)
def test_a_shell_gets_its_script(shell: str, line: str) -> None:
    """What `--install-completion` installs, once it has found out which shell it is."""
    assert line in completion(f"source_{shell}").splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("giftcheck d", {"demo", "doctor"}),
        ("giftcheck topics ", {"create"}),
        ("giftcheck demo --broker ", {"embedded", "kafka"}),
        ("giftcheck demo --bro", {"--broker"}),
    ],
)
def test_commands_options_and_values_are_completed(words: str, expected: set[str]) -> None:
    """As bash asks; what a word may become, one a line."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert expected == set(completion("complete_bash", **asked).split())


def test_zsh_is_told_what_a_command_does() -> None:
    """It shows the help beside each word."""
    told = completion("complete_zsh", _TYPER_COMPLETE_ARGS="giftcheck to")
    assert "topics" in told
    assert "Make the topics." in told


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        (["run"], "giftcheck run --config giftcheck.yaml"),
        (["demo"], "giftcheck demo --duration 20s"),
        (["simulator"], "giftcheck simulator --port 8090"),
        (["topics", "create"], "--config"),
        (["doctor"], "giftcheck doctor --config giftcheck.yaml"),
        (["audit"], "giftcheck audit -c giftcheck.yaml --from 2026-01-31T00:00:00+00:00"),
    ],
)
def test_each_command_explains_itself(
    giftcheck: Command, arguments: list[str], example: str
) -> None:
    """With an example that can be copied."""
    ended = giftcheck(*arguments, "--help")
    assert ended.exit_code == 0
    assert example in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["demo", "--duration", "5"],
        ["demo", "--rate", "0"],
        ["demo", "--broker", "pigeon"],
        ["simulator", "--port", "70000"],
        ["audit", "--from", "yesterday"],
        ["audit", "--to", "0:5;1:6"],
        ["audit", "--margin", "5"],
    ],
)
def test_wrong_usage_ends_with_2(giftcheck: Command, arguments: list[str]) -> None:
    """And says what was wrong, without a traceback."""
    ended = giftcheck(*arguments)
    assert (ended.exit_code, ended.out) == (2, "")
    assert "Usage:" in ended.err
    assert "Traceback" not in ended.err


def test_a_wrong_configuration_ends_with_2_and_a_line_for_each_mistake(
    giftcheck: Command, tmp_path: Path
) -> None:
    """Each line names the key; no traceback, no secret."""
    file = tmp_path / "giftcheck.yaml"
    file.write_text(f"{CONFIGURATION}\ncheck: {{timeout: 5, request_price: 3}}\nchek: 1\n")
    for arguments in (["run"], ["topics", "create"], ["audit"]):
        ended = giftcheck(*arguments, "--config", str(file))
        keys = [line.split(":")[1].strip() for line in ended.err.splitlines()]
        assert (ended.exit_code, ended.out) == (2, "")
        assert keys == ["check.timeout", "check.request_price", "chek"]
        assert "topsecret" not in ended.err


def test_a_configuration_file_that_is_missing_ends_with_2(giftcheck: Command) -> None:
    """One line with its name."""
    ended = giftcheck("run", "--config", "/none/giftcheck.yaml")
    (line,) = ended.err.splitlines()
    assert ended.exit_code == 2
    assert "/none/giftcheck.yaml" in line


def test_a_property_that_would_void_a_promise_ends_with_2(
    giftcheck: Command, tmp_path: Path
) -> None:
    """Found before any broker is asked."""
    file = tmp_path / "giftcheck.yaml"
    file.write_text(CONFIGURATION.replace(':1"', ':1", properties: {acks: 1}'))
    ended = giftcheck("topics", "create", "--config", str(file))
    (line,) = ended.err.splitlines()
    assert ended.exit_code == 2
    assert "kafka.properties" in line
    assert "acks" in line


def test_run_consumes_with_the_settings_and_ends_as_it_ends(
    giftcheck: Command, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    """The consumer's exit code is the command's."""
    given: list[Settings] = []

    def consume(settings: Settings) -> int:
        given.append(settings)
        return NameTaken.exit_code

    monkeypatch.setattr("consumer.app.run", consume)
    ended = giftcheck("run", "--config", config)
    assert (ended.exit_code, ended.err) == (71, "")
    assert [settings.apps[0].app_id for settings in given] == [5]


def test_the_demo_gets_its_options(giftcheck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, durations as milliseconds."""
    given: list[DemoOptions] = []

    def show(options: DemoOptions) -> int:
        given.append(options)
        return 1

    monkeypatch.setattr("consumer.demo.run_demo", show)
    text = "--duration 20s --rate 250.5 --rooms 10 --timeout 4s --latency 5ms --seed 7 --json"
    ended = giftcheck(
        "demo", *text.split(), "--broker", "kafka", "--bootstrap-servers", "kafka:9092"
    )
    assert ended.exit_code == 1
    assert given == [
        DemoOptions(
            duration_ms=20_000, rate=250.5, rooms=10, timeout_ms=4_000, latency_ms=5, seed=7,
            json=True, broker="kafka", bootstrap_servers="kafka:9092",
        )
    ]  # fmt: skip


def test_the_demo_has_the_defaults_its_options_have(
    giftcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two places name them; they cannot differ."""
    given: list[DemoOptions] = []

    def show(options: DemoOptions) -> int:
        given.append(options)
        return 0

    monkeypatch.setattr("consumer.demo.run_demo", show)
    assert giftcheck("demo").exit_code == 0
    assert given == [DemoOptions()]


@pytest.mark.parametrize("kind", [ConfigurationError, RestartNeeded, NameTaken])
def test_an_error_of_ours_is_told_and_has_its_exit_code(
    giftcheck: Command, monkeypatch: pytest.MonkeyPatch, kind: type[GiftcheckError]
) -> None:
    """One line for each line of its message, no traceback."""

    def fail(_: DemoOptions) -> int:
        raise kind("the first mistake\nthe second")

    monkeypatch.setattr("consumer.demo.run_demo", fail)
    expected = (kind.exit_code, "", "giftcheck: the first mistake\ngiftcheck: the second\n")
    assert expected == giftcheck("demo")


def test_topics_create_tells_what_it_made(
    giftcheck: Command, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    """One line for each topic, made or found."""

    def create(*_: object, gift_sent_partitions: int | None) -> tuple[TopicReport, ...]:
        assert gift_sent_partitions == 8
        return (
            TopicReport("gift-sent", 8, 3, created=False),
            TopicReport("gift-result", 8, 3, created=True),
        )

    monkeypatch.setattr("consumer.adapters.kafka.topics.create_topics", create)
    ended = giftcheck("topics", "create", "--config", config, "--gift-sent-partitions", "8")
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "gift-sent: exists, 8 partitions, 3 replicas",
        "gift-result: created, 8 partitions, 3 replicas",
    ]


def test_the_audit_gets_its_options(
    giftcheck: Command, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    """Bounds, durations as milliseconds, and when the consumer gives up; its exit code is 1."""
    given: list[AuditOptions] = []

    def audit(_config: object, _codec: object, options: AuditOptions, _clock: object) -> int:
        given.append(options)
        return 1

    monkeypatch.setattr("consumer.audit.run_audit", audit)
    text = "--from 0:5,1:6 --to 2026-01-31T12:00:00Z --margin 1m --json"
    assert giftcheck("audit", "--config", config, *text.split()) == (1, "", "")
    assert giftcheck("audit", "--config", config) == (1, "", "")
    assert given == [
        AuditOptions(
            begin=Bound(offsets={0: 5, 1: 6}),
            end=Bound(time_ms=1_769_860_800_000),
            give_up_after_ms=3_600_000,
            margin_ms=60_000,
            json=True,
        ),
        AuditOptions(),
    ]


def test_an_audit_of_a_consumer_that_never_gives_up_expects_proof_in_time(
    giftcheck: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else nothing would ever be missing: the deadline and check.settle stand for it."""
    given: list[int] = []

    def audit(_config: object, _codec: object, options: AuditOptions, _clock: object) -> int:
        given.append(options.give_up_after_ms)
        return 0

    monkeypatch.setattr("consumer.audit.run_audit", audit)
    file = tmp_path / "giftcheck.yaml"
    file.write_text(f"{CONFIGURATION}\ncheck: {{timeout: 20s, give_up_after: 0}}\n")
    assert giftcheck("audit", "--config", str(file)).exit_code == 0
    assert given == [21_000]


async def start_simulator(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    """`giftcheck simulator` as a process of its own, and the first line it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumer", "simulator", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode()


async def test_the_simulator_serves_until_it_is_interrupted() -> None:
    """It says where, answers there, and Ctrl-C is its proper end."""
    process, line = await start_simulator("--port", "0")
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found is not None, line
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{found[0]}/summary") as response,
    ):
        summary = json.loads(await response.text())
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert summary == {"gifts": 0, "requests": 0, "room_requests_per_second_max": 0}
    assert (process.returncode, err) == (0, b"")


async def test_a_simulator_without_a_port_ends_with_2() -> None:
    """One line that names the address."""
    first, line = await start_simulator("--port", "0")
    port = line.split(",")[0].rpartition(":")[2]
    second, _ = await start_simulator("--port", port)
    _, err = await second.communicate()
    first.send_signal(signal.SIGINT)
    await first.communicate()
    assert second.returncode == 2
    assert err.decode().startswith(f"giftcheck: cannot listen on 127.0.0.1:{port}: ")
    assert len(err.splitlines()) == 1
