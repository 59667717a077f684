from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judges import CANNOT_JUDGE, ChecklistScale, Finding, OffScale, Prompt, Question, Reply, RubricSpec
from judges.asking import answer_schema
from judges.checklist import LONGEST_FINDING
from traces import DataType, Failure, Outcome, Unscored, Usage, Verdict, outcome_from_json, outcome_to_json

USED = Usage("gpt-2026", 1, 100, 20, 0.01)
LIST = ChecklistScale.model_validate(
    {
        "type": "checklist",
        "criteria": {"cites": "Does it cite a source?", "polite": {"ask": "Is it polite?", "weight": 3}},
    }
)
FULL = {"cites": {"reason": "No link.", "answer": "no"}, "polite": {"reason": "It thanks.", "answer": "yes"}}

ANSWERS = st.sampled_from(["yes", "no", CANNOT_JUDGE])


def read(score: Any, *, repair: bool = False) -> Outcome | Prompt:
    question = Question(Prompt("gpt", "Judge.", "Material.", {}, repair=repair), LIST, {"cut": 1})
    return question.read(Reply(json.dumps({"reasoning": "Mixed.", "score": score}), "gpt-2026", "stop", USED))


def verdict(score: Any) -> Verdict:
    outcome = read(score)
    assert isinstance(outcome, Verdict)
    return outcome


class TestAnswers:
    def test_the_score_is_the_weighted_share_of_yes(self) -> None:
        assert verdict(FULL).value == 0.75

    def test_each_criterion_is_among_the_details_with_its_reason(self) -> None:
        found = verdict(FULL)
        assert found.details == {
            "cut": 1,
            "criteria": {
                "cites": {"answer": False, "reason": "No link."},
                "polite": {"answer": True, "reason": "It thanks."},
            },
            "judge_model": "gpt-2026",
        }
        assert found.usage == USED

    def test_the_reason_names_what_is_lacking(self) -> None:
        assert verdict(FULL).reason == "Mixed.\ncites: no. No link."
        unsure = verdict({"cites": {"reason": "", "answer": CANNOT_JUDGE}, "polite": "yes"})
        assert unsure.reason == "Mixed.\ncites: could not be judged"

    @pytest.mark.parametrize(("cites", "share"), [("yes", 1.0), ("no", 0.75), (CANNOT_JUDGE, 1.0), (None, 1.0)])
    def test_what_could_not_be_judged_counts_neither_way(self, cites: Any, share: float) -> None:
        assert verdict({"cites": {"reason": "r", "answer": cites}, "polite": FULL["polite"]}).value == share

    @pytest.mark.parametrize(
        "score",
        [CANNOT_JUDGE, None, {"cites": CANNOT_JUDGE, "polite": None}, {"cites": {"answer": None}, "polite": None}],
    )
    def test_when_nothing_could_be_judged_there_is_no_score(self, score: Any) -> None:
        outcome = read(score)
        assert isinstance(outcome, Unscored)
        assert outcome.reason.startswith("Mixed.")
        assert outcome.usage == USED

    @pytest.mark.parametrize(
        "score", [{"cites": False, "polite": True}, {"cites": "No.", "polite": {"answer": "PASS"}}]
    )
    def test_a_server_without_schemas_may_answer_shortly(self, score: Any) -> None:
        assert verdict(score).value == 0.75

    def test_a_finding_is_well_formed_and_not_endless(self) -> None:
        found = verdict({"cites": {"reason": "\ud800" + "x" * 10_000, "answer": "no"}, "polite": True})
        reason = found.details["criteria"]["cites"]["reason"]
        assert len(reason) == LONGEST_FINDING
        reason.encode()


UNREADABLE: list[Any] = [
    {},
    [],
    "yes",
    0.75,
    True,
    {"cites": "yes"},
    {"cites": "yes", "polite": "yes", "kind": "yes"},
    {"Cites": "yes", "polite": "yes"},
    {"cites": "mostly", "polite": "yes"},
    {"cites": 1, "polite": "yes"},
    {"cites": {"reason": "Yes."}, "polite": "yes"},
    {"cites": ["yes"], "polite": "yes"},
    {"cites": {"answer": {"answer": "yes"}}, "polite": "yes"},
]


class TestRepair:
    @pytest.mark.parametrize("score", UNREADABLE)
    def test_an_answer_that_is_not_to_all_criteria_is_asked_for_again_once(self, score: Any) -> None:
        again = read(score)
        assert isinstance(again, Prompt)
        assert 'each of the keys "cites", "polite"' in again.user.removeprefix("Material.")
        failure = read(score, repair=True)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.usage) == ("bad_answer", USED)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.dictionaries(st.sampled_from(["cites", "polite", "answer", "reason", "x"]), inner),
            max_leaves=8,
        )
    )
    def test_any_answer_is_read_without_an_error(self, score: Any) -> None:
        outcome = read(score)
        assert isinstance(outcome, Verdict | Unscored | Prompt)
        if isinstance(outcome, Verdict):
            assert isinstance(outcome.value, float)
            assert 0 <= outcome.value <= 1


