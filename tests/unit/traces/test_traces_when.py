from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.building import step, trace
from traces import SampleRule, ScoreCondition, Severity, TraceRoot, When, worst

ROOT = TraceRoot(
    ref=trace(environment="production").ref,
    name="chat",
    level="ERROR",
    user_id="u1",
    session_id="s1",
    tags=("beta", "eu"),
    release="r1",
    version="v1",
    model="m1",
    prompt_name="p1",
    prompt_version=3,
    metadata={"plan": "pro", "seats": 7, "trial": False, "nested": {"a": 1}},
    scores={"user-feedback": 0.0, "topic": "billing"},
)
MATCHING: dict[str, Any] = {
    "trace_name": "chat",
    "environment": "production",
    "tags": "eu",
    "user_id": "u1",
    "session_id": "s1",
    "release": "r1",
    "version": "v1",
    "level": "ERROR",
    "model": "m1",
    "prompt_name": "p1",
    "prompt_version": 3,
}
NUMBERS = {"prompt_version": 4}


class TestWhen:
    def test_without_conditions_everything_matches(self) -> None:
        assert When().matches(ROOT)
        assert When().matches(TraceRoot(ref=ROOT.ref))

    @pytest.mark.parametrize(("key", "value"), MATCHING.items())
    def test_each_condition_matches_one_or_any_of_several(self, key: str, value: str) -> None:
        other = "DEBUG" if key == "level" else NUMBERS.get(key, "other")
        assert When.model_validate({key: value}).matches(ROOT)
        assert When.model_validate({key: [other, value]}).matches(ROOT)
        assert not When.model_validate({key: other}).matches(ROOT)

    @pytest.mark.parametrize("key", sorted(MATCHING.keys() - {"environment", "level"}))
    def test_what_a_root_does_not_know_never_matches(self, key: str) -> None:
        assert not When.model_validate({key: MATCHING[key]}).matches(TraceRoot(ref=ROOT.ref))

    def test_every_field_is_covered_here(self) -> None:
        assert set(When.model_fields) == {*MATCHING, "score", "found", "metadata", "latency", "cost", "observation"}

    @pytest.mark.parametrize("matching", range(5))
    def test_a_finding_as_bad_as_asked_for_or_worse_matches(self, matching: int) -> None:
        known: list[Severity | None] = [None, "info", "warning", "error", "critical"]
        root = replace(ROOT, found=known[matching])
        asked = [When.model_validate({"found": each}) for each in ("info", "warning", "error", "critical")]
        assert [when.matches(root) for when in asked] == [place < matching for place in range(4)]
        assert worst(["info", "error", "warning"]) == "error"
        assert worst([]) is None

    @given(st.sets(st.sampled_from(sorted(MATCHING))), st.sets(st.sampled_from(sorted(MATCHING))))
    def test_conditions_must_all_hold(self, right: set[str], wrong: set[str]) -> None:
        asked = {key: MATCHING[key] for key in right} | {
            key: "WARNING" if key == "level" else NUMBERS.get(key, "other") for key in wrong
        }
        assert When.model_validate(asked).matches(ROOT) == (not wrong)

    def test_case_counts(self) -> None:
        assert not When(trace_name=("Chat",)).matches(ROOT)

    @pytest.mark.parametrize(
        "given_", [{"tags": []}, {"level": "error"}, {"level": ["ERROR", "fatal"]}, {"trace": "chat"}, {"user_id": 7}]
    )
    def test_what_could_never_match_is_refused(self, given_: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            When.model_validate(given_)

    def test_one_text_is_read_as_a_list_of_one(self) -> None:
        assert When.model_validate({"tags": "eu"}) == When.model_validate({"tags": ["eu"]})
        assert When.model_validate({"tags": "eu"}).model_dump(exclude_none=True) == {"tags": ("eu",)}

    @pytest.mark.parametrize("value", [{"tags": "eu"}, {"tags": ["eu"]}, {"level": "ERROR"}, {"level": ["ERROR"]}, {}])
    def test_editors_accept_what_we_accept(self, value: dict[str, object]) -> None:
        jsonschema.validate(value, When.model_json_schema())

    @pytest.mark.parametrize("value", [{"tags": []}, {"level": "error"}, {"tags": 7}, {"unknown": "x"}])
    def test_editors_refuse_what_we_refuse(self, value: dict[str, object]) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, When.model_json_schema())


class TestMetadata:
    @pytest.mark.parametrize(
        ("asked", "fits"),
        [
            ({"plan": "pro"}, True),
            ({"plan": ["team", "pro"]}, True),
            ({"plan": "team"}, False),
            ({"seats": 7}, True),
            ({"seats": "7"}, True),
            ({"seats": [8, 9]}, False),
            ({"trial": False}, True),
            ({"trial": True}, False),
            ({"plan": "pro", "seats": 8}, False),
            ({"nested": "a"}, False),
            ({"missing": "x"}, False),
        ],
    )
    def test_values_by_key(self, asked: dict[str, object], fits: bool) -> None:
        when = When.model_validate({"metadata": asked})
        assert when.matches(ROOT) is fits
        assert When.model_validate(when.model_dump()) == when
        jsonschema.validate({"metadata": asked}, When.model_json_schema())

    @pytest.mark.parametrize("asked", [{}, {"plan": "x" * 201}, {"plan": {"a": 1}}, "pro", {"plan": None}])
    def test_what_could_never_match_is_refused(self, asked: object) -> None:
        with pytest.raises(ValidationError):
            When.model_validate({"metadata": asked})


