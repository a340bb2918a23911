"""The command line: reads options and configuration, calls, and turns errors into exit codes.

0 done; 1 demo, audit or doctor found something wrong; 2 wrong usage or configuration; 70 only a
restart can mend it; 71 another process uses this name. What a command needs is imported when it
runs, so that `--help` is quick and `run` does not load a simulator.
"""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from consumer.errors import GiftcheckError
from consumer.settings import load_settings, parse_duration_ms

if TYPE_CHECKING:
    from consumer.audit import Bound

app = typer.Typer(
    name="giftcheck",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Asks what became of virtual gifts and publishes one result for each, exactly once.\n\n"
    "Start with [bold]giftcheck demo[/]: it needs nothing but itself.",
)
topics = typer.Typer(no_args_is_help=True, help="Make the topics.")
app.add_typer(topics, name="topics")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file; every key can be set by environment too,"
        " as GIFTCHECK_KAFKA__BOOTSTRAP_SERVERS.",
        dir_okay=False,
    ),
]


class _Duration(int):
    """Milliseconds, for typer; `_duration` makes them of a text with a unit."""


def _duration(text: str) -> _Duration:
    try:
        return _Duration(parse_duration_ms(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"giftcheck {version('giftcheck')}")
        raise typer.Exit


@app.callback()
def _giftcheck(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """What holds for all commands: see `app`."""


@app.command()
def run(config: Config = None) -> None:
    """Consume gift-sent and publish gift-result, until SIGTERM.

    [dim]giftcheck run --config giftcheck.yaml[/]
    """
    from consumer.app import run as consume  # noqa: PLC0415  see the module

    raise typer.Exit(consume(load_settings(config)))


@app.command()
def demo(
    duration: Annotated[
        _Duration | None,
        typer.Option(parser=_duration, metavar="TIME", help="How long gifts are sent."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Gifts a second.")] = 300,
    rooms: Annotated[int, typer.Option(min=1, help="Rooms they are sent into.")] = 100,
    timeout: Annotated[
        _Duration,
        typer.Option(parser=_duration, metavar="TIME", help="From sending to UNCONSUMED."),
    ] = "5s",  # type: ignore[assignment]  # typer parses the default like an argument
    latency: Annotated[
        _Duration,
        typer.Option(parser=_duration, metavar="TIME", help="What the API's answers take."),
    ] = "30ms",  # type: ignore[assignment]  # as above
    seed: Annotated[int, typer.Option(help="Of load and fates.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="No terminal; one JSON object.")] = False,
    broker: Annotated[
        Literal["embedded", "kafka"],
        typer.Option(help="librdkafka's mock cluster, or the real Kafka of the tests."),
    ] = "embedded",
    bootstrap_servers: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A Kafka that is there already.")
    ] = None,
) -> None:
    """Watch gifts turn into results: broker, load and API included, nothing to install.

    Exit code 0 only if no gift is missing, doubled or wrongly judged and the limit held.

    [dim]giftcheck demo[/]

    [dim]giftcheck demo --duration 20s --rate 500 --json[/]
    """
    from consumer.demo import DemoOptions, run_demo  # noqa: PLC0415  see the module

    options = DemoOptions(
        duration_ms=duration,
        rate=rate,
        rooms=rooms,
        timeout_ms=timeout,
        seed=seed,
        json=json,
        bootstrap_servers=bootstrap_servers,
        broker=broker,
        latency_ms=latency,
    )
    raise typer.Exit(run_demo(options))


@app.command()
def simulator(
    app_id: Annotated[int, typer.Option(min=1, help="AppId it accepts.")] = 12345,
    secret: Annotated[
        str, typer.Option(envvar="GIFTCHECK_SIMULATOR_SECRET", help="Its ServerSecret.")
    ] = "simulated-secret",  # noqa: S107  nobody's but the simulator's
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any.")] = 8090,
    seed: Annotated[int, typer.Option(help="Of the gifts' fates.")] = 1,
    adopt: Annotated[
        bool, typer.Option(help="Take a gift as sent when a check first asks for it.")
    ] = True,
) -> None:
    """Serve the simulated check API: the vendor's contract, truth from a seed, faults on demand.

    Faults: PUT /faults with a JSON array, as in '[{"kind": "code", "code": 1, "share": 0.1}]'.

    [dim]giftcheck simulator --port 8090[/]
    """
    import uvloop  # noqa: PLC0415  see the module

    from consumer.simulator import (  # noqa: PLC0415
        SimulatorServer,
        SimulatorSettings,
        TruthSettings,
        run_simulator,
    )

    settings = SimulatorSettings(
        apps={app_id: secret}, truth=TruthSettings(seed=seed), adopt_unknown=adopt, seed=seed
    )

    def on_ready(server: SimulatorServer) -> None:
        print(f"simulated check API at {server.base_url}, app {app_id}; Ctrl-C ends it", flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        try:
            loop.run(run_simulator(settings, host, port, on_ready))
        except OSError as error:
            _fail(GiftcheckError(f"cannot listen on {host}:{port}: {error.strerror}"), 2)
        except KeyboardInterrupt:
            return


@topics.command("create")
def create(
    config: Config = None,
    gift_sent_partitions: Annotated[
        int | None, typer.Option(min=1, help="Make gift-sent too, with so many partitions.")
    ] = None,
) -> None:
    """Make gift-result and the dead letters, with gift-sent's number of partitions.

    What exists is reported and never altered.
    """
    from consumer.adapters.kafka.topics import create_topics  # noqa: PLC0415  see the module
    from consumer.app import kafka_config  # noqa: PLC0415
    from consumer.clock import SystemClock  # noqa: PLC0415

    reports = create_topics(
        kafka_config(load_settings(config)),
        SystemClock(),
        gift_sent_partitions=gift_sent_partitions,
    )
    for report in reports:
        done = "created" if report.created else "exists"
        print(
            f"{report.name}: {done}, {report.partitions_count} partitions,"
            f" {report.replicas_count} replicas"
        )


@app.command()
def audit(
    config: Config = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="WHERE", help="First record of gift-sent; see above."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="WHERE", help="Where to end, exclusive; answers are read on."),
    ] = None,
    margin: Annotated[
        _Duration,
        typer.Option(
            parser=_duration,
            metavar="TIME",
            help="How late a result may be after check.give_up_after, and how far clocks differ.",
        ),
    ] = "5m",  # type: ignore[assignment]  # typer parses the default like an argument
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Has each record of gift-sent exactly one right answer? Changes nothing.

    Reads gift-sent, gift-result and the dead letters as downstream does
    (read_committed), beside a running group or without one. Reports, with
    partition and offset:

    missing        no result or dead letter, nor one shared with an earlier
                   record of the gift, though the group's progress calls
                   it answered, or it should have been given up by now
                   (check.give_up_after + --margin)
    duplicate      a second answer to one record
    contradicting  a result_id again, with another status
    foreign        its source is no record, another gift, or no valid gift

    Counts beside: records pending in time, and results repeated for a record
    that came after its gift's result (allowed: keep the first).

    WHERE is a time (2026-01-31T12:00:00+00:00), an offset for all partitions
    (5000), or one for each (0:5000,1:4800). Without --from: the beginning, or
    where the group first started. Times are those of the records.

    Needs READ on the topics and the group, and 21 to 27 bytes for each gift.
    Exit code 0 only if nothing is wrong, 1 if something is.

    [dim]giftcheck audit --config giftcheck.yaml[/]

    [dim]giftcheck audit -c giftcheck.yaml --from 2026-01-31T00:00:00+00:00 --json[/]
    """
    from consumer.adapters.avro import AvroCodec, read_writer_schemas  # noqa: PLC0415  see above
    from consumer.app import kafka_config  # noqa: PLC0415
    from consumer.audit import AuditOptions, run_audit  # noqa: PLC0415
    from consumer.clock import SystemClock  # noqa: PLC0415

    begins, ends = _bound(begin), _bound(end)
    settings = load_settings(config)
    check, formats = settings.check, settings.format
    options = AuditOptions(
        begin=begins,
        end=ends,
        # Whoever never gives up has no such time; by this one absence should have been proven.
        give_up_after_ms=check.give_up_after or check.timeout + check.settle,
        margin_ms=margin,
        json=json,
    )
    codec = AvroCodec(
        frozenset(each.app_id for each in settings.apps),
        read_writer_schemas(formats.writer_schemas, formats.schema_ids, None),
    )
    raise typer.Exit(run_audit(kafka_config(settings), codec, options, SystemClock()))


@app.command()
def doctor(
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Is everything there that a start needs? Changes nothing, beside a running group too.

    Configuration and schemas; brokers, TLS and credentials; topics, their
    partitions and settings; the rights; the group and its progress; the
    check API, and each app's credentials by one check for nobody's gift.

    One line for each: ok, warn, fail or skip (it could not be asked), what
    was found, and what to do. Takes 30 s at most.
    Exit code 0 only if nothing failed, 1 if something did, 2 if the
    configuration itself is wrong.

    [dim]giftcheck doctor --config giftcheck.yaml[/]
    """
    from consumer.doctor import run_doctor  # noqa: PLC0415  see the module

    raise typer.Exit(run_doctor(config, json=json))


def _bound(text: str | None) -> "Bound | None":
    from consumer.audit import parse_bound  # noqa: PLC0415  see the module

    try:
        return None if text is None else parse_bound(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def main() -> NoReturn:
    """The command `giftcheck`: every error of ours is one line for each mistake, no traceback."""
    try:
        sys.exit(app())
    except GiftcheckError as error:
        _fail(error, error.exit_code)


def _fail(error: GiftcheckError, exit_code: int) -> NoReturn:
    for line in str(error).splitlines():
        print(f"giftcheck: {line}", file=sys.stderr)
    sys.exit(exit_code)
