"""Renders the chart: values in, what Kubernetes would be given out."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.helm import tools

CHART: Final = Path(__file__).parents[2] / "helm" / "giftcheck"
CI: Final = CHART / "ci"
RELEASE: Final = "giftcheck"
NAMESPACE: Final = "gifts"
TIMEOUT_S: Final = 60

FIRST_DEPLOYMENT: Final = (
    "kafka.bootstrapServers=kafka:9092",
    "apps[0].appId=1234567890",
    "apps[0].existingSecret=zego",
)
"""All that a first deployment has to say."""

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the text is what it told its user."""


def render(
    *value_files: Path,
    values: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    kube_version: str | None = None,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    chart: Path = CHART,
) -> list[Manifest]:
    """The manifests, hooks and tests included, in helm's order.

    Args:
        value_files: as `--values`, in this order.
        values: more of them, over the files.
        sets: as `--set`, over both.
        kube_version: the cluster that is rendered for; default: helm's own newest.
        release: the release's name.
        namespace: where it goes.
        chart: another folder than ours, for a chart that includes it.

    Raises:
        HelmError: with helm's message.
    """
    text = rendered_text(
        *value_files,
        values=values,
        sets=sets,
        kube_version=kube_version,
        release=release,
        namespace=namespace,
        chart=chart,
    )
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def rendered_text(
    *value_files: Path,
    values: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    kube_version: str | None = None,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    chart: Path = CHART,
) -> str:
    """What `render` parses, as helm writes it."""
    return run_helm(
        "template",
        release,
        str(chart),
        f"--namespace={namespace}",
        *(f"--values={file}" for file in value_files),
        *(["--values=-"] if values is not None else []),
        *(f"--set={each}" for each in sets),
        *([f"--kube-version={kube_version}"] if kube_version is not None else []),
        stdin="" if values is None else yaml.safe_dump(dict(values)),
    )


def run_helm(*arguments: str, stdin: str = "") -> str:
    """Helm's standard output.

    Raises:
        HelmError: with what it wrote to both.
    """
    return run_tool(tools.helm(), *arguments, stdin=stdin, timeout_s=TIMEOUT_S)


def run_tool(
    tool: Path,
    *arguments: str,
    stdin: str,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The standard output of helm or kubectl; `environment` instead of ours.

    Raises:
        HelmError: with what it wrote to both.
    """
    done = subprocess.run(
        [tool, *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The one of a kind that there must be exactly one of."""
    found = of_kind(manifests, kind)
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def pod_specs(manifests: Sequence[Manifest]) -> Mapping[str, Manifest]:
    """The spec of every pod that would run, by what brings it about."""
    specs = {}
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            specs[f"Pod {manifest['metadata']['name']}"] = manifest["spec"]
        elif manifest["kind"] in {"StatefulSet", "Job"}:
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            specs[name] = manifest["spec"]["template"]["spec"]
    return specs


def consumer_container(manifests: Sequence[Manifest]) -> Manifest:
    """The container that consumes."""
    pod = only(manifests, "StatefulSet")["spec"]["template"]["spec"]
    return next(each for each in pod["containers"] if each["name"] == "giftcheck")


def copy_of_the_chart(folder: Path) -> Path:
    """The chart in another folder, to be changed."""
    for file in CHART.rglob("*"):
        if file.is_file():
            copied = folder / "giftcheck" / file.relative_to(CHART)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(file.read_bytes())
    return folder / "giftcheck"
