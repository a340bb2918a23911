"""From the first install on: updates, broken ones too, evictions, scaling."""

import re
import shlex
from typing import Final

import pytest
import yaml

from tests.cluster.api import Object, RefusedError
from tests.cluster.kubelet import BROKEN_TAG
from tests.cluster.namespace import Namespace
from tests.cluster.waiting import wait_for
from tests.helm.chart import CHART, CI, HelmError, Manifest, only, render

pytestmark = pytest.mark.cluster

WAIT: Final = ("--wait", "--timeout=30s")
STATEFUL_SETS: Final = "apps/v1/statefulsets"
BOTH: Final = {"giftcheck-0", "giftcheck-1"}
HAND_OVER_S: Final = 3
"""What a hand-over takes, as `tests/chaos` has it. Kubernetes counts `minReadySeconds` from the whole
second in which a pod became ready, so it is up to one second less."""


def stateful_set(namespace: Namespace) -> Object:
    """The release's, as the server has it."""
    return namespace.get(STATEFUL_SETS)


def waits_for(namespace: Namespace, pod: str) -> str:
    """Why a pod does not start."""
    status = namespace.pods().get(pod, {}).get("status", {})
    (container,) = status.get("containerStatuses") or [{}]
    waiting = container.get("state", {}).get("waiting", {})
    return f"{waiting.get('reason')}: {waiting.get('message')}"


def test_a_first_deployment_needs_brokers_an_app_and_its_secret(namespace: Namespace) -> None:
    """Where restricted pods are enforced; NOTES say what to look at next."""
    notes = namespace.install(*WAIT)
    assert BOTH == namespace.ready_pods()
    assert f"helm test giftcheck --namespace {namespace.name} --logs" in notes
    for pod in namespace.pods().values():
        assert 30 == pod["spec"]["terminationGracePeriodSeconds"]
        assert "token" not in str(pod["spec"]["volumes"])


def test_pods_start_at_once_and_a_missing_secret_is_named(namespace: Namespace) -> None:
    """The second one does not wait for the first, which waits for its secret."""
    namespace.install("--set=apps[0].existingSecret=nobodys")
    wait_for(lambda: BOTH == namespace.pods().keys(), "both are there")
    wait_for(
        lambda: all('"nobodys" not found' in waits_for(namespace, pod) for pod in BOTH),
        "both say what is missing",
    )
    assert set() == namespace.ready_pods()


def test_new_configuration_reaches_one_pod_after_the_other(namespace: Namespace) -> None:
    """The last one first; the next only when what was handed over last has settled."""
    namespace.install(*WAIT)
    begun = len(namespace.history)
    namespace.upgrade("--set=check.timeout=20s", *WAIT)
    wait_for(lambda: len(namespace.history) >= begun + 4, "both pods are new")
    assert [
        ("giftcheck-1", "gone"),
        ("giftcheck-1", "running"),
        ("giftcheck-0", "gone"),
        ("giftcheck-0", "running"),
    ] == namespace.history[begun:]
    moments = namespace.kubernetes.kubelet.history[namespace.name][begun:]
    assert moments[2].at_s - moments[1].at_s >= HAND_OVER_S
    configuration = namespace.get("configmaps")["data"]["giftcheck.yaml"]
    assert "20s" == yaml.safe_load(configuration)["check"]["timeout"]


def test_an_upgrade_without_a_change_restarts_nobody(namespace: Namespace) -> None:
    """Nor does one of something pods do not read."""
    namespace.install(*WAIT)
    generation = stateful_set(namespace)["metadata"]["generation"]
    namespace.upgrade(*WAIT)
    namespace.upgrade("--set=podDisruptionBudget.maxUnavailable=2", *WAIT)
    assert generation == stateful_set(namespace)["metadata"]["generation"]
    assert sorted((pod, "running") for pod in BOTH) == sorted(namespace.history)


def test_a_broken_image_stops_the_update_and_a_rollback_mends_it(namespace: Namespace) -> None:
    """The other pod goes on all the time; nobody has to delete the broken one by hand."""
    namespace.install(*WAIT)
    with pytest.raises(HelmError, match="giftcheck"):
        namespace.upgrade(f"--set=image.tag={BROKEN_TAG}", "--wait", "--timeout=4s")
    assert {"giftcheck-0"} == namespace.ready_pods()
    wait_for(
        lambda: "ImagePullBackOff" in waits_for(namespace, "giftcheck-1"), "the image is missed"
    )
    namespace.helm("rollback", *WAIT)
    wait_for(lambda: BOTH == namespace.ready_pods(), "both pods are back")
    assert ("giftcheck-0", "gone") not in namespace.history
    assert ":bad" not in str(namespace.pods())


def evict(namespace: Namespace, pod: str) -> None:
    """Ask for its eviction, as draining a node does.

    Raises:
        RefusedError: the disruption budget does not allow it now.
    """
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace.name},
    }
    namespace.kubernetes.api.post(f"{namespace.path('pods', pod)}/eviction", eviction)


