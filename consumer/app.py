"""The composition root: the one place that knows what is wired to what, and how it ends.

    Kafka thread ── feed, request_cut ──► Runner ── handle, poll, cut ──► Scheduler (the core)
         ▲                                  │ send                             ▲
         └── want_cut, pause, resume ───────┘ ──► CheckApi                Metrics, HTTP read

The process ends when the Kafka thread has: after a graceful stop with 0, or with the exit code
of what happened. Two things end it from outside: an error in the core, which is a bug, and the
watchdog, because the client's time-outs are hints (a call given 8 s was seen to take 64).
"""

import asyncio
import faulthandler
import os
import random
import secrets
import signal
import sys
from importlib.metadata import version
from typing import Final

import structlog
import uvloop

from consumer.adapters.avro import AvroCodec, read_writer_schemas
from consumer.adapters.check_api import CheckApi
from consumer.adapters.http import HttpServer
from consumer.adapters.kafka import KafkaConfig, KafkaThread
from consumer.adapters.kafka.config import refuse_properties
from consumer.adapters.metrics import Metrics
from consumer.clock import PROCESS_BEGAN_MS, Clock, SystemClock
from consumer.core.learning import LearnedHazards
from consumer.core.model import CheckRules
from consumer.core.scheduler import Scheduler
from consumer.errors import ConfigurationError, GiftcheckError
from consumer.garbage import collect_seldom
from consumer.health import Health
from consumer.logs import configure_logs
from consumer.runner import Runner
from consumer.server_secrets import ServerSecrets, WithFreshSecrets
from consumer.settings import Settings

WATCHDOG_GRACE_MS: Final = 30_000
"""How long a Kafka call may exceed `kafka.outage_max` before the process is ended [R 14]."""

WATCH_INTERVAL_S: Final = 1.0

SWITCH_INTERVAL_S: Final = 0.001
"""How long one of the two threads may compute while the other wants to. The loop lets go of the
interpreter at each read and write, hundreds of times a turn, and the Kafka thread decodes and
encodes for milliseconds: at Python's own 5 ms the loop answered half as many checks under a load
that both could just bear (seen once: 644 against 1,447 in the first two seconds)."""

log = structlog.get_logger()


def run(settings: Settings, *, embedded_broker: bool = False) -> int:
    """Consume until stopped by SIGTERM or SIGINT; return the exit code.

    With `embedded_broker` the broker is librdkafka's mock cluster, which keeps no transactional
    offsets: for the demo alone.
    """
    configure_logs(settings.log)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collect_seldom()  # again: the start has imported and configured
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        try:
            loop.run(_consume(settings, SystemClock(), embedded_broker=embedded_broker))
        except GiftcheckError as error:
            log.critical(str(error), exit_code=error.exit_code)
            return error.exit_code
        except Exception:
            log.critical("a bug ended the process; please report it", exc_info=True)
            # The Kafka thread still runs; only this ends it without a commit.
            os._exit(GiftcheckError.exit_code)
    return 0


def check_rules(settings: Settings) -> CheckRules:
    """The core's numbers, out of the configuration."""
    check = settings.check
    return CheckRules(
        timeout_ms=check.timeout,
        settle_ms=check.settle,
        give_up_after_ms=check.give_up_after,
        request_price_ms=check.request_price * 1_000,
        request_timeout_ms=check.request_timeout,
        requests_in_flight_max=check.requests_in_flight_max,
        batch_size_max=check.batch_size_max,
        room_permits=check.room_permits,
        lease_ms=check.lease,
        unknown_hold_min_ms=check.unknown_hold_min,
        unknown_hold_max_ms=check.unknown_hold_max,
        pending_gifts_max=settings.limits.pending_gifts_max,
        overdue_gifts_max=settings.limits.overdue_gifts_max,
        replay_records_max=settings.limits.replay_records_max,
    )


