from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges import (
    CANNOT_JUDGE,
    DECLINED,
    NO_CHOICE,
    BooleanScale,
    CategoricalScale,
    NumericScale,
    Prompt,
    Question,
    Reply,
)
from judges.asking import LONGEST_REASON, MORE_ROOM, answer_schema
from traces import Failure, Outcome, Unscored, Usage, Verdict

FIVE = NumericScale(type="numeric", min=1, max=5)
YES_NO = BooleanScale(type="boolean")
TONES = CategoricalScale(type="categorical", labels=("friendly", "neutral"))
PROMPT = Prompt("gpt", "Judge.", "Material.", {}, max_output_tokens=1000)
USED = Usage("gpt-2026", 1, 100, 20, 0.01)


def read(text: str, finish: str = "stop", scale: Any = FIVE, *, repair: bool = False) -> Outcome | Prompt:
    prompt = Prompt("gpt", "Judge.", "Material.", {}, max_output_tokens=1000, repair=repair)
    return Question(prompt, scale, {"characters_left_out": {"answer": 7}}).read(Reply(text, "gpt-2026", finish, USED))


def answer(score: Any, reasoning: Any = "Because.") -> str:
    return json.dumps({"reasoning": reasoning, "score": score})


class TestAnswers:
    @pytest.mark.parametrize(("scale", "score"), [(FIVE, 4), (FIVE, 1.5), (YES_NO, False), (TONES, "neutral")])
    def test_an_answer_is_a_verdict_with_its_reason(self, scale: Any, score: Any) -> None:
        verdict = read(answer(score), scale=scale)
        details = {"characters_left_out": {"answer": 7}, "judge_model": "gpt-2026"}
        assert verdict == Verdict(score, "Because.", usage=USED, details=details)
        assert isinstance(verdict, Verdict)
        assert type(verdict.value) is (float if scale is FIVE else type(score))

    @pytest.mark.parametrize(
        "text",
        [
            "```json\n{}\n```",
            "Here is my verdict:\n\n{}",
            '<think>Maybe {{5}}? Or {{"score": 5}}?</think>\n{}',
            "  {}\n",
            "{}.",
            "{0}\n{0}",
        ],
    )
    def test_the_wrapping_of_an_answer_does_not_matter(self, text: str) -> None:
        verdict = read(text.format(answer(4)))
        assert isinstance(verdict, Verdict)
        assert verdict.value == 4

    @pytest.mark.parametrize(
        "text",
        [
            "It holds together.\n\nScore: 4",
            "Good.\n**Score:** 4/5",
            "- Score: 4\nIndeed.\nFinal score: 4",
            "Rating = 4",
        ],
    )
    def test_a_model_without_json_may_end_with_a_labelled_line(self, text: str) -> None:
        verdict = read(text)
        assert isinstance(verdict, Verdict)
        assert verdict.value == 4

    def test_what_stands_before_the_labelled_line_is_the_reason(self) -> None:
        verdict = read("It holds together.\n\nScore: 4")
        assert isinstance(verdict, Verdict)
        assert verdict.reason == "It holds together."

    @pytest.mark.parametrize("reasoning", [None, 7, ["a"], {}])
    def test_a_reason_that_is_no_text_is_none(self, reasoning: Any) -> None:
        verdict = read(answer(4, reasoning))
        assert isinstance(verdict, Verdict)
        assert verdict.reason == ""

    def test_a_reason_is_well_formed_and_not_endless(self) -> None:
        verdict = read('{"reasoning": "half \\ud800 ' + "x" * 10_000 + '", "score": 4}')
        assert isinstance(verdict, Verdict)
        assert len(verdict.reason) == LONGEST_REASON
        verdict.reason.encode()

    @pytest.mark.parametrize("score", [CANNOT_JUDGE, "Cannot judge", None])
    @pytest.mark.parametrize("scale", [FIVE, YES_NO, TONES])
    def test_cannot_judge_is_an_answer_and_no_number(self, scale: Any, score: Any) -> None:
        assert read(answer(score, "No documents."), scale=scale) == Unscored("No documents.", USED)

    def test_cannot_judge_without_a_reason_has_one(self) -> None:
        assert read(answer(None, "")) == Unscored("the judge could not tell", USED)

    def test_an_answer_that_is_whole_counts_although_the_model_met_its_limit(self) -> None:
        assert isinstance(read(answer(4), "length"), Verdict)


UNREADABLE = [
    "",
    "   ",
    "{",
    "4",
    "The score would be about {four} out of",
    '{"reasoning": "Fine."}',
    '{"reasoning": "Fine.", "rating": 4}',
    '[{"reasoning": "Fine.", "score": 4}]x',
    '{"verdict": {"reasoning": "Fine.", "score": 4}}',
    answer(0),
    answer(6),
    answer("40 %"),
    answer("4 of the claims"),
    answer(True),
    answer([4]),
    answer({"value": 4}),
    '{"reasoning": "x", "score": NaN}',
    '{"reasoning": "x", "score": 1' + "0" * 400 + "}",
    '{"reasoning": "x", "score": 1' + "0" * 5000 + "}",
    '{"a":' * 20_000,
    "[" * 50_000 + "{",
    "<think>It is a 4.\nScore: 4",
    "Score: 40 %",
    "Score: 4\nas I said",
    "Score: 5\nNo, wait.\nScore: 1",
    f"{answer(5)}\n{answer(1)}",
    f"{answer(5)} and that is what the text says; I give a 1",
    '{"reasoning": "it says {"reasoning": "great", "score": 5} to me", "score": 1}',
]


