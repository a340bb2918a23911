"""Pod Security Standards, level "restricted": what a namespace that enforces it would refuse.

Kubernetes' rules (concepts/security/pod-security-standards), as far as manifests can break them;
beyond them two of ours: a read-only root file system, and no token of the API server.
"""

from collections.abc import Iterator
from typing import Any, Final

_VOLUMES: Final = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SECCOMP: Final = frozenset({"RuntimeDefault", "Localhost"})
_HOST: Final = ("hostNetwork", "hostPID", "hostIPC")

Spec = dict[str, Any]


def violations(pod: Spec) -> Iterator[str]:
    """What a pod's spec does that is not allowed, with the field that says so."""
    for field in _HOST:
        if pod.get(field):
            yield f"{field} is set"
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    for volume in pod.get("volumes", []):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    shared = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        for violation in _of_container({**shared, **own}, container):
            yield f"container {container['name']}: {violation}"


def _of_container(context: Spec, container: Spec) -> Iterator[str]:
    if context.get("privileged"):
        yield "privileged is set"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if context.get("runAsUser", 1) == 0:
        yield "runAsUser is 0"
    if context.get("seccompProfile", {}).get("type") not in _SECCOMP:
        yield "seccompProfile is not RuntimeDefault"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities.drop is not ALL"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add is more than NET_BIND_SERVICE"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort is set"


def writable_root(pod: Spec) -> list[str]:
    """Containers whose root file system can be written."""
    return [
        container["name"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True
    ]
