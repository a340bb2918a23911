"""What Kubernetes is given: whole, valid on every supported version, and with the right fields."""

import re
from pathlib import Path

import pytest
import yaml

from tests.helm.cases import case, every_case, text_of
from tests.helm.chart import (
    CHART,
    CI,
    FIRST_DEPLOYMENT,
    HelmError,
    consumer_container,
    copy_of_the_chart,
    of_kind,
    only,
    render,
    run_helm,
)
from tests.helm.kubernetes import NEWEST, OLDEST, mistakes


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


def test_nothing_drains_a_node_too_fast_or_never() -> None:
    """One pod after the other, and pods that are not ready (Kafka is away) never stand in the way."""
    spec = only(case("minimal"), "PodDisruptionBudget")["spec"]
    assert 1 == spec["maxUnavailable"]
    assert "AlwaysAllow" == spec["unhealthyPodEvictionPolicy"]
    assert "minAvailable" not in spec


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
    copy_of_the_chart(parent / "charts")
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
