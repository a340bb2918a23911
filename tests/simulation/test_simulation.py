"""The simulation's seeds: those that failed once, and new ones every day."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.seeds import FIXED, all_cores, report, run_seed, run_seeds

ROOT = Path(__file__).parents[2]

FRESH = 200


def fresh_seeds() -> range:
    """Seeds that nobody has run: they follow from the commit, or from SIMULATION_FIRST."""
    first = os.environ.get("SIMULATION_FIRST")
    if first is None:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
        first = str(int(head[:7] or "1", 16) * 1_000)
    return range(int(first), int(first) + FRESH)


@pytest.mark.parametrize("seed", FIXED)
def test_a_seed_that_once_failed_violates_no_promise(seed: int) -> None:
    """The commit that added it tells what it had found."""
    outcome = run_seed(seed)
    assert outcome.violations == (), report(outcome)


@pytest.mark.timeout(900)
def test_fresh_seeds_violate_no_promise() -> None:
    """Others with every commit; the message says how to see one again."""
    seeds = fresh_seeds()
    print(f"seeds {seeds.start} to {seeds.stop - 1}")
    failed = [one for one in run_seeds(seeds, all_cores()) if one.violations]
    assert failed == [], "\n".join(map(report, failed))


def test_the_same_seed_leaves_the_same_trace() -> None:
    """In another process with other hashes, too; another seed leaves another trace."""
    traces = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.append(done.stdout)
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 100
    assert run_seed(2).trace in traces[0]
    assert run_seed(4).trace not in traces[0]