class TestNumbers:
    @pytest.mark.parametrize(
        ("limits", "fits"),
        [
            ({"at_least": 10}, True),
            ({"at_most": 10}, True),
            ({"at_least": 10.1}, False),
            ({"at_most": 9.9}, False),
            ({"at_least": 5, "at_most": 15}, True),
        ],
    )
    def test_latency_is_decided_by_the_root(self, limits: dict[str, float], fits: bool) -> None:
        assert When.model_validate({"latency": limits}).matches(ROOT) is fits

    @pytest.mark.parametrize("limits", [{}, {"at_least": 2, "at_most": 1}, {"at_least": float("nan")}, {"over": 1}])
    def test_limits_that_say_nothing_are_refused(self, limits: dict[str, float]) -> None:
        with pytest.raises(ValidationError):
            When.model_validate({"latency": limits})

    def test_cost_is_decided_by_the_whole_trace(self) -> None:
        when = When.model_validate({"cost": {"at_least": 0.05}})
        assert when.matches(ROOT)
        assert when.unmet([trace(step("a", cost=0.06))]) is None
        assert when.unmet([trace(step("a", cost=0.04))]) == "cost"
        assert when.unmet([trace(step("a"))]) == "cost"
        assert when.unmet([trace(step("a")), trace(step("a", cost=1.0))]) is None


class TestObservation:
    BUILT = trace(
        step("find docs", type="RETRIEVER", level="WARNING"),
        step("answer", type="GENERATION", model="gpt-5.4", prompt_name="support", prompt_version=3),
    )

    @pytest.mark.parametrize(
        ("asked", "fits"),
        [
            ({"type": "retriever"}, True),
            ({"type": ["TOOL", "GENERATION"]}, True),
            ({"type": "TOOL"}, False),
            ({"name": "find*"}, True),
            ({"name": "find"}, False),
            ({"level": "WARNING"}, True),
            ({"model": "gpt-5.4", "type": "GENERATION"}, True),
            ({"model": "gpt-5.4", "type": "RETRIEVER"}, False),
            ({"prompt_name": "support", "prompt_version": [2, 3]}, True),
            ({"prompt_name": "support", "prompt_version": 2}, False),
        ],
    )
    def test_one_observation_meets_everything(self, asked: dict[str, object], fits: bool) -> None:
        when = When.model_validate({"observation": asked})
        assert when.matches(ROOT)
        assert (when.unmet([self.BUILT]) is None) is fits
        jsonschema.validate({"observation": asked}, When.model_json_schema())

    @pytest.mark.parametrize("asked", [{}, {"type": "STEP"}, {"input": "x"}])
    def test_what_says_nothing_is_refused(self, asked: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            When.model_validate({"observation": asked})

    @pytest.mark.parametrize("asked", [{"observation": {"type": "TOOL"}}, {"cost": {"at_most": 1}}])
    def test_a_line_of_a_sample_cannot_ask_for_the_whole_trace(self, asked: dict[str, object]) -> None:
        with pytest.raises(ValidationError, match="needs the whole trace, not read yet when it is sampled"):
            SampleRule.model_validate({"when": asked, "rate": 1})


class TestScoreCondition:
    @pytest.mark.parametrize(
        ("condition", "fits"),
        [
            ({"at_most": 0}, True),
            ({"at_most": -1}, False),
            ({"at_least": 0}, True),
            ({"at_least": 0.5}, False),
            ({"at_least": -1, "at_most": 1}, True),
            ({"equals": 0}, True),
            ({"equals": False}, True),
            ({"equals": True}, False),
            ({"equals": 0, "at_least": 1}, False),
            ({"equals": "0"}, False),
        ],
    )
    def test_numbers(self, condition: dict[str, Any], fits: bool) -> None:
        asked = ScoreCondition.model_validate({"name": "user-feedback", **condition})
        assert asked.matches(ROOT) is fits

    @pytest.mark.parametrize(
        ("condition", "fits"),
        [
            ({"equals": "billing"}, True),
            ({"equals": "Billing"}, False),
            ({"at_most": 1}, False),
            ({"equals": "billing", "at_least": 0}, False),
        ],
    )
    def test_words(self, condition: dict[str, Any], fits: bool) -> None:
        assert ScoreCondition.model_validate({"name": "topic", **condition}).matches(ROOT) is fits

    def test_a_missing_score_never_fits(self) -> None:
        assert not ScoreCondition(name="other", at_least=0).matches(ROOT)
        assert not When(score=ScoreCondition(name="user-feedback", at_most=1)).matches(replace(ROOT, scores={}))

    @pytest.mark.parametrize(
        ("given_", "why"),
        [
            ({"name": "x"}, "needs one of equals, at_most, at_least"),
            ({"name": "x", "at_least": 2, "at_most": 1}, r"at_least \(2\) is above at_most \(1\)"),
            ({"name": "", "equals": 1}, "at least 1 character"),
            ({"equals": 1}, "Field required"),
        ],
    )
    def test_what_says_nothing_is_refused(self, given_: Mapping[str, object], why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            ScoreCondition.model_validate(given_)

    @given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False))
    def test_a_range_holds_what_is_between_its_ends(self, one: float, two: float, value: float) -> None:
        low, high = sorted((one, two))
        condition = ScoreCondition(name="s", at_least=low, at_most=high)
        assert condition.matches(replace(ROOT, scores={"s": value})) is (low <= value <= high)


class TestSampleRule:
    def test_without_a_filter_it_is_for_all(self) -> None:
        assert SampleRule(rate=0.5).when == When()

    @pytest.mark.parametrize("rate", [0, 0.05, 1])
    def test_rates_are_shares(self, rate: float) -> None:
        assert SampleRule.model_validate({"rate": rate}).rate == rate

    @pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "often", None])
    def test_anything_else_is_refused(self, rate: object) -> None:
        with pytest.raises(ValidationError):
            SampleRule.model_validate({"rate": rate})
