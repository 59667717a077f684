"""The dashboard and the alert rules of deploy/: every metric and label they name is one that is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from evaluator.status.metrics import METRICS

ROOT = Path(__file__).parents[2]
TOLD = {each.name: set(each.labels) for each in METRICS}
HISTOGRAMS = {
    f"{each.name}{end}": {*each.labels, "le"}
    for each in METRICS
    if each.kind == "histogram"
    for end in ("_bucket", "_sum", "_count")
}
ALERTS: list[dict[str, Any]] = YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "evaluator.rules.yaml")["groups"][
    0
]["rules"]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "evaluator.json").read_text())
TARGETS = [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel["targets"]]


def strange(expression: str, also: str = "") -> set[str]:
    """Return the metrics and labels of an expression that nobody tells."""
    known = {**TOLD, **HISTOGRAMS}
    names = set(re.findall(r"\bevaluator_\w+", expression))
    labels: set[str] = set().union(*(known.get(name, set()) for name in names))
    groups = ",".join(re.findall(r"\bby \(([^)]*)\)", expression)).split(",")
    selected = re.findall(r"(\w+)\s*=~?\"", expression)
    shown = re.findall(r"{{\s*(?:\$labels\.)?(\w+)\s*}}", also)
    used = {each.strip() for each in [*groups, *selected, *shown] if each.strip()}
    return (names - set(known)) | (used - labels)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_names_what_is_told_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert re.search(r"\bevaluator_", rule["expr"])
    assert strange(rule["expr"], rule["annotations"]["summary"]) == set()
    assert len(rule["annotations"]["description"]) > 20
    assert rule["labels"]["severity"] in {"page", "warning"}


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=lambda each: str(each)[:40])
def test_a_panel_names_what_is_told(title: str, target: dict[str, Any]) -> None:
    assert title
    assert strange(target["expr"], target["legendFormat"]) == set()


def test_silence_pages() -> None:
    paging = {rule["alert"] for rule in ALERTS if rule["labels"]["severity"] == "page"}
    assert {"EvaluatorDown", "EvaluatorNobodyLeads", "EvaluatorNoScores", "EvaluatorDiscoveryBehind"} <= paging


def test_this_test_would_see_a_misspelt_name() -> None:
    assert strange("max by (evaluatr) (evaluator_pendng)") == {"evaluatr", "evaluator_pendng"}
