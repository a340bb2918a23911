"""Helm's hooks and tests, and what a release leaves when it goes."""

from typing import Final

import pytest

from tests.cluster.kubelet import Ending
from tests.cluster.namespace import Namespace
from tests.cluster.waiting import wait_for
from tests.helm.chart import CHART, CI, HelmError

pytestmark = pytest.mark.cluster

WAIT: Final = ("--wait", "--timeout=30s")
JOB: Final = f"--values={CI / 'job.yaml'}"
TOPICS_POD: Final = "giftcheck-topics-"

OF_KUBERNETES: Final = ("event", "serviceaccount/default")
"""What is in every namespace."""


def test_helm_test_runs_the_doctor_and_shows_what_it_says(namespace: Namespace) -> None:
    """With everything a consumer mounts, and as who a consumer is."""
    namespace.install(*WAIT)
    namespace.kubernetes.kubelet.endings[namespace.name] = Ending(0, "topics: all there\n")
    assert "topics: all there" in namespace.helm("test", "--logs")
    doctor = namespace.get("pods", "giftcheck-doctor")
    assert "Succeeded" == doctor["status"]["phase"]
    assert "giftcheck" == doctor["spec"]["serviceAccountName"]
    (container,) = doctor["spec"]["containers"]
    assert ["doctor", "--config", "/etc/giftcheck/giftcheck.yaml"] == container["args"]
    consumer = namespace.get("pods", "giftcheck-0")["spec"]
    assert consumer["volumes"] == doctor["spec"]["volumes"]
    assert consumer["containers"][0]["volumeMounts"] == container["volumeMounts"]


def test_helm_test_fails_with_what_the_doctor_found(namespace: Namespace) -> None:
    """And can be repeated once it is mended."""
    namespace.install(*WAIT)
    namespace.kubernetes.kubelet.endings[namespace.name] = Ending(1, "topics: gift-sent missing\n")
    with pytest.raises(HelmError, match="topics: gift-sent missing"):
        namespace.helm("test", "--logs")
    namespace.kubernetes.kubelet.endings[namespace.name] = Ending(0, "topics: all there\n")
    assert "topics: all there" in namespace.helm("test", "--logs")


def test_the_job_makes_topics_before_anything_else_is_there(namespace: Namespace) -> None:
    """At install and at each upgrade; it leaves nothing."""
    namespace.make_secret("kafka-user", "username", "password")
    namespace.install(JOB, *WAIT)
    namespace.upgrade(JOB, "--set=topics.giftResult=results", *WAIT)
    topics, consumers = [], []
    for number, (pod, what) in enumerate(namespace.history):
        if pod.startswith(TOPICS_POD) and what == "succeeded":
            topics.append(number)
        elif not pod.startswith(TOPICS_POD):
            consumers.append(number)
    assert 2 == len(topics)
    assert topics[0] < min(consumers)
    assert topics[1] < min(each for each in consumers if namespace.history[each][1] == "gone")
    assert not namespace.has("batch/v1/jobs", "giftcheck-topics")
    assert not namespace.has("configmaps", "giftcheck-topics")


def test_a_job_that_fails_stops_the_install_with_its_message(namespace: Namespace) -> None:
    """A wrong configuration does not get right by repetition: at once, and nothing else is made."""
    namespace.make_secret("kafka-user", "username", "password")
    said = "giftcheck: kafka.properties: no such property"
    namespace.kubernetes.kubelet.endings[namespace.name] = Ending(2, f"{said}\n")
    with pytest.raises(HelmError, match=said):
        namespace.install(JOB, *WAIT)
    assert ["running", "failed"] == [what for _, what in namespace.history]
    assert not namespace.has("apps/v1/statefulsets")
    namespace.kubernetes.kubelet.endings[namespace.name] = Ending(0)
    namespace.upgrade("--install", JOB, *WAIT)
    assert {"giftcheck-0", "giftcheck-1"} == namespace.ready_pods()


def test_without_hooks_a_changed_job_is_another_one(namespace: Namespace) -> None:
    """A Job cannot be changed: an upgrade makes a new one and takes the old one away."""
    namespace.make_secret("kafka-user", "username", "password")
    own = (JOB, "--set=topicManagement.job.helmHooks=false", *WAIT, "--wait-for-jobs")
    namespace.install(*own)
    (first,) = names_of(namespace, "jobs.batch")
    namespace.upgrade(*own, "--set=image.tag=v2")
    (second,) = names_of(namespace, "jobs.batch")
    assert first != second


def names_of(namespace: Namespace, resources: str) -> list[str]:
    """All objects of these resources, as `kind/name`."""
    told = namespace.kubernetes.kubectl(
        "get", resources, f"--namespace={namespace.name}", "--output=name"
    )
    return [each for each in told.split() if not each.startswith(OF_KUBERNETES)]


def everything_in(namespace: Namespace) -> list[str]:
    """All objects of all kinds that the server knows."""
    told = namespace.kubernetes.kubectl(
        "api-resources", "--namespaced", "--verbs=list", "--output=name"
    )
    return names_of(namespace, ",".join(told.split()))


def test_nothing_is_left_of_a_release(namespace: Namespace) -> None:
    """But what its README names: the pod of the last test."""
    before = everything_in(namespace)
    assert ["secret/zego"] == before
    namespace.install(*WAIT, "--set=apps[1].appId=7", "--set=apps[1].serverSecret=x")
    namespace.helm("test")
    namespace.helm("uninstall", *WAIT)
    wait_for(
        lambda: sorted([*before, "pod/giftcheck-doctor"]) == sorted(everything_in(namespace)),
        "nothing is left",
    )
    readme = (CHART / "README.md").read_text("utf-8")
    assert "the pod of the last `helm test` (`giftcheck-doctor`)" in readme


def test_topics_outlive_their_release_and_its_user_does_not(namespace: Namespace) -> None:
    """Strimzi would delete what is in them."""
    namespace.make_secret("giftcheck", "password")
    namespace.make_secret("gifts-cluster-ca-cert", "ca.crt")
    before = everything_in(namespace)
    namespace.install(f"--values={CI / 'strimzi.yaml'}", *WAIT)
    made = names_of(namespace, "kafkatopics,kafkausers")
    topics = [each for each in made if each.startswith("kafkatopic.")]
    assert (4, 3) == (len(made), len(topics))
    namespace.helm("uninstall", *WAIT)
    wait_for(
        lambda: sorted([*before, *topics]) == sorted(everything_in(namespace)),
        "only the topics are left",
    )
