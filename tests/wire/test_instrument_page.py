"""What docs/instrument.md tells people to write runs as it stands there, and records what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evaluator.langfuse import Window
from evaluator.service import sweep
from sandbox.server import Sandbox
from tests.serving import Config, OpenService
from traces import Observation, Trace

PAGE = Path(__file__).parents[2] / "docs" / "instrument.md"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The stand-in, after everything on the page was run from top to bottom in one program."""
    program = tmp_path_factory.mktemp("page") / "program.py"
    program.write_text("\n\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)))
    with Sandbox() as running:
        running.model.latency_seconds = 0.0
        environment = {
            "LANGFUSE_BASE_URL": running.langfuse_url,
            "LANGFUSE_PUBLIC_KEY": running.public_key,
            "LANGFUSE_SECRET_KEY": running.secret_key,
            "LANGFUSE_RELEASE": "abc123",
            "LANGFUSE_TRACING_ENVIRONMENT": "production",
            "OPENAI_BASE_URL": running.model_url,
            "OPENAI_API_KEY": "sk-sandbox",
        }
        done = subprocess.run(
            [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Failed to export" not in done.stderr
        assert len(running.langfuse.all_scores()) == 1  # the thumb; a test below adds those of rules
        yield running


def whole_traces(service: OpenService) -> dict[str, list[Trace]]:
    """Give the traces of each name, in order."""
    now = datetime.now(UTC)
    with service() as app:
        window = Window(now - timedelta(minutes=10), now + timedelta(seconds=5))
        roots = [root for page in app.langfuse.finished_roots(window, longest=timedelta(hours=1)) for root in page]
        traces = app.langfuse.fetch([root.ref for root in roots])
    named: dict[str, list[Trace]] = {}
    for trace in sorted(traces.values(), key=lambda trace: trace.root.start):
        named.setdefault(trace.name, []).append(trace)
    return named


def only(trace: Trace, kind: str) -> Observation:
    (found,) = [each for each in trace.observations if each.type == kind]
    return found


def test_every_snippet_runs_and_records_what_it_promises(sandbox: Sandbox, service: OpenService) -> None:
    traces = whole_traces(service)
    counts = {name: len(each) for name, each in traces.items()}
    assert counts == {"answer-user-query": 2, "answer-with-prompt": 1, "answer-and-log": 1, "answer-over-otel": 1}
    for trace in (trace for each in traces.values() for trace in each):
        assert (trace.user_id, trace.session_id, trace.environment) == ("user-42", "chat-7", "production")
        assert trace.root.output
        assert only(trace, "GENERATION").model == "gpt-5.4-mini"
    with_tags, with_prompt = traces["answer-user-query"]
    assert (with_tags.tags, with_tags.release) == (("web",), "abc123")
    assert only(with_tags, "RETRIEVER").output == ["Orders can be returned within 30 days of delivery."]
    assert only(with_tags, "TOOL").output == {"number": 7, "delivered": "2026-11-20"}
    for trace in (with_prompt, *traces["answer-over-otel"]):
        generation = only(trace, "GENERATION")
        assert (generation.prompt_name, generation.prompt_version) == ("support-answer", 4)
    assert only(traces["answer-and-log"][0], "TOOL").parent_id != traces["answer-and-log"][0].root.id


def test_the_thumb_lands_on_the_trace_that_was_logged(sandbox: Sandbox) -> None:
    (thumb,) = [score for score in sandbox.langfuse.all_scores() if score["name"] == "user-feedback"]
    assert (thumb["name"], thumb["value"], thumb["dataType"]) == ("user-feedback", 0, "BOOLEAN")
    assert thumb["id"] == f"{thumb['traceId']}-user-feedback"


def test_rules_find_what_they_look_for(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    config(
        rules="- {name: answered, rule: not_empty}\n- {name: user, rule: has_user_id}\n"
        "- {name: session, rule: has_session_id}\n- {name: calls, rule: tool_call_count}",
        rubrics={},
    )
    with service() as app:
        swept = sweep(app, timedelta(minutes=10), drain=True)
    assert {state for _, state, _ in swept.funnel} <= {"sampled", "scored"}
