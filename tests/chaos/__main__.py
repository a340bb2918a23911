"""`python -m tests.chaos`: see the package; progress goes to standard error, the report to output.

Exit code 0 only if every promise held; 1 if one was broken, which the report names; 2 for usage.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from random import SystemRandom

import uvloop

from consumer.garbage import collect_seldom
from tests.chaos.run import run
from tests.chaos.scene import Options


def options() -> tuple[Options, argparse.Namespace]:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Real brokers, real consumers, real signals: faults from one seed, then the"
        " reckoning. Exit code 0 only if every gift got exactly one true result, no room was asked"
        " about more than 20 times a second, no process needed a person, and results flowed again"
        " in time.",
    )
    parser.add_argument("--seed", type=int, help="of all that is random (default: a new one)")
    parser.add_argument(
        "--duration", type=float, default=600, metavar="S", help="of the mixed faults (600)"
    )
    parser.add_argument(
        "--alone", type=int, default=4, metavar="N", help="rounds of timed faults, each alone (4)"
    )
    parser.add_argument(
        "--alone-away", type=int, default=3, metavar="N",
        help="of these, rounds with a SIGKILL without return, which take a minute (3)",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, default=500, help="gifts a second (500)")
    parser.add_argument(
        "--alone-rate", type=float, metavar="R", help="the same, in those rounds (as --rate)"
    )
    parser.add_argument("--rooms", type=int, default=100, help="they are sent into (100)")
    parser.add_argument(
        "--every", type=float, nargs=2, default=(2.0, 6.0), metavar="S",
        help="least and most time between faults (2 6)",
    )  # fmt: skip
    parser.add_argument(
        "--brokers", type=int, choices=(1, 3), default=3,
        help="one takes half of what three take of a small machine (3)",
    )  # fmt: skip
    parser.add_argument("--logs", type=Path, help="where the consumers' logs are left")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args()
    if args.duration < 0 or args.rate <= 0 or args.rooms < 1 or args.every[0] <= 0:
        parser.error("duration, rate, rooms and the times between faults must be above 0")
    seed = SystemRandom().randrange(1_000_000) if args.seed is None else args.seed
    least, most = sorted(args.every)
    return (
        Options(
            seed=seed,
            duration_s=args.duration,
            alone=args.alone,
            alone_away=args.alone_away,
            rate=args.rate,
            alone_rate=args.alone_rate or args.rate,
            rooms=args.rooms,
            every_s=(least, most),
            brokers=args.brokers,
        ),
        args,
    )


def main() -> int:
    """Run and print; returns the exit code."""
    wanted, args = options()
    collect_seldom()  # the ledger is large, and the delays measured would be its own
    with tempfile.TemporaryDirectory() as folder:
        logs = args.logs or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            report = loop.run(run(wanted, logs))
    print(json.dumps(report.as_json()) if args.json else report.as_text())
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
