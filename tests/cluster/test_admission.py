"""What the API server lets in: every case of `ci/`, and nothing that is less than restricted."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Object, RefusedError
from tests.cluster.namespace import Namespace
from tests.cluster.server import Kubernetes
from tests.helm.cases import case, every_case
from tests.helm.chart import (
    CI,
    FIRST_DEPLOYMENT,
    RELEASE,
    HelmError,
    Manifest,
    copy_of_the_chart,
    of_kind,
    pod_specs,
    render,
)

pytestmark = pytest.mark.cluster


def try_pod(namespace: Namespace, spec: Manifest) -> None:
    """Whether a pod would be let in; none is made.

    Raises:
        RefusedError: it would not.
    """
    own = {**spec, "serviceAccountName": "default"}
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": own}
    namespace.kubernetes.api.post(f"{namespace.path('pods')}?dryRun=All", pod)


@every_case
def test_every_pod_is_admitted_where_restricted_is_enforced(
    file: Path, namespace: Namespace
) -> None:
    """Consumers, the Job that makes topics, and the doctor."""
    for spec in pod_specs(case(file.stem)).values():
        try_pod(namespace, spec)


MUTANTS: dict[str, tuple[dict[str, Any], str]] = {
    "root": ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser=0"),
    "maybe root": ({"podSecurityContext": {"runAsNonRoot": None}}, "runAsNonRoot != true"),
    "any system call": ({"podSecurityContext": {"seccompProfile": None}}, "seccompProfile"),
    "may become root": (
        {"securityContext": {"allowPrivilegeEscalation": None}},
        "allowPrivilegeEscalation != false",
    ),
    "all capabilities": ({"securityContext": {"capabilities": None}}, "unrestricted capabilities"),
    "privileged": (
        {"securityContext": {"allowPrivilegeEscalation": None, "privileged": True}},
        "privileged",
    ),
    "the node's files": (
        {"extraVolumes": [{"name": "root", "hostPath": {"path": "/"}}]},
        "hostPath",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_pod_with_one_restriction_less_is_refused(mutant: str, namespace: Namespace) -> None:
    """So what admits ours looks at it."""
    values, said = MUTANTS[mutant]
    specs = pod_specs(render(CI / "job.yaml", values=values))
    assert 3 == len(specs)
    for spec in specs.values():
        with pytest.raises(RefusedError, match=said) as refused:
            try_pod(namespace, spec)
        assert refused.value.status in {403, 422}  # by admission, or already as invalid


@every_case
def test_every_manifest_is_accepted(file: Path, namespace: Namespace) -> None:
    """Applied by the server as Helm has it done, with every field it knows nothing of refused."""
    manifests = render(file, namespace=namespace.name)
    accounts = of_kind(manifests, "ServiceAccount")  # the doctor's pod is refused without one
    namespace.apply(accounts)
    others = [each for each in manifests if each not in accounts]
    told = namespace.apply(others, "--dry-run=server")
    assert len(others) == told.count("(server dry run)")


def test_a_typo_in_a_template_is_refused(
    kubernetes: Kubernetes, namespace: Namespace, tmp_path: Path
) -> None:
    """Before anything runs, by the field's name; a server that drops it would hide the mistake."""
    chart = copy_of_the_chart(tmp_path)
    template = chart / "templates" / "statefulset.yaml"
    text = template.read_text("utf-8")
    assert "minReadySeconds:" in text
    template.write_text(text.replace("minReadySeconds:", "minReadySecond:"), "utf-8")
    with pytest.raises(HelmError, match=r"minReadySecond: field not declared in schema"):
        kubernetes.helm(
            "install",
            RELEASE,
            str(chart),
            f"--namespace={namespace.name}",
            *(f"--set={each}" for each in FIRST_DEPLOYMENT),
        )
    assert {} == namespace.pods()
