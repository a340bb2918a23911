"""What Kubernetes is given: whole, valid on every supported version, and with the right fields."""

import copy
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.core.metadata import INSTANCE_CHARACTERS_MAX
from tests.helm.chart import (
    CHART,
    CI,
    FIRST_DEPLOYMENT,
    HelmError,
    Manifest,
    consumer_container,
    of_kind,
    only,
    pod_specs,
    render,
    rendered_text,
    run_helm,
)
from tests.helm.kubernetes import NEWEST, OLDEST, mistakes
from tests.helm.pod_security import violations, writable_root

CI_FILES = sorted(CI.glob("*.yaml"))
every_case = pytest.mark.parametrize("file", CI_FILES, ids=lambda file: file.stem)


@functools.cache
def text_of(file: Path) -> str:
    """A case, rendered once."""
    return rendered_text(file)


def case(name: str) -> list[Manifest]:
    """The manifests of a case of `ci/`; the caller's own."""
    return [each for each in yaml.safe_load_all(text_of(CI / f"{name}.yaml")) if each]


@every_case
def test_lint_finds_nothing(file: Path) -> None:
    """Helm's own linter, with warnings as errors."""
    run_helm("lint", "--strict", str(CHART), f"--values={file}")


@every_case
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_an_api_server_takes_it(file: Path, version: str) -> None:
    """Every object has only fields that its kind knows, of the right type, old and new."""
    assert [] == [text for each in case(file.stem) for text in mistakes(each, version)]


def test_an_api_server_would_not_take_a_typo() -> None:
    """What judges the cases above can say no: of its own kinds and of those of operators."""
    for name, kind in (("minimal", "StatefulSet"), ("keda", "ScaledObject")):
        manifest = only(case(name), kind)
        manifest["spec"]["minReadySecond"] = 3
        assert any("minReadySecond" in text for text in mistakes(manifest, NEWEST))


def test_the_oldest_version_is_the_one_that_the_chart_admits() -> None:
    """Helm refuses a cluster that is older than what is tested, and takes that one."""
    with pytest.raises(HelmError, match=r"chart requires kubeVersion"):
        render(sets=FIRST_DEPLOYMENT, kube_version="1.28.15")
    assert render(sets=FIRST_DEPLOYMENT, kube_version=OLDEST)


@every_case
def test_no_number_is_rendered_in_exponents(file: Path) -> None:
    """Go prints a million as 1e+06, which no setting and no field understands."""
    assert [] == re.findall(r".*\de\+\d.*", text_of(file))


@every_case
def test_names_fit(file: Path) -> None:
    """Names are put into labels, which have 63 characters, also where the release's is long."""
    release = "a-release-with-the-longest-name-that-helm-takes-x-y-z"
    assert len(release) == 53
    manifests = render(file, values={"fullnameOverride": ""}, release=release)
    ours = [each for each in manifests if "labels" in each["metadata"]]
    names = [each["metadata"]["name"] for each in ours]
    labels = [label for each in ours for label in each["metadata"]["labels"].values()]
    assert [] == [text for text in names + labels if len(text) > 63]
    hash_of_a_revision = "-0123456789"
    assert len(only(manifests, "StatefulSet")["metadata"]["name"] + hash_of_a_revision) <= 63


def test_a_first_deployment_needs_three_values() -> None:
    """Brokers, an app, and where its secret is; all else has a default."""
    container = consumer_container(render(sets=FIRST_DEPLOYMENT))
    assert ["run", "--config", "/etc/giftcheck/giftcheck.yaml"] == container["args"]


def test_pods_are_named_and_placed_as_static_members_need_it() -> None:
    """All start at once (a broken image can be rolled back), claim nothing, and take turns."""
    spec = only(case("minimal"), "StatefulSet")["spec"]
    assert "Parallel" == spec["podManagementPolicy"]
    assert "volumeClaimTemplates" not in spec
    assert 3 == spec["minReadySeconds"]
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


