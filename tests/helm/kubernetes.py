"""Judges manifests as an API server would: by the schema of their kind, unknown fields refused.

Kubernetes' own kinds come with kubernetes-validate, for every version. Those of operators are
written down here as far as the chart uses them, and a field that is missing here is an unknown one;
`crds` says whether they are within the CRDs that the operators publish (seen: those of August 2026
of KEDA, Strimzi and the Prometheus operator).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import jsonschema
import kubernetes_validate

from tests.helm.chart import Manifest

OLDEST: Final = "1.29"
"""What `kubeVersion` of Chart.yaml says."""

NEWEST: Final = "1.37"

Schema = dict[str, Any]

STRING: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
STRINGS: Final[Schema] = {"type": "object", "additionalProperties": STRING}


def closed(required: Iterable[str] = (), /, **properties: Schema) -> Schema:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def kind_of(spec: Schema) -> Schema:
    """An object of the API, whose spec is this."""
    metadata = closed(
        ["name", "labels"], name=STRING, namespace=STRING, labels=STRINGS, annotations=STRINGS
    )
    return closed(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=STRING,
        kind=STRING,
        metadata=metadata,
        spec=spec,
    )


def array(items: Schema) -> Schema:
    """A list of at least one of these."""
    return {"type": "array", "minItems": 1, "items": items}


_POLICIES: Final = closed(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy={"enum": ["Max", "Min", "Disabled"]},
    policies=array(
        closed(
            ["type", "value", "periodSeconds"],
            type={"enum": ["Pods", "Percent"]},
            value=COUNT,
            periodSeconds={**COUNT, "maximum": 1800},
        )
    ),
)

_ACL_RESOURCE: Final = closed(
    ["type", "name", "patternType"],
    type={"enum": ["topic", "group", "transactionalId"]},
    name=STRING,
    patternType={"enum": ["literal", "prefix"]},
)

_RELABELING: Final = closed(
    sourceLabels=array(STRING),
    separator=STRING,
    targetLabel=STRING,
    regex=STRING,
    modulus=COUNT,
    replacement=STRING,
    action=STRING,
)

_PROMETHEUS_DURATION: Final[Schema] = {
    "type": "string",
    "pattern": r"^(0|(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}

CUSTOM: Final[Mapping[tuple[str, str], Schema]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): kind_of(
        closed(
            ["scaleTargetRef", "triggers"],
            scaleTargetRef=closed(["name"], apiVersion=STRING, kind=STRING, name=STRING),
            minReplicaCount=COUNT,
            maxReplicaCount=COUNT,
            advanced=closed(
                horizontalPodAutoscalerConfig=closed(
                    behavior=closed(scaleUp=_POLICIES, scaleDown=_POLICIES)
                )
            ),
            triggers=array(
                closed(
                    ["type", "metadata"],
                    type=STRING,
                    name=STRING,
                    metricType={"enum": ["AverageValue", "Value", "Utilization"]},
                    metadata=STRINGS,
                    authenticationRef=closed(["name"], name=STRING, kind=STRING),
                )
            ),
        )
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): kind_of(
        closed(
            ["selector", "podMetricsEndpoints"],
            selector=closed(["matchLabels"], matchLabels=STRINGS),
            podMetricsEndpoints=array(
                closed(
                    port=STRING,
                    path=STRING,
                    interval=_PROMETHEUS_DURATION,
                    scrapeTimeout=_PROMETHEUS_DURATION,
                    relabelings=array(_RELABELING),
                    metricRelabelings=array(_RELABELING),
                )
            ),
        )
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): kind_of(
        closed(
            groups=array(
                closed(
                    ["name", "rules"],
                    name=STRING,
                    rules=array(
                        closed(
                            ["alert", "expr"],
                            alert=STRING,
                            expr=STRING,
                            labels=STRINGS,
                            annotations=STRINGS,
                            **{"for": _PROMETHEUS_DURATION},
                        )
                    ),
                )
            )
        )
    ),
    ("kafka.strimzi.io/v1", "KafkaTopic"): kind_of(
        closed(
            topicName=STRING,
            partitions=COUNT,
            replicas={**COUNT, "maximum": 32767},
            config={"type": "object"},
        )
    ),
    ("kafka.strimzi.io/v1", "KafkaUser"): kind_of(
        closed(
            authentication=closed(
                ["type"], type={"enum": ["tls", "tls-external", "scram-sha-512"]}
            ),
            authorization=closed(
                ["type", "acls"],
                type={"enum": ["simple"]},
                acls=array(
                    closed(
                        ["resource", "operations"],
                        resource=_ACL_RESOURCE,
                        operations=array({"enum": ["Read", "Write", "Create", "Describe"]}),
                    )
                ),
            ),
        )
    ),
}


def mistakes(manifest: Manifest, version: str) -> list[str]:
    """What an API server of that version would refuse; empty: nothing."""
    custom = CUSTOM.get((manifest["apiVersion"], manifest["kind"]))
    if custom is not None:
        errors = jsonschema.Draft202012Validator(custom).iter_errors(manifest)
        return [_text(manifest, error) for error in errors]
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [_text(manifest, error)]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []


def _text(manifest: Manifest, error: Any) -> str:
    where = ".".join(str(step) for step in error.absolute_path)
    return f"{manifest['kind']} {manifest['metadata']['name']}: {where}: {error.message}"
