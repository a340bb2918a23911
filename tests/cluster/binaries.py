"""etcd, kube-apiserver and kube-controller-manager, kept in `.cache/`.

No package index has the latter two, so they are built from Kubernetes' own source, once for each
version: `python -m tests.cluster.binaries`, which needs Go and takes 10 to 20 minutes. The source
comes through Go's module proxy, checked against its checksum database. etcd is the distribution's.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VERSION: Final = "1.36.3"
GO: Final = "1.26"
"""The least Go that this version of Kubernetes is built with."""

NAMES: Final = ("kube-apiserver", "kube-controller-manager")
CACHE: Final = Path(__file__).parents[2] / ".cache"
FOLDER: Final = CACHE / "kubernetes" / VERSION
PROCESSES_MAX: Final = 2
"""Compilers at once; each takes up to 1 GB."""


class MissingError(Exception):
    """A binary is not there; the text says what to install or to run."""


def kubernetes(name: str) -> Path:
    """One of `NAMES`, built before.

    Raises:
        MissingError: it was not.
    """
    binary = FOLDER / name
    if not binary.exists():
        raise MissingError(f"no {name} {VERSION}: make cluster builds it")
    return binary


def etcd() -> Path:
    """The one of the PATH, or the one that is kept.

    Raises:
        MissingError: there is neither.
    """
    found = shutil.which("etcd")
    kept = CACHE / "etcd" / "usr" / "bin" / "etcd"
    if found is None and not kept.exists():
        raise MissingError("no etcd: install etcd-server (Debian) or etcd")
    return Path(found) if found is not None else kept


def fetch_etcd() -> None:
    """Unpack the distribution's package; nothing is installed.

    Raises:
        MissingError: it cannot be had.
    """
    try:
        etcd()
    except MissingError as missing:
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            folder = Path(made)
            try:
                _run("apt-get", "download", "etcd-server", cwd=folder)
                (package,) = folder.glob("*.deb")
                _run("dpkg-deb", "-x", str(package), str(folder / "etcd"), cwd=folder)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                raise MissingError(f"{missing}, or mend: {error}") from error
            (folder / "etcd").rename(CACHE / "etcd")


def build() -> None:
    """Build what is missing of this version, whole or not at all.

    Raises:
        MissingError: Go is missing or too old.
        SubprocessError: Go failed; its own output says why.
    """
    if all((FOLDER / name).exists() for name in NAMES):
        return
    _require_go()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as made:
        module = Path(made)
        (module / "go.mod").write_text(_go_mod(module), "utf-8")
        _go("mod", "tidy", cwd=module, GOFLAGS="-mod=mod")
        major, minor, _ = VERSION.split(".")
        version = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}
        flags = " ".join(
            f"-X k8s.io/component-base/version.{name}={value}" for name, value in version.items()
        )
        for name in NAMES:
            begun = time.monotonic()
            package = f"k8s.io/kubernetes/cmd/{name}"
            _go("build", "-trimpath", f"-ldflags=-s -w {flags}", "-o", name, package, cwd=module)
            (module / name).rename(FOLDER / name)
            print(f"{name} {VERSION}: built in {time.monotonic() - begun:.0f} s", flush=True)


def _go_mod(folder: Path) -> str:
    """A module that has Kubernetes' commands as tools.

    Kubernetes' own go.mod takes its parts from folders of its repository, which a module that needs
    it must replace by their releases: one for each, with the same minor and patch version.
    """
    told = _go("mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}", cwd=folder)
    own = Path(json.loads(told)["GoMod"]).read_text("utf-8")
    parts = sorted(set(re.findall(r"(k8s\.io/[a-z-]+) => \./staging/", own)))
    assert parts, "Kubernetes' go.mod has changed its form"
    return "\n".join([
        "module cluster",
        f"go {GO}.0",
        f"require k8s.io/kubernetes v{VERSION}",
        *(f"replace {part} => {part} v0.{VERSION.split('.', 1)[1]}" for part in parts),
        *(f"tool k8s.io/kubernetes/cmd/{name}" for name in NAMES),
        "",
    ])  # fmt: skip


def _require_go() -> None:
    if shutil.which("go") is None:
        raise MissingError(f"NO GO, SO THE CHART MEETS NO API SERVER: install Go {GO} or newer")
    told = _run("go", "env", "GOVERSION", cwd=CACHE)
    found = re.search(r"go(\d+)\.(\d+)", told)
    if found is None or tuple(map(int, found.groups())) < tuple(map(int, GO.split("."))):
        raise MissingError(f"GO IS TOO OLD: {told.strip()}, and Kubernetes {VERSION} needs {GO}")


def _go(*arguments: str, cwd: Path, **environment: str) -> str:
    environment = {"GOFLAGS": f"-p={PROCESSES_MAX}", "CGO_ENABLED": "0", **environment}
    return _run("nice", "-n", "19", "go", *arguments, cwd=cwd, environment=environment)


def _run(*command: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Its standard output; what it has to say on standard error is for everybody to see."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


if __name__ == "__main__":
    try:
        fetch_etcd()
        build()
    except MissingError as error:
        print(error, file=sys.stderr)  # the tests skip then, or fail with `CI=true`
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
