"""PodMonitor and dashboard, and that alerts and panels ask for what the application exports."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.adapters.metrics import Metrics
from consumer.core.limits import GIVE_UP_AFTER, Limit
from consumer.core.messages import Fault
from consumer.core.model import Cut, GiftResult, GiftSent, Status
from consumer.core.reaction import TROUBLE_BY_CODE
from consumer.core.tally import Tally
from tests.adapters.test_metrics import PARTITION, Figures, status, watched
from tests.helm.chart import FIRST_DEPLOYMENT, HelmError, Manifest, only, render
from tests.helm.promql import DASHBOARD, FROM_PROMETHEUS, Selector, asked_by, filled_in
from tests.helm.test_monitoring_alerts import rules

Panel = dict[str, Any]

TITLE: Final = re.compile(r'"([A-Z][^"]+)"')


def rendered(**monitoring: Any) -> list[Manifest]:
    """The chart with these values of `monitoring`."""
    return render(sets=FIRST_DEPLOYMENT, values={"monitoring": monitoring})


def dashboard() -> dict[str, Any]:
    """The dashboard as its file has it."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[Panel]:
    """All panels but the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    """Every query of every panel, for a release of the tests."""
    for panel in panels():
        yield from (filled_in(target["expr"]) for target in panel["targets"])


def exposed() -> dict[str, list[dict[str, str]]]:
    """A scrape of a process in which everything has happened: labels of each metric's series."""
    tally = Tally(gifts_read=1)
    for code in (0, *TROUBLE_BY_CODE):
        tally.answers[code] += 1
    tally.given_up[GIVE_UP_AFTER] += 1
    core = replace(
        status(PARTITION, replace(PARTITION, partition=4, paused_for=(Limit.MAP,)), tally=tally),
        faults=dict.fromkeys((fault.value for fault in Fault), "wrong"),
    )
    figures = Figures({3: 1}, {3: 1_000}, assigned=(3,), waiting=(4,), gift_sent_partitions=2)
    metrics, _ = watched(core, figures)
    happen(metrics)
    body, _ = metrics.exposition()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for name, labels, *_ in family.samples:
            found.setdefault(name, []).append(labels)
    return found


def happen(metrics: Metrics) -> None:
    """A check and a result."""
    metrics.check_ended(1, 1)
    result = GiftResult(
        GiftSent("room", "game", "m0", 1), "id", Status.FAILED, synthetic=False, result_code=1,
        reason=None, game_timestamp=None, request_id=None, checks=1, deadline=1, decided_at=1,
        source_partition=3, source_offset=10,
    )  # fmt: skip
    metrics.cut_committed(Cut(1, (), (result,), ()), 1, 1)


def missing(selector: Selector, series: dict[str, list[dict[str, str]]]) -> str | None:
    """What the selector names that nobody exports; None: all is there."""
    if selector.name == "up":  # Prometheus' own
        return None
    if selector.name not in series:
        return selector.name
    ours = {key: value for key, value in selector.equal.items() if key not in FROM_PROMETHEUS}
    like = {key: value for key, value in selector.like.items() if key not in FROM_PROMETHEUS}
    for key, pattern in like.items():
        # Each alternative is to be there, not only one of them.
        known = {labels.get(key) for labels in series[selector.name]}
        if unknown := [one for one in pattern.split("|") if one not in known]:
            return f"{selector.name}: {key}={unknown}"
    if not any(ours.items() <= labels.items() for labels in series[selector.name]):
        return f"{selector.name}: {ours}"
    return None


def test_what_is_asked_for_is_exported() -> None:
    """Every metric, label and label's value of every alert and panel."""
    series = exposed()
    wrong = []
    for expression in [rule["expr"] for rule in rules()] + list(queries()):
        asked = asked_by(expression)
        assert asked.selectors, expression
        wrong += [each for one in asked.selectors if (each := missing(one, series)) is not None]
        known = {
            key for one in asked.selectors for each in series.get(one.name, ()) for key in each
        }
        wrong += [f"{expression}: by {label}" for label in asked.labels - known - FROM_PROMETHEUS]
    assert [] == wrong


def test_what_is_exported_is_asked_for() -> None:
    """A metric that no panel shows and no alert watches is of no use; Python's own are."""
    asked = {one.name for query in queries() for one in asked_by(query).selectors}
    asked |= {one.name for rule in rules() for one in asked_by(rule["expr"]).selectors}
    unseen = {
        name
        for name in exposed()
        if not name.endswith("_created") and not name.endswith(("_sum", "_count", "_bucket"))
    }
    assert {"giftcheck_process_virtual_memory_bytes"} == unseen - asked


