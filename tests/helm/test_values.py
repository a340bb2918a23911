"""The chart's README, values.yaml, the schema and the templates speak of the same values."""

import json
import re
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from consumer.settings import Settings
from tests.helm.chart import CHART, CI, HelmError, rendered_text, run_helm
from tests.helm.test_configuration import BY_THE_POD, KEYS, camel_case
from tests.helm.values import VALUES, Value, documented_values, table
from tests.settings_keys import keys

README: Final = CHART / "README.md"
BEGIN: Final = re.compile(r"<!-- values: begin[^>]*-->\n")
END: Final = "<!-- values: end -->"
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())

NOT_ITS_OWN: Final = {"http.port": "Port to listen on"}
"""Keys whose meaning here is not quite the application's: a pod's port must be known."""


def test_the_table_of_values_is_that_of_the_file() -> None:
    """Every value with default and meaning; on a difference the table to put there is printed."""
    readme = README.read_text("utf-8")
    begin, end = BEGIN.search(readme), readme.index(END)
    assert begin is not None
    if table() != readme[begin.end() : end]:
        print(f"helm/giftcheck/README.md must hold between its two marks:\n\n{table()}")
    assert table().splitlines() == readme[begin.end() : end].splitlines()


def test_every_value_is_documented() -> None:
    """A key without a comment above it cannot be understood."""
    assert [] == [value.key for value in documented_values() if not value.meaning]


@pytest.mark.parametrize("key", KEYS.keys() - {BY_THE_POD})
def test_a_setting_means_what_the_application_says(key: str) -> None:
    """The same words in values.yaml as in the application's own documentation."""
    group, name = key.split(".")
    meanings = {value.key: value.meaning for value in documented_values()}
    here = meanings[f"{group}.{camel_case(name)}"]
    [text] = [each.meaning for each in keys() if each.name == key]
    expected = NOT_ITS_OWN.get(f"{group}.{camel_case(name)}", text.removesuffix("."))
    assert here.startswith(expected), here


def test_every_group_of_the_application_is_a_group_of_values() -> None:
    """No setting is left out because its group is."""
    assert Settings.model_fields.keys() <= SCHEMA["properties"].keys()
    assert Settings.model_fields.keys() <= yaml.safe_load(VALUES.read_text()).keys()


