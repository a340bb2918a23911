"""`python -m tests.simulation.mutants`: show for each mutant the seed and checker that find it."""

import argparse
import sys
import time

from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.hunt import SEEDS_MAX, hunt_all
from tests.simulation.seeds import all_cores


def main() -> int:
    """Hunt them; 1 if one is not found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.mutants",
        description="Plant bugs into a copy of the consumer: the simulation must find each.",
    )
    parser.add_argument("words", nargs="*", help="only mutants whose names contain one of these")
    parser.add_argument("--first", type=int, help="the first seed to try (the one known)")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"how many ({SEEDS_MAX})")
    parser.add_argument("--jobs", type=int, default=all_cores(), help="processes (all cores)")
    options = parser.parse_args()
    chosen = [
        mutant
        for mutant in MUTANTS
        if not options.words or any(word in mutant.name for word in options.words)
    ]
    began_s = time.monotonic()
    missed = 0
    for found in hunt_all(chosen, jobs=options.jobs, first=options.first, seeds=options.seeds):
        missed += found.seed is None
        seed = "-" if found.seed is None else found.seed
        print(f"{seed:>6}  {found.mutant.name}\n        {found.text}", flush=True)
    taken_s = time.monotonic() - began_s
    print(f"{len(chosen) - missed} of {len(chosen)} mutants found in {taken_s:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
