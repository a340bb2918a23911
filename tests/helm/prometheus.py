"""Prometheus and promtool, without a download page: those of the PATH, or out of Debian's package.

The package is fetched by apt into `.cache/` and only unpacked, which needs no rights. Rules and
queries are to work with that version (2.42) and newer ones. Without either the tests are skipped and
say so, and fail with `CI=true`.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from consumer.demo.kafka_broker import free_ports
from tests.helm import tools

FOLDER: Final = tools.CACHE / "prometheus"
DOWNLOAD_S: Final = 180
START_S: Final = 30
CALL_S: Final = 60


def promtool() -> Path:
    """The promtool binary."""
    return _binary("promtool")


def prometheus() -> Path:
    """The server's binary."""
    return _binary("prometheus")


def run_promtool(*arguments: str | Path, stdin: str | None = None) -> tuple[bool, str]:
    """Whether promtool was content, and what it said."""
    done = subprocess.run(
        [promtool(), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=CALL_S,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A running server, asked by HTTP."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query, now."""
        answer: dict[str, Any] = await self._get("/api/v1/query", query=expression)
        found: list[dict[str, Any]] = answer["result"]
        return found

    async def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health and alerts."""
        answer = await self._get("/api/v1/rules")
        return [rule for group in answer["groups"] for rule in group["rules"]]

    async def _get(self, path: str, **parameters: str) -> Any:
        async with self._session.get(path, params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]


@asynccontextmanager
async def serving(
    folder: Path, *, targets: Sequence[Mapping[str, Any]], rules: Mapping[str, Any]
) -> AsyncIterator[Prometheus]:
    """A server on loopback that scrapes these targets, and evaluates these rules, every second.

    Args:
        folder: where it keeps configuration and data.
        targets: as in `static_configs`.
        rules: a rule file's content.
    """
    (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "giftcheck", "static_configs": [dict(t) for t in targets]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(document))
    (port,) = free_ports(1)
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            prometheus(),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await _until_ready(session, process, folder / "prometheus.log")
            yield Prometheus(session)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_ready(
    session: aiohttp.ClientSession, process: asyncio.subprocess.Process, log: Path
) -> None:
    async with asyncio.timeout(START_S):
        while process.returncode is None:
            try:
                async with session.get("/-/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)  # it tells nobody when it listens
    said = await asyncio.to_thread(log.read_text)
    raise AssertionError(f"prometheus ended with {process.returncode}:\n{said}")


def _binary(name: str) -> Path:
    kept = FOLDER / name
    if kept.exists():
        return kept
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    try:
        _fetch()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        tools.no_tool(
            f"NO {name.upper()}, SO ALERTS AND DASHBOARD ARE NOT TESTED: install prometheus"
            f" (Debian: apt install prometheus), or mend: {error}"
        )
    return kept


def _fetch() -> None:
    """Put both binaries there, whole or not at all.

    Raises:
        OSError, SubprocessError: there is no apt, or it has no such package.
        ValueError: not a system that the package is for.
    """
    if sys.platform != "linux":
        raise ValueError(f"Debian's package is for linux, not {sys.platform}")
    tools.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools.CACHE) as made:
        _run("apt-get", "download", "prometheus", folder=made)
        (package,) = Path(made).glob("prometheus_*.deb")
        unpacked = Path(made) / "unpacked"
        _run("dpkg-deb", "--extract", str(package), str(unpacked), folder=made)
        try:
            (unpacked / "usr" / "bin").rename(FOLDER)
        except OSError:  # somebody else was as quick
            if not FOLDER.is_dir():
                raise


def _run(*command: str, folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=DOWNLOAD_S, capture_output=True)
