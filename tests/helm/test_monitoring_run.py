"""The rules and the dashboard against a real Prometheus that scrapes a real run.

Two consumers, a real Kafka, the simulated API, and load; Prometheus has the labels that its
operator would give to the pods of a release. No Grafana is at hand, so its queries are asked
directly.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from consumer.demo.kafka_broker import KafkaBroker
from tests.helm.chart import NAMESPACE, RELEASE
from tests.helm.prometheus import Prometheus, prometheus, serving
from tests.helm.promql import DASHBOARD, asked_by, filled_in
from tests.helm.test_monitoring_alerts import rules
from tests.integration.fleet import Member, Scene, fleet
from tests.kafka.topics import TopicNames, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

LOAD_MS: Final = 60_000
"""It is ended as soon as every query has been answered: seen after some 10 s."""

RATE_INTERVAL: Final = "6s"
WITHIN_S: Final = 60.0
LOOK_S: Final = 0.5


async def http_port(member: Member) -> int:
    """The port that a member has taken, as its log says."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            lines = await asyncio.to_thread(member.log.read_text) if member.log.exists() else ""
            for line in lines.splitlines():
                if '"started"' in line:
                    port: int = json.loads(line)["http_port"]
                    return port
            await asyncio.sleep(LOOK_S)  # a file tells nobody when it grows


def target(member: Member, number: int, port: int) -> dict[str, Any]:
    """A pod as Prometheus' operator would make it known."""
    assert member.name == f"{RELEASE}-{number}"
    return {
        "targets": [f"127.0.0.1:{port}"],
        "labels": {"namespace": NAMESPACE, "pod": member.name},
    }


async def until_all_answer(server: Prometheus, queries: dict[str, list[str]]) -> None:
    """Ask every panel's every query until each has data; say which do not."""
    silent = dict(queries)
    try:
        async with asyncio.timeout(WITHIN_S):
            while silent:
                for title, asked in list(silent.items()):
                    if all([await server.query(query) for query in asked]):
                        del silent[title]
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"no data: {silent}") from None


async def firing(server: Prometheus) -> set[str]:
    """The alerts that fire."""
    return {
        rule["name"]
        for rule in await server.rules()
        if any(alert["state"] == "firing" for alert in rule["alerts"])
    }


async def first_firing(server: Prometheus) -> set[str]:
    """The alerts that fire, once one does."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if alerts := await firing(server):
                return alerts
            await asyncio.sleep(LOOK_S)


async def test_queries_have_data_and_rules_are_healthy(
    kafka_broker: KafkaBroker, topics: TopicNames, tmp_path: Path
) -> None:
    """Every panel has data while gifts flow, every rule can be evaluated, and only what is wrong fires.

    One record is no gift: that is the one alert.
    """
    prometheus()  # skips, where there is none, before anything is started
    scene = Scene(
        bootstrap_servers=kafka_broker.bootstrap_servers,
        topics=topics,
        folder=tmp_path,
        members=2,
        rate=60,
        rooms=40,
        timeout_ms=3_000,
    )
    panels = [one for one in json.loads(DASHBOARD.read_text())["panels"] if "targets" in one]
    queries = {
        panel["title"]: [filled_in(one["expr"], RATE_INTERVAL, "1m") for one in panel["targets"]]
        for panel in panels
    }
    groups = {"groups": [{"name": "all", "rules": rules()}]}
    async with fleet(scene) as run:
        ports = [await http_port(member) for member in run.members]
        targets = [target(one, number, ports[number]) for number, one in enumerate(run.members)]
        async with serving(tmp_path, targets=targets, rules=groups) as server:
            sending = asyncio.create_task(run.send_gifts(LOAD_MS))
            await until_all_answer(server, queries)
            await asyncio.to_thread(
                produce, scene.bootstrap_servers, topics.gift_sent, [b"no gift"]
            )
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await run.settle(30)
            assert {"GiftcheckDeadLetters"} == await first_firing(server)
            await assert_healthy(server)
    print(run.report())
    assert (0, 0) == (run.ledger.missing, run.ledger.duplicates)


async def assert_healthy(server: Prometheus) -> None:
    """Every rule was evaluated without an error, and what it selects is there."""
    found = await server.rules()
    assert {"ok": len(found)} == {"ok": sum(rule["health"] == "ok" for rule in found)}, [
        (rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"
    ]
    silent = [
        (rule["alert"], selector.text)
        for rule in rules()
        for selector in asked_by(rule["expr"]).selectors
        if not await server.query(f"last_over_time({selector.text}[2m])")
    ]
    # Nothing is wrong with the API, so its errors have never been counted: only code 0 is there.
    assert {alert for alert, _ in silent} <= {
        "GiftcheckApiErrors",
        "GiftcheckApiRefuses",
        "GiftcheckTooFrequent",
    }
    assert all("trouble" in text for _, text in silent)
