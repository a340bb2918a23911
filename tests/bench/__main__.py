"""`python -m tests.bench`: see the package; progress goes to standard error, figures to output."""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from consumer.demo.kafka_broker import KafkaBroker
from consumer.garbage import collect_seldom
from tests.bench.run import Bench, drain, fill, hold, watched
from tests.conftest import load_coordinators
from tests.kafka.topics import TopicNames, create


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--gifts", type=int, default=200_000, help="the backlog to drain")
    parser.add_argument("--rooms", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=5_000, help="gifts a second to hold")
    parser.add_argument(
        "--seconds", type=int, default=30, help="for how long, after 32 s of warm-up"
    )
    parser.add_argument("--request-price", type=float, default=0.03)
    parser.add_argument("--only", choices=("drain", "hold"), help="skip the rest")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args()


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def plain(bench: Bench, gift_sent: str, count: int) -> dict[str, Any]:
    """What the plain loop makes of the same backlog."""
    names = TopicNames.of_a_run("bench-plain")
    create(bench.bootstrap_servers, names, partitions=8)
    command = [sys.executable, "-m", "tests.bench.plain", bench.bootstrap_servers]
    command += [gift_sent, names.gift_result, str(count)]
    printed: dict[str, float] = json.loads(subprocess.check_output(command))
    return {
        "gifts": count,
        "gifts_per_s": round(count / printed["elapsed_s"]),
        "elapsed_s": round(printed["elapsed_s"], 2),
        "cpu_s_per_1000_gifts": round(printed["cpu_s"] / count * 1_000, 4),
    }


async def measure(bench: Bench, args: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for, one after the other."""
    figures: dict[str, Any] = {}
    if args.only != "hold":
        async with watched(bench, "bench-drain") as backlog:
            say(f"{args.gifts} gifts of {args.rooms} rooms are sent")
            fill(backlog, args.gifts)
            say("the plain loop drains them")
            figures["plain"] = plain(bench, backlog.topics.gift_sent, args.gifts)
            say("giftcheck drains them")
            figures["drain"] = (await drain(backlog)).as_json()
            speed, floor = figures["drain"]["gifts_per_s"], figures["plain"]["gifts_per_s"]
            figures["drain_to_plain"] = round(speed / floor, 3)
            # The same without what competes for the cores: how much of a gift's CPU is the floor.
            used, least = (figures[run]["cpu_s_per_1000_gifts"] for run in ("drain", "plain"))
            figures["cpu_plain_to_drain"] = round(least / used, 3)
    if args.only != "drain":
        async with watched(bench, "bench-hold") as steady:
            say(f"{args.rate:.0f} gifts/s into {args.rooms} rooms for {args.seconds} s")
            figures["hold"] = (await hold(steady, args.rate, args.seconds)).as_json()
    return figures


def table(figures: dict[str, Any]) -> str:
    """The same for people: a line for each figure, a column for each run."""
    runs = {name: run for name, run in figures.items() if isinstance(run, dict)}
    names = list(dict.fromkeys(name for run in runs.values() for name in run))
    lines = ["".join([f"{'':30}", *(f"{name:>22}" for name in runs)])]
    for name in names:
        cells = (_cell(run.get(name, "")) for run in runs.values())
        lines.append("".join([f"{name:30}", *(f"{cell:>22}" for cell in cells)]))
    if "drain_to_plain" in figures:
        lines.append(f"draining, as a share of the plain loop: {figures['drain_to_plain']}")
        lines.append(f"the plain loop's share of its CPU: {figures['cpu_plain_to_drain']}")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return " / ".join(f"{part:.0f}" for part in value.values() if part is not None)
    return str(value)


def main() -> None:
    """Start Kafka, measure, print."""
    args = arguments()
    collect_seldom()  # the ledger is large, too, and the delays measured would be its own
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        load_coordinators(broker.bootstrap_servers)
        bench = Bench(
            bootstrap_servers=broker.bootstrap_servers,
            folder=Path(folder),
            rooms=args.rooms,
            request_price=args.request_price,
        )
        figures = asyncio.run(measure(bench, args))
    print(json.dumps(figures) if args.json else table(figures))


if __name__ == "__main__":
    main()
