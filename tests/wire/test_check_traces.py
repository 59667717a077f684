"""`evaluator check --traces`: what real traffic lacks, and which evaluators that blinds."""

from __future__ import annotations

import io
from datetime import timedelta

from rich.console import Console

from evaluator.app import open_desk
from evaluator.definitions import load
from evaluator.preview.instrumentation import Instrumented, inspect, show
from evaluator.settings import Settings
from sandbox.server import Sandbox
from tests.serving import RUBRIC, Config, Run, Traffic

OF_TOOLS = """
name: tools
sample: [{rate: 0.001}]
inputs: {calls: "$.observations[?@.type == 'TOOL'].output"}
criteria: Is it good?
score: {type: boolean}
"""


def looked(sandbox: Sandbox, environment: dict[str, str], config: Config) -> Instrumented:
    folder = config(
        rules="- {name: of-vip, rule: not_empty, when: {user_id: vip}}\n",
        rubrics={"helpfulness": RUBRIC, "tools": OF_TOOLS},
    )
    values = {name.lower(): value for name, value in environment.items()}
    with open_desk(Settings(**{**values, "evaluator_config": folder}), load(folder)) as desk:  # type: ignore[arg-type]
        found = inspect(desk, timedelta(hours=1), content=20)
    assert sandbox.model.calls == 0
    assert sandbox.langfuse.all_scores() == []
    return found


def test_what_is_missing_is_counted_and_whom_it_blinds_is_named(
    sandbox: Sandbox, environment: dict[str, str], config: Config, traffic: Traffic
) -> None:
    traffic.add(6)
    traffic.add(4, first=6, userId=None, output=None)
    found = looked(sandbox, environment, config)
    gaps = {gap.what: gap for gap in found.gaps}
    assert (found.roots, found.traces) == (10, 10)
    assert set(gaps) == {"user_id", "release", "the root's output"}
    assert (gaps["user_id"].missing, gaps["user_id"].of, gaps["user_id"].blinds) == (4, 10, ("of-vip",))
    assert (gaps["the root's output"].missing, gaps["release"].missing) == (4, 10)
    assert [(each.evaluator, each.skipped, each.of) for each in found.blind] == [("tools", 10, 10)]
    out = io.StringIO()
    show(found, "1h", Console(file=out, width=200))
    assert "40% without user_id" in out.getvalue()
    assert "these never see such a trace: of-vip" in out.getvalue()
    assert "tools is blind: it skips 100%" in out.getvalue()


def test_the_command_says_it_after_all_else_is_well(run: Run, config: Config, traffic: Traffic) -> None:
    config()
    assert "no trace finished in the last 24h" in run("check", "--traces").stdout
    traffic.add(3)
    done = run("check", "--traces", "--since", "1h")
    assert done.returncode == 0, done.stderr
    assert "3 traces finished in the last 1h, 3 of them were read whole" in done.stdout
    assert "100% without release" in done.stdout