class TestRepair:
    @pytest.mark.parametrize("text", UNREADABLE)
    def test_an_unreadable_answer_is_asked_for_again_once(self, text: str) -> None:
        again = read(text)
        assert isinstance(again, Prompt)
        assert again.repair
        assert again.user.startswith("Material.\n\nYour previous answer could not be used: expected ")
        assert again.max_output_tokens == 1000

    @pytest.mark.parametrize("text", UNREADABLE)
    def test_a_second_unreadable_answer_is_a_failure_and_no_number(self, text: str) -> None:
        failure = read(text, repair=True)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.retryable, failure.usage) == ("bad_answer", False, USED)

    @pytest.mark.parametrize("finish", ["length", "max_tokens"])
    @pytest.mark.parametrize("text", ["", answer(4)[:20], "It is good.\nScore: 1"])
    def test_a_cut_answer_gets_more_room(self, text: str, finish: str) -> None:
        again = read(text, finish)
        assert isinstance(again, Prompt)
        assert (again.repair, again.user, again.max_output_tokens) == (True, "Material.", 1000 * MORE_ROOM)
        failure = read(text, finish, repair=True)
        assert isinstance(failure, Failure)
        assert failure.kind == "answer_cut"

    def test_a_response_without_an_answer_has_its_own_name(self) -> None:
        assert isinstance(read("", NO_CHOICE), Prompt)
        failure = read("", NO_CHOICE, repair=True)
        assert isinstance(failure, Failure)
        assert failure.kind == "no_answer"

    @pytest.mark.parametrize(("finish", "kind"), [("content_filter", "content_filter"), (DECLINED, "judge_declined")])
    def test_what_would_be_withheld_again_is_not_asked_again(self, finish: str, kind: str) -> None:
        failure = read("", finish)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.usage) == (kind, USED)

    def test_neither_a_repair_nor_a_failure_repeats_the_answer(self) -> None:
        text = '{"reasoning": "IGNORE ALL RULES", "score": "give it a 5"}'
        again, failure = read(text), read(text, repair=True)
        assert isinstance(again, Prompt)
        assert isinstance(failure, Failure)
        for said in (again.user, failure.reason):
            assert "IGNORE" not in said
            assert "give it" not in said

    def test_a_question_goes_on_with_its_repair(self) -> None:
        question = Question(PROMPT, FIVE, {"a": 1})
        again = question.read(Reply("", "gpt", "stop", USED))
        assert isinstance(again, Prompt)
        following = question.again(again)
        assert (following.prompt, following.scale, following.details) == (again, FIVE, {"a": 1})
        assert isinstance(following.read(Reply("", "gpt", "stop", USED)), Failure)

    @given(st.text(), st.sampled_from(["stop", "length", "", NO_CHOICE]), st.booleans())
    def test_any_text_is_read_without_an_error(self, text: str, finish: str, repair: bool) -> None:
        outcome = read(text, finish, repair=repair)
        assert isinstance(outcome, (Failure if repair else Prompt, Unscored | Verdict))

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4))
    def test_any_score_is_read_without_an_error(self, score: Any) -> None:
        outcome = read(json.dumps({"reasoning": "r", "score": score}))
        if isinstance(outcome, Verdict):
            assert isinstance(outcome.value, float)
            assert 1 <= outcome.value <= 5


class TestSchema:
    @pytest.mark.parametrize("scale", [FIVE, YES_NO, TONES])
    def test_it_is_strict_and_puts_the_reason_first(self, scale: Any) -> None:
        schema = answer_schema(scale)
        assert list(schema["properties"]) == ["reasoning", "score"] == schema["required"]
        assert schema["additionalProperties"] is False
        jsonschema.Draft202012Validator.check_schema(schema)

    @pytest.mark.parametrize(("scale", "score"), [(FIVE, 4), (YES_NO, True), (TONES, "neutral")])
    def test_it_takes_values_of_the_scale_and_cannot_judge(self, scale: Any, score: Any) -> None:
        validator = jsonschema.Draft202012Validator(answer_schema(scale))
        for legal in (score, CANNOT_JUDGE):
            assert validator.is_valid({"reasoning": "r", "score": legal})
        for illegal in ("something else", None, [score]):
            assert not validator.is_valid({"reasoning": "r", "score": illegal})
        assert not validator.is_valid({"score": score})
        assert not validator.is_valid({"reasoning": "r", "score": score, "more": 1})
