"""The doctor from end to end: everything is asked at once, and ends in time."""

import asyncio
import threading
from pathlib import Path
from typing import Final

from consumer.adapters.avro import AvroCodec, read_writer_schemas
from consumer.adapters.kafka import KafkaConfig
from consumer.app import kafka_config
from consumer.clock import Clock, SystemClock
from consumer.doctor.cluster import INSTANCE, ClusterCheck
from consumer.doctor.findings import Finding, Level, Report, refused
from consumer.doctor.screen import show, waiting
from consumer.doctor.vendor import look_at_check_api
from consumer.errors import ConfigurationError
from consumer.logs import configure_logs
from consumer.server_secrets import ServerSecrets
from consumer.settings import LogSettings, Settings, load_settings

KAFKA_S: Final = 25.0
"""When Kafka's part is given up. Its steps end by themselves before; a client that hangs beyond
its time-outs, which was seen, does not. With the start of the process all is over within 30 s."""


def run_doctor(file: Path | None, *, json: bool) -> int:
    """Ask, print the report, and return the exit code: 0, 1 (something failed) or 2.

    2 means a configuration that cannot be used: nothing was asked.
    """
    configure_logs(LogSettings(level="error", format="console"))  # the findings say it all
    try:
        settings = load_settings(file)
        config = kafka_config(settings, instance=INSTANCE)
    except ConfigurationError as error:
        report = Report(tuple(refused(error)), unusable=True)
    else:
        with waiting():
            report = examine(settings, config, SystemClock())
    show(report, json=json)
    return report.exit_code


def examine(settings: Settings, config: KafkaConfig, clock: Clock) -> Report:
    """Make all checks, Kafka's beside the API's."""
    of_kafka: list[Finding] = []
    schemas, codec = _schemas(settings)

    def ask_kafka() -> None:
        for finding in ClusterCheck(config, codec, clock).look():
            of_kafka.append(finding)  # noqa: PERF402  what is found by the end of the wait counts

    asking = threading.Thread(target=ask_kafka, daemon=True)
    asking.start()
    of_api = _api(settings, clock)
    asking.join(KAFKA_S)
    if asking.is_alive():
        late = f"the client does not come back within {KAFKA_S:g} s"
        of_kafka.append(Finding("Kafka", Level.FAIL, late, "see whether the brokers are well"))
    return Report((_configured(settings), schemas, *of_kafka, *of_api))


def _configured(settings: Settings) -> Finding:
    kafka = settings.kafka
    name = kafka.instance_id or "none: a random one at each start"
    apps = ", ".join(str(app.app_id) for app in settings.apps)
    return Finding(
        "configuration", Level.OK, f"group {kafka.group_id}, instance_id {name}, apps {apps}"
    )


def _schemas(settings: Settings) -> tuple[Finding, AvroCodec | None]:
    """What is to be said of the schemas, and what reads gifts by them if they are right."""
    formats = settings.format
    try:
        writers = read_writer_schemas(formats.writer_schemas, formats.schema_ids, None)
        codec = AvroCodec(frozenset(app.app_id for app in settings.apps), writers)
    except ConfigurationError as error:
        return Finding("schemas", Level.FAIL, str(error)), None
    count = len(list(writers.more)) + len(writers.by_id)
    return Finding("schemas", Level.OK, f"the shipped ones and {count} configured"), codec


def _api(settings: Settings, clock: Clock) -> list[Finding]:
    try:
        apps = ServerSecrets(settings.apps)
    except ValueError as error:
        return [Finding("check API", Level.FAIL, str(error))]
    return asyncio.run(look_at_check_api(settings, apps, clock))
