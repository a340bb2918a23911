"""Who decides how many pods there are, and by what."""

from typing import Any

import pytest

from tests.helm.chart import CI, Manifest, of_kind, only, render


@pytest.mark.parametrize("name", ["keda", "hpa", "external"])
def test_whoever_else_counts_pods_owns_their_number(name: str) -> None:
    """Helm would take it back at each upgrade, or fail on the conflict."""
    assert "replicas" not in only(render(CI / f"{name}.yaml"), "StatefulSet")["spec"]


def test_without_an_autoscaler_the_values_count_pods() -> None:
    """And no autoscaler is there."""
    manifests = render(CI / "minimal.yaml", sets=["replicaCount=5"])
    assert 5 == only(manifests, "StatefulSet")["spec"]["replicas"]
    assert [] == of_kind(manifests, "ScaledObject") + of_kind(manifests, "HorizontalPodAutoscaler")


def triggers(manifests: list[Manifest]) -> dict[str, Any]:
    """KEDA's, by name."""
    found = only(manifests, "ScaledObject")["spec"]["triggers"]
    return {each.get("name", each["type"]): each for each in found}


def test_keda_asks_prometheus_for_lag_in_seconds_and_for_pending_gifts() -> None:
    """Of this release's pods alone; no answer is no zero, or an outage of Prometheus would scale in."""
    found = triggers(render(CI / "keda.yaml"))
    series = '{namespace="gifts",pod=~"giftcheck-[0-9]+"}'
    lag, pending = found["intake-lag"], found["pending-gifts"]
    assert ("Value", "AverageValue") == (lag["metricType"], pending["metricType"])
    assert f"max(giftcheck_intake_lag_seconds{series})" == lag["metadata"]["query"]
    assert f"sum(giftcheck_pending_gifts{series})" == pending["metadata"]["query"]
    assert ("30", "250000") == (lag["metadata"]["threshold"], pending["metadata"]["threshold"])
    for trigger in (lag, pending):
        assert "false" == trigger["metadata"]["ignoreNullValues"]
        assert "bearer" == trigger["metadata"]["authModes"]
        assert {"name": "thanos"} == trigger["authenticationRef"]
    assert {"value": "80"} == found["cpu"]["metadata"]


def test_the_share_of_pending_gifts_follows_their_limit() -> None:
    """Half of what one pod may hold, or what is asked for, as a whole number of any size."""
    limits = {"pendingGiftsMax": 4_000_000_000, "replayRecordsMax": 4_000_000_000}
    found = triggers(render(CI / "keda.yaml", values={"limits": limits}))
    assert "2000000000" == found["pending-gifts"]["metadata"]["threshold"]
    limits = {"pendingGiftsMax": 3, "overdueGiftsMax": 1}
    values = {"limits": limits, "autoscaling": {"pendingPercentage": 1}}
    found = triggers(render(CI / "keda.yaml", values=values))
    assert "1" == found["pending-gifts"]["metadata"]["threshold"]


def test_an_hpa_asks_for_the_same() -> None:
    """As external metrics, which an adapter takes out of Prometheus."""
    spec = only(render(CI / "hpa.yaml"), "HorizontalPodAutoscaler")["spec"]
    targets = {
        each["external"]["metric"]["name"]: each["external"]["target"] for each in spec["metrics"]
    }
    assert {
        "giftcheck_intake_lag_seconds": {"type": "Value", "value": "30"},
        "giftcheck_pending_gifts": {"type": "AverageValue", "averageValue": "250000"},
    } == targets
    for each in spec["metrics"]:
        assert {"matchLabels": {"job": "gifts/giftcheck"}} == each["external"]["metric"]["selector"]


@pytest.mark.parametrize("name", ["keda", "hpa"])
def test_pods_go_slowly_and_come_one_by_one(name: str) -> None:
    """Each one that comes or goes moves partitions, which stops their rooms for a second."""
    manifests = render(CI / f"{name}.yaml")
    if name == "keda":
        spec = only(manifests, "ScaledObject")["spec"]
        target = spec["scaleTargetRef"]
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    else:
        spec = only(manifests, "HorizontalPodAutoscaler")["spec"]
        target, behavior = spec["scaleTargetRef"], spec["behavior"]
    assert {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "giftcheck"} == target
    assert 900 == behavior["scaleDown"]["stabilizationWindowSeconds"]
    for direction in ("scaleUp", "scaleDown"):
        assert [1] == [policy["value"] for policy in behavior[direction]["policies"]]
