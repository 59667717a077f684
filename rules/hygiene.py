"""Rules about the tracing itself: errors, and what must be known of every trace."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final, Literal

from pydantic import Field

from rules.base import Rule, counted, failed, passed, quoted
from traces import Duration, NotApplicable, Observation, Trace, Verdict

_NO_MODEL: Final = NotApplicable("no model calls")


class ErrorLevel(Rule):
    """No step of the trace was recorded as an error (or, with `level: WARNING`, as a warning or an error)."""

    example: ClassVar = {"name": "no-errors", "rule": "error_level"}

    level: Literal["WARNING", "ERROR"] = Field(default="ERROR", description="the mildest level that fails")

    def check(self, trace: Trace) -> Verdict:
        """Look for steps at the level."""
        levels = {"ERROR"} if self.level == "ERROR" else {"WARNING", "ERROR"}
        found = [step for step in trace.observations if step.level in levels]
        total = counted(len(trace.observations), "step")
        if not found:
            return passed(f"none of {total} at {self.level}")
        shown = "; ".join(_described(step) for step in found[:3])
        return failed(f"{len(found)} of {total} at {' or '.join(sorted(levels))}: {shown}")


class HasUserId(Rule):
    """The trace says which user it served."""

    example: ClassVar = {"name": "has-user", "rule": "has_user_id"}

    def check(self, trace: Trace) -> Verdict:
        """Look for a user id that is not blank."""
        return passed("user id present") if (trace.user_id or "").strip() else failed("the trace has no user id")


class HasSessionId(Rule):
    """The trace says to which session (conversation) it belongs."""

    example: ClassVar = {"name": "has-session", "rule": "has_session_id"}

    def check(self, trace: Trace) -> Verdict:
        """Look for a session id that is not blank."""
        present = (trace.session_id or "").strip()
        return passed("session id present") if present else failed("the trace has no session id")


class HasTraceName(Rule):
    """The trace has a name: without one it cannot be told from others in a filter, a rubric or an alert."""

    example: ClassVar = {"name": "has-name", "rule": "has_trace_name"}

    def check(self, trace: Trace) -> Verdict:
        """Look for a name that is not blank."""
        return passed("trace name present") if trace.name.strip() else failed("the trace has no name")


class HasRelease(Rule):
    """The trace says which release of the application made it (or which version): who looks for a culprit needs it."""

    example: ClassVar = {"name": "has-release", "rule": "has_release"}

    def check(self, trace: Trace) -> Verdict:
        """Look for a release or a version that is not blank."""
        present = (trace.release or "").strip() or (trace.version or "").strip()
        return passed("release present") if present else failed("the trace has neither release nor version")


class HasPromptVersion(Rule):
    """Model calls are linked to a version of a prompt; with `every`, each of them.

    A trace without model calls is not scored.
    """

    example: ClassVar = {"name": "has-prompt", "rule": "has_prompt_version"}

    every: bool = Field(default=False, description="whether every model call must be linked, not only one")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Count the model calls that are linked to a prompt."""
        calls = trace.generations
        if not calls:
            return _NO_MODEL
        linked = sum(bool(call.prompt_name) and call.prompt_version is not None for call in calls)
        found = f"{linked} of {counted(len(calls), 'model call')} linked to a prompt"
        return passed(found) if linked == len(calls) or (linked and not self.every) else failed(found)


class NoOrphans(Rule):
    """Every step hangs below another one of the trace: a parent that is not there was lost on the way, or never sent.

    The parent of the root may be a service that is not traced.
    """

    example: ClassVar = {"name": "whole-tree", "rule": "no_orphans"}

    def check(self, trace: Trace) -> Verdict:
        """Look for steps whose parent is not there."""
        known = {step.id for step in trace.observations}
        steps = [step for step in trace.observations if step is not trace.root]
        orphans = [step for step in steps if step.parent_id is not None and step.parent_id not in known]
        total = counted(len(steps), "step")
        if not orphans:
            return passed(f"none of {total} without its parent", 0)
        shown = ", ".join(f"{step.type} {quoted(step.name, 30)}" for step in orphans[:3])
        return failed(f"{len(orphans)} of {total} without the parent they name: {shown}", len(orphans))


class SteadyClock(Rule):
    """Times fit each other: no step ends before it starts, and none starts outside of its parent.

    What does comes of clocks that differ between machines, and makes latencies wrong. A step may end after its parent:
    streams and work in the background do. With `strict` it may not.
    """

    example: ClassVar = {"name": "clocks-agree", "rule": "steady_clock", "tolerance": "250ms"}

    tolerance: Duration = Field(default=timedelta(milliseconds=100), description="how far times may be off")
    strict: bool = Field(default=False, description="whether a step must also end before its parent does")

    def check(self, trace: Trace) -> Verdict:
        """Compare the times of each step with each other and with its parent's."""
        known = {step.id: step for step in trace.observations}
        wrong = [
            (step, problem)
            for step in trace.observations
            if (problem := self._problem(step, known.get(step.parent_id or ""))) is not None
        ]
        total = counted(len(trace.observations), "step")
        if not wrong:
            return passed(f"the times of {total} fit", 0)
        step, problem = wrong[0]
        return failed(f"{len(wrong)} of {total} off: {step.type} {quoted(step.name, 30)} {problem}", len(wrong))

    def _problem(self, step: Observation, parent: Observation | None) -> str | None:
        if step.end is not None and step.start - step.end > self.tolerance:
            return f"ends {_seconds(step.start - step.end)} before it starts"
        if parent is None or parent is step:
            return None
        if parent.start - step.start > self.tolerance:
            return f"starts {_seconds(parent.start - step.start)} before its parent"
        if parent.end is None:
            return None
        if step.start - parent.end > self.tolerance:
            return f"starts {_seconds(step.start - parent.end)} after its parent ended"
        if self.strict and step.end is not None and step.end - parent.end > self.tolerance:
            return f"ends {_seconds(step.end - parent.end)} after its parent"
        return None


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.2f} s"


def _described(step: Observation) -> str:
    said = quoted(step.status_message, 50) if step.status_message else "no message"
    return f"{step.type} {quoted(step.name, 30)}: {said}"
