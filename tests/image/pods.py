"""Runs what Kubernetes would be told, as far as podman understands it.

Documents go in as a chart renders them, with a Pod instead of what makes Pods (`first_pod`). They
are changed in ways that say nothing about them: the tests' Kafka is on loopback, so the Pod gets
the host's network, where no port is mapped; podman 4.3 mounts a Secret's values as they are
encoded (seen), so each becomes a ConfigMap; it knows no namespace, so fields of the Pod are
filled in here; it takes no annotation over 63 characters (seen); and it has probes with systemd
alone.
"""

import base64
import copy
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from tests.image.workshop import Ended, Workshop

Document = dict[str, Any]


@dataclass(frozen=True)
class RunningPod:
    """One Pod of one container."""

    workshop: Workshop
    pod: str
    container: str
    grace_s: int

    def stop(self) -> int:
        """Ends it as the kubelet does: SIGTERM, and SIGKILL after its grace; the exit code."""
        stopped = self.workshop.podman("stop", f"--time={self.grace_s}", self.container)
        assert stopped.exit_code == 0, stopped
        told = self.workshop.podman("inspect", self.container)
        return int(json.loads(told.out)[0]["State"]["ExitCode"])

    def execute(self, *command: str) -> Ended:
        """A command in its container."""
        return self.workshop.podman("exec", self.container, *command)

    def logs(self) -> Ended:
        """What it has said so far."""
        return self.workshop.podman("logs", self.container)


@contextmanager
def playing(workshop: Workshop, documents: list[Document]) -> Iterator[RunningPod]:
    """The one Pod among these documents, started; at the end everything of it is removed."""
    text = yaml.safe_dump_all([_for_podman(document) for document in documents])
    volumes = [*_names(documents, "ConfigMap"), *map(_mounted, _names(documents, "Secret"))]
    (pod,) = [document for document in documents if document["kind"] == "Pod"]
    (container,) = pod["spec"]["containers"]
    name = pod["metadata"]["name"]
    try:
        played = workshop.podman("play", "kube", "-", text=text)
        assert played.exit_code == 0, played
        yield RunningPod(
            workshop,
            name,
            f"{name}-{container['name']}",
            pod["spec"].get("terminationGracePeriodSeconds", 30),
        )
    finally:
        workshop.podman("pod", "rm", "--force", "--time=0", name)
        workshop.podman("volume", "rm", "--force", *volumes)


def first_pod(stateful_set: Document, namespace: str) -> Document:
    """The Pod that a StatefulSet makes first."""
    template = stateful_set["spec"]["template"]
    metadata = {
        **template["metadata"],
        "name": f"{stateful_set['metadata']['name']}-0",
        "namespace": namespace,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _names(documents: list[Document], kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in documents if each["kind"] == kind]


def _for_podman(document: Document) -> Document:
    document = copy.deepcopy(document)
    if document["kind"] == "Secret":
        encoded: Mapping[str, str] = document.pop("data", {})
        texts = {name: base64.b64decode(text).decode() for name, text in encoded.items()}
        document["data"] = texts | document.pop("stringData", {})
        document["kind"] = "ConfigMap"
        document["metadata"]["name"] = _mounted(document["metadata"]["name"])
    if document["kind"] == "Pod":
        document["metadata"].pop("annotations", None)
        document["spec"]["hostNetwork"] = True
        for container in document["spec"]["containers"]:
            container["env"] = _filled_in(container.get("env", []), document["metadata"])
            for left_out in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
                container.pop(left_out, None)
        for volume in document["spec"].get("volumes", []):
            if "secret" in volume:
                secret = volume.pop("secret")
                volume["configMap"] = {"name": _mounted(secret.pop("secretName")), **secret}
    return document


def _filled_in(environment: list[Document], metadata: Mapping[str, str]) -> list[Document]:
    """Each variable with its value, as the kubelet makes it of fields and of those before it."""
    values: dict[str, str] = {}
    for variable in environment:
        if "valueFrom" in variable:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            value = metadata[path.removeprefix("metadata.")]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], variable["value"])
        values[variable["name"]] = value
    return [{"name": name, "value": value} for name, value in values.items()]


def _mounted(secret: str) -> str:
    """The name of the ConfigMap that stands for a Secret; no other has it."""
    return f"secret-{secret}"
