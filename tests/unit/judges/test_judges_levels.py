"""Scales with steps, with a meaning for each level, with an order, with several labels at once."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from judges import BooleanScale, CategoricalScale, NumericScale, OffScale, Question, Rubric, RubricSpec, Scale
from judges.scale import MOST_LISTED
from tests.building import trace
from traces import DataType

WHOLE = NumericScale(type="numeric", min=1, max=5, step=1)
HALVES = NumericScale(type="numeric", min=0, max=2, step=0.5)
TENTHS = NumericScale(type="numeric", min=0, max=1, step=0.1)
TOPICS = CategoricalScale(type="categorical", labels=("refund", "billing", "Order status"), several=True)


def scale(**written: Any) -> Scale:
    built: Scale = TypeAdapter[Scale](Scale).validate_python(written)
    return built


def rubric(score: dict[str, Any], **more: Any) -> Rubric:
    written = {"name": "help", "inputs": {"answer": "$.root.output"}, "criteria": "Does it help?", "score": score}
    return Rubric(RubricSpec.model_validate({**written, **more}))


def system(score: dict[str, Any]) -> str:
    question = rubric(score).question(trace())
    assert isinstance(question, Question)
    return question.prompt.system


class TestSteps:
    @pytest.mark.parametrize(
        ("of", "answer", "value"),
        [
            (WHOLE, 4, 4.0),
            (WHOLE, 4.0, 4.0),
            (WHOLE, "4.0", 4.0),
            (WHOLE, "Score: 4/5", 4.0),
            (HALVES, 1.5, 1.5),
            (HALVES, "0.5", 0.5),
            (TENTHS, 0.3, 0.3),
            (TENTHS, 0.1 + 0.2, 0.3),
            (NumericScale(type="numeric", min=-1, max=1, step=0.25), "-0.75", -0.75),
            (NumericScale(type="numeric", min=0, max=100, step=25), 75, 75.0),
        ],
    )
    def test_a_level_is_read(self, of: NumericScale, answer: Any, value: float) -> None:
        assert of.parse(answer) == value
        assert isinstance(of.parse(answer), float)

    @pytest.mark.parametrize(
        ("of", "answer"), [(WHOLE, 4.5), (WHOLE, "3.9"), (HALVES, 0.75), (TENTHS, 0.35), (WHOLE, 6)]
    )
    def test_what_lies_between_two_levels_is_none(self, of: NumericScale, answer: Any) -> None:
        with pytest.raises(OffScale, match=r"expected a .*number from"):
            of.parse(answer)

    @pytest.mark.parametrize(
        ("of", "asked"),
        [
            (WHOLE, "a whole number from 1 to 5"),
            (HALVES, "a number from 0 to 2 in steps of 0.5"),
            (NumericScale(type="numeric", min=0, max=10, step=2), "a number from 0 to 10 in steps of 2"),
            (NumericScale(type="numeric", min=0.5, max=2.5, step=1), "a number from 0.5 to 2.5 in steps of 1"),
        ],
    )
    def test_the_judge_is_told_the_steps(self, of: NumericScale, asked: str) -> None:
        assert of.asked == asked

    def test_levels_can_be_counted(self) -> None:
        assert list(WHOLE.levels) == [1, 2, 3, 4, 5]
        assert list(TENTHS.levels) == [number / 10 for number in range(11)]
        assert not NumericScale(type="numeric", min=0, max=1).levels

    @pytest.mark.parametrize("of", [WHOLE, HALVES, TENTHS])
    def test_the_schema_takes_levels_only(self, of: NumericScale) -> None:
        validator = jsonschema.Draft202012Validator(of.answer_schema())
        assert all(validator.is_valid(json.loads(json.dumps(level))) for level in of.levels)
        assert not any(validator.is_valid(beside) for beside in (0.35, 4.5, 6, "4", None, True))

    def test_a_fine_scale_is_not_listed(self) -> None:
        fine = NumericScale(type="numeric", min=0, max=1, step=1 / MOST_LISTED)
        assert "enum" not in fine.answer_schema()
        assert fine.parse(0.37) == 0.37

    @pytest.mark.parametrize(
        ("step", "said"), [(0, "greater than 0"), (-1, "greater than 0"), (3, "no whole number of steps of 3")]
    )
    def test_steps_lead_from_end_to_end(self, step: float, said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            scale(type="numeric", min=1, max=5, step=step)

    @given(st.integers(-50, 50), st.integers(1, 60), st.sampled_from([0.01, 0.1, 0.25, 0.5, 1, 3]), st.data())
    def test_every_level_is_read_back(self, low: int, count: int, step: float, data: st.DataObject) -> None:
        of = NumericScale(type="numeric", min=low, max=low + count * step, step=step)
        level = data.draw(st.sampled_from(of.levels))
        assert of.parse(level) == of.parse(f"{level:.10f}") == level
        with pytest.raises(OffScale):
            of.parse(level + step / 3)


class TestAnchors:
    def test_they_stand_below_the_criteria_the_best_first(self) -> None:
        told = system({"type": "numeric", "min": 1, "max": 5, "anchors": {"1": "It hurts.", "5": "It helps.\n"}})
        assert "Does it help?\n\nWhat the levels mean:\n5: It helps.\n1: It hurts.\n\nAnswer with" in told

    def test_yes_and_no_may_have_a_meaning(self) -> None:
        told = system({"type": "boolean", "anchors": {"false": "Broken.", "true": "Obeyed."}})
        assert "What the levels mean:\ntrue: Obeyed.\nfalse: Broken.\n" in told

    def test_labels_may_have_a_meaning_each(self) -> None:
        told = system(
            {"type": "categorical", "labels": ["warm", "cold"], "anchors": {"cold": "Curt.", "warm": "Kind."}}
        )
        assert "What the levels mean:\nwarm: Kind.\ncold: Curt.\n" in told

    def test_a_checklist_tells_its_questions(self) -> None:
        told = system({"type": "checklist", "criteria": {"cites": "Does it cite?", "polite": {"ask": "Is it polite?"}}})
        assert "What each key asks:\ncites: Does it cite?\npolite: Is it polite?\n" in told

    def test_without_any_the_prompt_says_nothing_of_them(self) -> None:
        assert "levels mean" not in system({"type": "numeric", "min": 1, "max": 5})

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ({"type": "numeric", "min": 1, "max": 5, "anchors": {"6": "x"}}, "6 is no level; a level is a number"),
            ({"type": "numeric", "min": 1, "max": 5, "step": 1, "anchors": {"1.5": "x"}}, "a level is a whole number"),
            ({"type": "numeric", "min": 1, "max": 5, "anchors": {"nan": "x"}}, "nan is no level"),
            ({"type": "numeric", "min": 1, "max": 5, "anchors": {"best": "x"}}, "valid number"),
            ({"type": "numeric", "min": 1, "max": 5, "anchors": {"5": " "}}, "at least 1 character"),
            ({"type": "numeric", "min": 1, "max": 5, "anchors": {"5": "x", "5.0": "y"}}, "a level is given twice"),
            ({"type": "boolean", "anchors": {"maybe": "x"}}, "valid boolean"),
            ({"type": "boolean", "anchors": {"yes": "x", "true": "y"}}, "a level is given twice"),
            ({"type": "categorical", "labels": ["a", "b"], "anchors": {"c": "x"}}, 'the labels are "a", "b"'),
        ],
    )
    def test_they_are_levels_of_the_scale(self, written: dict[str, Any], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            scale(**written)


def version(**score: Any) -> str:
    return rubric(score).version


class TestVersion:
    FIVE: dict[str, Any] = {"type": "numeric", "min": 1, "max": 5}  # noqa: RUF012 - not changed
    CHECK: dict[str, Any] = {"type": "checklist", "criteria": {"a": "A?", "b": "B?"}}  # noqa: RUF012 - not changed

    def test_what_the_judge_reads_is_part_of_it(self) -> None:
        anchors = [{"5": "Good."}, {"5": "Better."}, {"4": "Good."}]
        numbers: list[dict[str, Any]] = [{}, {"step": 1}, *({"anchors": each} for each in anchors)]
        assert len({version(**self.FIVE, **more) for more in numbers}) == 5
        labels: list[dict[str, Any]] = [{}, {"ordered": True}, {"several": True}]
        assert len({version(type="categorical", labels=["a", "b"], **more) for more in labels}) == 3

    def test_of_a_checklist_all_is(self) -> None:
        others: list[dict[str, Any]] = [
            {"a": "A?", "b": "C?"},
            {"a": "A?", "c": "B?"},
            {"a": {"ask": "A?", "weight": 2}, "b": "B?"},
            {"b": "B?", "a": "A?"},
        ]
        versions = {version(type="checklist", criteria=criteria) for criteria in others} | {version(**self.CHECK)}
        assert len(versions) == 5

    def test_the_way_it_is_written_is_not(self) -> None:
        first = version(**self.FIVE, anchors={"1": "Bad.", "5": "Good."})
        assert version(**self.FIVE, anchors={"5.0": "Good.\n", "1": "Bad."}) == first
        assert version(type="checklist", criteria={"a": {"ask": "A?", "weight": 1.0}, "b": "B?"}) == version(
            **self.CHECK
        )


class TestSeveralLabels:
    @pytest.mark.parametrize(
        ("answer", "value"),
        [
            (["refund"], "refund"),
            (["refund", "billing"], "billing, refund"),
            (["Refund.", '"order status"', "refund"], "Order status, refund"),
            ("refund, billing", "billing, refund"),
            ("refund", "refund"),
        ],
    )
    def test_they_are_one_value_in_one_order(self, answer: Any, value: str) -> None:
        assert TOPICS.parse(answer) == value

    @pytest.mark.parametrize(
        "answer", [[], "", ["refund", "weather"], ["refund", None], {"refund": True}, 1, None, [[]]]
    )
    def test_anything_else_is_off_the_scale(self, answer: Any) -> None:
        with pytest.raises(
            OffScale, match='a list of one or more of "refund", "billing", "Order status": all that apply'
        ):
            TOPICS.parse(answer)

    def test_the_order_they_are_named_in_means_nothing(self) -> None:
        assert len({TOPICS.parse(list(each)) for each in permutations(TOPICS.labels)}) == 1

    @given(st.sets(st.sampled_from(TOPICS.labels), min_size=1))
    def test_a_value_is_read_back_as_itself(self, labels: set[str]) -> None:
        value = TOPICS.joined(labels)
        assert TOPICS.parse(value) == value
        assert TOPICS.has(value)

    def test_the_schema_is_a_list_of_labels(self) -> None:
        validator = jsonschema.Draft202012Validator(TOPICS.answer_schema())
        assert validator.is_valid(["refund", "billing"])
        others: list[Any] = ["refund", ["weather"], [1], {}]
        assert not any(validator.is_valid(other) for other in others)
        assert TOPICS.data_type is DataType.CATEGORICAL

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"labels": ["a, b", "c"], "several": True}, "a label has no comma"),
            ({"labels": ["a", "b"], "several": True, "ordered": True}, "leave out ordered or several"),
        ],
    )
    def test_labels_can_be_told_apart(self, more: dict[str, Any], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            scale(type="categorical", **more)

    def test_an_example_expects_the_value_as_it_is_written(self) -> None:
        score = {"type": "categorical", "labels": ["refund", "billing"], "several": True}
        good = {"inputs": {"answer": "a"}, "expect": {"equals": "billing, refund"}}
        assert rubric(score, examples=[good]).spec.examples
        with pytest.raises(ValidationError, match="no answer can be as expected"):
            rubric(score, examples=[{**good, "expect": {"equals": "refund, billing"}}])


def test_an_order_is_told_and_nothing_else_changes() -> None:
    plain = CategoricalScale(type="categorical", labels=("bad", "good"))
    ordered = CategoricalScale(type="categorical", labels=("bad", "good"), ordered=True)
    assert ordered.asked == plain.asked + " (from worst to best)"
    assert ordered.parse("Good") == plain.parse("good") == "good"


@pytest.mark.parametrize("expect", [{"at_least": 4.5}, {"at_least": 3.5, "at_most": 4.5}, {"equals": 4}])
def test_a_limit_of_an_example_need_not_be_a_level(expect: dict[str, float]) -> None:
    score = {"type": "numeric", "min": 1, "max": 5, "step": 1}
    assert rubric(score, examples=[{"inputs": {"answer": "a"}, "expect": expect}]).spec.examples


def test_a_value_between_two_levels_cannot_be_expected() -> None:
    with pytest.raises(ValidationError, match="an answer is a whole number"):
        rubric(
            {"type": "numeric", "min": 1, "max": 5, "step": 1},
            examples=[{"inputs": {"answer": "a"}, "expect": {"equals": 4.5}}],
        )


def test_a_boolean_has_true_and_false_only() -> None:
    assert [BooleanScale(type="boolean").has(value) for value in (True, False, "yes", 2)] == [True, True, False, False]
