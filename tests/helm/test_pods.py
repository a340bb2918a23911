"""The pods: their names, their security, their probes, and what restarts them."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from consumer.core.metadata import INSTANCE_CHARACTERS_MAX
from tests.helm.cases import case, every_case
from tests.helm.chart import (
    CHART,
    CI,
    FIRST_DEPLOYMENT,
    HelmError,
    Manifest,
    consumer_container,
    copy_of_the_chart,
    only,
    pod_specs,
    render,
)
from tests.helm.pod_security import violations, writable_root


def test_pods_are_named_and_placed_as_static_members_need_it() -> None:
    """All start at once (a broken image can be rolled back), claim nothing, and take turns."""
    spec = only(case("minimal"), "StatefulSet")["spec"]
    assert "Parallel" == spec["podManagementPolicy"]
    assert "volumeClaimTemplates" not in spec
    assert 4 == spec["minReadySeconds"]
    assert {"type": "RollingUpdate"} == spec["updateStrategy"]
    service = only(case("minimal"), "Service")
    assert spec["serviceName"] == service["metadata"]["name"]
    assert "None" == service["spec"]["clusterIP"]


def test_the_name_in_the_group_is_namespace_and_pod() -> None:
    """Two releases on one Kafka must not fence each other."""
    environment = {each["name"]: each for each in consumer_container(case("minimal"))["env"]}
    names = [each for each in environment if each.startswith("GIFTCHECK_")]
    assert ["GIFTCHECK_KAFKA__INSTANCE_ID"] == names
    assert "$(POD_NAMESPACE).$(POD_NAME)" == environment[names[0]]["value"]
    field = environment["POD_NAME"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert "metadata.name" == field


@pytest.mark.parametrize(("too_long", "namespace"), [(0, "n" * 40), (1, "n" * 41)])
def test_a_name_in_the_group_is_never_too_long_for_it(too_long: int, namespace: str) -> None:
    """The longest that is let through fits, with an ordinal of three digits; one more is refused."""
    sets = [*FIRST_DEPLOYMENT, f"fullnameOverride={'x' * 52}"]
    if too_long:
        with pytest.raises(HelmError, match=f"fullnameOverride: .* shorten it by {too_long}"):
            render(sets=sets, namespace=namespace)
        return
    name = only(render(sets=sets, namespace=namespace), "StatefulSet")["metadata"]["name"]
    assert len(f"{namespace}.{name}-999") <= INSTANCE_CHARACTERS_MAX


def test_a_new_version_of_the_chart_alone_restarts_no_pod(tmp_path: Path) -> None:
    """Its version is in the labels of objects, not of pods."""
    chart = copy_of_the_chart(tmp_path)
    file = chart / "Chart.yaml"
    file.write_text(re.sub(r"(?m)^version: .*", "version: 9.9.9", file.read_text()))
    before, after = (
        only(render(CI / "everything.yaml", chart=each), "StatefulSet") for each in (CHART, chart)
    )
    assert before["metadata"]["labels"] != after["metadata"]["labels"]
    assert before["spec"] == after["spec"]


def template_with(values: dict[str, Any]) -> Manifest:
    """The template of the consumers' pods."""
    base = {"schemas": {"files": {"gift-sent-v1.avsc": "[]"}}}
    spec = only(render(CI / "minimal.yaml", values={**base, **values}), "StatefulSet")["spec"]
    template: Manifest = spec["template"]
    return template


@pytest.mark.parametrize(
    "change",
    [
        {"check": {"timeout": "20s"}},
        {"kafka": {"properties": {"client.rack": "b"}}},
        {"schemas": {"files": {"gift-sent-v1.avsc": "{}"}}},
    ],
    ids=str,
)
def test_pods_restart_when_their_configuration_changes(change: dict[str, Any]) -> None:
    """A checksum of what they read at start is in their template."""
    assert template_with({}) != template_with(change)


