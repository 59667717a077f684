"""The model stand-in over its wire: what is wrong with its answers, and what it counts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from evaluator.model.completion import Dialect, read
from judges import Question, Rubric, RubricSpec
from sandbox.server import Sandbox
from traces import Verdict


def complete(sandbox: Sandbox, body: dict[str, Any] | None = None) -> dict[str, Any]:
    body = body or {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Judge this, from 1 to 5."}]}
    request = urllib.request.Request(
        sandbox.model_url + "/chat/completions", json.dumps(body).encode(), {"Authorization": "Bearer k"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        found: dict[str, Any] = json.loads(response.read())
    return found


def test_an_answer_of_another_schema_is_json_without_a_score(sandbox: Sandbox) -> None:
    sandbox.model.answers.wrong_schema = 1.0
    (choice,) = complete(sandbox)["choices"]
    assert choice["finish_reason"] == "stop"
    assert "score" not in json.loads(choice["message"]["content"])


def test_a_prompt_that_is_too_long_is_refused_as_openai_does(sandbox: Sandbox) -> None:
    sandbox.model.answers.too_long = 1.0
    with pytest.raises(urllib.error.HTTPError) as caught:
        complete(sandbox)
    with caught.value as refusal:
        assert refusal.code == 400
        assert json.loads(refusal.read())["error"]["code"] == "context_length_exceeded"
    assert sandbox.model.counts()["calls"] == 0


def test_only_answers_that_nothing_is_wrong_with_are_usable(sandbox: Sandbox) -> None:
    complete(sandbox)
    sandbox.model.answers.malformed = 1.0
    complete(sandbox)
    assert (sandbox.model.counts()["calls"], sandbox.model.counts()["usable"]) == (2, 1)


SCALES: list[dict[str, Any]] = [
    {"type": "numeric", "min": 1, "max": 5},
    {"type": "numeric", "min": 1, "max": 5, "step": 1},
    {"type": "numeric", "min": 0, "max": 100, "step": 25},
    {"type": "numeric", "min": 0, "max": 1, "step": 0.1},
    {"type": "boolean"},
    {"type": "categorical", "labels": ["bad", "fair", "good"], "ordered": True},
    {"type": "categorical", "labels": ["refund", "billing", "status"], "several": True},
    {"type": "checklist", "criteria": {"cites": "Does it cite?", "polite": {"ask": "Is it polite?", "weight": 2}}},
]


@pytest.mark.parametrize("form", ["json_schema", "json_object", "text"])
@pytest.mark.parametrize("score", SCALES, ids=lambda score: "-".join(map(str, score.values()))[:30])
def test_the_simulated_judge_answers_on_every_scale(sandbox: Sandbox, score: dict[str, Any], form: str) -> None:
    written = {"name": "help", "inputs": {"answer": "$.root.output"}, "criteria": "Does it help?", "score": score}
    question = Rubric(RubricSpec.model_validate(written)).question_from({"answer": "It takes three to five days."})
    assert isinstance(question, Question)
    answer = complete(sandbox, Dialect(form=form).body(question.prompt))
    outcome = question.read(read(json.dumps(answer).encode(), "gpt-5.4-mini"))
    assert isinstance(outcome, Verdict)
    assert question.scale.has(outcome.value)
