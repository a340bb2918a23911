"""The file that the application reads: every setting, with its own defaults, in its own words."""

import base64
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic.fields import FieldInfo

from consumer.app import kafka_config
from consumer.settings import AppSettings, Settings, load_settings, parse_duration_ms
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
)
from tests.settings_keys import keys

SECRETS = "/var/run/secrets/giftcheck"
FILE = "/etc/giftcheck/giftcheck.yaml"

BY_THE_POD = "kafka.instance_id"
"""The one setting that is no value: each pod has its own."""


@pytest.fixture(autouse=True)
def _no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not decide a test."""
    for group in Settings.model_fields:
        monkeypatch.delenv(f"GIFTCHECK_{group.upper()}", raising=False)


def configuration(manifests: list[Manifest], name: str = "giftcheck") -> str:
    """The file in a ConfigMap."""
    maps = {each["metadata"]["name"]: each for each in of_kind(manifests, "ConfigMap")}
    text: str = maps[name]["data"]["giftcheck.yaml"]
    return text


def mounted(manifests: list[Manifest], folder: Path) -> Path:
    """The file as a pod sees it, with all files that its secret volumes promise, under a folder."""
    pod = pod_specs(manifests)[f"StatefulSet {only(manifests, 'StatefulSet')['metadata']['name']}"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    for mount in consumer_container(manifests)["volumeMounts"]:
        for item in volumes[mount["name"]].get("secret", {}).get("items", []):
            file = folder / mount["mountPath"].lstrip("/") / item["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"the {item['path']}\n")
    file = folder / "giftcheck.yaml"
    name = only(manifests, "StatefulSet")["metadata"]["name"]
    file.write_text(configuration(manifests, name).replace("/var/run/", f"{folder}/var/run/"))
    return file


def camel_case(name: str) -> str:
    """`a_setting` as `aSetting`."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


KEYS = {key.name: key.field for key in keys() if not key.name.startswith("apps[]")}


def at(tree: Any, key: str) -> Any:
    """What a tree holds under a dotted key."""
    for step in key.split("."):
        tree = tree[step] if isinstance(tree, Mapping) else getattr(tree, step)
    return tree


def nested(key: str, value: object) -> dict[str, Any]:
    """A tree that holds one value under a dotted key in camelCase."""
    for step in reversed(key.split(".")):
        value = {camel_case(step): value}
    assert isinstance(value, dict)
    return value


SAMPLES: dict[str, Any] = {
    "kafka.bootstrap_servers": "elsewhere:9092",
    "kafka.start_from": "2026-01-31T12:00:00+00:00",
    "kafka.properties": {"client.rack": "b", "socket.receive.buffer.bytes": 1048576},
    "kafka.property_files": {"sasl.password": f"{SECRETS}/apps/1234567890/server-secret"},
    "check.base_url": "https://elsewhere",
    "check.request_price": 0.5,
    "check.room_permits": 19,
    "check.unknown_hold_max": "3m",
    "check.give_up_after": 0,
    "limits.pending_gifts_max": 1000000,
    "limits.overdue_gifts_max": 400000,
    "limits.replay_records_max": 2000000,
    "format.output": "confluent",
    "format.writer_schemas": "/etc/schemas",
    "format.schema_ids": {"100000000": "/etc/schemas/a.avsc", "7": "gift-sent"},
    "format.result_schema_id": 100000000,
    "http.port": 18080,
}
"""Another value than the default, where `sample` makes none."""

TOGETHER = {"format.output": {"format": {"resultSchemaId": 5}}}
"""What a sample needs beside it."""


def sample(key: str, field: FieldInfo) -> Any:
    """Another value than the default."""
    if key in SAMPLES:
        return SAMPLES[key]
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    if words:
        return next(word for word in words if word != field.default)
    if any(getattr(each, "func", None) is parse_duration_ms for each in field.metadata):
        return "1234ms"
    return field.default + 1 if isinstance(field.default, int) else f"another-{key}"


@functools.cache
def minimal(values: str) -> str:
    """The file of the smallest case with these values, rendered once."""
    return configuration(render(CI / "minimal.yaml", values=yaml.safe_load(values)))


@pytest.mark.parametrize("key", [key for key in KEYS if key != BY_THE_POD])
def test_every_setting_can_be_reached(key: str, tmp_path: Path) -> None:
    """A value of the same name in camelCase decides it, and nothing else changes."""
    given = sample(key, KEYS[key])
    beside = TOGETHER.get(key, {})
    before = yaml.safe_load(minimal(yaml.safe_dump(beside)))
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(beside))
    after = yaml.safe_load(
        configuration(render(CI / "minimal.yaml", file, values=nested(key, given)))
    )
    assert given == at(after, key)
    group, name = key.split(".")
    assert before.get(group, {}).pop(name, None) != after[group].pop(name)
    assert before == after


def test_the_pod_decides_its_name_alone() -> None:
    """`kafka.instance_id` is no value: with one name for all, pods would fence each other."""
    with pytest.raises(HelmError, match="'/kafka': additional properties 'instanceId'"):
        render(sets=[*FIRST_DEPLOYMENT, "kafka.instanceId=one-for-all"])
    document = yaml.safe_load(configuration(render(sets=FIRST_DEPLOYMENT)))
    assert "instance_id" not in document["kafka"]


