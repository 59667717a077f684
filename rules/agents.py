"""Rules about what an agent did: its tool calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any, ClassVar, Final

import orjson
from pydantic import Field

from rules.base import Rule, counted, failed, measured, passed, quoted
from traces import DataType, NotApplicable, Observation, ObservationType, Pattern, Trace, Verdict, json_text, parsed

_NO_CALLS: Final = NotApplicable("no tool calls")

_BEGINNING: Final = 1000
"""Characters of a result in which it tells of an error."""


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
        times = Counter((call.name, canonical(call.input)) for call in calls if call.input is not None)
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


class ToolErrors(Rule):
    """No more than `limit` tool calls of the trace failed, and no more than `streak` in a row.

    A call failed when it was recorded at level ERROR, when its result is an object with an `error` (or `isError`, as
    MCP has it), or a text that matches `says`. A trace without tool calls is not scored.
    """

    example: ClassVar = {"name": "tools-work", "rule": "tool_errors", "limit": 3, "streak": 1}

    limit: int = Field(default=0, ge=0, description="how many calls may fail")
    streak: int | None = Field(default=None, ge=0, description="how many may fail in a row; without it, any number")
    says: Pattern = Field(
        default=Pattern.parse(r"(?i)\A\s*(?:error\b|exception\b|traceback \(most recent|[a-z.]*(?:error|exception):)"),
        description="what a result in text is that tells of an error",
    )

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Count calls that failed, and those that failed one behind the other."""
        calls = trace.tool_calls
        if not calls:
            return _NO_CALLS
        failures = [has_failed(call, self.says) for call in calls]
        total, row = sum(failures), longest(failures)
        found = f"{total} of {counted(len(calls), 'tool call')} failed"
        if total == 0:
            return passed(found, 0)
        name, times = Counter(
            call.name for call, is_error in zip(calls, failures, strict=True) if is_error
        ).most_common(1)[0]
        found = f"{found}, {row} in a row; {quoted(name)} most often ({times})"
        if total > self.limit:
            return failed(f"{found}; {self.limit} allowed", total)
        if self.streak is not None and row > self.streak:
            return failed(f"{found}; {self.streak} in a row allowed", total)
        return passed(found, total)


class RequiredTools(Rule):
    """Every one of some tools was called; with `in_order`, first in this order.

    Other calls may stand between them. A trace without tool calls fails: none of them was called.
    """

    example: ClassVar = {
        "name": "verifies-first",
        "rule": "required_tools",
        "tools": ["get_user", "get_order"],
        "in_order": True,
    }

    tools: tuple[str, ...] = Field(min_length=1, description="names of the tools")
    in_order: bool = Field(default=False, description="whether their order matters")

    def check(self, trace: Trace) -> Verdict:
        """Look for each of the tools."""
        called = [call.name for call in trace.tool_calls]
        missing = [name for name in self.tools if name not in called]
        if missing:
            return failed(f"{named(missing)} not called in {counted(len(called), 'tool call')}")
        if self.in_order:
            left = iter(called)
            late = next((name for name in self.tools if name not in left), None)
            if late is not None:
                return failed(f"{quoted(late)} was not called in the order {named(self.tools)}")
        return passed(f"{named(self.tools)} called{' in this order' if self.in_order else ''}")


class ForbiddenTools(Rule):
    """None of some tools was called. `*` and `?` in a name stand for any characters.

    A trace without tool calls passes.
    """

    example: ClassVar = {"name": "deletes-nothing", "rule": "forbidden_tools", "tools": ["delete_*", "drop_table"]}

    tools: tuple[str, ...] = Field(min_length=1, description="names of the tools")

    def check(self, trace: Trace) -> Verdict:
        """Look for any of the tools."""
        calls = Counter(call.name for call in trace.tool_calls)
        found = [name for name in calls if any(name == bad or fnmatchcase(name, bad) for bad in self.tools)]
        if found:
            times = sum(calls[name] for name in found)
            return failed(f"{named(found)} called, {counted(times, 'time')} in all")
        return passed(f"{counted(calls.total(), 'tool call')}, none forbidden")


class MaxSteps(Rule):
    """The trace took no more steps than a limit: observations of one type, by default calls of a model."""

    example: ClassVar = {"name": "few-steps", "rule": "max_steps", "steps": 20}

    steps: int = Field(ge=0, description="the most that are allowed")
    type: ObservationType = Field(default="GENERATION", description="what counts as a step")

    def check(self, trace: Trace) -> Verdict:
        """Count the steps."""
        number = sum(step.type == self.type for step in trace.observations)
        verdict = passed if number <= self.steps else failed
        return verdict(f"{number} observations of type {self.type}, at most {self.steps} allowed", number)


class Progress(Rule):
    """No more than `limit` rounds in a row bring nothing new: a round is what a model calls before it is asked again.

    A call brings something new when it does not fail and its result is one that this tool had not given before in the
    trace. Results that were not recorded bring nothing and take nothing. A trace without tool results is not scored.
    """

    example: ClassVar = {"name": "gets-on", "rule": "progress", "limit": 2}

    limit: int = Field(default=2, ge=0, description="how many rounds in a row may bring nothing new")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Count rounds without anything new, one behind the other."""
        says: Pattern = ToolErrors.model_fields["says"].default
        seen: set[tuple[str, bytes]] = set()
        idle: list[bool] = []
        for calls in _rounds(trace.observations):
            known = len(seen)
            seen.update((call.name, canonical(call.output)) for call in calls if not has_failed(call, says))
            idle.append(len(seen) == known)
        if not idle:
            return NotApplicable("no tool results")
        row = longest(idle)
        verdict = passed if row <= self.limit else failed
        found = f"{row} of {counted(len(idle), 'round')} of tool calls in a row without anything new"
        return verdict(f"{found}, {self.limit} allowed", row)


def has_failed(call: Observation, says: Pattern) -> bool:
    """Whether a tool call failed: it says so itself, or its result does."""
    if call.level == "ERROR":
        return True
    if isinstance(call.output, str):
        return says.search(call.output[:_BEGINNING]) is not None
    return isinstance(call.output, Mapping) and bool(
        call.output.get("error") or call.output.get("isError") or call.output.get("is_error")
    )


def longest(flags: Iterable[bool]) -> int:
    """Return the length of the longest row of true ones."""
    return max((sum(1 for _ in row) for is_set, row in groupby(flags) if is_set), default=0)


def named(names: Sequence[str]) -> str:
    """Return some names for a reason, the first five in full."""
    shown = ", ".join(quoted(name, 40) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _rounds(steps: Iterable[Observation]) -> Iterator[list[Observation]]:
    """Give the tool calls with results between one model call and the next; without model calls each by itself."""
    models = False
    calls: list[Observation] = []
    for step in steps:
        if step.type == "GENERATION":
            models = True
            if calls:
                yield calls
            calls = []
        elif step.type == "TOOL" and (step.output is not None or step.level == "ERROR"):
            if calls and not models:
                yield calls
                calls = []
            calls.append(step)
    if calls:
        yield calls


def canonical(value: Any) -> bytes:
    """Return the same bytes for the same arguments or results."""
    known = parsed(value)
    try:
        return orjson.dumps(known, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Nested more deeply than orjson writes, or half a character: the text is as good, but for the keys' order.
        return json_text(known).encode()
