"""What scores low goes to people, into an annotation queue or a dataset, at most once."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from aiohttp import web

from evaluator.errors import Unavailable
from evaluator.service import sweep
from evaluator.status.overview import look
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.answering import Answering, scores
from tests.serving import RUBRIC, Config, OpenService, Traffic, trace_id

MONITORS: Final = """
- {score: helpfulness, on_low: {at_most: 2, queue: triage, dataset: hard-cases}}
- {score: user-feedback, on_low: {queue: unhappy}}
"""


def opened(config: Config) -> Any:
    return config(rules="[]", rubrics={"helpfulness": RUBRIC}, monitors=MONITORS)


async def by_question(request: web.Request) -> web.StreamResponse:
    """Answer that the trace of order 0 is bad, and the others good."""
    asked = await request.text()
    return await scores(2 if "order 0" in asked else 5)(request)


def thumb(sandbox: Sandbox, trace: str, value: int) -> None:
    score = {"id": f"{trace}-{value}", "name": "user-feedback", "value": value, "dataType": "BOOLEAN", "traceId": trace}
    sandbox.langfuse.load_scores([{**score, "timestamp": datetime.now(UTC).isoformat()}])


def queued(sandbox: Sandbox, name: str) -> list[str]:
    return [item["objectId"] for item in sandbox.langfuse.reviews.queued(name)]


@pytest.fixture(autouse=True)
def places(sandbox: Sandbox) -> None:
    for name in ("triage", "unhappy"):
        sandbox.langfuse.reviews.add_queue(name)
    sandbox.langfuse.reviews.add_dataset("hard-cases")


def test_low_scores_of_ours_go_where_monitors_say_once(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    low, high = traffic.add(1), traffic.add(1, first=1)
    with Answering() as model, service(opened(config), openai_base_url=model.url) as app:
        model.always = by_question
        for _ in range(2):
            sweep(app, timedelta(hours=1), drain=True)
            app.low.hand_over()
        assert sandbox.langfuse.counts()["pairs"] == len(low + high)
    assert queued(sandbox, "triage") == low
    (item,) = sandbox.langfuse.reviews.dataset("hard-cases")
    assert (item["sourceTraceId"], item["input"]) == (low[0], {"question": "How do I return order 0?"})
    assert item["metadata"] == {"score": "helpfulness", "value": 2.0}


def test_thumbs_down_go_too_whoever_wrote_them(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    down, up = traffic.add(2)
    with service(opened(config)) as app:
        late = app.late_scores(lambda _: None)
        late.look()
        thumb(sandbox, down, 0)
        thumb(sandbox, up, 1)
        for _ in range(3):
            late.look()
            app.low.hand_over()
    assert queued(sandbox, "unhappy") == [down]


def test_an_answer_that_is_lost_puts_nothing_in_twice(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    traces = traffic.add(3)
    with service(opened(config)) as app:
        late = app.late_scores(lambda _: None)
        late.look()
        for trace in traces:
            thumb(sandbox, trace, 0)
        late.look()
        sandbox.langfuse.faults.change({"paths": "annotation-queues/.*/items", "lost_answers": 0.5})
        while len(queued(sandbox, "unhappy")) < 3 or app.low.waiting():
            with contextlib.suppress(Unavailable):
                app.low.hand_over()
    assert sorted(queued(sandbox, "unhappy")) == sorted(traces)


def test_a_place_that_is_not_there_is_told_and_holds_nobody_up(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    (trace,) = traffic.add(1)
    monitors = "- {score: user-feedback, on_low: {queue: gone, dataset: none}}\n- {score: user-feedback2}\n"
    with service(config(rules="[]", rubrics={}, monitors=monitors)) as app:
        late = app.late_scores(lambda _: None)
        late.look()
        thumb(sandbox, trace, 0)
        late.look()
        assert app.low.hand_over() == 0
        why = {low.kind: low.why for low in app.low.waiting()}
        assert "Langfuse has no annotation queue 'gone'" in why["queue"]
        assert "Dataset not found" in why["dataset"]
        assert len(look(app, open_queue(app), app.clock.now()).as_json()["low_scores_waiting"]) == 2
        sandbox.langfuse.reviews.add_queue("gone")
        sandbox.langfuse.reviews.add_dataset("none")
        assert app.low.hand_over() == 2
        assert app.low.waiting() == []
    assert queued(sandbox, "gone") == [trace] == [trace_id(0)]
