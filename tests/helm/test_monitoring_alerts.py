"""Every alert fires when it should, and nearly so it does not (promtool); and each says what to do."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.alert_cases import CASES, PARTITIONS, Case, Scene, Thresholds, shares
from tests.helm.chart import CHART, FIRST_DEPLOYMENT, NAMESPACE, only, render
from tests.helm.prometheus import run_promtool

VALUES: Final = yaml.safe_load((CHART / "values.yaml").read_text())
DEFAULTS: Final[Mapping[str, float]] = VALUES["monitoring"]["prometheusRule"]["thresholds"]
OTHERS: Final[Mapping[str, float]] = {
    "inTimeRatio": 0.97,
    "lateSeconds": 2.5,
    "lateResults": 100,
    "unverifiedResults": 50,
    "deadLetters": 60,
    "intakeLagSeconds": 200,
    "intakeLagHighSeconds": 900,
    "rebalancesPerHour": 20,
    "restartsPerHour": 10,
    "limitRatio": 0.9,
    "overdueGifts": 5_000,
    "mapRatio": 0.8,
    "apiErrorsRatio": 0.3,
    "refusals": 20,
    "tooFrequentRatio": 0.2,
    "malformedRatio": 0.2,
    "batchSizeRatio": 0.5,
    "abortsRatio": 0.3,
    "keysForeign": 2_000_000,
}
"""All are laxer than the defaults: what is nearly too much here is too much there."""

Rule = dict[str, Any]


def rules(values: Mapping[str, Any] | None = None, **rule: Any) -> list[Rule]:
    """The rules as Prometheus gets them, with these values of `prometheusRule`."""
    monitoring = {"monitoring": {"prometheusRule": {"enabled": True, **rule}}}
    manifests = render(sets=FIRST_DEPLOYMENT, values={**(values or {}), **monitoring})
    groups = only(manifests, "PrometheusRule")["spec"]["groups"]
    return [one for group in groups for one in group["rules"]]


@pytest.fixture(scope="module")
def default_rules() -> dict[str, Rule]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules()}


@pytest.fixture(scope="module")
def other_rules() -> dict[str, Rule]:
    """The same with all thresholds changed."""
    return {rule["alert"]: rule for rule in rules(thresholds=dict(OTHERS))}


def judge(folder: Path, rule: Rule, case: Case, thresholds: Mapping[str, float]) -> None:
    """Show the alert all of a case's scenes."""
    names = Thresholds(*(thresholds[name] for name in DEFAULTS))
    firing = [(scene, True) for scene in case.fires(names)]
    quiet = [(scene, False) for scene in case.quiet(names)]
    assert firing
    assert quiet
    assert_alerts(folder, rule, [*firing, *quiet], case.minutes, case.interval_s)


