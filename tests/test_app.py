"""What the composition root makes of the configuration, and how it ends before Kafka is asked."""

import gc
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import structlog
import yaml

from consumer.adapters.kafka import KafkaConfig
from consumer.app import (
    check_rules,
    instance_name,
    kafka_config,
    run,
)
from consumer.core.model import CheckRules
from consumer.errors import ConfigurationError
from consumer.garbage import COLLECT_AFTER, collect_seldom
from consumer.settings import Settings, load_settings

SECRET = "topsecret"


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """Logs and collections are set up for a process; the next test finds them as this one did."""
    root = logging.getLogger()
    handlers, level, thresholds = list(root.handlers), root.level, gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(folder: Path, kafka: dict[str, object] | None = None, **groups: object) -> Settings:
    """Settings with what is required, and these."""
    document: dict[str, object] = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"} | (kafka or {}),
        "apps": [{"app_id": 5, "server_secret": SECRET}],
        "http": {"host": "127.0.0.1", "port": 0},
    }
    file = folder / "giftcheck.yaml"
    file.write_text(yaml.safe_dump(document | groups))
    return load_settings(file)


def test_the_core_gets_each_of_its_rules_from_its_setting(tmp_path: Path) -> None:
    """All values differ, so that none can stand in another's place."""
    settings = configured(
        tmp_path,
        check={
            "timeout": "11s",
            "settle": "2s",
            "give_up_after": "2h",
            "request_price": 0.5,
            "request_timeout": "1s",
            "requests_in_flight_max": 12,
            "batch_size_max": 13,
            "room_permits": 14,
            "lease": "4s",
            "unknown_hold_min": "3s",
            "unknown_hold_max": "30s",
        },
        limits={"pending_gifts_max": 17, "overdue_gifts_max": 16, "replay_records_max": 18},
    )
    expected = CheckRules(
        timeout_ms=11_000,
        settle_ms=2_000,
        give_up_after_ms=7_200_000,
        request_price_ms=500.0,
        request_timeout_ms=1_000,
        requests_in_flight_max=12,
        batch_size_max=13,
        room_permits=14,
        lease_ms=4_000,
        unknown_hold_min_ms=3_000,
        unknown_hold_max_ms=30_000,
        pending_gifts_max=17,
        overdue_gifts_max=16,
        replay_records_max=18,
    )
    assert expected == check_rules(settings)


def test_the_rules_have_the_defaults_of_their_settings(tmp_path: Path) -> None:
    """Two places name them; they cannot differ."""
    assert asdict(CheckRules()) == asdict(check_rules(configured(tmp_path)))


def test_kafka_gets_what_is_configured(tmp_path: Path) -> None:
    """Names, start, bounds and everything that goes on to librdkafka."""
    password = tmp_path / "password"
    password.write_text(f"{SECRET}\n")
    settings = configured(
        tmp_path,
        kafka={
            "group_id": "g",
            "instance_id": "pod-1",
            "start_from": "latest",
            "on_data_loss": "continue",
            "outage_max": "61s",
            "properties": {"security.protocol": "SSL"},
            "property_files": {"ssl.key.password": str(password)},
        },
        topics={"gift_sent": "s", "gift_result": "r", "dead_letters": "d"},
        commit={"interval": "70ms"},
    )
    expected = KafkaConfig(
        bootstrap_servers="127.0.0.1:1",
        group_id="g",
        instance="pod-1",
        static_member=True,
        gift_sent="s",
        gift_result="r",
        dead_letters="d",
        start_from="latest",
        on_data_loss="continue",
        outage_max_ms=61_000,
        commit_interval_ms=70,
        properties={"security.protocol": "SSL"},
        file_properties={"ssl.key.password": SECRET},
        embedded_broker=True,
    )
    config = kafka_config(settings, embedded_broker=True)
    assert expected == config
    assert SECRET not in f"{config} {settings}"


def test_a_property_file_that_has_gone_since_is_named(tmp_path: Path) -> None:
    """Between the reading of the configuration and its use."""
    password = tmp_path / "password"
    password.write_text(SECRET)
    settings = configured(tmp_path, kafka={"property_files": {"sasl.password": str(password)}})
    password.unlink()
    with pytest.raises(ConfigurationError, match=r"kafka.property_files: sasl.password: cannot re"):
        kafka_config(settings)


def test_a_member_without_a_name_gets_one_that_nobody_else_has(tmp_path: Path) -> None:
    """Random, and not a static member: nobody waits for its return."""
    settings = configured(tmp_path)
    names = {instance_name(settings) for _ in range(100)}
    assert len(names) == 100
    assert not kafka_config(settings).static_member


def test_a_property_that_would_void_a_promise_is_refused(tmp_path: Path) -> None:
    """By its name, before any client is made with it."""
    settings = configured(tmp_path, kafka={"properties": {"isolation.level": "read_uncommitted"}})
    with pytest.raises(ConfigurationError, match=r"isolation\.level"):
        kafka_config(settings)


def test_a_mistake_found_while_starting_is_one_line_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only the start can find out is told like everything else: no traceback, no secret."""
    settings = configured(tmp_path, format={"writer_schemas": str(tmp_path / "none")})
    exit_code = run(settings)
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (exit_code, told["exit_code"], told["level"]) == (2, 2, "critical")
    assert told["event"].startswith("format.writer_schemas: ")
    assert SECRET not in line


def test_garbage_is_looked_for_seldom_and_not_among_what_the_start_has_made() -> None:
    """Full collections stop the loop for as long as there are pending gifts to look at."""
    collect_seldom()

    assert COLLECT_AFTER == gc.get_threshold()
    assert gc.get_freeze_count() > 0
