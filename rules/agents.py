"""Rules about what an agent did: its tool calls."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Final

import orjson
from pydantic import Field

from rules.base import Rule, counted, failed, measured, passed, quoted
from traces import DataType, NotApplicable, Trace, Verdict, json_text

_NO_CALLS: Final = NotApplicable("no tool calls")


class RepeatedToolCalls(Rule):
    """No tool is called with the same arguments more than `limit` times: an agent that does so is going in circles.

    Arguments are compared as JSON, whatever the order of their keys. Calls without recorded arguments are not counted,
    since nobody knows whether they were the same. A trace without tool calls is not scored.
    """

    example: ClassVar = {"name": "no-tool-loop", "rule": "repeated_tool_calls", "limit": 2}

    limit: int = Field(default=2, ge=1, description="how often the same call may occur")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Count calls that are the same."""
        calls = trace.tool_calls
        if not calls:
            return _NO_CALLS
        times = Counter((call.name, _canonical(call.input)) for call in calls if call.input is not None)
        (name, _), most = max(times.items(), key=lambda item: item[1], default=(("", b""), 0))
        looped = sum(number > self.limit for number in times.values())
        if not looped:
            return passed(f"{counted(len(calls), 'tool call')}, none the same more than {self.limit} times")
        others = f", and {counted(looped - 1, 'other call')}" if looped > 1 else ""
        return failed(f"{quoted(name)} was called {most} times with the same arguments{others}, {self.limit} allowed")


class ToolCallCount(Rule):
    """How many tool calls the trace made."""

    gives: ClassVar = DataType.NUMERIC
    example: ClassVar = {"name": "tool-calls", "rule": "tool_call_count"}

    def check(self, trace: Trace) -> Verdict:
        """Count the calls, and name the tool called most."""
        calls = trace.tool_calls
        if not calls:
            return measured(0, "no tool calls")
        name, times = Counter(call.name for call in calls).most_common(1)[0]
        return measured(len(calls), f"{counted(len(calls), 'tool call')}, {quoted(name)} most often ({times})")


def _canonical(arguments: Any) -> bytes:
    """Return the same bytes for the same arguments."""
    try:
        known = orjson.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        known = arguments
    try:
        return orjson.dumps(known, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Nested more deeply than orjson writes, or half a character: the text is as good, but for the keys' order.
        return json_text(known).encode()