def budget(namespace: Namespace) -> Object:
    """What the disruption budget says."""
    status: Object = namespace.get("policy/v1/poddisruptionbudgets")["status"]
    return status


def test_a_drain_takes_one_pod_after_the_other(namespace: Namespace) -> None:
    """While one is away, the other is not given."""
    namespace.install(*WAIT)
    wait_for(lambda: budget(namespace)["disruptionsAllowed"] == 1, "one may go")
    namespace.kubernetes.api.delete(namespace.path("secrets", "zego"))  # who goes stays away
    evict(namespace, "giftcheck-0")
    with pytest.raises(RefusedError, match="disruption budget") as refused:
        evict(namespace, "giftcheck-1")
    assert 429 == refused.value.status
    assert ("giftcheck-1", "gone") not in namespace.history


def test_pods_that_are_not_ready_do_not_hold_up_a_drain(namespace: Namespace) -> None:
    """While Kafka is away; by Kubernetes' usual policy they would."""
    namespace.install(*WAIT)
    for pod in BOTH:
        namespace.kubernetes.kubelet.set_ready(namespace.name, pod, ready=False)
    wait_for(lambda: budget(namespace)["currentHealthy"] == 0, "none is ready")
    path = namespace.path("policy/v1/poddisruptionbudgets", "giftcheck")
    policy = namespace.get("policy/v1/poddisruptionbudgets")["spec"]["unhealthyPodEvictionPolicy"]
    usual = {"spec": {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}}
    namespace.kubernetes.api.patch(path, usual)
    with pytest.raises(RefusedError):
        evict(namespace, "giftcheck-0")
    namespace.kubernetes.api.patch(path, {"spec": {"unhealthyPodEvictionPolicy": policy}})
    for pod in BOTH:
        evict(namespace, pod)


EXTERNAL: Final = "--set=autoscaling.type=external"
THREE: Final = "--set=replicaCount=3"


def test_turning_autoscaling_on_leaves_one_pod(namespace: Namespace) -> None:
    """Kubernetes' default, when Helm gives the number up and nobody has taken it; NOTES say so."""
    namespace.install(THREE)
    notes = namespace.upgrade(EXTERNAL)
    assert 1 == stateful_set(namespace)["spec"]["replicas"]
    assert '"Turning autoscaling on" in the chart\'s README' in notes


def readme_command(section: str, begin: str) -> list[str]:
    """A command under a heading of the chart's README."""
    text = (CHART / "README.md").read_text("utf-8")
    text = text.split(f"### {section}\n")[1].split("\n#", maxsplit=1)[0]
    found = re.search(rf"^    ({begin}.*)$", text, re.MULTILINE)
    assert found is not None, f"{begin} is not under {section}"
    return shlex.split(found.group(1).replace("<one more than now>", "4"))


def test_the_number_of_pods_is_handed_over_as_the_readme_says(namespace: Namespace) -> None:
    """Whoever scales owns it: upgrades leave it alone, and what went over comes back only by force."""
    namespace.install(THREE)
    tool, *arguments = readme_command("Turning autoscaling on", "kubectl scale")
    assert "kubectl" == tool
    namespace.kubernetes.kubectl(*arguments, f"--namespace={namespace.name}")
    namespace.upgrade(EXTERNAL)
    assert 4 == stateful_set(namespace)["spec"]["replicas"]
    namespace.upgrade(EXTERNAL, "--set=check.timeout=20s")
    assert 4 == stateful_set(namespace)["spec"]["replicas"]
    with pytest.raises(HelmError, match=r"conflict with .*\.spec\.replicas"):
        namespace.upgrade()
    (force,) = [
        each
        for each in readme_command("Turning it off", "helm upgrade")
        if each.startswith("--force")
    ]
    namespace.upgrade(force)
    assert 2 == stateful_set(namespace)["spec"]["replicas"]


def as_an_upgrade(name: str) -> Manifest:
    """The StatefulSet of a case of `ci/`, under the name of the first deployment."""
    return only(render(CI / f"{name}.yaml", sets=["fullnameOverride="]), "StatefulSet")


def test_no_value_touches_what_cannot_be_changed(namespace: Namespace) -> None:
    """From the first deployment to every case: the cases together set every value."""
    namespace.install()
    for file in sorted(CI.glob("*.yaml")):
        namespace.apply([as_an_upgrade(file.stem)], "--dry-run=server", "--force-conflicts")
    renamed = render(CI / "minimal.yaml", sets=["nameOverride=x", "fullnameOverride=giftcheck"])
    with pytest.raises(HelmError, match="updates to statefulset spec for fields other than"):
        namespace.apply([only(renamed, "StatefulSet")], "--dry-run=server", "--force-conflicts")