def kafka_config(
    settings: Settings, *, instance: str | None = None, embedded_broker: bool = False
) -> KafkaConfig:
    """The Kafka adapter's configuration, out of everybody's.

    Raises:
        ConfigurationError: a property would void a promise, or its file cannot be read any more.
    """
    kafka = settings.kafka
    try:
        file_properties = kafka.properties_of_files()
    except ValueError as error:
        raise ConfigurationError(f"kafka.property_files: {error}") from error
    config = KafkaConfig(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.group_id,
        instance=instance or instance_name(settings),
        static_member=bool(kafka.instance_id),
        gift_sent=settings.topics.gift_sent,
        gift_result=settings.topics.gift_result,
        dead_letters=settings.topics.dead_letters,
        start_from=kafka.start_from,
        on_data_loss=kafka.on_data_loss,
        outage_max_ms=kafka.outage_max,
        commit_interval_ms=settings.commit.interval,
        properties=kafka.properties,
        file_properties=file_properties,
        embedded_broker=embedded_broker,
    )
    refuse_properties(config)
    return config


def instance_name(settings: Settings) -> str:
    """The configured name, or a random one for a member that has no stable name."""
    return settings.kafka.instance_id or f"dynamic-{secrets.token_hex(4)}"


async def _consume(settings: Settings, clock: Clock, *, embedded_broker: bool) -> None:
    instance = instance_name(settings)
    apps = ServerSecrets(settings.apps)
    writers = read_writer_schemas(
        settings.format.writer_schemas,
        settings.format.schema_ids,
        settings.format.result_schema_id if settings.format.output == "confluent" else None,
    )
    core = Scheduler(
        check_rules(settings),
        instance=instance,
        hazards=LearnedHazards(),
        jitter=random.random,
        began_ms=PROCESS_BEGAN_MS,
    )
    check_api = CheckApi(
        base_url=settings.check.base_url,
        apps=apps,
        request_timeout_ms=settings.check.request_timeout,
        requests_in_flight_max=settings.check.requests_in_flight_max,
        clock=clock,
    )
    metrics = Metrics(
        check_timeout_ms=settings.check.timeout,
        check_settle_ms=settings.check.settle,
        version=version("giftcheck"),
    )
    sender = WithFreshSecrets(check_api, apps, clock)
    runner = Runner(core, clock=clock, check_api=sender, meter=metrics)
    kafka = KafkaThread(
        kafka_config(settings, instance=instance, embedded_broker=embedded_broker),
        codec=AvroCodec(frozenset(apps), writers),
        host=runner,
        clock=clock,
    )
    silence_max_ms = settings.kafka.outage_max + WATCHDOG_GRACE_MS
    health = Health(
        core, kafka, clock=clock, instance=instance, kafka_silence_max_ms=silence_max_ms
    )
    metrics.watch(health.core, kafka.state)
    server = HttpServer(
        host=settings.http.host,
        port=settings.http.port,
        probe=health,
        exposition=metrics.exposition,
    )
    async with check_api, server:
        log.info("started", instance=instance, http_port=server.port, apps=sorted(apps))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _stop, health, kafka)
        await _run_to_the_end(runner, kafka, health)
    log.info("stopped")


def _stop(health: Health, kafka: KafkaThread) -> None:
    log.info("stopping")
    health.stopping = True
    kafka.stop()


async def _run_to_the_end(runner: Runner, kafka: KafkaThread, health: Health) -> None:
    """Turn until the Kafka thread has ended; raise what ended it, or the loop."""
    kafka.start()
    finished = asyncio.wrap_future(kafka.finished)
    turning = asyncio.create_task(runner.run(kafka))
    watching = asyncio.create_task(_watch(health))
    try:
        done, _ = await asyncio.wait(
            (finished, turning, watching), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in (turning, watching):
            task.cancel()
        await asyncio.gather(turning, watching, return_exceptions=True)
    for ended in done:
        ended.result()


async def _watch(health: Health) -> None:
    """End the process if the Kafka thread has not come round for too long."""
    while not health.alive():  # noqa: ASYNC110  a thread that hangs sets no event
        await asyncio.sleep(WATCH_INTERVAL_S)
    faulthandler.dump_traceback(all_threads=True)  # to stderr: where it hangs
    log.critical("the Kafka client hangs; only a restart can mend it", state=health.status())
    os._exit(GiftcheckError.exit_code)
