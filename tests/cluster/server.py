"""A Kubernetes of its own: etcd, API server, controllers, and a fake kubelet, on loopback."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import trustme
import yaml

from consumer.demo.kafka_broker import free_ports
from tests.cluster import binaries
from tests.cluster.api import Address, Api, RefusedError
from tests.cluster.kubelet import FakeKubelet
from tests.helm import tools
from tests.helm.chart import run_tool

READY_S: Final = 30
"""Seen: 3 s; the first start after the build reads 200 MB from the disk."""

STOP_S: Final = 20
COMMAND_S: Final = 120
_ASK_EVERY_S: Final = 0.05
LOG_TAIL_LINES: Final = 15

CONTROLLERS: Final = (
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "statefulset-controller",
)
"""Those that act on what the chart makes. Pods are scheduled by the fake kubelet."""


class Kubernetes:
    """The running server, and its users' tools.

    Attributes:
        api: asks it directly.
        kubelet: brings its pods to life.
    """

    def __init__(self, api: Api, kubelet: FakeKubelet, kubeconfig: Path) -> None:
        self.api = api
        self.kubelet = kubelet
        folder = kubeconfig.parent
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(folder / "kubectl"),
            "HELM_CACHE_HOME": str(folder / "helm"),
            "HELM_CONFIG_HOME": str(folder / "helm"),
            "HELM_DATA_HOME": str(folder / "helm"),
        }

    def helm(self, *arguments: str, stdin: str = "") -> str:
        """Helm's output.

        Raises:
            HelmError: with what it wrote to both.
        """
        return self._run(tools.helm(), *arguments, stdin=stdin)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """As `helm`, of kubectl."""
        return self._run(tools.kubectl(), *arguments, stdin=stdin)

    def _run(self, tool: Path, *arguments: str, stdin: str) -> str:
        return run_tool(
            tool, *arguments, stdin=stdin, timeout_s=COMMAND_S, environment=self._environment
        )


@contextmanager
def running_kubernetes(folder: Path) -> Iterator[Kubernetes]:
    """Start all of it, and end it in the right order: an API server without its etcd hangs.

    Raises:
        MissingError: a binary is not there.
    """
    etcd, api_server, manager = (
        binaries.etcd(),
        binaries.kubernetes("kube-apiserver"),
        binaries.kubernetes("kube-controller-manager"),
    )
    certificates = _certificates(folder)
    etcd_port, peer_port, port = free_ports(3)
    address = Address(port, folder / "ca.pem", folder / "admin.pem")
    with ExitStack() as stack:
        stack.enter_context(_process(_etcd(etcd, folder, etcd_port, peer_port), folder))
        started = stack.enter_context(
            _process(_api_server(api_server, folder, port, etcd_port), folder)
        )
        api = Api(address)
        _await_ready(api, started, folder / "kube-apiserver.log")
        kubeconfig = _kubeconfig(folder, port)
        stack.enter_context(_process(_controller_manager(manager, kubeconfig, folder), folder))
        kubelet = stack.enter_context(FakeKubelet(address, certificates / "server.pem"))
        yield Kubernetes(api, kubelet, kubeconfig)


def _certificates(folder: Path) -> Path:
    """One authority, which signs for the servers and for their administrator."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.private_key_pem.write_to_path(folder / "ca.key")
    server = authority.issue_cert("127.0.0.1")
    admin = authority.issue_cert("admin", common_name="admin", organization_name="system:masters")
    for name, certificate in (("server", server), ("admin", admin)):
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return folder


def _etcd(binary: Path, folder: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(binary),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    ]


def _api_server(binary: Path, folder: Path, port: int, etcd_port: int) -> list[str]:
    server, authority, key = folder / "server.pem", folder / "ca.pem", folder / "ca.key"
    return [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",  # which would refuse a loopback address
        f"--secure-port={port}",
        f"--tls-cert-file={server}",
        f"--tls-private-key-file={server}",
        f"--client-ca-file={authority}",
        f"--kubelet-certificate-authority={authority}",
        "--service-account-issuer=https://127.0.0.1",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        "--feature-gates=SizeBasedListCostEstimate=false",  # its last questions delay the end by 10 s
    ]


def _controller_manager(binary: Path, kubeconfig: Path, folder: Path) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(CONTROLLERS)}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--cert-dir={folder}",
    ]


def _kubeconfig(folder: Path, port: int) -> Path:
    file = folder / "kubeconfig"
    admin = str(folder / "admin.pem")
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority": str(folder / "ca.pem"),
    }
    user = {"client-certificate": admin, "client-key": admin}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    file.write_text(yaml.safe_dump(config), "utf-8")
    return file


@contextmanager
def _process(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs until the block ends, then gets SIGTERM and, if that is not enough, SIGKILL."""
    name = Path(command[0]).name
    with (folder / f"{name}.log").open("wb") as log:
        started = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(STOP_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _await_ready(api: Api, started: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_S
    while True:
        try:
            api.get("/readyz")
        except (OSError, RefusedError) as error:
            if started.poll() is None and time.monotonic() < until:
                time.sleep(_ASK_EVERY_S)
                continue
            tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:])
            raise AssertionError(f"the API server is not ready: {error}\n{tail}") from error
        return
