"""Secrets that are rotated while the process runs, as Kubernetes does it, before the simulated API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from confluent_kafka import Producer
from pydantic import SecretStr
from structlog.testing import capture_logs

from consumer.adapters.avro import encode_sent
from consumer.adapters.check_api import CheckApi
from consumer.clock import SystemClock
from consumer.core.messages import CheckAnswered, CheckLost, CheckNotWritten
from consumer.core.model import Check, GiftSent, Trouble
from consumer.demo import DemoOptions
from consumer.demo.cluster import Cluster, open_cluster
from consumer.demo.configuration import APP_ID as DEMO_APP_ID
from consumer.demo.configuration import consumer_configuration
from consumer.demo.process import ConsumerProcess
from consumer.server_secrets import REREAD_MS, ServerSecrets, WithFreshSecrets
from consumer.settings import AppSettings
from consumer.simulator import Simulator, SimulatorSettings, serve
from tests.adapters.check_api_client import APP_ID, CHECK, SetClock

OLD, NEW = "old-and-secret", "new-and-secret"
SIGNATURE_WRONG = 100000005
NOW_WALL_MS = 1_790_000_000_000


class MountedSecret:
    """A folder as the kubelet keeps it: `..data` is a link that is swapped, the path a link into it."""

    def __init__(self, folder: Path, content: str) -> None:
        self._folder = folder
        self._versions = 0
        self.path = folder / "server-secret"
        self.rotate(content)
        self.path.symlink_to(Path("..data") / self.path.name)

    def rotate(self, content: str) -> None:
        """Swap the link; there is no instant without a file."""
        self._versions += 1
        version = self._folder / f"..version-{self._versions}"
        version.mkdir()
        (version / self.path.name).write_text(f"{content}\n")
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")


class Bench:
    """A client whose secret is in a mounted file, and an API that wants one."""

    def __init__(self, mounted: MountedSecret, wanted: dict[int, str]) -> None:
        self.mounted = mounted
        self.clock = SetClock(wall_ms=NOW_WALL_MS)
        self.wanted = wanted
        self.sender: WithFreshSecrets

    async def code(self) -> int:
        """Send a check a while after the last one; the answer's `Code`."""
        self.clock.now += REREAD_MS
        ended = await self.sender.send(CHECK)
        assert isinstance(ended, CheckAnswered)
        return ended.answer.code


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    """Both with the old secret."""
    made = Bench(MountedSecret(folder, OLD), {APP_ID: OLD})
    settings = SimulatorSettings(apps=made.wanted)
    async with serve(Simulator(settings, clock_us=lambda: NOW_WALL_MS * 1_000)) as server:
        secrets = ServerSecrets([AppSettings(app_id=APP_ID, server_secret_file=made.mounted.path)])
        async with CheckApi(
            base_url=server.base_url,
            apps=secrets,
            request_timeout_ms=5_000,
            requests_in_flight_max=1,
            clock=made.clock,
        ) as client:
            made.sender = WithFreshSecrets(client, secrets, made.clock)
            yield made


async def test_a_rotated_secret_is_taken_when_the_old_one_is_refused(tmp_path: Path) -> None:
    """The check after the refused one is signed with the new secret; one line says so, without it."""
    async with bench(tmp_path) as made:
        assert await made.code() == 0
        made.mounted.rotate(NEW)
        made.wanted[APP_ID] = NEW
        with capture_logs() as lines:
            assert [await made.code() for _ in range(3)] == [SIGNATURE_WRONG, 0, 0]
    assert lines == [
        {
            "event": "the server secret has changed: the new one is used",
            "log_level": "info",
            "app_id": APP_ID,
            "file": str(made.mounted.path),
        }
    ]


async def test_the_file_may_follow_the_vendor_by_any_time(tmp_path: Path) -> None:
    """While the app is refused the file is read before each further check, and says nothing."""
    async with bench(tmp_path) as made:
        made.wanted[APP_ID] = NEW
        with capture_logs() as lines:
            assert [await made.code() for _ in range(5)] == [SIGNATURE_WRONG] * 5
            assert lines == []
            made.mounted.rotate(NEW)
            assert await made.code() == 0


async def test_a_secret_that_works_is_kept(tmp_path: Path) -> None:
    """A file that is rotated before the vendor wants the new secret does no harm."""
    async with bench(tmp_path) as made:
        made.mounted.rotate(NEW)
        assert [await made.code() for _ in range(3)] == [0, 0, 0]


async def test_a_file_that_cannot_be_read_is_told_once_and_the_old_secret_stays(
    tmp_path: Path,
) -> None:
    """One line for each reason; when the file is back, so is the vendor's answer."""
    async with bench(tmp_path) as made:
        made.wanted[APP_ID] = NEW
        assert await made.code() == SIGNATURE_WRONG
        made.mounted.path.unlink()
        with capture_logs() as lines:
            assert [await made.code() for _ in range(3)] == [SIGNATURE_WRONG] * 3
            made.wanted[APP_ID] = OLD
            assert await made.code() == 0
            made.wanted[APP_ID] = NEW
            assert await made.code() == SIGNATURE_WRONG
            made.mounted.path.write_bytes(b"\xff\xfe")
            assert await made.code() == SIGNATURE_WRONG
            made.mounted.path.write_text("")
            assert await made.code() == SIGNATURE_WRONG
            made.mounted.path.write_text(NEW)
            assert await made.code() == 0
    assert [(line["log_level"], line.get("reason")) for line in lines] == [
        (
            "warning",
            f"cannot read server_secret_file {made.mounted.path}: No such file or directory",
        ),
        ("warning", f"cannot read server_secret_file {made.mounted.path}: not UTF-8"),
        ("warning", "the server secret is empty"),
        ("info", None),
    ]
    assert NEW not in str(lines)
    assert OLD not in str(lines)