def keys_of_schema(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of what a schema closes; where it is open it stands for one."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("additionalProperties") is False and "properties" in schema:
        for name, child in schema["properties"].items():
            yield from keys_of_schema(child, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix


def test_the_schema_knows_the_values_of_the_file_and_no_others() -> None:
    """But for what a parent chart hands down. Open objects may be documented further down."""
    known = set(keys_of_schema(SCHEMA)) - {"global", "enabled"}
    documented = {value.key for value in documented_values()}
    unknown = {key for key in documented if not any(f"{key}.".startswith(f"{k}.") for k in known)}
    assert set() == unknown
    missing = {k for k in known if not any(f"{key}.".startswith(f"{k}.") for key in documented)}
    assert set() == missing


def sample(key: str, default: Any) -> Any:
    """Another value than the default that the schema allows."""
    if key in SAMPLES:
        return SAMPLES[key]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 1
    return "other"


_CONTAINER: Final = [{"name": "other", "image": "other"}]

SAMPLES: Final[dict[str, Any]] = {
    "commonLabels": {"a": "b"},
    "image.digest": f"sha256:{'1' * 64}",
    "image.pullPolicy": "Never",
    "imagePullSecrets": [{"name": "other"}],
    "kafka.giftSentPartitions": 48,
    "kafka.security.protocol": "SASL_PLAINTEXT",
    "kafka.security.sasl.mechanism": "PLAIN",
    "apps": [{"appId": 5, "existingSecret": "other"}],
    "schemas.files": {"a.avsc": "{}"},
    "autoscaling.type": "hpa",
    "autoscaling.behavior": {"scaleUp": {"selectPolicy": "Min"}},
    "autoscaling.extraMetrics": [{"type": "other", "metadata": {}}],
    "autoscaling.keda.metadata": {"a": "b"},
    "autoscaling.keda.authenticationRef": {"name": "other"},
    "autoscaling.hpa.selector": {"matchLabels": {"a": "b"}},
    "topicManagement.mode": "job",
    "topicManagement.job.annotations": {"a": "b"},
    "topicManagement.strimzi.apiVersion": "kafka.strimzi.io/v1beta2",
    "topicManagement.strimzi.config": {"a": "b"},
    "topicManagement.strimzi.user.authentication": "tls",
    "networkPolicy.ingressFrom": [{"podSelector": {}}],
    "networkPolicy.kafkaTo": [{"podSelector": {}}],
    "networkPolicy.kafkaPorts": [9999],
    "networkPolicy.apiTo": [{"podSelector": {}}],
    "networkPolicy.extraEgress": [{}],
    "serviceAccount.annotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "podSecurityContext": {"runAsUser": 1},
    "securityContext": {"runAsUser": 1},
    "resources": {"limits": {"cpu": 1}},
    "jobResources": {"limits": {"cpu": 1}},
    "startupProbe": {"failureThreshold": 99},
    "livenessProbe": {"failureThreshold": 99},
    "readinessProbe": {"failureThreshold": 99},
    "updateStrategy": {"type": "OnDelete"},
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    "topologySpreadConstraints": [],
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "hostAliases": [{"ip": "10.0.0.1"}],
    "dnsConfig": {"options": []},
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraEnvFrom": [{"configMapRef": {"name": "other"}}],
    "extraVolumes": [{"name": "other", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "tmp", "mountPath": "/other"}],
    "extraContainers": _CONTAINER,
    "initContainers": _CONTAINER,
    "extraObjects": [{"kind": "Other"}],
    "monitoring.podMonitor.interval": "5m",
    "monitoring.podMonitor.scrapeTimeout": "1s",
    "monitoring.podMonitor.additionalLabels": {"a": "b"},
    "monitoring.podMonitor.relabelings": [{"targetLabel": "a"}],
    "monitoring.podMonitor.metricRelabelings": [{"targetLabel": "a"}],
    "monitoring.prometheusRule.additionalLabels": {"a": "b"},
    "monitoring.prometheusRule.ruleLabels": {"a": "b"},
    "monitoring.prometheusRule.disabled": ["GiftcheckDown"],
    **{
        f"monitoring.prometheusRule.thresholds.{name}": value
        for name, value in {
            "inTimeRatio": 0.98,
            "lateSeconds": 5,
            "limitRatio": 0.75,
            "mapRatio": 0.75,
            "apiErrorsRatio": 0.75,
            "tooFrequentRatio": 0.75,
            "malformedRatio": 0.75,
            "batchSizeRatio": 0.75,
            "abortsRatio": 0.75,
        }.items()
    },
    "monitoring.prometheusRule.additionalGroups": [{"name": "other", "rules": []}],
    "monitoring.dashboard.labels": {"a": "b"},
    "monitoring.dashboard.annotations": {"a": "b"},
}
"""Another value than the default, where `sample` makes none."""

BASES: Final = [
    "minimal",
    *sorted(file.stem for file in CI.glob("*.yaml") if file.stem not in {"minimal", "everything"}),
]


def nested(key: str, value: object) -> dict[str, Any]:
    """A tree that holds one value under a dotted key."""
    for step in reversed(key.split(".")):
        value = {step: value}
    assert isinstance(value, dict)
    return value


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    """Every base without a change."""
    return {name: rendered_text(CI / f"{name}.yaml") for name in BASES}


SETTINGS: Final = {f"{key.split('.')[0]}.{camel_case(key.split('.')[1])}" for key in KEYS}
"""Shown to be alive by `test_configuration`."""


@pytest.mark.parametrize(
    "value",
    [value for value in documented_values() if value.key not in SETTINGS],
    ids=lambda value: value.key,
)
def test_every_value_does_something(value: Value, rendered: dict[str, str]) -> None:
    """Changed, or set back where a case has changed it, it changes a case; else it would be a lie."""
    other = sample(value.key, value.default)
    assert other != value.default
    likely_first = sorted(BASES, key=lambda name: name not in value.key)
    assert any(
        differs(name, nested(value.key, changed), rendered[name])
        for changed in (other, value.default)
        for name in likely_first
    ), f"{value.key} changes nothing"


def differs(name: str, values: dict[str, Any], before: str) -> bool:
    """Whether a case renders something else with these; not where they are impossible in it."""
    try:
        return rendered_text(CI / f"{name}.yaml", values=values) != before
    except HelmError:
        return False


def test_a_dead_value_would_be_found(rendered: dict[str, str]) -> None:
    """The judge above can say no: `global` is let through and read by nobody."""
    for name in BASES:
        assert rendered[name] == rendered_text(CI / f"{name}.yaml", values={"global": {"a": 1}})


def test_the_package_holds_what_users_need_and_no_more(tmp_path: Path) -> None:
    """Its documents, and none of the cases that only tests need."""
    run_helm("package", str(CHART), f"--destination={tmp_path}")
    (package,) = tmp_path.glob("giftcheck-*.tgz")
    shown = run_helm("show", "readme", str(package))
    assert "## Values" in shown
    with tarfile.open(package) as tar:
        names = {name.removeprefix("giftcheck/").split("/")[0] for name in tar.getnames()}
    assert {"README.md", "CHANGELOG.md", "UPGRADING.md", "values.schema.json"} <= names
    assert "ci" not in names


def test_the_memory_limit_holds_what_the_limits_allow() -> None:
    """Idle, fetched ahead, and every pending gift, as README reckons; a fifth is left over."""
    values = yaml.safe_load(VALUES.read_text())
    limit_mib = int(values["resources"]["limits"]["memory"].removesuffix("Mi"))
    pending_mib = values["limits"]["pendingGiftsMax"] * 1.5 / 1_024
    assert (70 + 64 + pending_mib) * 1.2 <= limit_mib


def test_the_chart_is_for_this_version_of_the_application() -> None:
    """Its image's tag is the version; and the changelog has a section for the chart's own."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert version("giftcheck") == chart["appVersion"]
    assert f"\n## {chart['version']}\n" in (CHART / "CHANGELOG.md").read_text()


def test_readme_names_values_that_there_are() -> None:
    """Prose and table speak of the same keys: a renamed one is found here."""
    prose = README.read_text("utf-8").split("\n## Values\n")[0]
    groups = "|".join(SCHEMA["properties"])
    named = set(re.findall(rf"`((?:{groups})\.[\w.]+)`", prose)) - {"check.request_timeout"}
    keys = {value.key for value in documented_values()}
    unknown = {name for name in named if not any(f"{key}.".startswith(f"{name}.") for key in keys)}
    inside = {name for name in unknown if any(name.startswith(f"{key}.") for key in keys)}
    assert set() == unknown - inside
    assert "kafka.propertyFiles" in named