@pytest.mark.parametrize(
    "typo",
    [
        "sum(rate(giftcheck_result_total[5m]))",
        'giftcheck_results_total{status="UNVERIFED"}',
        'giftcheck_answers_total{trouble=~"transient|credential"}',
        'giftcheck_pending_gifts{partition="3"}',
    ],
)
def test_a_name_that_is_not_exported_is_found(typo: str) -> None:
    """The check above would see it."""
    series = exposed()
    assert any(missing(one, series) for one in asked_by(typo).selectors)


def test_the_dashboard_can_be_read() -> None:
    """Each panel has its own id and place, a unit, words, and asks the chosen Prometheus."""
    document = dashboard()
    ids = Counter(panel["id"] for panel in document["panels"])
    assert [] == [number for number, count in ids.items() if count > 1]
    titles = Counter(panel["title"] for panel in document["panels"])
    assert [] == [title for title, count in titles.items() if count > 1]
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"]) > 30, panel["title"]
        assert [source] * (1 + len(panel["targets"])) == [
            panel["datasource"],
            *(target["datasource"] for target in panel["targets"]),
        ]
    kinds = {one["name"]: one["type"] for one in document["templating"]["list"]}
    assert {"datasource": "datasource", "namespace": "query", "pod": "query"} == kinds
    assert 1 == sum(panel["title"] == "Is all well?" for panel in document["panels"])


def test_no_panel_covers_another() -> None:
    """Places are on a grid of 24 columns."""
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_runbooks_name_panels_that_exist() -> None:
    """What is in quotes and has a capital letter is a panel, or a sentence of the log."""
    text = " ".join((DASHBOARD.parents[1] / "RUNBOOKS.md").read_text().split())
    titles = {panel["title"] for panel in panels()}
    named = {
        title for title in TITLE.findall(text) if title not in {"When Kafka says no", "Measured"}
    }
    assert set() == named - titles


def test_nothing_is_monitored_unless_it_is_wanted() -> None:
    """A cluster without Prometheus' operator would refuse the release."""
    kinds = {manifest["kind"] for manifest in rendered()}
    assert set() == kinds & {"PodMonitor", "PrometheusRule"}
    assert [] == [one for one in rendered() if "dashboard" in one["metadata"]["name"]]


def test_the_pod_monitor_finds_the_consumers_and_nothing_else() -> None:
    """By the labels of the StatefulSet, at the port that it names."""
    manifests = rendered(
        podMonitor={"enabled": True, "additionalLabels": {"release": "prometheus"}}
    )
    monitor = only(manifests, "PodMonitor")
    pods = only(manifests, "StatefulSet")["spec"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = [port["name"] for port in pods["template"]["spec"]["containers"][0]["ports"]]
    assert pods["selector"] == monitor["spec"]["selector"]
    assert endpoint["port"] in ports
    assert "/metrics" == endpoint["path"]
    assert "prometheus" == monitor["metadata"]["labels"]["release"]


def test_grafana_finds_the_dashboard_as_it_is() -> None:
    """Byte for byte: its own braces are nobody's template."""
    manifests = rendered(dashboard={"enabled": True, "annotations": {"grafana_folder": "Gifts"}})
    (found,) = (one for one in manifests if one["metadata"]["name"].endswith("-dashboard"))
    assert "1" == found["metadata"]["labels"]["grafana_dashboard"]
    assert {"grafana_folder": "Gifts"} == found["metadata"]["annotations"]
    assert dashboard() == json.loads(found["data"]["giftcheck.json"])


@pytest.mark.parametrize(
    ("monitoring", "names"),
    [
        ({"podMonitor": {"intervall": "30s"}}, "intervall"),
        ({"podMonitor": {"interval": 30}}, "interval"),
        ({"prometheusRule": {"thresholds": {"lateSeconds": 20}}}, "lateSeconds"),
        ({"prometheusRule": {"thresholds": {"limitRatio": 80}}}, "limitRatio"),
        ({"prometheusRule": {"thresholds": {"inTimeRatio": 0.5}}}, "inTimeRatio"),
        ({"prometheusRule": {"thresholds": {"intakeLag": 20}}}, "intakeLag"),
        ({"prometheusRule": {"runbookUrlBase": ""}}, "runbookUrlBase"),
        ({"dashboard": {"labels": {"grafana_dashboard": 1}}}, "grafana_dashboard"),
    ],
)
def test_mistakes_are_refused_by_name(monitoring: dict[str, Any], names: str) -> None:
    """The schema knows every key."""
    with pytest.raises(HelmError, match=names):
        rendered(**monitoring)
