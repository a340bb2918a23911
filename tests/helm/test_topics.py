"""Who makes the topics, and with which rights."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.topics import REPLICAS_MAX
from consumer.app import kafka_config
from consumer.demo.kafka_broker import KafkaBroker
from consumer.errors import ConfigurationError
from consumer.settings import load_settings
from tests.helm.chart import CI, Manifest, of_kind, only, pod_specs, render
from tests.kafka.topics import TopicNames

HOOK = "helm.sh/hook"

COMMAND_S = 60


def of_the_topics(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Of that kind, those of the topics."""
    component = "app.kubernetes.io/component"
    return [
        each
        for each in of_kind(manifests, kind)
        if each["metadata"]["labels"].get(component) == "topics"
    ]


def test_by_default_nobody_makes_topics() -> None:
    """A cluster's topics are its owner's."""
    manifests = render(CI / "minimal.yaml")
    assert [] == of_kind(manifests, "Job") + of_kind(manifests, "KafkaTopic")


def test_a_job_makes_them_before_anything_else(tmp_path: Path) -> None:
    """A hook, with a configuration of its own that is there before it, and that is accepted."""
    manifests = render(CI / "job.yaml")
    job = only(manifests, "Job")
    (configuration,) = of_the_topics(manifests, "ConfigMap")
    for each in (job, configuration):
        assert "pre-install,pre-upgrade" == each["metadata"]["annotations"][HOOK]
    assert "-1" == configuration["metadata"]["annotations"]["helm.sh/hook-weight"]
    pod = pod_specs(manifests)[f"Job {job['metadata']['name']}"]
    arguments = pod["containers"][0]["args"]
    assert ["topics", "create"] == arguments[:2]
    assert ["--gift-sent-partitions", "24"] == arguments[-2:]
    text = configuration["data"]["giftcheck.yaml"].replace("/var/run", f"{tmp_path}/var/run")
    folder = tmp_path / "var/run/secrets/giftcheck/kafka/sasl"
    folder.mkdir(parents=True)
    for name in ("username", "password"):
        (folder / name).write_text(name)
    file = tmp_path / "giftcheck.yaml"
    file.write_text(text)
    config = kafka_config(load_settings(file))
    assert "password" == config.file_properties["sasl.password"]


def test_a_job_that_fails_says_why_and_repeats_no_wrong_configuration() -> None:
    """Helm shows its log; the exit code that asks for a person ends it at once."""
    job = only(render(CI / "job.yaml"), "Job")
    assert "hook-failed" == job["metadata"]["annotations"]["helm.sh/hook-output-log-policy"]
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    code = ConfigurationError.exit_code
    on_exit_codes = {"containerName": container["name"], "operator": "In", "values": [code]}
    assert {"action": "FailJob", "onExitCodes": on_exit_codes} == rule


@pytest.mark.kafka
def test_the_command_of_the_job_makes_them(
    kafka_broker: KafkaBroker, topics: TopicNames, tmp_path: Path
) -> None:
    """Its arguments and its configuration, as rendered, on a real broker; twice does no harm."""
    values = {
        "kafka": {
            "bootstrapServers": kafka_broker.bootstrap_servers,
            "giftSentPartitions": 3,
            "security": {"protocol": "PLAINTEXT", "sasl": {"existingSecret": ""}},
        },
        "topics": {
            "giftSent": topics.gift_sent,
            "giftResult": topics.gift_result,
            "deadLetters": topics.dead_letters,
        },
    }
    manifests = render(CI / "job.yaml", values=values)
    file = tmp_path / "giftcheck.yaml"
    file.write_text(of_the_topics(manifests, "ConfigMap")[0]["data"]["giftcheck.yaml"])
    arguments = pod_specs(manifests)["Job giftcheck-topics"]["containers"][0]["args"]
    command = [str(file) if each == "/etc/giftcheck/giftcheck.yaml" else each for each in arguments]
    for done in ("created", "exists"):
        ended = subprocess.run(
            [sys.executable, "-m", "consumer", *command],
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=True,
        )
        assert 3 == ended.stdout.count(f"{done}, 3 partitions")


def test_the_job_needs_nothing_that_the_release_has_yet_to_make() -> None:
    """No service account of ours, no secret of an app: at the first install neither is there."""
    manifests = render(CI / "job.yaml", sets=["apps[0].existingSecret=", "apps[0].serverSecret=x"])
    pod = pod_specs(manifests)["Job giftcheck-topics"]
    assert "default" == pod["serviceAccountName"]
    assert {"config", "tmp", "kafka-sasl"} == {each["name"] for each in pod["volumes"]}
    (map_,) = (each["configMap"]["name"] for each in pod["volumes"] if each["name"] == "config")
    assert "giftcheck-topics" == map_
    own = {"serviceAccount": {"create": False, "name": "gifts"}}
    pod = pod_specs(render(CI / "job.yaml", values=own))["Job giftcheck-topics"]
    assert "gifts" == pod["serviceAccountName"]


def names_of_jobs(**values: Any) -> str:
    """The name of a Job that is no hook."""
    job = {"topicManagement": {"job": {"helmHooks": False}}}
    found: str = only(render(CI / "job.yaml", values={**job, **values}), "Job")["metadata"]["name"]
    return found


