"""Two hundred real runs of a tool-calling agent, replayed as traces and evaluated by every shipped rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evaluator import starter
from evaluator.app import App
from evaluator.langfuse import Window
from evaluator.service import sweep
from sandbox import ingest
from sandbox.replay import BadRecording, runs
from sandbox.server import Sandbox
from tests.serving import Config, OpenService
from traces import NotApplicable, TraceRoot

RECORDED = "data/tau_bench_airline/gpt-4o-airline.json.gz"


def play(sandbox: Sandbox, path: Path) -> int:
    plans = list(runs(path, datetime.now(UTC) - timedelta(minutes=35)))
    ingest.play(plans, base_url=sandbox.langfuse_url, public_key=sandbox.public_key, secret_key=sandbox.secret_key)
    return len(plans)


def test_all_rules_on_all_recorded_runs_exactly_once(
    sandbox: Sandbox, service: OpenService, config: Config, shared: Path
) -> None:
    assert play(sandbox, shared / RECORDED) == 200
    folder = config(rules=(starter.folder() / "rules.yaml").read_text(), rubrics={})
    with service(folder) as app:
        swept = sweep(app, timedelta(hours=12), drain=True, threads=8)
        refs = [root.ref for page in _roots(app) for root in page]
        traces = app.langfuse.fetch(refs)
        rules = {e.name: e.rule for e in app.definitions.evaluators if e.rule is not None}
        expected = {
            (trace.id, name)
            for trace in traces.values()
            for name, rule in rules.items()
            if not isinstance(rule.check(trace), NotApplicable)
        }
    assert swept.found.traces == len(traces) == 200
    assert swept.as_json()["evaluations"]["sampled"] == 200 * len(rules)
    ours = [score for score in sandbox.langfuse.all_scores() if score["name"] != "task-success"]
    assert Counter((s["traceId"], s["name"]) for s in ours) == Counter(expected)
    assert sandbox.langfuse.counts()["duplicates"] == 0
    rewards = [s["value"] for s in sandbox.langfuse.all_scores() if s["name"] == "task-success"]
    assert Counter(map(bool, rewards)) == Counter({False: 116, True: 84})


def test_a_recorded_run_becomes_the_trace_it_would_have_been(
    sandbox: Sandbox, service: OpenService, tmp_path: Path
) -> None:
    chat = [
        {"role": "system", "content": "Help with orders."},
        {"role": "user", "content": "Where is order 7?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"order": 7}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"status": "sent"}'},
        {"role": "assistant", "content": "It is on its way."},
    ]
    path = tmp_path / "runs.json"
    path.write_text(json.dumps([{"task_id": 3, "trial": 1, "traj": chat, "reward": 0.0}]))
    play(sandbox, path)
    with service() as app:
        (ref,) = [root.ref for page in _roots(app) for root in page]
        trace = app.langfuse.fetch([ref])[ref.id]
    assert [o.type for o in trace.observations] == ["AGENT", "GENERATION", "TOOL", "GENERATION"]
    assert (trace.root.input, trace.root.output) == ("Where is order 7?", "It is on its way.")
    (call,) = trace.tool_calls
    assert (call.name, call.input, call.output) == ("find", {"order": 7}, {"status": "sent"})
    assert trace.generations[0].input[0] == chat[0]
    assert trace.generations[1].input == [chat[3]]
    assert (trace.user_id, trace.session_id, trace.tags) == ("user-3", "task-3-trial-1", ("recorded",))
    assert {name: str(value) for name, value in trace.root.metadata.items()} == {"task_id": "3", "trial": "1"}
    assert [s["value"] for s in sandbox.langfuse.all_scores()] == [False]


@pytest.mark.parametrize(
    ("content", "said"),
    [("{}", "expected a list of runs"), ("[{}]", "run 0: expected an object with `traj`"), ("[", "is not JSON")],
)
def test_another_file_is_refused_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "runs.json"
    path.write_text(content)
    with pytest.raises(BadRecording, match=said):
        list(runs(path, datetime.now(UTC)))


def _roots(app: App) -> Iterator[list[TraceRoot]]:
    now = datetime.now(UTC)
    return app.langfuse.finished_roots(Window(now - timedelta(hours=12), now), longest=timedelta(hours=2))