def assert_alerts(
    folder: Path, rule: Rule, scenes: Sequence[tuple[Scene, bool]], minutes: int, interval_s: int
) -> None:
    """Let promtool evaluate each scene to its end, and look whether the alert fires."""
    expression = f'group(ALERTS{{alertname="{rule["alert"]}",alertstate="firing"}})'
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{interval_s}s",
        "tests": [
            {
                "name": f"scene {number}",
                "interval": f"{interval_s}s",
                "input_series": [one.as_promtool(minutes, interval_s) for one in scene],
                "promql_expr_test": [
                    {
                        "expr": expression,
                        "eval_time": f"{minutes}m",
                        "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                    }
                ],
            }
            for number, (scene, fires) in enumerate(scenes)
        ],
    }
    groups = {"groups": [{"name": "alert", "rules": [rule]}]}
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups))
    (folder / "tests.yaml").write_text(yaml.safe_dump(document))
    content, said = run_promtool("test", "rules", folder / "tests.yaml")
    assert content, said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_and_does_not(
    case: Case, default_rules: Mapping[str, Rule], tmp_path: Path
) -> None:
    """With the chart's own thresholds: just above, and just below or just too short."""
    judge(tmp_path, default_rules[case.alert], case, DEFAULTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_keeps_to_other_thresholds(
    case: Case, other_rules: Mapping[str, Rule], tmp_path: Path
) -> None:
    """The same, where somebody has set them all."""
    judge(tmp_path, other_rules[case.alert], case, OTHERS)


def test_every_alert_has_a_case(default_rules: Mapping[str, Rule]) -> None:
    """Exactly one."""
    assert sorted(default_rules) == sorted(case.alert for case in CASES)


def test_the_other_thresholds_are_all_others() -> None:
    """Each is laxer: what is nearly too much by it is too much by the default."""
    floors = {"inTimeRatio", "batchSizeRatio", "lateSeconds"}
    assert list(OTHERS) == list(DEFAULTS)
    assert [] == [
        name
        for name, value in DEFAULTS.items()
        if not (OTHERS[name] < value if name in floors else OTHERS[name] > value)
    ]


def test_a_partition_count_that_is_known_needs_no_pod_to_tell_it(tmp_path: Path) -> None:
    """With kafka.giftSentPartitions, nobody reading at all shows, too."""
    known = rules({"kafka": {"giftSentPartitions": PARTITIONS}, "replicaCount": 2})
    (rule,) = (rule for rule in known if rule["alert"] == "GiftcheckPartitionsUnassigned")
    scenes = [(shares(4, 3)[:2], True), (shares(4, 4)[:2], False)]
    assert_alerts(tmp_path, rule, scenes, 30, 30)


def test_promtool_finds_no_fault_with_the_rules(tmp_path: Path) -> None:
    """Expressions, durations and templates; with the defaults and with all changed."""
    for number, thresholds in enumerate((DEFAULTS, OTHERS)):
        groups = [{"name": "all", "rules": rules(thresholds=dict(thresholds))}]
        file = tmp_path / f"rules-{number}.yaml"
        file.write_text(yaml.safe_dump({"groups": groups}))
        content, said = run_promtool("check", "rules", "--lint-fatal", file)
        assert content, said
        assert f"{len(CASES)} rules found" in said


def test_large_thresholds_are_written_as_numbers(other_rules: Mapping[str, Rule]) -> None:
    """Not as 2e+06, which Prometheus would take and people would not."""
    assert "> 2000000\n" in other_rules["GiftcheckKeyedWrongly"]["expr"]


def test_every_alert_says_what_happened_and_what_to_do(default_rules: Mapping[str, Rule]) -> None:
    """Severity, a sentence, more than a sentence, and a section of the runbooks that exists."""
    runbooks = (CHART / "RUNBOOKS.md").read_text()
    anchors = {
        heading.lower() for heading in re.findall(r"^## (Giftcheck\w+)$", runbooks, re.MULTILINE)
    }
    for name, rule in default_rules.items():
        summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
        assert rule["labels"] == {"severity": rule["labels"]["severity"], "namespace": NAMESPACE}
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert summary.endswith("."), name
        assert len(description) > 80, name
        assert description.endswith("."), name
        assert rule["annotations"]["runbook_url"] == f"helm/giftcheck/RUNBOOKS.md#{name.lower()}"
        assert name.lower() in anchors
    assert anchors == {name.lower() for name in default_rules}


def test_each_runbook_says_meaning_looks_and_deeds() -> None:
    """In this order, each with something after it."""
    _, *sections = re.split(
        r"^## Giftcheck\w+$", (CHART / "RUNBOOKS.md").read_text(), flags=re.MULTILINE
    )
    for section in sections:
        found = re.findall(r"^\*\*(\w+)\.\*\* \S", section, re.MULTILINE)
        assert ["Meaning", "Look", "Do"] == found, section


def test_alerts_can_be_left_out_labelled_and_added_to() -> None:
    """What every team does to them."""
    added = {"name": "ours", "rules": [{"alert": "Ours", "expr": "vector(1)"}]}
    found = rules(
        disabled=["GiftcheckPodDown", "GiftcheckClockWrong", "GiftcheckKeyedWrongly"],
        ruleLabels={"team": "gifts"},
        runbookUrlBase="https://runbooks.example/giftcheck",
        additionalGroups=[added],
    )
    *ours, last = found
    assert added["rules"][0] == last
    assert len(CASES) - 3 == len(ours)
    assert {"gifts"} == {rule["labels"]["team"] for rule in ours}
    assert (
        "https://runbooks.example/giftcheck#giftcheckresultslate"
        == ours[0]["annotations"]["runbook_url"]
    )


def test_a_release_asks_for_its_own_series_only() -> None:
    """Two releases in one Prometheus: each selector names the namespace and the pods."""
    manifests = render(
        sets=FIRST_DEPLOYMENT,
        values={"monitoring": {"prometheusRule": {"enabled": True}}},
        release="second",
    )
    groups = only(manifests, "PrometheusRule")["spec"]["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        selectors = re.findall(r"\b(?:giftcheck_\w+|up)\b(\{[^}]*\})?", rule["expr"])
        assert selectors, rule["alert"]
        for selector in selectors:
            assert 'namespace="gifts",pod=~"second-giftcheck-[0-9]+"' in selector, rule["alert"]
