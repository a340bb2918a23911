"""Mistakes in values: each is refused, and the message names the key, before anything is installed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.session import LAST_CUT_MS, LEAVE_MS
from consumer.errors import ConfigurationError
from consumer.settings import load_settings
from tests.helm.chart import CI, FIRST_DEPLOYMENT, HelmError, render

SASL = {"protocol": "SASL_SSL", "sasl": {"existingSecret": "kafka-user"}}

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("a typo at the top", {"replicaCont": 3}, "additional properties 'replicaCont'"),
    ("a typo in a group", {"check": {"timout": "5s"}}, "'/check': additional properties 'timout'"),
    ("a typo in an app", {"apps": [{"appID": 1}]}, "missing property 'appId'"),
    ("a typo in the image", {"image": {"version": "1"}}, "'/image': additional properties 'version'"),
    ("snake case", {"kafka": {"group_id": "x"}}, "'/kafka': additional properties 'group_id'"),
    ("text for a number", {"replicaCount": "3"}, "'/replicaCount': got string, want integer"),
    ("a number for text", {"kafka": {"groupId": 7}}, "'/kafka/groupId': got number, want string"),
    ("no unit", {"check": {"timeout": "5"}}, "'/check/timeout': '5' does not match"),
    ("a number for a duration", {"check": {"timeout": 5}}, "'/check/timeout': got number"),
    ("an app id as text", {"apps": [{"appId": "1"}]}, "'/apps/0/appId': got string, want integer"),
    ("an app id over 32 bits", {"apps": [{"appId": 2**32}]}, "'/apps/0/appId': maximum"),
    ("an unknown word", {"autoscaling": {"type": "vpa"}}, "'/autoscaling/type': value must be"),
    ("a digest without its kind", {"image": {"digest": "0af3"}}, "'/image/digest'"),
    ("a schema of another kind", {"schemas": {"files": {"a.json": ""}}}, "'/schemas/files'"),
    ("a secret's name in capitals", {"apps": [{"appId": 1, "existingSecret": "A"}]},
     "'/apps/0/existingSecret'"),
    ("a nested map for a property", {"kafka": {"properties": {"a": {"b": 1}}}},
     "'/kafka/properties/a'"),
    ("a pod label that is no text", {"podLabels": {"cost-centre": 42}}, "'/podLabels/cost-centre'"),
    ("no brokers", {"kafka": {"bootstrapServers": ""}}, "kafka.bootstrapServers: say where"),
    ("no app", {"apps": []}, "apps: name at least one app"),
    ("an app without a secret", {"apps": [{"appId": 1}]}, "apps[0]: give existingSecret"),
    ("an app with two", {"apps": [{"appId": 1, "existingSecret": "a", "serverSecret": "b"}]},
     "apps[0]: existingSecret and serverSecret are both given"),
    ("a key of no secret", {"apps": [{"appId": 1, "serverSecret": "b", "secretKey": "c"}]},
     "apps[0].secretKey"),
    ("an app twice", {"apps": [{"appId": 7, "existingSecret": "a"}] * 2}, "apps[1].appId: 7"),
    ("a password without its secret", {"kafka": {"security": {"protocol": "SASL_SSL"}}},
     "kafka.security.sasl.existingSecret: protocol SASL_SSL needs a Secret"),
    ("a secret that nobody uses", {"kafka": {"security": {**SASL, "protocol": "SSL"}}},
     "kafka.security.sasl.existingSecret: protocol SSL sends no password"),
    ("TLS without TLS", {"kafka": {"security": {"tls": {"caSecret": "ca"}}}},
     "kafka.security.tls: protocol PLAINTEXT has no TLS"),
    ("a mechanism that is not here", {"kafka": {"security": {"sasl": {"mechanism": "GSSAPI"}}}},
     "'/kafka/security/sasl/mechanism'"),
    ("a property said twice",
     {"kafka": {"security": SASL, "properties": {"sasl.mechanism": "PLAIN"}}},
     "sasl.mechanism comes from kafka.security"),
    ("a property file said twice",
     {"kafka": {"security": SASL, "propertyFiles": {"sasl.password": "/x"}}},
     "sasl.password comes from kafka.security"),
    ("a property and its file", {"kafka": {"properties": {"a": 1}, "propertyFiles": {"a": "/x"}}},
     "kafka.propertyFiles: a is in kafka.properties"),
    ("a password for all to read", {"kafka": {"properties": {"ssl.key.password": "hush"}}},
     "kafka.properties: ssl.key.password would lie in a ConfigMap"),
    ("a relative property file", {"kafka": {"propertyFiles": {"a": "x"}}},
     "'/kafka/propertyFiles/a'"),
    ("two sources of schemas", {"schemas": {"existingConfigMap": "a", "files": {"a.avsc": ""}}},
     "schemas: existingConfigMap and files"),
    ("two folders of schemas",
     {"schemas": {"existingConfigMap": "a"}, "format": {"writerSchemas": "/b"}},
     "format.writerSchemas: it is the folder of"),
    ("a schema that is nowhere", {"format": {"schemaIds": {"7": "a.avsc"}}},
     "format.schemaIds.7: where is a.avsc?"),
    ("a schema that is not among them",
     {"schemas": {"files": {"b.avsc": "{}"}}, "format": {"schemaIds": {"7": "a.avsc"}}},
     "format.schemaIds.7: schemas.files holds no a.avsc"),
    ("pods without a partition", {"replicaCount": 4, "kafka": {"giftSentPartitions": 3}},
     "replicaCount: of 4 pods only 3"),
    ("autoscaled pods without a partition",
     {"autoscaling": {"type": "hpa", "maxReplicas": 4}, "kafka": {"giftSentPartitions": 3}},
     "autoscaling.maxReplicas: of 4 pods only 3"),
    ("fewer than the fewest", {"autoscaling": {"type": "hpa", "minReplicas": 9}},
     "autoscaling.minReplicas: it must not be above"),
    ("scaling to nothing", {"autoscaling": {"minReplicas": 0}}, "'/autoscaling/minReplicas'"),
    ("KEDA without Prometheus", {"autoscaling": {"type": "keda"}},
     "autoscaling.keda.serverAddress: say where"),
    ("Strimzi without a cluster",
     {"topicManagement": {"mode": "strimzi"}, "kafka": {"giftSentPartitions": 3}},
     "topicManagement.strimzi.cluster: name the Kafka cluster"),
    ("topics of unknown size",
     {"topicManagement": {"mode": "strimzi", "strimzi": {"cluster": "c"}}},
     "kafka.giftSentPartitions: topicManagement.mode strimzi"),
    ("gift-sent of unknown size", {"topicManagement": {"mode": "job", "giftSent": True}},
     "kafka.giftSentPartitions: topicManagement.mode job"),
    ("no time to stop", {"terminationGracePeriodSeconds": 24},
     "terminationGracePeriodSeconds: a pod may need 25 s"),
    ("a hand-over that is not over", {"minReadySeconds": 3}, "minReadySeconds: earlier than"),
    ("a probe of two minds", {"livenessProbe": {"exec": {"command": ["true"]}}},
     "livenessProbe: it needs exactly one of httpGet"),
    ("a probe that asks nothing", {"readinessProbe": {"httpGet": None}},
     "readinessProbe: it needs exactly one of httpGet"),
    ("evictions that are never allowed", {"podDisruptionBudget": {"maxUnavailable": 0}},
     "'/podDisruptionBudget/maxUnavailable'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "said"), [each[1:] for each in WRONG], ids=[w[0] for w in WRONG]
)
def test_a_mistake_is_refused_by_its_key(values: dict[str, Any], said: str) -> None:
    """Over values that are right otherwise; the message says what to do."""
    with pytest.raises(HelmError) as refused:
        render(CI / "minimal.yaml", values=values)
    assert said in str(refused.value)


def test_a_refusal_holds_no_secret() -> None:
    """What is refused may be a secret in the wrong place."""
    with pytest.raises(HelmError) as refused:
        render(sets=[*FIRST_DEPLOYMENT, "apps[0].serverSecret=hush-hush"])
    assert "hush-hush" not in str(refused.value)


def test_the_least_grace_is_what_stopping_takes() -> None:
    """A transaction under way, the last cut, leaving the group, and a second for the rest."""
    config = KafkaConfig(bootstrap_servers="kafka:9092", group_id="g", instance="i")
    assert (config.transaction_timeout_ms + LAST_CUT_MS + LEAVE_MS) / 1_000 + 1 <= 25
    assert render(sets=[*FIRST_DEPLOYMENT, "terminationGracePeriodSeconds=25"])


REFUSED: dict[str, dict[str, Any]] = {
    "check.giveUpAfter": {"check": {"timeout": "1h"}},
    "check.unknownHoldMin": {"check": {"unknownHoldMin": "3m"}},
    "check.lease": {"check": {"lease": "7s"}},
    "limits.overdueGiftsMax": {"limits": {"overdueGiftsMax": 500000}},
    "limits.replayRecordsMax": {"limits": {"replayRecordsMax": 499999}},
    "format.resultSchemaId": {"format": {"output": "confluent"}},
    "topics": {"topics": {"giftResult": "gift-sent"}},
    "check.timeout": {"check": {"timeout": "0"}},
    "kafka.outageMax": {"kafka": {"outageMax": "5"}},
    "check.roomPermits": {"check": {"roomPermits": 21}},
    "check.requestPrice": {"check": {"requestPrice": 0}},
    "kafka.onDataLoss": {"kafka": {"onDataLoss": "ignore"}},
    "log.level": {"log": {"level": "loud"}},
    "http.port": {"http": {"port": 65536}},
    "format.schemaIds": {"format": {"schemaIds": {"x": "gift-sent"}}},
    "topics.giftSent": {"topics": {"giftSent": "gift sent"}},
    "check.baseUrl": {"check": {"baseUrl": "mini-game-api.zego.im"}},
    "kafka.startFrom": {"kafka": {"startFrom": "yesterday"}},
}
"""What application and chart both refuse, by the key that the chart names."""


@pytest.mark.parametrize("key", REFUSED)
def test_what_the_application_refuses_is_refused_before_it_is_installed(
    key: str, tmp_path: Path
) -> None:
    """Both, and the chart names the key; so their rules do not drift apart."""
    document: dict[str, Any] = {
        "kafka": {"bootstrap_servers": "kafka:9092"},
        "apps": [{"app_id": 5, "server_secret": "any"}],
    }
    for group, keys in REFUSED[key].items():
        snake = {re.sub("([A-Z])", r"_\1", name).lower(): keys[name] for name in keys}
        document[group] = {**document.get(group, {}), **snake}
    file = tmp_path / "giftcheck.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError):
        load_settings(file)
    with pytest.raises(HelmError) as refused:
        render(CI / "minimal.yaml", values=REFUSED[key])
    said = str(refused.value)
    assert f"{key}:" in said or f"'/{key.replace('.', '/')}'" in said, said
