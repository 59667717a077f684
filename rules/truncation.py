"""The rule about answers that were cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from pydantic import Field

from rules.base import failed, passed, quoted
from rules.text import TextRule
from traces import NotApplicable, Observation, Trace, Verdict

_NO_REASON: Final = NotApplicable("no finish reason")
_REASONS: Final = frozenset({"finish_reason", "finishreason", "stop_reason", "stopreason", "done_reason"})
_CUT: Final = frozenset({"length", "max_tokens", "max_output_tokens", "model_length", "incomplete"})
_ENDED: Final = frozenset(
    {"stop", "end_turn", "stop_sequence", "tool_calls", "tool_use", "eos", "complete", "completed"}
)
_MOST_LOOKED_AT: Final = 500
"""Values of a generation's output and metadata among which the reason is looked for, those on top first."""

_SHORTEST: Final = 200
"""Characters of a text whose end is looked at: `Yes, order 7` is whole."""

_OPEN_END: Final = re.compile(r"[\w,;:(\[{\u2013\u2014-]\Z")
_NO_PROSE: Final = re.compile(r"\s{0,20}(?:[-*+>|#]|\d{1,9}[.)]\s)")


class Truncated(TextRule):
    """The answer was not cut off.

    It was when the last generation says so (`finish_reason: length`, `stop_reason: max_tokens` and their like, in its
    output or metadata). When no reason is recorded, when a Markdown code fence is left open, or when a text of 200
    characters or more that has sentences stops in the middle of one: its last line is no list item, heading, quotation,
    table or address, and ends with a letter, a digit, a comma or an opening bracket.
    """

    example: ClassVar = {"name": "not-cut-off", "rule": "truncated"}

    sentences: bool = Field(default=True, description="whether the text's end is looked at when no reason is recorded")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look at the recorded reason, else at the text."""
        said = map(finish_reason, reversed(trace.generations))
        reason = next(filter(None, said), "")
        if reason in _CUT:
            return failed(f"the last model call ended because of {quoted(reason)}")
        if reason in _ENDED:
            return passed(f"the last model call ended with {quoted(reason)}")
        return super().check(trace) if self.sentences else _NO_REASON

    def check_text(self, text: str) -> Verdict | NotApplicable:
        """Look at the end of a text."""
        text = text.rstrip()
        if text.count("```") % 2:
            return failed("a code fence is left open")
        last = text.rpartition("\n")[2]
        no_prose = _NO_PROSE.match(last) or "http" in last[-_SHORTEST:].rpartition(" ")[2]
        has_sentences = any(mark in text for mark in (". ", ".\n", "! ", "? "))
        if len(text) < _SHORTEST or not has_sentences or no_prose or not _OPEN_END.search(last[-1:]):
            return passed("the text does not stop in the middle of a sentence")
        return failed(f"the text stops in the middle of a sentence: …{quoted(last[-20:])}")


def finish_reason(step: Observation) -> str:
    """Return why a generation ended, in lower case, as its output or metadata says; empty when neither does."""
    reasons = (value for name, value in _entries({"metadata": step.metadata, "output": step.output}))
    return next((str(value).lower() for value in reasons if isinstance(value, str) and value), "")


def _entries(held: Any) -> Iterator[tuple[str, Any]]:
    """Give what is said of a reason, level by level."""
    waiting, looked_at = [held], 0
    while waiting and looked_at < _MOST_LOOKED_AT:
        value = waiting.pop(0)
        items = value.items() if isinstance(value, dict) else enumerate(value[:_MOST_LOOKED_AT])
        for name, inner in items:
            looked_at += 1
            if looked_at > _MOST_LOOKED_AT:
                return
            if isinstance(name, str) and name.replace("-", "_").lower() in _REASONS:
                yield name, inner
            if isinstance(inner, (dict, list)):
                waiting.append(inner)
