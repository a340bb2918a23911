"""`python -m tests.simulation`: run many seeds, or one with its trace."""

import argparse
import sys

from tests.simulation.seeds import all_cores, first_failure, report, run_seed


def main() -> int:
    """Run what is asked for; 1 if a promise is violated."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Attack the consumer in a simulated world; a seed decides about everything.",
    )
    parser.add_argument("--seed", type=int, help="run this seed alone and print its trace")
    parser.add_argument("--first", type=int, default=1, help="the first of many seeds (1)")
    parser.add_argument("--seeds", type=int, default=200, help="how many (200)")
    parser.add_argument("--jobs", type=int, default=all_cores(), help="processes (all cores)")
    options = parser.parse_args()
    if options.seed is not None:
        outcome = run_seed(options.seed, print)
        failed = outcome if outcome.violations else None
        print(f"trace {outcome.trace}")
    else:
        seeds = range(options.first, options.first + options.seeds)
        failed = first_failure(seeds, options.jobs)
    if failed is None:
        print("no promise was violated")
        return 0
    print(report(failed))
    return 1


if __name__ == "__main__":
    sys.exit(main())
