"""Lines of the log say what they are about: the message, the trace, the evaluator."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

from evaluator.service import sweep
from evaluator.telemetry.logs import configure_logs
from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Traffic, trace_id

CHATTY = '''
import logging
from rules.base import Rule
from traces import Verdict


class Chatty(Rule):
    """Says what it does, as a team's own rule may."""

    def check(self, trace):
        logging.getLogger("team").warning("looking")
        return Verdict(True)
'''

Lines = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Write logs as JSON; give the lines of one event."""
    root, before, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    out = io.StringIO()
    configure_logs("json", out)
    yield lambda event: [line for line in map(json.loads, out.getvalue().splitlines()) if line["event"] == event]
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_failure_names_message_trace_and_evaluator(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, lines: Lines
) -> None:
    sandbox.model.answers.malformed = 1.0
    traffic.add(3)
    with service() as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    failed = lines("evaluation failed")
    assert {(line["trace_id"], line["evaluator"]) for line in failed} == {
        (trace_id(n), "helpfulness") for n in range(3)
    }
    assert len({line["message_id"] for line in failed}) == 1
    assert {line["lane"] for line in failed} == {"backfill"}
    assert "message_id" not in lines("worker stopped")[0]


def test_what_a_rule_of_a_team_says_names_its_trace(
    config: Config, service: OpenService, traffic: Traffic, lines: Lines
) -> None:
    folder = config(
        rules="[{name: chatty, rule: chatty}]", service="rules_path: own\ndiscovery: {quiet_for: 1s}\n", rubrics={}
    )
    (folder / "own").mkdir()
    (folder / "own" / "chatty.py").write_text(CHATTY)
    traffic.add(2)
    with service(folder) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    said = lines("looking")
    assert {(line["trace_id"], line["evaluator"]) for line in said} == {(trace_id(n), "chatty") for n in range(2)}
    assert all(line["message_id"] for line in said)


def test_what_is_said_of_a_call_names_whose_it_was(
    sandbox: Sandbox, config: Config, service: OpenService, traffic: Traffic, lines: Lines
) -> None:
    sandbox.model.refuse_json_schema = True
    traffic.add(1)
    with service(config(rules="[]")) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    (line,) = lines("the model's server does not know all that was sent")
    assert (line["trace_id"], line["evaluator"]) == (trace_id(0), "helpfulness")
    assert line["message_id"]


def test_a_mistake_of_the_service_names_the_message(
    service: OpenService, traffic: Traffic, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.worker.TRIES", 0)
    traffic.add(1)
    with service() as app:

        def broken(*_: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr(type(app.evaluation), "evaluate", broken)
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    (line,) = lines("a batch failed by a mistake of the service")
    assert line["trace_id"] == trace_id(0)
    assert line["message_id"]
    assert len(lines("evaluation failed")) == 3