class RefusingApi:
    """Every check ends the same way."""

    def __init__(self, ended: CheckLost | CheckNotWritten) -> None:
        self._ended = ended

    async def send(self, check: Check) -> CheckAnswered | CheckLost | CheckNotWritten:
        return self._ended


async def sent_three_times(
    folder: Path, ended: CheckLost | CheckNotWritten, *, apart_ms: int
) -> str:
    """The secret in use after checks that end so, the file rotated before and after the second."""
    mounted = MountedSecret(folder, "first")
    secrets = ServerSecrets([AppSettings(app_id=APP_ID, server_secret_file=mounted.path)])
    clock = SetClock()
    sender = WithFreshSecrets(RefusingApi(ended), secrets, clock)
    for content in ("second", "third", "fourth"):
        await sender.send(CHECK)
        mounted.rotate(content)
        clock.now += apart_ms
    return secrets[APP_ID]


async def test_a_gateway_that_refuses_counts_like_the_vendor(tmp_path: Path) -> None:
    """Redirected, or forbidden by somebody in between: it may be the secret."""
    refused = CheckLost(7, Trouble.CONFIGURATION, "HTTP 403")
    assert await sent_three_times(tmp_path, refused, apart_ms=REREAD_MS) == "third"


async def test_the_file_is_read_once_a_second_at_most(tmp_path: Path) -> None:
    """However many rooms ask again at once."""
    refused = CheckLost(7, Trouble.CREDENTIALS, "refused")
    assert await sent_three_times(tmp_path, refused, apart_ms=1) == "second"


async def test_other_trouble_leaves_the_secret_alone(tmp_path: Path) -> None:
    """No answer says nothing about it."""
    no_answer = CheckLost(7, Trouble.TRANSIENT, "HTTP 503")
    assert await sent_three_times(tmp_path, no_answer, apart_ms=REREAD_MS) == "first"


async def test_a_check_that_was_not_written_leaves_the_secret_alone(tmp_path: Path) -> None:
    """The vendor has not said a word."""
    unwritten = CheckNotWritten(7, "no connection")
    assert await sent_three_times(tmp_path, unwritten, apart_ms=REREAD_MS) == "first"


async def test_a_secret_without_a_file_stays_what_it_is() -> None:
    """There is nothing to read again, for this app or for one that is not configured."""
    secrets = ServerSecrets([AppSettings(app_id=APP_ID, server_secret=SecretStr(OLD))])
    with capture_logs() as lines:
        secrets.reread(APP_ID)
        secrets.reread(APP_ID + 1)
    assert (dict(secrets), lines) == ({APP_ID: OLD}, [])


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask another process until it has come so far."""
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110  no event tells of another process
            await asyncio.sleep(0.1)


async def test_a_running_consumer_goes_on_with_the_rotated_secret(tmp_path: Path) -> None:
    """Refused at first, visibly; then the gift gets its result, and no secret is in the log."""
    (tmp_path / "mounted").mkdir()
    mounted = MountedSecret(tmp_path / "mounted", OLD)
    simulator = Simulator(SimulatorSettings(apps={DEMO_APP_ID: NEW}))
    options = DemoOptions(timeout_ms=1_000)
    with open_cluster(options) as cluster:
        async with serve(simulator) as server:
            apps = [{"app_id": DEMO_APP_ID, "server_secret_file": str(mounted.path)}]
            configuration = consumer_configuration(options, cluster, server.base_url, OLD)
            async with ConsumerProcess(
                configuration | {"apps": apps}, tmp_path, embedded_broker=True
            ) as consumer:

                async def refused() -> bool:
                    backlog = await consumer.backlog()
                    return backlog is not None and str(SIGNATURE_WRONG) in str(backlog.told)

                async def answered() -> bool:
                    backlog = await consumer.backlog()
                    return backlog is not None and backlog.pending == 0

                await consumer.ready()
                send_gift(cluster)
                await until(refused)
                mounted.rotate(NEW)
                await until(answered)
                assert await consumer.stop() == 0
    log = (tmp_path / "giftcheck.log").read_text()
    assert "the server secret has changed" in log
    assert OLD not in log
    assert NEW not in log


def send_gift(cluster: Cluster) -> None:
    """One gift that no game will ever consume."""
    producer = Producer(cluster.client_properties)
    sent_at = SystemClock().wall_ms()
    sent = GiftSent("room", "game", "m1", sent_at, app_id=DEMO_APP_ID)
    producer.produce(cluster.topics.gift_sent, encode_sent(sent), key=b"room")
    assert producer.flush(10) == 0
