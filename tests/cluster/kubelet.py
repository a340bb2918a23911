"""A kubelet and a scheduler in one, without containers: pods live and end as Kubernetes sees it.

Every pod goes to the one node. What it mounts must be there, or it waits in `ContainerCreating`. An
image with the tag `bad` cannot be pulled. Other pods run and are ready at once; those that end by
themselves (`restartPolicy: Never`) then end as the test has said for their namespace. A pod that is
to go is unready first, then gone: how long that takes in truth is not this test's affair.
"""

import json
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing, suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tests.cluster.api import Address, Api, Object, RefusedError

NODE: Final = "node"
BROKEN_TAG: Final = "bad"
AGAIN_S: Final = 0.1
"""Between two watches; one that is refused is not asked for in a tight loop."""


class Ending(NamedTuple):
    """How a pod that ends by itself ends: its exit code, and what it has logged."""

    exit_code: int = 0
    log: str = ""


class Moment(NamedTuple):
    """Something that happened to a pod: `running`, `succeeded`, `failed` or `gone`."""

    at_s: float
    pod: str
    what: str
    image: str


class FakeKubelet:
    """Acts on what a watch over all pods tells, within a `with` block.

    Attributes:
        endings: by namespace, how its pods end that end by themselves.
        history: by namespace, what happened to its pods, in order.
    """

    def __init__(self, address: Address, certificate: Path) -> None:
        self.endings: defaultdict[str, Ending] = defaultdict(Ending)
        self.history: defaultdict[str, list[Moment]] = defaultdict(list)
        self._address = address
        self._api = Api(address)
        self._closing = threading.Event()
        self._watch = address.connect(timeout_s=None)
        self._logs = _log_server(self, certificate)
        self._threads = [
            threading.Thread(target=self._logs.serve_forever, name="logs"),
            threading.Thread(target=self._follow, name="kubelet"),
        ]

    def __enter__(self) -> Self:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        self._api.post("/api/v1/nodes", node)
        reached = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._logs.server_port}},
        }
        self._api.patch(f"/api/v1/nodes/{NODE}/status", {"status": reached})
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._logs.shutdown()
        while any(thread.is_alive() for thread in self._threads):
            with suppress(OSError, AttributeError):  # there is no socket between two watches
                self._watch.sock.shutdown(socket.SHUT_RDWR)
            self._threads[-1].join(AGAIN_S)
        self._logs.server_close()

    def set_ready(self, namespace: str, pod: str, *, ready: bool) -> None:
        """What its readiness probe says from now on."""
        own = self._api.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
        self._tell(own, _running(own, ready=ready))

    def _follow(self) -> None:
        """One watch after the other, for the server may end any, each beginning with all pods.

        Of a pod that goes in between no end is noted.
        """
        while not self._closing.is_set():
            self._watch = self._address.connect(timeout_s=None)
            with suppress(OSError, HTTPException, ValueError), closing(self._watch):
                self._watch.request("GET", "/api/v1/pods?watch=true")
                self._heed(self._watch.getresponse())
            self._closing.wait(AGAIN_S)

    def _heed(self, lines: Iterable[bytes]) -> None:
        """Act on each event, until there are no more or one says that it is over."""
        for line in lines:
            event = json.loads(line)
            if event.get("type") not in {"ADDED", "MODIFIED", "DELETED"}:
                return
            with suppress(RefusedError):  # it has changed since; the next event tells how
                self._act(event["type"], event["object"])

    def _act(self, event: str, pod: Object) -> None:
        status = pod["status"]
        if event == "DELETED":
            self._note(pod, "gone")
        elif "deletionTimestamp" in pod["metadata"]:
            self._end(pod)
        elif "nodeName" not in pod["spec"]:
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            own = {"metadata": {"name": pod["metadata"]["name"]}, "target": target}
            self._api.post(f"{_path(pod)}/binding", own)
        elif status["phase"] == "Pending" and "containerStatuses" not in status:
            self._start(pod)
        elif status["phase"] == "Running" and pod["spec"]["restartPolicy"] == "Never":
            ending = self.endings[pod["metadata"]["namespace"]]
            what = "failed" if ending.exit_code else "succeeded"
            self._note(pod, what)
            self._tell(pod, _ended(pod, what.capitalize(), ending.exit_code))

    def _start(self, pod: Object) -> None:
        missing = self._missing(pod)
        if missing:
            self._tell(pod, _waiting(pod, "ContainerCreating", missing))
        elif any(each["image"].endswith(f":{BROKEN_TAG}") for each in pod["spec"]["containers"]):
            self._tell(pod, _waiting(pod, "ImagePullBackOff", "no such image"))
        else:
            self._note(pod, "running")
            self._tell(pod, _running(pod, ready=True))

    def _missing(self, pod: Object) -> str:
        """The first thing it mounts that is not there."""
        for volume in pod["spec"]["volumes"]:
            for kind, field in (("configMap", "name"), ("secret", "secretName")):
                source = volume.get(kind)
                if source is None:
                    continue
                name, namespace = source[field], pod["metadata"]["namespace"]
                try:
                    found = self._api.get(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")
                except RefusedError as error:
                    return str(error)
                for item in source.get("items", []):
                    if item["key"] not in found.get("data", {}):
                        return f"{kind} {name} has no key {item['key']}"
        return ""

    def _end(self, pod: Object) -> None:
        """Whoever was told to go is unready, ends, and is gone."""
        if pod["status"]["phase"] == "Running":
            self._tell(pod, _running(pod, ready=False))
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self._api.delete(_path(pod), body)

    def _tell(self, pod: Object, status: Object) -> None:
        # A successor has the same name, and is not meant: with another uid the server refuses.
        own = {"uid": pod["metadata"]["uid"]}
        self._api.patch(f"{_path(pod)}/status", {"metadata": own, "status": status})

    def _note(self, pod: Object, what: str) -> None:
        image = pod["spec"]["containers"][0]["image"]
        moment = Moment(time.monotonic(), pod["metadata"]["name"], what, image)
        self.history[pod["metadata"]["namespace"]].append(moment)


def _path(pod: Object) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _status(pod: Object, phase: str, state: Object, *, ready: bool) -> Object:
    """Of a pod whose containers are all alike."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready}
    return {
        "phase": phase,
        "startTime": now,
        "podIP": "10.244.0.1",
        "podIPs": [{"ip": "10.244.0.1"}],
        "conditions": [
            {"type": kind, "status": str(holds), "lastTransitionTime": now}
            for kind, holds in {**conditions, "Ready": ready}.items()
        ],
        "containerStatuses": [
            {
                "name": each["name"],
                "image": each["image"],
                "imageID": each["image"],
                "ready": ready,
                "started": ready,
                "restartCount": 0,
                "state": state,
            }
            for each in pod["spec"]["containers"]
        ],
    }


def _running(pod: Object, *, ready: bool) -> Object:
    return _status(pod, "Running", {"running": {}}, ready=ready)


def _waiting(pod: Object, reason: str, message: str) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return _status(pod, "Pending", state, ready=False)


def _ended(pod: Object, phase: str, exit_code: int) -> Object:
    return _status(pod, phase, {"terminated": {"exitCode": exit_code}}, ready=False)


def _log_server(kubelet: FakeKubelet, certificate: Path) -> ThreadingHTTPServer:
    """What the API server asks for `kubectl logs`: /containerLogs/<namespace>/<pod>/<container>."""

    class Logs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = kubelet.endings[self.path.split("/")[2]].log.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Logs)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server