def test_selectors_hold_nothing_that_a_release_changes() -> None:
    """They are immutable: a version in them would be the last one."""
    manifests = case("everything")
    selector = only(manifests, "StatefulSet")["spec"]["selector"]["matchLabels"]
    keys = {"name", "instance", "component"}
    assert {f"app.kubernetes.io/{key}" for key in keys} == selector.keys()
    template = only(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= template.items()
    assert selector == only(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert selector == only(manifests, "Service")["spec"]["selector"]


@pytest.mark.parametrize("name", ["minimal", "job"])
def test_no_pod_but_a_consumer_is_selected(name: str) -> None:
    """The pods of tests and hooks count in no budget and are scraped by nobody."""
    manifests = case(name)
    selector = only(manifests, "StatefulSet")["spec"]["selector"]["matchLabels"].items()
    others = [each["metadata"]["labels"] for each in of_kind(manifests, "Pod")]
    others += [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(manifests, "Job")]
    assert others
    assert [] == [labels for labels in others if selector <= labels.items()]


def test_a_new_version_of_the_chart_alone_restarts_no_pod(tmp_path: Path) -> None:
    """Its version is in the labels of objects, not of pods."""
    chart = _copy_of_the_chart(tmp_path)
    file = chart / "Chart.yaml"
    file.write_text(re.sub(r"(?m)^version: .*", "version: 9.9.9", file.read_text()))
    before, after = (
        only(render(CI / "everything.yaml", chart=each), "StatefulSet") for each in (CHART, chart)
    )
    assert before["metadata"]["labels"] != after["metadata"]["labels"]
    assert before["spec"] == after["spec"]


def _copy_of_the_chart(folder: Path) -> Path:
    for file in CHART.rglob("*"):
        if file.is_file():
            copied = folder / "giftcheck" / file.relative_to(CHART)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(file.read_bytes())
    return folder / "giftcheck"


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


def test_nothing_drains_a_node_too_fast_or_never() -> None:
    """One pod after the other, and pods that are not ready (Kafka is away) never stand in the way."""
    spec = only(case("minimal"), "PodDisruptionBudget")["spec"]
    assert 1 == spec["maxUnavailable"]
    assert "AlwaysAllow" == spec["unhealthyPodEvictionPolicy"]
    assert "minAvailable" not in spec


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


def test_a_network_policy_lets_in_and_out_what_is_needed() -> None:
    """Metrics in; names, the brokers at the ports configured, and the API out."""
    spec = only(case("netpol"), "NetworkPolicy")["spec"]
    (ingress,) = spec["ingress"]
    assert [8080] == [port["port"] for port in ingress["ports"]]
    ports = [
        {(port["protocol"], port["port"]) for port in rule["ports"]} for rule in spec["egress"]
    ]
    names = {("UDP", 53), ("TCP", 53)}
    brokers = {("TCP", 9092), ("TCP", 9192)}
    assert [names, brokers, {("TCP", 8443)}, {("TCP", 4318)}] == ports
    assert ["Ingress", "Egress"] == spec["policyTypes"]


@pytest.mark.parametrize(
    ("url", "port"),
    [("https://api.example", 443), ("http://api.example", 80), ("https://[::1]:444/x", 444)],
)
def test_a_network_policy_takes_the_api_s_port_from_its_address(url: str, port: int) -> None:
    """Where it has none, its scheme's."""
    values = {"networkPolicy": {"enabled": True}, "check": {"baseUrl": url}}
    policy = only(render(CI / "minimal.yaml", values=values), "NetworkPolicy")
    assert [port] == [each["port"] for each in policy["spec"]["egress"][2]["ports"]]


def test_more_objects_may_hold_templates() -> None:
    """As objects and as text; both know the chart's own names."""
    maps = {each["metadata"]["name"]: each for each in of_kind(case("everything"), "ConfigMap")}
    assert {"group": "gifts-check"} == maps["gifts-check-extra"]["data"]
    assert "gifts-check-text" in maps


def test_labels_of_all_objects_never_hide_the_chart_s_own() -> None:
    """Neither in an object nor in a pod, whose selector would not find it."""
    mine = {"app.kubernetes.io/name": "mine", "team": "gifts"}
    values = {"commonLabels": mine, "podLabels": mine}
    consumers = only(render(CI / "minimal.yaml", values=values), "StatefulSet")
    for labels in (
        consumers["metadata"]["labels"],
        consumers["spec"]["template"]["metadata"]["labels"],
    ):
        assert ("giftcheck", "gifts") == (labels["app.kubernetes.io/name"], labels["team"])


def test_it_can_be_part_of_another_chart(tmp_path: Path) -> None:
    """A parent hands down `global` and a condition `enabled`, which the schema must let through."""
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    _copy_of_the_chart(parent / "charts")
    (parent / "Chart.yaml").write_text(
        "apiVersion: v2\nname: parent\nversion: 1.0.0\n"
        "dependencies: [{name: giftcheck, version: '*', condition: giftcheck.enabled}]\n"
    )
    minimal = yaml.safe_load((CI / "minimal.yaml").read_text())
    values = {"global": {"any": 1}, "giftcheck": {"enabled": True, **minimal}}
    assert of_kind(render(values=values, chart=parent), "StatefulSet")


def test_a_person_is_told_what_to_look_at_next() -> None:
    """NOTES name commands that fit this release."""
    notes = run_helm(
        "install", "gifts", str(CHART), "--dry-run=client", "--namespace=live",
        *(f"--set={each}" for each in FIRST_DEPLOYMENT),
    ).split("NOTES:")[1]  # fmt: skip
    assert "kubectl --namespace live rollout status statefulset/gifts-giftcheck" in notes
    assert "helm test gifts --namespace live --logs" in notes
    assert "<" not in notes
