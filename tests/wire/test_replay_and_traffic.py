"""Recorded runs and sample traffic on their way through Langfuse: what is sent is what is read and evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evaluator.app import App
from evaluator.langfuse import Window
from evaluator.service import sweep
from sandbox import ingest
from sandbox.plans import TracePlan
from sandbox.replay import REWARD, runs
from sandbox.server import Sandbox
from sandbox.traffic import BAD_VERSION, GOOD_VERSION, GROUND_TRUTH, traffic
from tests.serving import Config, OpenService
from traces import NotApplicable, TraceRef

RECORDED = "data/tau_bench_airline/gpt-4o-airline.json.gz"
RULES = """
- {name: answered, rule: not_empty}
- {name: no-errors, rule: error_level}
- {name: no-loops, rule: repeated_tool_calls}
- {name: tool-calls, rule: tool_call_count}
- {name: has-user, rule: has_user_id}
- {name: cheap-enough, rule: max_cost, usd: 0.05}
"""
END = datetime.now(UTC) - timedelta(minutes=35)


def play(sandbox: Sandbox, plans: list[TracePlan]) -> None:
    ingest.play(plans, base_url=sandbox.langfuse_url, public_key=sandbox.public_key, secret_key=sandbox.secret_key)


def refs(app: App, back: timedelta) -> list[TraceRef]:
    window = Window(END - back, datetime.now(UTC))
    return [root.ref for page in app.langfuse.finished_roots(window, longest=timedelta(hours=2)) for root in page]


def test_recorded_runs_get_each_score_of_each_rule_that_applies_once(
    sandbox: Sandbox, service: OpenService, config: Config, shared: Path
) -> None:
    plans = list(runs(shared / RECORDED, END))
    play(sandbox, plans)
    with service(config(rules=RULES, rubrics={})) as app:
        swept = sweep(app, timedelta(hours=12), drain=True, threads=4)
        found = refs(app, timedelta(hours=12))
        fetched = app.langfuse.fetch(found)
        outcomes = {
            (trace.id, evaluator.name): evaluator.rule.check(trace)
            for trace in fetched.values()
            for evaluator in app.definitions.evaluators
            if evaluator.rule is not None
        }
    assert set(fetched) == {plan.id for plan in plans}
    assert len(outcomes) == 200 * 6
    inapplicable = sum(isinstance(outcome, NotApplicable) for outcome in outcomes.values())
    assert swept.as_json()["evaluations"] == {
        "sampled": 1200,
        "scored": 1200 - inapplicable,
        "skipped": inapplicable,
    }
    # A run without tools has no loop to look for.
    assert inapplicable == sum(all(span.type != "TOOL" for span in plan.spans) for plan in plans) > 0
    stored = sandbox.langfuse.all_scores()
    ours = Counter((s["traceId"], s["name"]) for s in stored if s["name"] != REWARD)
    assert ours == Counter(pair for pair, outcome in outcomes.items() if not isinstance(outcome, NotApplicable))
    assert sandbox.langfuse.counts()["duplicates"] == 0
    rewards = {s["traceId"]: float(s["value"]) for s in stored if s["name"] == REWARD}
    assert rewards == {plan.id: plan.scores[0].value for plan in plans}
    assert len(rewards) == 200


def test_recorded_runs_arrive_span_by_span_as_they_were_sent(
    sandbox: Sandbox, service: OpenService, config: Config, shared: Path
) -> None:
    plans = list(runs(shared / RECORDED, END))[:25]
    play(sandbox, plans)
    with service(config(rules=RULES, rubrics={})) as app:
        fetched = app.langfuse.fetch(refs(app, timedelta(hours=12)))
    for plan in plans:
        got = fetched[plan.id]
        assert Counter(o.type for o in got.observations) == Counter(span.type for span in plan.spans)
        assert [o.name for o in got.tool_calls] == [span.name for span in plan.spans if span.type == "TOOL"]
        assert [o.input for o in got.tool_calls] == [span.input for span in plan.spans if span.type == "TOOL"]
        assert (got.root.input, got.root.output) == (plan.spans[0].input, plan.spans[0].output)


def test_two_weeks_of_traffic_are_read_back_whole(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    plans = list(traffic(2, 60, END))
    play(sandbox, plans)
    counts = sandbox.langfuse.counts()
    assert len(plans) == 120
    assert counts["traces"] == 120
    assert counts["observations"] == sum(len(plan.spans) for plan in plans)
    told = {(plan.id, score.name): score.value for plan in plans for score in plan.scores}
    assert {(s["traceId"], s["name"]): float(s["value"]) for s in sandbox.langfuse.all_scores()} == told
    number = Counter(name for _, name in told)
    assert number.keys() == {"user-feedback", GROUND_TRUTH}
    assert all(10 < count < 60 for count in number.values())
    with service(config(rules=RULES, rubrics={})) as app:
        found = refs(app, timedelta(weeks=2, days=1))
        fetched = app.langfuse.fetch(found)
    # What judges leave behind is not read back: nobody judges judges.
    wanted = {plan.id: plan for plan in plans if plan.environment != "llm-as-a-judge"}
    assert {ref.id for ref in found} == set(fetched) == set(wanted)
    for trace_id, trace in fetched.items():
        plan = wanted[trace_id]
        assert len(trace.observations) == len(plan.spans)
        assert (trace.user_id, trace.session_id, trace.name) == (plan.user_id, plan.session_id, plan.name)
        assert (trace.environment, trace.tags) == (plan.environment, tuple(sorted(plan.tags)))


def test_sending_the_same_traffic_again_adds_nothing(sandbox: Sandbox) -> None:
    plans = list(traffic(2, 60, END))
    play(sandbox, plans)
    once = {name: sandbox.langfuse.counts()[name] for name in ("traces", "observations", "scores", "duplicates")}
    play(sandbox, list(traffic(2, 60, END)))
    assert {name: sandbox.langfuse.counts()[name] for name in once} == once


def test_one_seed_is_one_traffic_and_another_is_another() -> None:
    first, again, other = (list(traffic(2, 60, END, seed)) for seed in (7, 7, 8))
    assert first == again
    assert [outputs(plan) for plan in first] != [outputs(plan) for plan in other]


def test_traffic_holds_what_the_demo_is_about() -> None:
    plans = list(traffic(4, 300, END))
    environments = Counter(plan.environment for plan in plans)
    assert environments.keys() == {"production", "staging", "llm-as-a-judge"}
    assert environments["production"] > 0.9 * len(plans)
    assert len({plan.id for plan in plans}) == len(plans) == 1200
    assert len({span.id for plan in plans for span in plan.spans}) == sum(len(plan.spans) for plan in plans)
    starts = [plan.spans[0].start for plan in plans]
    assert starts == sorted(starts)
    assert END - timedelta(weeks=4) <= starts[0]
    assert starts[-1] < END
    by_version = {version: list(of_version(plans, version)) for version in (GOOD_VERSION, BAD_VERSION)}
    assert all(END - plan.spans[0].start <= timedelta(days=7) for plan in by_version[BAD_VERSION])
    recent = [plan for plan in by_version[GOOD_VERSION] if END - plan.spans[0].start <= timedelta(days=7)]
    assert 0.3 < len(by_version[BAD_VERSION]) / (len(by_version[BAD_VERSION]) + len(recent)) < 0.7
    assert all(span.end >= span.start for plan in plans for span in plan.spans)


def outputs(plan: TracePlan) -> list[Any]:
    return [span.output for span in plan.spans]


def of_version(plans: Iterable[TracePlan], version: int) -> Iterable[TracePlan]:
    return (plan for plan in plans if any(span.prompt_version == version for span in plan.spans))
