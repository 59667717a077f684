from __future__ import annotations

from typing import Any

import pytest

from rules.truncation import Truncated, finish_reason
from tests.building import nested, step, trace
from traces import NotApplicable, Verdict

SENTENCES = "Your order left our warehouse on Monday. It is now with the carrier and moves towards you. " * 3


def passes(output: str) -> bool:
    found = Truncated().check(trace(output=output))
    assert isinstance(found, Verdict)
    return bool(found.value)


class TestTheRecordedReason:
    @pytest.mark.parametrize(
        "fields",
        [
            {"output": {"choices": [{"finish_reason": "length"}]}},
            {"output": {"stop_reason": "max_tokens"}},
            {"output": [{"generation_info": {"finish_reason": "LENGTH"}}]},
            {"metadata": {"finishReason": "MAX_TOKENS"}},
            {"metadata": {"response_metadata": {"finish-reason": "length"}}},
        ],
    )
    def test_a_model_that_hit_its_limit_fails(self, fields: dict[str, Any]) -> None:
        found = Truncated().check(trace(step("g", type="GENERATION", **fields), output="Done."))
        assert isinstance(found, Verdict)
        assert found.value is False
        assert found.reason.startswith("the last model call ended because of '")

    def test_the_last_generation_counts(self) -> None:
        cut = step("a", type="GENERATION", id="a", output={"finish_reason": "length"})
        whole = step("b", type="GENERATION", id="b", output={"finish_reason": "stop"})
        assert Truncated().check(trace(cut, whole, output=SENTENCES + "and then the")).value is True  # type: ignore[union-attr]
        assert Truncated().check(trace(whole, cut, output="Done.")).value is False  # type: ignore[union-attr]

    def test_without_sentences_only_the_reason_counts(self) -> None:
        rule = Truncated(sentences=False)
        assert rule.check(trace(output=SENTENCES + "and the")) == NotApplicable("no finish reason")

    @pytest.mark.parametrize(
        "output",
        [nested(5000), {"finish_reason": None}, {"finish_reason": ["length"]}, [[]] * 10_000, {1: {}}, "x" * 10**6],
    )
    def test_odd_outputs_have_no_reason(self, output: Any) -> None:
        assert finish_reason(step("g", type="GENERATION", output=output)) == ""


class TestTheEnd:
    @pytest.mark.parametrize("end", ["and then the", "such as shoes,", "the following (", "about 3", "which is —"])
    def test_a_text_that_stops_in_a_sentence_fails(self, end: str) -> None:
        assert not passes(SENTENCES + end)

    @pytest.mark.parametrize(
        "output",
        [
            SENTENCES,
            SENTENCES + "\n- shoes\n- hats",
            SENTENCES + "\n1. shoes",
            SENTENCES + "\n| a | b |",
            SENTENCES + "see https://example.com/orders/7",
            SENTENCES + "Bye 👋",
            SENTENCES + "**Ada**",
            "Order 7",
            "word " * 200,
            "",
        ],
    )
    def test_whole_texts_pass(self, output: str) -> None:
        assert passes(output)

    def test_an_open_code_fence_fails_at_any_length(self) -> None:
        assert not passes("Here:\n```python\nprint(")
        assert passes("Here:\n```python\nprint()\n```")

    def test_no_answer_is_not_scored(self) -> None:
        assert Truncated().check(trace(output=None)) == NotApplicable("value not found")
