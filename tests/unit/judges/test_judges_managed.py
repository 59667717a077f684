from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from judges import NO_PROMPT, ManagedPrompt, PromptSource, Question, Rubric, RubricSpec, unknown_variables
from tests.building import trace
from traces import NotApplicable


def spec(**changes: Any) -> RubricSpec:
    written = {
        "name": "tone",
        "inputs": {"answer": "$.root.output"},
        "prompt": {"langfuse": "judges/tone"},
        "score": {"type": "boolean"},
    }
    return RubricSpec.model_validate(written | changes)


def test_a_rubric_without_its_prompt_has_nothing_to_ask() -> None:
    rubric = Rubric(spec())
    assert rubric.spec.awaits_prompt
    assert rubric.question(trace()) == NotApplicable(NO_PROMPT)


def test_with_its_prompt_it_asks_by_its_words_and_says_which_version() -> None:
    rubric = Rubric(spec()).with_prompt(ManagedPrompt(text="Is {{answer}} warm? {{ other }}", version=3))
    question = rubric.question(trace())
    assert isinstance(question, Question)
    assert 'Criteria:\nIs "answer" warm? {{ other }}\n' in question.prompt.system
    assert question.details["judge_prompt"] == "judges/tone:3"
    assert not rubric.spec.awaits_prompt
    assert unknown_variables(rubric.spec.criteria, rubric.spec.inputs) == ["other"]


def test_the_version_follows_text_and_number_and_not_the_label() -> None:
    first = Rubric(spec()).with_prompt(ManagedPrompt(text="Is it warm?", version=3)).version
    staging = spec(prompt={"langfuse": "judges/tone", "label": "staging"})
    assert Rubric(staging).with_prompt(ManagedPrompt(text="Is it warm?", version=3)).version == first
    assert Rubric(spec()).with_prompt(ManagedPrompt(text="Is it warm?", version=4)).version != first
    assert Rubric(spec()).with_prompt(ManagedPrompt(text="Is it cold?", version=3)).version != first


def test_a_source_names_one_version() -> None:
    assert str(PromptSource(langfuse="a")) == "a@production"
    assert (str(PromptSource(langfuse="a", version=2)), PromptSource(langfuse="a", version=2).wanted_label) == (
        "a:2",
        None,
    )
    with pytest.raises(ValidationError, match="leave out one of them"):
        PromptSource(langfuse="a", version=2, label="b")


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"criteria": "Is it?"}, "leave out criteria or prompt"), ({"prompt": None}, "needs criteria, or the prompt")],
)
def test_criteria_stand_in_one_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec(**changes)
