"""What a rubric's `judge` may say of doubt, and what that changes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from judges import Prompt, Question, Reply, Rubric, RubricSpec
from judges.asking import Escalation
from traces import Usage

LEVELS = {"type": "numeric", "min": 1, "max": 5, "step": 1}
LOGPROBS = {"logprobs": True}
ESCALATE = {"logprobs": True, "escalate": {"model": "strong"}}


def rubric(judge: dict[str, Any], score: dict[str, Any] = LEVELS) -> Rubric:
    inputs = {"answer": "$.root.output"}
    written = {"name": "tone", "inputs": inputs, "criteria": "Is it kind?", "score": score, "judge": judge}
    return Rubric(RubricSpec.model_validate(written))


def question(judge: dict[str, Any]) -> Question:
    asked = rubric(judge).question_from({"answer": "Yes."})
    assert isinstance(asked, Question)
    return asked


def test_the_question_says_what_is_wanted() -> None:
    assert question({}).prompt.logprobs is False
    assert question(LOGPROBS).prompt.logprobs is True
    assert question(ESCALATE).escalate == Escalation("strong", 0.7)
    stronger = question(ESCALATE).stronger
    assert stronger is not None
    assert (stronger.prompt.model, stronger.prompt.logprobs, stronger.asks) == ("strong", False, ("strong",))
    assert question(ESCALATE).may_ask == {"gpt-5.4-mini", "strong"}
    assert question({}).stronger is None


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ({**LOGPROBS, "group": "all"}, "leave out group"),
        ({**LOGPROBS, "lane": "batch"}, "leave out lane"),
        ({"escalate": {"model": "strong"}}, "needs a confidence"),
        ({"logprobs": True, "escalate": {"model": "gpt-5.4-mini"}}, "has been asked already"),
        ({"jury": ["strong"], "escalate": {"model": "strong"}}, "has been asked already"),
        ({"logprobs": True, "escalate": {"model": "strong", "below": 0}}, "greater than 0"),
    ],
)
def test_what_cannot_be_is_refused(judge: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        rubric(judge)


@pytest.mark.parametrize(
    "score",
    [
        {"type": "numeric", "min": 1, "max": 5},
        {"type": "numeric", "min": 0, "max": 10, "step": 1},
        {"type": "categorical", "labels": ["good", "bad"]},
    ],
)
def test_only_scales_of_single_tokens_are_weighed(score: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"judge\.logprobs: logprobs need"):
        rubric(LOGPROBS, score)


def test_both_change_the_version_and_their_absence_does_not() -> None:
    versions = {rubric(judge).version for judge in ({}, LOGPROBS, ESCALATE)}
    assert len(versions) == 3
    assert rubric({"logprobs": False, "escalate": None}).version == rubric({}).version


def test_whoever_may_be_asked_is_known() -> None:
    assert rubric({**ESCALATE, "jury": ["other"]}).spec.judge.every_model == ("gpt-5.4-mini", "other", "strong")


@pytest.mark.parametrize("long", ["pack", "parts"])
def test_a_stronger_judge_is_never_asked_for_probabilities(long: str) -> None:
    # It may have none to tell, and its word counts as it is: in every part, and when its context is smaller too.
    spec = RubricSpec.model_validate(
        {
            "name": "tone",
            "inputs": {"answer": {"path": "$.root.output", "max_chars": 90_000}},
            "criteria": "Is it kind?",
        }
        | {"score": LEVELS, "judge": {**ESCALATE, "long": long, "max_output_tokens": 500}}
    )
    asked = Rubric(spec, context=8_000).question_from({"answer": "A kind word. " * 4_000})
    assert isinstance(asked, Question)
    stronger = asked.stronger
    assert stronger is not None
    smaller = stronger.smaller(6_000)
    assert smaller is not None
    for each in (stronger, smaller):
        prompts = all_prompts(each)
        assert len(prompts) > 1 or long == "pack"
        assert {(prompt.model, prompt.logprobs) for prompt in prompts} == {("strong", False)}
    assert all_prompts(asked)[-1].logprobs is True


def all_prompts(question: Question) -> list[Prompt]:
    """Return every prompt that a question is asked in, when each part is answered with notes."""
    prompts = [question.prompt]
    while "notes" in question.prompt.schema["properties"]:
        read = question.read(Reply('{"notes": "Kind so far."}', "strong", "stop", Usage(calls=1)))
        assert isinstance(read, Prompt)
        question = question.again(read)
        prompts.append(read)
    return prompts
