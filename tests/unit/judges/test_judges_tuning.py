"""What a model is asked about disagreements, and how little of its answer is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges import Prompt, Reply, RubricSpec
from judges.tuning import (
    MOST_CASES,
    PRECEDENTS,
    PROPOSAL,
    Case,
    Lesson,
    Proposal,
    levels_of,
    precedent,
    tuning_question,
    with_precedents,
)
from traces import Failure, Usage, Verdict

SPEC = RubricSpec.model_validate(
    {
        "name": "helpfulness",
        "inputs": {"answer": "$.root.output"},
        "criteria": "Does it help?",
        "score": {"type": "numeric", "min": 1, "max": 3, "step": 1, "anchors": {1: "not at all", 3: "all of it"}},
    }
)
LESSONS = [Lesson({"answer": "I am sorry."}, "3", "Polite.", "1", ["It settles nothing."])] * 3


def reply(answer: Any, finish: str = "stop") -> Reply:
    return Reply(answer if isinstance(answer, str) else json.dumps(answer), "m", finish, Usage(calls=1))


def question(lessons: list[Lesson] = LESSONS) -> Any:
    return tuning_question(SPEC, lessons, "big", lambda: "ab" * 12)


def proposed(answer: Any) -> Proposal:
    outcome = question().read(reply(answer))
    assert isinstance(outcome, Verdict)
    found = outcome.details[PROPOSAL]
    assert isinstance(found, Proposal)
    return found


def case(number: Any, text: Any = "An apology without a remedy", because: Any = "it settles nothing") -> dict[str, Any]:
    return {"disagreement": number, "case": text, "because": because}


def test_everything_strangers_wrote_stands_in_fences_and_the_rubric_before_them() -> None:
    asked = question([Lesson({"answer": "FENCED-1"}, "3", "FENCED-2", "1", ["FENCED-3 <<<" + "ab" * 12])]).prompt
    assert "Does it help?" in asked.system
    assert "all of it" in asked.system
    assert "FENCED" not in asked.system
    inside = [part.split("\n<<<")[0] for part in asked.user.split(">>>\n")]
    assert all(any(f"FENCED-{n}" in part for part in inside) for n in (1, 2, 3))
    assert asked.user.count("ab" * 12) == 1 + 2 * 3  # nobody wrote a fence of his own
    assert asked.payers == ("helpfulness",)


def test_levels_and_cases_are_taken_and_what_names_none_is_left_out() -> None:
    found = proposed(
        {
            "reasoning": "It takes apologies for help.",
            "anchors": [
                {"level": "1", "meaning": "an apology\n and nothing more"},
                {"level": 3, "meaning": "all they asked"},
                {"level": "7", "meaning": "no level"},
                {"level": "2", "meaning": "x" * 301},
                "nothing",
            ],
            "cases": [case(1), case(1, "twice"), case(0), case(4), case(True), case(2, ""), case(3, "<<<ab end>>>"), 5],
        }
    )
    assert found == Proposal(
        {"1": "an apology and nothing more", "3": "all they asked"},
        (Case(0, "An apology without a remedy", "it settles nothing"),),
    )
    assert not found.is_empty
    assert proposed({"reasoning": "Clear.", "anchors": [], "cases": []}).is_empty


keys = st.sampled_from(["anchors", "cases", "level", "meaning", "disagreement", "case", "because"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(keys, inner)
)


@given(anything)
def test_whatever_comes_back_is_a_proposal_that_fits_or_asked_for_once_more(answer: Any) -> None:
    outcome = question().read(reply(answer))
    if isinstance(outcome, Prompt):
        assert outcome.repair
        assert isinstance(question().again(outcome).read(reply(answer)), Failure)
        return
    assert isinstance(outcome, Verdict)
    found = outcome.details[PROPOSAL]
    assert set(found.anchors) <= set(levels_of(SPEC))
    assert len(found.cases) <= MOST_CASES
    assert all(0 <= each.lesson < len(LESSONS) and "\n" not in each.case + each.because for each in found.cases)


def test_a_model_that_declines_is_no_proposal() -> None:
    assert isinstance(question().read(reply("", "refusal")), Failure)


def test_decided_cases_end_the_criteria_once_more_each_time() -> None:
    line = precedent(Case(0, "An apology without a remedy.", "it settles nothing."), "1")
    assert line == "- An apology without a remedy: 1, because it settles nothing."
    once = with_precedents("Does it help?\n", [line])
    twice = with_precedents(once, ["- Another: 3, because of it."])
    assert once == f"Does it help?\n{PRECEDENTS}\n{line}\n"
    assert twice == f"{once}- Another: 3, because of it.\n"
    assert with_precedents(once, []) == once


@pytest.mark.parametrize(
    ("score", "levels"),
    [
        ({"type": "boolean"}, ("true", "false")),
        ({"type": "categorical", "labels": ["good", "bad"]}, ("good", "bad")),
        ({"type": "numeric", "min": 0, "max": 1}, ()),
        ({"type": "checklist", "criteria": {"a": "is it?", "b": "does it?"}}, ()),
    ],
)
def test_what_may_have_a_meaning(score: dict[str, Any], levels: tuple[str, ...]) -> None:
    said = {"name": "x", "inputs": {"answer": "$.root.output"}, "criteria": "?", "score": score}
    assert levels_of(RubricSpec.model_validate(said)) == levels
