"""Builds the image and runs it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache" / "image"
PROGRAMS: Final = ("mmdebstrap", "buildah", "podman", "runc", "catatonit")
SUITE: Final = "bookworm"
PYTHON: Final = "3.11"
"""The Debian of the base, and its Python."""

BASE: Final = f"localhost/giftcheck-base:{SUITE}"
IMAGE: Final = "localhost/giftcheck:test"
LOCKS: Final = ("requirements-image.lock", "requirements-build.lock")
EPOCH: Final = "1767225600"

CONTAINERS_CONF: Final = """\
# crun fails where cgroups are mixed; limits are those a container may have anywhere.
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

RESTRICTED: Final = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)
"""A container as the Pod Security level "restricted" allows it, and nowhere to write at all."""


class NoWorkshopError(Exception):
    """The image cannot be built here; says what to install, or what failed."""


def missing() -> str | None:
    """What is not there to build an image with, and how to get it."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} missing: apt-get install {' '.join(PROGRAMS)}"
    return None if os.geteuid() == 0 else "only root can build it"


@dataclass(frozen=True)
class Ended:
    """How a container ended, and what it said."""

    exit_code: int
    out: str
    err: str


class Workshop:
    """buildah and podman with a store of their own; everything is made when it is first needed."""

    def __init__(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        conf = CACHE / "containers.conf"
        conf.write_text(CONTAINERS_CONF)
        self._environment = {**os.environ, "CONTAINERS_CONF": str(conf)}
        self._store = ("--root", str(CACHE / "store"), "--runroot", str(CACHE / "run"))

    def build(self) -> None:
        """Build `IMAGE` from the Dockerfile as it is shipped.

        Raises:
            NoWorkshopError: something it needs cannot be had.
            AssertionError: the build itself fails.
        """
        with ThreadPoolExecutor(2) as both:  # one loads packages, mostly, the other unpacks them
            based, fetched = both.submit(self._make_base), both.submit(self._fetch_wheels)
        based.result()
        wheels = fetched.result()
        # Into a folder that every base has, so that no mount point stays in the image.
        (CACHE / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /mnt\n")
        built = self._run(
            "buildah", *self._store, "build",
            "--layers", "--isolation=chroot", "--pull-never",
            f"--build-arg=BASE={BASE}",
            f"--timestamp={EPOCH}",
            f"--volume={wheels}:/mnt:ro",
            f"--secret=id=pip.conf,src={CACHE / 'pip.conf'}",
            f"--tag={IMAGE}",
            str(ROOT),
        )  # fmt: skip
        assert built.exit_code == 0, f"{built.out[-4_000:]}\n{built.err[-4_000:]}"

    def inspect(self, image: str = IMAGE) -> dict[str, Any]:
        """What the image says of itself."""
        (described,) = json.loads(self.podman("image", "inspect", image).out)
        return dict(described)

    def run(self, *arguments: str, options: Sequence[str] = ()) -> Ended:
        """A restricted container that runs to its end."""
        return self.podman("run", "--rm", *RESTRICTED, *options, IMAGE, *arguments)

    def shell(self, script: str, image: str = IMAGE) -> str:
        """What a script prints that root runs in the image."""
        ended = self.podman(
            "run", "--rm", "--user=0:0", "--entrypoint=/bin/sh", image, "-euc", script
        )
        assert ended.exit_code == 0, ended
        return ended.out

    @contextmanager
    def running(self, *arguments: str, options: Sequence[str] = ()) -> Iterator[str]:
        """The id of a restricted container in the background; removed at the end."""
        started = self.podman("run", "--detach", *RESTRICTED, *options, IMAGE, *arguments)
        assert started.exit_code == 0, started
        container = started.out.strip()
        try:
            yield container
        finally:
            self.podman("rm", "--force", "--time=0", container)

    def podman(self, *arguments: str, text: str | None = None) -> Ended:
        """Any podman command."""
        return self._run("podman", *self._store, *arguments, text=text)

    def _make_base(self) -> None:
        tarball = CACHE / "base.tar"
        if not tarball.exists():
            partial = tarball.with_suffix(".partial.tar")
            self._need(
                "mmdebstrap", "--quiet", "--variant=minbase",
                "--include=python3,python3-venv,ca-certificates,tzdata",
                "--dpkgopt=force-unsafe-io",
                "--dpkgopt=path-exclude=/usr/share/doc/*",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                SUITE, str(partial),
            )  # fmt: skip
            partial.rename(tarball)
        if self.podman("image", "exists", BASE).exit_code != 0:
            self._need("podman", *self._store, "import", "--quiet", str(tarball), BASE)
        # Some machines can build and must not run.
        self._need("podman", *self._store, "run", "--rm", *RESTRICTED, BASE, "/bin/true")

    def _fetch_wheels(self) -> Path:
        """The locked wheels, for the build itself reaches no index."""
        locks = b"".join((ROOT / lock).read_bytes() for lock in LOCKS)
        folder = CACHE / f"wheels-{hashlib.sha256(locks).hexdigest()[:12]}"
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            for lock in LOCKS:
                self._need(
                    sys.executable, "-m", "pip", "download", "--quiet",
                    "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
                    "--require-hashes", f"--python-version={PYTHON}",
                    f"--requirement={ROOT / lock}", f"--dest={partial}",
                )  # fmt: skip
            partial.rename(folder)
        return folder

    def _need(self, *command: str) -> Ended:
        ended = self._run(*command)
        if ended.exit_code != 0:
            raise NoWorkshopError(f"{' '.join(command[:3])} failed: {ended.err[-2_000:]}")
        return ended

    def _run(self, *command: str, text: str | None = None) -> Ended:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            env=self._environment,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)
