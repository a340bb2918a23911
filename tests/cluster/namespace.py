"""Where a test installs the chart, and what it sees there."""

from collections.abc import Sequence
from http import HTTPStatus

import yaml

from tests.cluster.api import Object, RefusedError
from tests.cluster.server import Kubernetes
from tests.cluster.waiting import wait_for
from tests.helm.chart import CHART, FIRST_DEPLOYMENT, RELEASE


class Namespace:
    """A namespace that enforces Pod Security "restricted", with the Secret of an app in it."""

    def __init__(self, kubernetes: Kubernetes, name: str) -> None:
        self.kubernetes = kubernetes
        self.name = name
        self._core = f"/api/v1/namespaces/{name}"
        label = "pod-security.kubernetes.io/enforce"
        metadata = {"name": name, "labels": {label: "restricted"}}
        kubernetes.api.post("/api/v1/namespaces", {"metadata": metadata})
        self.make_secret("zego", "server-secret", "secret-of-the-app")
        wait_for(lambda: self.has("serviceaccounts", "default"), "the default service account")

    def make_secret(self, name: str, *keys: str) -> None:
        """With these keys, whose values nobody reads."""
        secret = {"metadata": {"name": name}, "stringData": dict.fromkeys(keys, "x")}
        self.kubernetes.api.post(f"{self._core}/secrets", secret)

    def install(self, *arguments: str, values: Object | None = None) -> str:
        """The first deployment as README has it, and whatever is said besides."""
        return self._release("install", arguments, values)

    def upgrade(self, *arguments: str, values: Object | None = None) -> str:
        """The same of an upgrade."""
        return self._release("upgrade", arguments, values)

    def _release(self, verb: str, arguments: Sequence[str], values: Object | None) -> str:
        sets = [f"--set={each}" for each in FIRST_DEPLOYMENT]
        files = ["--values=-"] if values is not None else []
        stdin = "" if values is None else yaml.safe_dump(values)
        command = [verb, RELEASE, str(CHART), *sets, *files, *arguments]
        return self.kubernetes.helm(*command, f"--namespace={self.name}", stdin=stdin)

    def helm(self, verb: str, *arguments: str) -> str:
        """Another command on the release."""
        return self.kubernetes.helm(verb, RELEASE, *arguments, f"--namespace={self.name}")

    def apply(self, manifests: Sequence[Object], *arguments: str) -> str:
        """`kubectl apply --server-side`, as Helm does it."""
        return self.kubernetes.kubectl(
            "apply",
            "--server-side",
            "--field-manager=helm",
            f"--namespace={self.name}",
            "--filename=-",
            *arguments,
            stdin=yaml.safe_dump_all(manifests),
        )

    def pods(self) -> dict[str, Object]:
        """By name; those on their way out included."""
        return {
            each["metadata"]["name"]: each for each in self.kubernetes.api.items(self.path("pods"))
        }

    def ready_pods(self) -> set[str]:
        """The names of those that are ready and stay."""
        return {
            name
            for name, pod in self.pods().items()
            if _is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
        }

    def path(self, resource: str, name: str = "") -> str:
        """Of a resource of the core (`pods`) or of a group (`apps/v1/statefulsets`)."""
        group, _, plural = resource.rpartition("/")
        root = f"/apis/{group}/namespaces/{self.name}" if group else self._core
        return f"{root}/{plural}/{name}".rstrip("/")

    def get(self, resource: str, name: str = RELEASE) -> Object:
        """An object."""
        return self.kubernetes.api.get(self.path(resource, name))

    def has(self, resource: str, name: str = RELEASE) -> bool:
        """Whether it is there."""
        try:
            self.get(resource, name)
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    @property
    def history(self) -> list[tuple[str, str]]:
        """What happened to its pods: the pod, and what."""
        return [(each.pod, each.what) for each in self.kubernetes.kubelet.history[self.name]]


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(("Ready", "True") == (each["type"], each["status"]) for each in conditions)
