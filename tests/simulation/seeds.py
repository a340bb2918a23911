"""Running seeds: one, or many on several processes; seeds that once failed are kept here."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from tests.simulation.logs import logging_to
from tests.simulation.plan import draw
from tests.simulation.world import Outcome, World

FIXED: Final = (11, 54, 68, 118, 240, 34_394, 2_069_257_020, 59_787_048_075)
"""Seeds that have found something, in the production code or in the simulation itself."""

CHUNK: Final = 5
"""Seeds handed to a process at once."""

PROGRESS_S: Final = 2.0


def run_seed(seed: int, line: Callable[[str], None] | None = None) -> Outcome:
    """Run one seed from beginning to end; `line` gets the trace, the pods' logs included."""
    with logging_to(line):
        return World(draw(seed), line).run()


def run_seeds(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """Run seeds on so many processes; their outcomes come in the order of the seeds."""
    if jobs == 1:
        yield from map(run_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        try:
            yield from pool.map(run_seed, seeds, chunksize=CHUNK)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def first_failure(seeds: range, jobs: int) -> Outcome | None:
    """The first seed that fails, if one does; tells on standard error how far it is."""
    began_s = told_s = time.monotonic()
    simulated_s, results, restarts = 0.0, 0, 0
    for number, outcome in enumerate(run_seeds(seeds, jobs), start=1):
        simulated_s += outcome.simulated_s
        results += outcome.results
        restarts += outcome.restarts
        now_s = time.monotonic()
        if now_s - told_s >= PROGRESS_S or number == len(seeds) or outcome.violations:
            told_s = now_s
            taken_s = now_s - began_s
            print(
                f"{number} of {len(seeds)} seeds, {simulated_s / 3600:.1f} simulated hours in"
                f" {taken_s:.0f} s ({simulated_s / taken_s:.0f} times as fast), {results} results,"
                f" {restarts} restarts",
                file=sys.stderr,
                flush=True,
            )
        if outcome.violations:
            return outcome
    return None


def report(outcome: Outcome) -> str:
    """What was violated, in words, and how to see it again."""
    lines = [f"seed {outcome.seed} violates a promise:"]
    lines += [f"  {violation.checker}: {violation.text}" for violation in outcome.violations[:10]]
    lines.append(f"replay: make simulate SEED={outcome.seed}")
    return "\n".join(lines)


def all_cores() -> int:
    """How many processes can run at once."""
    return len(os.sched_getaffinity(0))