def test_apps_can_be_configured_whole() -> None:
    """Each key of an app is in the file, or its secret is behind the file that is named there."""
    (app,) = yaml.safe_load(configuration(render(sets=FIRST_DEPLOYMENT)))["apps"]
    assert AppSettings.model_fields.keys() - {"server_secret"} == app.keys()
    assert f"{SECRETS}/apps/1234567890/server-secret" == app["server_secret_file"]


def test_defaults_are_those_of_the_application(tmp_path: Path) -> None:
    """With the chart's own values the application decides as without them, key by key."""
    loaded = load_settings(mounted(render(sets=FIRST_DEPLOYMENT), tmp_path))
    required = {key for key, field in KEYS.items() if field.is_required()}
    expected = {key: field.default for key, field in KEYS.items() if key not in required}
    assert expected == {key: at(loaded, key) for key in expected}
    assert {"kafka.bootstrap_servers"} == required


def test_every_default_is_said_in_the_values() -> None:
    """Whoever reads values.yaml sees each setting and what holds without it."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for key in KEYS.keys() - {BY_THE_POD}:
        group, name = key.split(".")
        assert camel_case(name) in values[group], key


@pytest.mark.parametrize("file", sorted(CI.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_application_takes_what_is_rendered(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, mounted secrets and the pod's environment together are a valid configuration."""
    manifests = render(file)
    name = f"gifts.{only(manifests, 'StatefulSet')['metadata']['name']}-0"
    monkeypatch.setenv("GIFTCHECK_KAFKA__INSTANCE_ID", name)
    if file.stem == "everything":  # its own mount, which the chart does not know
        oauth = tmp_path / "var/run/secrets/oauth/client-secret"
        oauth.parent.mkdir(parents=True)
        oauth.write_text("any")
    loaded = load_settings(mounted(manifests, tmp_path))
    assert name == loaded.kafka.instance_id
    assert all(app.secret() == "the server-secret" for app in loaded.apps)


def test_credentials_are_files_and_never_in_the_configuration(tmp_path: Path) -> None:
    """A user's name and password come out of a Secret's files; the file names only paths."""
    manifests = render(CI / "sasl-tls.yaml")
    loaded = load_settings(mounted(manifests, tmp_path))
    config = kafka_config(loaded, instance="any")
    assert {"sasl.username": "the username", "sasl.password": "the password"} == dict(
        config.file_properties
    )
    folder = f"{tmp_path}{SECRETS}/kafka"
    assert {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "ssl.ca.location": f"{folder}/ca/ca.crt",
    } == dict(config.properties)
    assert "nobodys" not in configuration(manifests)


def test_a_client_certificate_is_files() -> None:
    """With its key, and the key's password where there is one."""
    kafka = yaml.safe_load(configuration(render(CI / "mtls.yaml")))["kafka"]
    folder = f"{SECRETS}/kafka"
    assert {
        "security.protocol": "SSL",
        "ssl.ca.location": f"{folder}/ca/ca.crt",
        "ssl.certificate.location": f"{folder}/tls/user.crt",
        "ssl.key.location": f"{folder}/tls/user.key",
    } == kafka["properties"]
    assert {"ssl.key.password": f"{folder}/tls/user.password"} == kafka["property_files"]


@pytest.mark.parametrize("name", ["sasl-tls", "mtls", "strimzi", "job"])
def test_every_file_that_is_named_is_mounted(name: str) -> None:
    """In a folder of its own, so that a rotated secret arrives, and for the group alone to read."""
    for pod in pod_specs(render(CI / f"{name}.yaml")).values():
        volumes = {each["name"]: each["secret"] for each in pod["volumes"] if "secret" in each}
        assert volumes
        for secret in volumes.values():
            assert 0o440 == secret["defaultMode"]
            assert secret["optional"] is False
        mounts = pod["containers"][0]["volumeMounts"]
        assert [] == [mount for mount in mounts if "subPath" in mount]
        assert volumes.keys() <= {mount["name"] for mount in mounts}


def test_secrets_are_made_only_where_none_is_named() -> None:
    """One Secret for all apps that have theirs in the values; else there is no such object."""
    assert [] == of_kind(render(CI / "minimal.yaml"), "Secret")
    secret = only(render(CI / "sasl-tls.yaml"), "Secret")
    assert {"4294967295": base64.b64encode(b"nobodys").decode()} == secret["data"]


def test_schemas_are_mounted_and_found_by_name() -> None:
    """The folder is configured, and ids may name its files without a path."""
    manifests = render(CI / "confluent.yaml")
    document = yaml.safe_load(configuration(manifests))["format"]
    assert {
        "output": "confluent",
        "result_schema_id": 100042,
        "schema_ids": {"7": "gift-sent", "1000000": "/etc/giftcheck-schemas/gift-sent-v1.avsc"},
        "writer_schemas": "/etc/giftcheck-schemas",
    } == document
    mounts = {
        each["name"]: each["mountPath"] for each in consumer_container(manifests)["volumeMounts"]
    }
    assert "/etc/giftcheck-schemas" == mounts["schemas"]
    assert FILE.rpartition("/")[0] == mounts["config"]