@pytest.mark.parametrize(
    "change",
    [
        {"podDisruptionBudget": {"maxUnavailable": 2}},
        {"replicaCount": 4},
        {"topicManagement": {"mode": "job"}},
    ],
    ids=str,
)
def test_pods_do_not_restart_for_anything_else(change: dict[str, Any]) -> None:
    """Each restart hands rooms over."""
    assert template_with({}) == template_with(change)


@every_case
def test_pods_are_restricted(file: Path) -> None:
    """In a namespace that enforces Pod Security "restricted" every pod may start."""
    specs = pod_specs(case(file.stem))
    assert {"StatefulSet", "Pod"} <= {name.split()[0] for name in specs}
    found = {name: list(violations(spec)) for name, spec in specs.items()}
    assert {name: [] for name in specs} == found
    for name, spec in specs.items():
        assert "giftcheck" not in writable_root(spec), name
        assert spec["enableServiceLinks"] is False


POD_MUTANTS = {
    "automountServiceAccountToken": lambda pod: pod.pop("automountServiceAccountToken"),
    "hostNetwork": lambda pod: pod.update(hostNetwork=True),
    "hostPath": lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "runAsNonRoot": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "runAsUser": lambda pod: pod["securityContext"].update(runAsUser=0),
    "seccompProfile": lambda pod: pod["securityContext"].pop("seccompProfile"),
}
CONTAINER_MUTANTS = {
    "allowPrivilegeEscalation": lambda own: own.pop("allowPrivilegeEscalation"),
    "capabilities.drop": lambda own: own["capabilities"].pop("drop"),
    "capabilities.add": lambda own: own["capabilities"].update(add=["SYS_ADMIN"]),
    "privileged": lambda own: own.update(privileged=True),
}


@pytest.mark.parametrize("field", [*POD_MUTANTS, *CONTAINER_MUTANTS])
def test_whoever_judges_pods_finds_each_mutant(field: str) -> None:
    """One field less, and the pod is refused, for that field."""
    pod = copy.deepcopy(pod_specs(case("minimal"))["StatefulSet giftcheck"])
    if field in POD_MUTANTS:
        POD_MUTANTS[field](pod)
    else:
        CONTAINER_MUTANTS[field](pod["containers"][0]["securityContext"])
    (found,) = violations(pod)
    assert field in found


def test_openshift_may_choose_the_user() -> None:
    """A key that is set to null goes, so that the platform's own rule fills it in."""
    null = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    pod = pod_specs(render(CI / "minimal.yaml", values=null))["StatefulSet giftcheck"]
    assert {"runAsNonRoot", "seccompProfile"} == pod["securityContext"].keys()


def test_pods_spread_over_nodes_and_zones() -> None:
    """Softly; the selector is filled in where a rule has none, and left where it has one."""
    pod = pod_specs(case("minimal"))["StatefulSet giftcheck"]
    selector = only(case("minimal"), "StatefulSet")["spec"]["selector"]
    rules = pod["topologySpreadConstraints"]
    assert ["kubernetes.io/hostname", "topology.kubernetes.io/zone"] == [
        rule["topologyKey"] for rule in rules
    ]
    for rule in rules:
        assert selector == rule["labelSelector"]
        assert "ScheduleAnyway" == rule["whenUnsatisfiable"]
    (own,) = pod_specs(case("everything"))["StatefulSet gifts-check"]["topologySpreadConstraints"]
    assert {"matchLabels": {"a": "b"}} == own["labelSelector"]


def test_probes_ask_what_they_must_and_no_more() -> None:
    """Liveness never asks whether Kafka is there: a restart would not mend it."""
    container = consumer_container(case("minimal"))
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"} == paths
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]


def test_a_probe_may_be_replaced_or_removed() -> None:
    """As a whole object; null removes it."""
    container = consumer_container(case("everything"))
    assert "livenessProbe" not in container
    assert {"command": ["true"]} == container["readinessProbe"]["exec"]
    assert "httpGet" not in container["readinessProbe"]