def test_without_hooks_another_job_has_another_name() -> None:
    """A Job cannot be changed, so what would change it makes a new one, and nothing else does."""
    name = names_of_jobs()
    assert re.fullmatch("giftcheck-topics-[0-9a-f]{8}", name)
    assert name == names_of_jobs(podAnnotations={"a": "b"})
    assert name != names_of_jobs(image={"tag": "2"})
    assert name != names_of_jobs(topics={"giftSent": "other"})
    assert name != names_of_jobs(nodeSelector={"a": "b"})
    assert name != names_of_jobs(extraEnv=[{"name": "A", "value": "b"}])
    manifests = render(
        CI / "job.yaml",
        values={"topicManagement": {"job": {"helmHooks": False, "annotations": {"a": "b"}}}},
    )
    assert {"a": "b"} == only(manifests, "Job")["metadata"]["annotations"]
    assert HOOK not in of_the_topics(manifests, "ConfigMap")[0]["metadata"]["annotations"]


def test_strimzi_makes_them_like_the_application() -> None:
    """Kept for a time and never compacted, as many partitions as gift-sent, two in sync."""
    manifests = render(CI / "strimzi.yaml")
    topics = {each["spec"]["topicName"]: each for each in of_kind(manifests, "KafkaTopic")}
    assert ["live.gift_sent", "gift-result", "gift-sent.dlq"] == list(topics)
    assert "live.gift-sent" == topics["live.gift_sent"]["metadata"]["name"]
    for topic in topics.values():
        assert "gifts" == topic["metadata"]["labels"]["strimzi.io/cluster"]
        assert "keep" == topic["metadata"]["annotations"]["helm.sh/resource-policy"]
        assert (12, REPLICAS_MAX) == (topic["spec"]["partitions"], topic["spec"]["replicas"])
        assert {
            "cleanup.policy": "delete",
            "min.insync.replicas": 2,
            "retention.ms": 604800000,
        } == topic["spec"]["config"]
    one = render(CI / "strimzi.yaml", sets=["topicManagement.strimzi.replicas=1"])
    assert 1 == of_kind(one, "KafkaTopic")[0]["spec"]["config"]["min.insync.replicas"]


def test_gift_sent_is_made_only_where_it_is_asked_for() -> None:
    """It is the platform's, as a rule."""
    manifests = render(CI / "strimzi.yaml", sets=["topicManagement.giftSent=false"])
    names = [each["spec"]["topicName"] for each in of_kind(manifests, "KafkaTopic")]
    assert ["gift-result", "gift-sent.dlq"] == names
    manifests = render(CI / "job.yaml", sets=["topicManagement.giftSent=false"])
    arguments = pod_specs(manifests)["Job giftcheck-topics"]["containers"][0]["args"]
    assert "--gift-sent-partitions" not in arguments


def test_a_user_of_strimzi_has_the_four_rights_and_no_more() -> None:
    """The transactional ids of the group's pods are among them, and those of no other group."""
    user = only(render(CI / "strimzi.yaml"), "KafkaUser")["spec"]
    rights = {
        (acl["resource"]["type"], acl["resource"]["name"], *acl["operations"])
        for acl in user["authorization"]["acls"]
    }
    prefix = "giftcheck/"
    assert {
        ("topic", "live.gift_sent", "Read"),
        ("topic", "gift-result", "Write"),
        ("topic", "gift-sent.dlq", "Write"),
        ("group", "giftcheck", "Read"),
        ("transactionalId", prefix, "Write"),
    } == rights
    patterns = {
        acl["resource"]["name"]: acl["resource"]["patternType"]
        for acl in user["authorization"]["acls"]
    }
    assert {"prefix"} == {patterns.pop(prefix)}
    assert {"literal"} == set(patterns.values())
    for pod in ("giftcheck-0", "giftcheck-999"):
        config = KafkaConfig(bootstrap_servers="k:1", group_id="giftcheck", instance=f"gifts.{pod}")
        assert config.transactional_id.startswith(prefix)


@pytest.mark.parametrize("namespace", ["", "kafka"])
def test_topics_go_where_strimzi_looks(namespace: str) -> None:
    """Its operators may watch another namespace than the release's."""
    manifests = render(CI / "strimzi.yaml", sets=[f"topicManagement.strimzi.namespace={namespace}"])
    custom = of_kind(manifests, "KafkaTopic") + of_kind(manifests, "KafkaUser")
    assert {namespace or "gifts"} == {each["metadata"]["namespace"] for each in custom}


def test_helm_test_runs_the_doctor_as_a_consumer_would() -> None:
    """Same configuration, secrets, service account and name; another command."""
    manifests = render(CI / "sasl-tls.yaml")
    doctor = only(manifests, "Pod")
    assert "test" == doctor["metadata"]["annotations"][HOOK]
    consumer = pod_specs(manifests)["StatefulSet giftcheck"]
    for field in ("volumes", "serviceAccountName", "securityContext"):
        assert consumer[field] == doctor["spec"][field]
    ours, its = consumer["containers"][0], doctor["spec"]["containers"][0]
    for field in ("image", "env", "volumeMounts", "securityContext"):
        assert ours[field] == its[field]
    assert ["doctor", "--config", "/etc/giftcheck/giftcheck.yaml"] == its["args"]
    assert "Never" == doctor["spec"]["restartPolicy"]
    assert all(isinstance(each, str) for each in yaml.safe_load(yaml.safe_dump(its["args"])))
