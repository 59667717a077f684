"""Rubrics of a group over the wire: one call a trace, each score once, and only what failed is asked again."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any, Final

import pytest

from evaluator.service import sweep
from sandbox.server import Sandbox
from tests.answering import Answering, scores, sends
from tests.serving import SERVICE, Config, OpenService, Traffic

GROUP: Final = {
    "faithfulness": """
name: faithfulness
sample: [{rate: 1}]
inputs: {documents: "$.observations[?@.type == 'RETRIEVER'].output", answer: $.root.output}
criteria: Is every claim supported?
score: {type: numeric, min: 1, max: 5}
judge: {group: quality}
""",
    "safe": """
name: safe
sample: [{rate: 1}]
inputs: {answer: $.root.output}
criteria: Is it safe?
score: {type: boolean}
judge: {group: quality}
""",
    "tone": """
name: tone
sample: [{rate: 1}]
inputs: {answer: $.root.output}
criteria: Judge the tone.
score: {type: checklist, criteria: {warm: Is it warm?, clear: Is it clear?}, each: true}
judge: {group: quality}
""",
}
NAMES: Final = ("faithfulness", "safe", "tone", "tone.warm", "tone.clear")


def pairs(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def by_name(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return {score["name"]: score for score in sandbox.langfuse.all_scores()}


@pytest.mark.parametrize("old_server", [False, True])
def test_a_trace_takes_one_call_and_the_cost_adds_up(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, old_server: bool
) -> None:
    sandbox.model.refuse_json_schema = sandbox.model.refuse_json_object = old_server
    ids = traffic.add(20)
    with service(config(rules="[]", rubrics=GROUP)) as app:
        result = sweep(app, timedelta(hours=1), drain=True, threads=4)
        spent = app.state.spending()
    counted = sandbox.model.counts()
    assert counted["calls"] == 20 == result.used.calls
    assert pairs(sandbox) == Counter({(i, name): 1 for i in ids for name in NAMES})
    assert sum(used.input_tokens for used in spent.values()) == counted["input_tokens"]
    assert sum(used.output_tokens for used in spent.values()) == counted["output_tokens"]
    assert max(u.input_tokens for u in spent.values()) - min(u.input_tokens for u in spent.values()) <= 20
    assert sorted(by_name(sandbox)["safe"]["metadata"]["asked_with"]) == ["faithfulness", "tone"]


def test_the_unchanging_text_comes_first_so_that_the_prompt_cache_holds_it(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    sandbox.model.cached_from = 300  # of one of them alone nothing would be held
    traffic.add(30)
    prices = "models: {prices: {gpt-5.4-mini: {input: 10, cached_input: 1, output: 0}}}\n"
    with service(config(rules="[]", rubrics=GROUP, service=SERVICE + prices)) as app:
        used = sweep(app, timedelta(hours=1), drain=True, threads=2).used
    # An order is new to the cache at its first prompt, and there are six.
    assert used.cached_tokens >= 24 * 256
    assert used.usd == pytest.approx((10 * used.input_tokens - 9 * used.cached_tokens) / 1e6)


def test_answers_that_cannot_be_read_cost_no_trace_its_scores(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    sandbox.model.answers.malformed = 0.3
    ids = traffic.add(20)
    with service(config(rules="[]", rubrics=GROUP)) as app:
        result = sweep(app, timedelta(hours=1), drain=True, threads=4)
    # Asked together, then alone, then repaired: 0.3 ** 3 of the questions fail for good.
    states = result.as_json()["evaluations"]
    assert states["scored"] + states.get("failed", 0) == 60
    assert states["scored"] >= 50
    assert set(pairs(sandbox).values()) == {1}
    assert {i for i, _ in pairs(sandbox)} <= set(ids)


def test_only_what_could_not_be_read_is_asked_again_and_alone(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    fine = {"reasoning": "Fine.", "score": True}
    checks = {key: {"reason": "Yes.", "answer": "yes"} for key in ("warm", "clear")}
    tone = {"reasoning": "Good.", "score": checks}
    group = {"faithfulness": {"reasoning": "Hm.", "score": 17}, "safe": fine, "tone": tone}
    completion = {"choices": [{"finish_reason": "stop", "message": {"content": json.dumps(group)}}]}
    usage = {"prompt_tokens": 300, "completion_tokens": 60}
    with Answering() as model:
        model.script = [sends(200, {"model": "gpt", "usage": usage, **completion}), scores(2, read=100, written=20)]
        with service(config(rules="[]", rubrics=GROUP), openai_base_url=model.url) as app:
            sweep(app, timedelta(hours=1), drain=True, threads=2)
            spent = app.state.spending()
        first, second = (json.dumps(request) for request in model.requests)
    assert "Is it safe?" in first
    assert "Is every claim supported?" in second
    assert "Is it safe?" not in second
    found = by_name(sandbox)
    assert (found["faithfulness"]["value"], found["safe"]["value"], found["tone"]["value"]) == (2, 1, 1)
    assert found["faithfulness"]["metadata"]["asked_alone"] == "bad_answer"
    assert (spent["faithfulness"].input_tokens, spent["safe"].input_tokens) == (200, 100)


def test_what_the_provider_does_not_take_together_is_asked_alone(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    body = {"error": {"message": "maximum context length is 8192", "code": "context_length_exceeded"}}
    with Answering() as model:
        model.script = [sends(400, body)]
        folder = config(rules="[]", rubrics={"faithfulness": GROUP["faithfulness"], "other": OTHER})
        model.always = scores(3)
        with service(folder, openai_base_url=model.url) as app:
            sweep(app, timedelta(hours=1), drain=True, threads=2)
        assert len(model.requests) == 3
    assert {(name, s["metadata"]["asked_alone"]) for name, s in by_name(sandbox).items()} == {
        ("faithfulness", "context_too_long"),
        ("other", "context_too_long"),
    }


OTHER: Final = GROUP["faithfulness"].replace("name: faithfulness", "name: other")
