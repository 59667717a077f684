"""Rules about how an agent ends and how it speaks: with an answer, and not while it acts."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from rules.base import Rule, counted, failed, passed, quoted
from traces import NotApplicable, Observation, Trace, Verdict, calls_in, text_in

_NO_MODEL: Final = NotApplicable("no model output recorded")


class EndsWithAnswer(Rule):
    """The last thing a model wrote in the trace says something: the agent did not stop in the middle of its work.

    It fails when the last output of a model is empty, or only asks for tools. An agent that answers by calling a tool
    names this tool in `final`. A trace without a recorded output of a model is not scored.
    """

    example: ClassVar = {"name": "finishes", "rule": "ends_with_answer", "final": ["submit_answer"]}

    final: tuple[str, ...] = Field(default=(), description="tools by which an agent answers")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look at the last output of a model."""
        written = [step for step in trace.generations if step.output is not None or _is_last(step, trace)]
        if not any(step.output is not None for step in written):
            return _NO_MODEL
        last = written[-1]
        calls = calls_in(last.output)
        if any(call.name in self.final for call in calls):
            return passed(f"ends with {quoted(calls[-1].name)}")
        if calls:
            return failed(f"ends with a call of {quoted(calls[-1].name)}, and no model wrote anything after it")
        if not text_in(last.output):
            return failed("the last output of a model says nothing")
        return passed("the last output of a model is an answer")


class AnswerOrCall(Rule):
    """No message of a model both says something and calls a tool: prompts of agents usually forbid it.

    What is said beside a call is often not shown to anybody, or tells of a result that is not there yet. At most
    `limit` such messages are allowed. A trace without a recorded output of a model is not scored.
    """

    example: ClassVar = {"name": "speaks-or-acts", "rule": "answer_or_call"}

    limit: int = Field(default=0, ge=0, description="how many such messages are allowed")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Count messages that do both."""
        written = [step for step in trace.generations if step.output is not None]
        if not written:
            return _NO_MODEL
        both = sum(bool(calls_in(step.output)) and bool(text_in(step.output)) for step in written)
        verdict = passed if both <= self.limit else failed
        found = f"{both} of {counted(len(written), 'message')} both say something and call a tool"
        return verdict(f"{found}, {self.limit} allowed", both)


def _is_last(step: Observation, trace: Trace) -> bool:
    return step is trace.generations[-1]
