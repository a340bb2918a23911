"""What the cases of `ci/` take for granted: kinds of other people's operators, a priority class.

The kinds' definitions are our own and let everything through: what their fields must be is held against
`tests/helm/kubernetes.py`. No operator acts on them.
"""

from contextlib import suppress
from typing import Final

from tests.cluster.api import Api, Object, RefusedError
from tests.cluster.waiting import wait_for

KINDS: Final = (
    ("keda.sh", "ScaledObject", ("v1alpha1",)),
    ("kafka.strimzi.io", "KafkaTopic", ("v1", "v1beta2")),
    ("kafka.strimzi.io", "KafkaUser", ("v1", "v1beta2")),
    ("monitoring.coreos.com", "PodMonitor", ("v1",)),
    ("monitoring.coreos.com", "PrometheusRule", ("v1",)),
)

PRIORITY_CLASS: Final = "high"

_PATH: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def define(api: Api) -> None:
    """Define all of it, and wait until it can be used."""
    priority = {"metadata": {"name": PRIORITY_CLASS}, "value": 1_000}
    api.post("/apis/scheduling.k8s.io/v1/priorityclasses", priority)
    for group, kind, versions in KINDS:
        api.post(_PATH, _definition(group, kind, versions))
    wanted = {(f"{group}/{v}", kind) for group, kind, versions in KINDS for v in versions}
    wait_for(lambda: wanted <= _served(api), "the kinds are served")


def _served(api: Api) -> set[tuple[str, str]]:
    """Group with version, and kind."""
    ours = {group for group, _, _ in KINDS}
    versions = [
        version["groupVersion"]
        for group in api.get("/apis")["groups"]
        if group["name"] in ours
        for version in group["versions"]
    ]
    served = set()
    for version in versions:
        with suppress(RefusedError):  # a group is listed a moment before it is served
            resources = api.get(f"/apis/{version}")["resources"]
            served |= {(version, resource["kind"]) for resource in resources}
    return served


def _definition(group: str, kind: str, versions: tuple[str, ...]) -> Object:
    singular = kind.lower()
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "singular": singular, "plural": f"{singular}s"},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    "schema": {"openAPIV3Schema": anything},
                }
                for version in versions
            ],
        },
    }
