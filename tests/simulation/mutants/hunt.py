"""Running the simulation on a mutant: in a process of its own, over a copy of the package."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from tests.simulation.mutants.catalogue import Mutant

ROOT: Final = Path(__file__).parents[3]

CACHES: Final = shutil.ignore_patterns("__pycache__")

SEEDS_MAX: Final = 200


class Found(NamedTuple):
    """What became of a mutant: the first seed that finds it, and what that says; or None."""

    mutant: Mutant
    seed: int | None
    text: str


def plant(mutant: Mutant, package: Path) -> None:
    """Put the bug into a copy of the package.

    Raises:
        ValueError: its text is not there, or more than once: the mutant has to follow the code.
    """
    file = package / mutant.file
    source = file.read_text("utf-8")
    count = source.count(mutant.old)
    if count != 1:
        raise ValueError(f'"{mutant.name}": its text occurs {count} times in {mutant.file}')
    file.write_text(source.replace(mutant.old, mutant.new), "utf-8")


def hunt(mutant: Mutant, *, first: int | None = None, seeds: int = SEEDS_MAX) -> Found:
    """Run seeds on the mutant until one finds it; by default from its own on."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        for part in ("consumer", "tests", "schemas"):
            shutil.copytree(ROOT / part, folder / part, ignore=CACHES)
        plant(mutant, folder / "consumer")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.simulation", "--jobs", "1"),
                *("--first", str(first or mutant.seed), "--seeds", str(seeds)),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return Found(mutant, None, f"not found by {seeds} seeds")
    lines = done.stdout.splitlines()
    if done.returncode != 1 or not lines or not lines[0].startswith("seed "):
        raise RuntimeError(f'"{mutant.name}" breaks the simulation itself:\n{done.stderr[-2_000:]}')
    return Found(mutant, int(lines[0].split()[1]), lines[1].strip())


def hunt_all(
    mutants: Iterable[Mutant],
    *,
    jobs: int,
    first: int | None = None,
    seeds: int = SEEDS_MAX,
) -> Iterator[Found]:
    """Hunt several mutants at once; in their order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(partial(hunt, first=first, seeds=seeds), mutants)
