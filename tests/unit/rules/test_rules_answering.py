from __future__ import annotations

from typing import Any

import pytest

from rules.answering import AnswerOrCall, EndsWithAnswer
from tests.building import step, tool, trace
from traces import NotApplicable, Observation, Verdict

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def said(content: Any = None, *calls: Any, at: float = 0.0) -> Observation:
    message = {"role": "assistant", "content": content, "tool_calls": list(calls)}
    return step("chat", type="GENERATION", id=f"g{at}", at=at, output=message)


class TestEndsWithAnswer:
    def check(self, *steps: Observation, **fields: Any) -> Verdict:
        found = EndsWithAnswer(**fields).check(trace(*steps))
        assert isinstance(found, Verdict)
        return found

    def test_words_at_the_end_pass(self) -> None:
        assert self.check(said(None, CALL), tool("find", {}), said("It is sent.", at=2)).value is True
        assert self.check(step("chat", type="GENERATION", output="It is sent.")).value is True
        blocks = [{"type": "text", "text": "It is sent."}]
        assert (
            self.check(step("chat", type="GENERATION", output={"role": "assistant", "content": blocks})).value is True
        )

    def test_a_call_at_the_end_fails(self) -> None:
        found = self.check(said("Hello"), said("Let me see.", CALL, at=1), tool("find", {}, at=2))
        assert found == Verdict(False, "ends with a call of 'find', and no model wrote anything after it")

    def test_a_call_may_be_the_answer(self) -> None:
        assert self.check(said(None, CALL), final=("find",)) == Verdict(True, "ends with 'find'")

    @pytest.mark.parametrize("content", [None, "", "  \n", [], [{"type": "text", "text": ""}], 7])
    def test_nothing_at_the_end_fails(self, content: Any) -> None:
        assert self.check(said("Hello"), said(content, at=1)).reason == "the last output of a model says nothing"

    def test_a_model_that_broke_off_fails(self) -> None:
        broken = step("chat", type="GENERATION", at=3, id="b", took=None)
        assert self.check(said("Hello"), broken).value is False

    def test_without_recorded_outputs_there_is_nothing_to_say(self) -> None:
        assert EndsWithAnswer().check(trace(step())) == NotApplicable("no model output recorded")
        silent = step("chat", type="GENERATION")
        assert EndsWithAnswer().check(trace(silent)) == NotApplicable("no model output recorded")


class TestAnswerOrCall:
    def test_one_of_both_passes(self) -> None:
        found = AnswerOrCall().check(trace(said(None, CALL), said("Done.", at=1)))
        assert found == Verdict(
            True, "0 of 2 messages both say something and call a tool, 0 allowed", details={"measured": 0}
        )

    def test_both_at_once_fails_beyond_the_limit(self) -> None:
        built = trace(said("Let me see.", CALL), said("Done.", at=1))
        found = AnswerOrCall().check(built)
        assert isinstance(found, Verdict)
        assert (found.value, found.details) == (False, {"measured": 1})
        allowed = AnswerOrCall(limit=1).check(built)
        assert isinstance(allowed, Verdict)
        assert allowed.value is True

    def test_blank_words_are_no_answer(self) -> None:
        found = AnswerOrCall().check(trace(said(" \n", CALL)))
        assert isinstance(found, Verdict)
        assert found.value is True

    def test_without_outputs_there_is_nothing_to_say(self) -> None:
        assert AnswerOrCall().check(trace(step("chat", type="GENERATION"))) == NotApplicable("no model output recorded")
