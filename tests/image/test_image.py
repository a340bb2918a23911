"""What the image is, and how it behaves as Kubernetes runs it."""

import json
import time
from importlib.metadata import version
from pathlib import Path

import aiohttp
import pytest
import yaml

from consumer.demo.kafka_broker import free_ports
from tests.image.workshop import BASE, Workshop

pytestmark = pytest.mark.timeout(900)  # the first test builds; a base and wheels may have to be had

ADDED_BYTES_MAX = 110_000_000
"""What may lie on top of the base; 92 MB when this was written, a quarter of it bytecode."""

READY_S = 30.0
STOP_S = 10.0


def test_it_says_what_it_is(workshop: Workshop) -> None:
    """Numeric user, port, signal, command in exec form, labels; and no health check."""
    config = workshop.inspect()["Config"]
    assert config["User"] == "65532:65532"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["giftcheck"]
    assert config["Cmd"] == ["run", "--config", "/etc/giftcheck/giftcheck.yaml"]
    assert "Healthcheck" not in config
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "giftcheck"
    assert labels["org.opencontainers.image.version"] == version("giftcheck")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_commands_need_no_place_to_write_and_no_rights(workshop: Workshop) -> None:
    """Read-only root, nothing mounted, no capabilities, no new privileges."""
    told = workshop.run("--version")
    assert (told.exit_code, told.out) == (0, f"giftcheck {version('giftcheck')}\n"), told
    helped = workshop.run("--help")
    assert helped.exit_code == 0
    assert "doctor" in helped.out


def test_the_process_is_nobody_and_the_root_cannot_be_written(workshop: Workshop) -> None:
    """As the kernel sees it."""
    script = "id -u; id -g; touch /opt/giftcheck/x /tmp/x /x || true"
    ended = workshop.run("-c", script, options=["--entrypoint=/bin/sh"])
    assert ended.out.split() == ["65532", "65532"]
    assert ended.err.count("Read-only file system") == 3


def test_nothing_in_it_can_build_or_install(workshop: Workshop) -> None:
    """No pip, nor what makes one; no compiler, no make; none of the tests' and the build's own."""
    found = workshop.shell(
        "for name in pip pip3 gcc cc c++ ld make git curl wget; do command -v $name || true; done;"
        " python3 -c 'import importlib.util as look;"
        ' print([name for name in ("pip", "ensurepip", "setuptools", "hatchling", "pytest")'
        " if look.find_spec(name)])';"
        " find / -xdev -name 'pip-*.whl'"
    )
    assert found == "[]\n"


def test_nobody_can_change_or_become_anything_in_it(workshop: Workshop) -> None:
    """No file or folder that everybody may write (but sticky ones), none that lends rights."""
    found = workshop.shell(
        "find / -xdev ! -type l -perm -0002 ! -perm -1000; find / -xdev -type f -perm /6000;"
        " find /opt/giftcheck ! -user 0"
    )
    assert found == ""


def test_it_stays_small(workshop: Workshop) -> None:
    """What it adds to its base."""
    added = workshop.inspect()["Size"] - workshop.inspect(BASE)["Size"]
    assert 0 < added < ADDED_BYTES_MAX, f"{added:,} bytes"


def test_all_that_the_code_needs_is_in_it(workshop: Workshop) -> None:
    """Every module of the service can be imported, and its bytecode is there."""
    modules = [
        ".".join(file.relative_to(Path.cwd()).with_suffix("").parts)
        for file in sorted((Path(__file__).parents[2] / "consumer").rglob("*.py"))
        if file.name != "__main__.py"
    ]
    script = f"import importlib; [importlib.import_module(m) for m in {modules!r}]"
    ended = workshop.run("-c", script, options=["--entrypoint=/opt/giftcheck/bin/python3"])
    assert ended.exit_code == 0, ended.err
    uncompiled = workshop.shell(
        "cd /opt/giftcheck/lib/python3*/site-packages/consumer;"
        " find . -name '*.py' | wc -l; find . -name '*.pyc' | wc -l"
    )
    sources, compiled = uncompiled.split()
    assert sources == compiled


async def test_it_serves_as_process_1_and_ends_at_a_sigterm(
    workshop: Workshop, tmp_path: Path
) -> None:
    """While its brokers are away: alive, and gone gracefully within seconds, with exit code 0."""
    (port,) = free_ports(1)
    file = tmp_path / "giftcheck.yaml"
    document = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "apps": [{"app_id": 5, "server_secret": "topsecret"}],
        "http": {"host": "127.0.0.1", "port": port},
    }
    file.write_text(yaml.safe_dump(document))
    mounted = [f"--volume={file}:/etc/giftcheck/giftcheck.yaml:ro"]
    with workshop.running(options=mounted) as container:
        await alive(port)
        began = time.monotonic()
        assert workshop.podman("kill", "--signal=TERM", container).exit_code == 0
        exit_code = workshop.podman("wait", container).out.strip()
        took_s = time.monotonic() - began
        logs = workshop.podman("logs", container).err

    events = [json.loads(line)["event"] for line in logs.splitlines()]
    assert exit_code == "0", logs
    assert events[-2:] == ["stopping", "stopped"]
    assert took_s < STOP_S


async def alive(port: int) -> None:
    """Return once /livez says so."""
    deadline = time.monotonic() + READY_S
    async with aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"http://127.0.0.1:{port}/livez") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            assert time.monotonic() < deadline, "it does not come up"
