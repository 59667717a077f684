"""A rule finds trouble, and in the same pass the judge looks at the trace: once, with the right probability."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any, Final

from evaluator.discovery.filter_scores import awaited_names
from evaluator.sampling.conditions import NOTHING_FOUND
from evaluator.service import sweep
from sandbox.server import Sandbox
from tests.serving import RUBRIC, Config, OpenService, Traffic

RULES: Final = """
- {name: short, rule: length, max: 20, severity: error}
- name: tidy
  rule: all
  of: [{rule: not_empty}, {rule: not, of: {rule: contains, any: [sorry]}}, {rule: no_secrets}]
  score: fraction
"""
RAISED: Final = "{when: {score: {name: short, equals: false}}, rate: 1}, {rate: 0}"
RUBRICS: Final = {
    "why": RUBRIC.replace("helpfulness", "why").replace("{rate: 1}", RAISED),
    "bad": RUBRIC.replace("helpfulness", "bad").replace("{rate: 1}", "{when: {found: warning}, rate: 1}"),
    "worse": RUBRIC.replace("helpfulness", "worse").replace(
        "{rate: 1}", "{rate: 1}, {when: {found: error}, rate: 0.5}"
    ),
}


def scores(sandbox: Sandbox, name: str) -> dict[str, dict[str, Any]]:
    found = [score for score in sandbox.langfuse.all_scores() if score["name"] == name]
    assert max(Counter(score["traceId"] for score in found).values(), default=1) == 1
    return {score["traceId"]: score for score in found}


def test_a_finding_takes_its_trace_to_the_judge_in_the_same_pass(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    fine = traffic.add(6, output="All sent.")
    long = traffic.add(4, first=50)
    with service(config(rules=RULES, rubrics=RUBRICS)) as app:
        swept = sweep(app, timedelta(hours=1), drain=True, threads=4).as_json()
        funnel = app.state.funnel()
        again = sweep(app, timedelta(hours=1), drain=True, threads=4).as_json()
        app.late_scores(lambda _: None).look()
    assert scores(sandbox, "why").keys() == scores(sandbox, "bad").keys() == set(long)
    assert {score["metadata"]["inclusion_probability"] for score in scores(sandbox, "why").values()} == {1}
    assert {str(score["metadata"]["stratum"]) for score in scores(sandbox, "why").values()} == {"0"}
    assert scores(sandbox, "worse").keys() == {*fine, *long}
    # Every trace went to a worker, which left those in which nothing was found, and said so.
    assert (funnel["why", "sampled", ""], funnel["why", "skipped", NOTHING_FOUND]) == (10, 6)
    assert funnel["why", "scored", ""] == 4
    assert again["evaluations"] == {}
    # Severity stands on the score, and the summary counts what failed by it.
    assert {score["metadata"]["severity"] for score in scores(sandbox, "short").values()} == {"error"}
    assert swept["reasons"]["scored: failed, error"] == 4
    assert {score["value"] for score in scores(sandbox, "tidy").values()} == {1.0}
    assert {score["dataType"] for score in scores(sandbox, "tidy").values()} == {"NUMERIC"}


def test_nothing_is_read_from_langfuse_for_what_a_rule_tells(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    traffic.add(3)
    with service(config(rules=RULES, rubrics={"why": RUBRICS["why"]})) as app:
        assert awaited_names(app.definitions) == []
        app.discovery(lambda _: None).since(app.clock.now() - timedelta(hours=1))
        app.state.advance(app.clock.now())
        sandbox.langfuse.faults.burst = 9
        app.late_scores(lambda _: None).look()
        assert sandbox.langfuse.faults.burst == 9