class TestParts:
    def test_each_criterion_is_an_outcome_of_its_own(self) -> None:
        parts = LIST.parts(verdict({**FULL, "cites": {"reason": "No text.", "answer": CANNOT_JUDGE}}))
        assert parts == {
            "cites": Unscored("No text."),
            "polite": Verdict(True, "It thanks.", details={"judge_model": "gpt-2026"}),
        }

    def test_they_survive_being_written_down(self) -> None:
        found = verdict(FULL)
        back = outcome_from_json(json.loads(json.dumps(outcome_to_json(found))))
        assert isinstance(back, Verdict)
        assert LIST.parts(back) == LIST.parts(found)
        assert LIST.findings_of(back)["cites"] == Finding(answer=False, reason="No link.")

    def test_a_verdict_of_another_day_may_know_less(self) -> None:
        old = Verdict(1.0, details={"criteria": {"cites": {"answer": True, "reason": ""}, "gone": {"answer": False}}})
        assert set(LIST.parts(old)) == {"cites"}
        assert LIST.parts(Verdict(1.0)) == {}

    @given(ANSWERS, ANSWERS)
    def test_the_share_follows_from_the_parts(self, cites: str, polite: str) -> None:
        outcome = read({"cites": cites, "polite": polite})
        judged = [(w, said == "yes") for w, said in ((1, cites), (3, polite)) if said != CANNOT_JUDGE]
        if not judged:
            assert isinstance(outcome, Unscored)
            return
        assert isinstance(outcome, Verdict)
        assert outcome.value == sum(w for w, yes in judged if yes) / sum(w for w, _ in judged)


class TestSchema:
    def test_it_is_strict_at_every_depth(self) -> None:
        schema = answer_schema(LIST)
        jsonschema.Draft202012Validator.check_schema(schema)
        found = schema["properties"]["score"]["anyOf"][0]
        assert list(found["properties"]) == found["required"] == ["cites", "polite"]
        for part in (schema, found, *found["properties"].values()):
            assert part["additionalProperties"] is False
            assert list(part["properties"]) == part["required"]
        assert list(found["properties"]["cites"]["properties"]) == ["reason", "answer"]

    def test_it_takes_what_is_read_and_an_abstention(self) -> None:
        validator = jsonschema.Draft202012Validator(answer_schema(LIST))
        assert validator.is_valid({"reasoning": "r", "score": FULL})
        assert validator.is_valid({"reasoning": "r", "score": CANNOT_JUDGE})
        assert not any(validator.is_valid({"reasoning": "r", "score": score}) for score in UNREADABLE)

    def test_the_score_is_a_number(self) -> None:
        assert LIST.data_type is DataType.NUMERIC
        assert LIST.parse(FULL) == 0.75
        with pytest.raises(OffScale, match="at least one"):
            LIST.parse({"cites": None, "polite": None})


class TestSpec:
    @pytest.mark.parametrize(
        ("criteria", "said"),
        [
            ({}, "at least 1"),
            ({"two words": "Is it?"}, "pattern"),
            ({"": "Is it?"}, "pattern"),
            ({"a": ""}, "at least 1"),
            ({"a": {"ask": "Is it?", "weight": 0}}, "greater than 0"),
            ({"a": {"ask": "Is it?", "wieght": 2}}, "not permitted"),
        ],
    )
    def test_what_is_no_checklist_is_refused(self, criteria: Any, said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            ChecklistScale.model_validate({"type": "checklist", "criteria": criteria})

    def test_each_criterion_may_be_a_score_with_a_name_that_fits(self) -> None:
        assert rubric(each=True).score_names == ("tone", "tone.cites", "tone.polite")
        assert rubric().score_names == ("tone",)
        with pytest.raises(ValidationError, match="at most 35 characters: shorten the criterion"):
            rubric("a name that is as long as it may be", each=True)

    @pytest.mark.parametrize("expect", [{"equals": 0}, {"at_most": 1, "at_least": 0.5}, {"equals": CANNOT_JUDGE}])
    def test_an_example_expects_a_share(self, expect: Any) -> None:
        assert rubric(examples=[{"inputs": {"answer": "a"}, "expect": expect}]).examples

    @pytest.mark.parametrize("expect", [{"equals": 2}, {"at_most": -1}, {"equals": True}, {"equals": "yes"}])
    def test_an_example_expects_nothing_else(self, expect: Any) -> None:
        with pytest.raises(ValidationError, match="an answer is a share from 0 to 1"):
            rubric(examples=[{"inputs": {"answer": "a"}, "expect": expect}])


def rubric(name: str = "tone", *, each: bool = False, **more: Any) -> RubricSpec:
    score = {"type": "checklist", "criteria": {"cites": "Does it?", "polite": "Is it?"}, "each": each}
    written = {"name": name, "inputs": {"answer": "$.root.output"}, "criteria": "Judge the answer.", "score": score}
    return RubricSpec.model_validate({**written, **more})
