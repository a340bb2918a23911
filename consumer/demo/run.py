"""A demo from beginning to end: everything that is needed is started, and ended whatever happens.

    broker ─► simulated API ─► consumer (a child process) ─► session

All but the consumer (and a real Kafka) runs in this process: API, load and bookkeeping on one
event loop, the reader in a thread of its own.
"""

import asyncio
import gc
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import orjson
import uvloop
from rich.console import Console

from consumer.demo.cluster import Cluster, open_cluster
from consumer.demo.configuration import consumer_configuration, simulator_settings
from consumer.demo.keyboard import is_heard, listening
from consumer.demo.options import DemoOptions
from consumer.demo.process import ConsumerProcess
from consumer.demo.screen import Screen
from consumer.demo.session import Session
from consumer.demo.summary import Summary
from consumer.demo.view import render_summary
from consumer.simulator import Simulator, serve

_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""

_STDIN: Final = 0

_NEVER: Final = 2**31 - 1
"""Collections of the middle generation before a full one; the largest count there is."""


def run(options: DemoOptions) -> int:
    """Run a demo, print what came of it, and return the exit code: 0 if every promise held.

    With `options.json` standard output gets one JSON object and nothing else.

    Raises:
        GiftcheckError: the demo could not be run to its end; exit code and reason are in it.
    """
    console = Console(stderr=options.json)
    try:
        with _no_full_collections():
            summary = _summary_of(options, console)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _INTERRUPTED
    _report(summary, console, json=options.json)
    return summary.exit_code


@contextmanager
def _no_full_collections() -> Iterator[None]:
    """Keep Python from walking through all there is in search of garbage.

    Millions of gifts, results and arrivals are kept on purpose; a walk through them would stop
    the simulated API for a second and more, and the delays measured would be its own. Young
    objects are collected as ever.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(thresholds[0], thresholds[1], _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _summary_of(options: DemoOptions, console: Console) -> Summary:
    with ExitStack() as stack:
        with console.status("The broker starts.") if console.is_terminal else nullcontext():
            cluster = stack.enter_context(open_cluster(options))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="giftcheck-demo-"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_demonstrate(options, cluster, Path(folder), console))


async def _demonstrate(
    options: DemoOptions, cluster: Cluster, folder: Path, console: Console
) -> Summary:
    secret = secrets.token_hex(16)
    simulator = Simulator(simulator_settings(options, secret))
    title = f"{options.rate:g} gifts/s, {options.rooms} rooms, {cluster.name}"
    async with serve(simulator) as api:
        configuration = consumer_configuration(options, cluster, api.base_url, secret)
        async with ConsumerProcess(
            configuration, folder, embedded_broker=cluster.embedded
        ) as consumer:
            screen = Screen(console, title, simulator.clock_us)
            keys = screen.watched and not options.json and is_heard(_STDIN)
            session = Session(options, cluster, simulator, consumer, screen, keys=keys)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, session.interrupt)
            with listening(_STDIN, session.press) if keys else nullcontext():
                return await session.run()


def _report(summary: Summary, console: Console, *, json: bool) -> None:
    for reason in summary.false_reasons:
        sys.stderr.write(f"false verdict: {reason}\n")
    if json:
        document = orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2)
        sys.stdout.write(f"{document.decode()}\n")
    else:
        console.print(render_summary(summary))
