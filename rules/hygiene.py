"""Rules about the tracing itself: errors, and what must be known of every trace."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rules.base import Rule, counted, failed, passed, quoted
from traces import Observation, Trace, Verdict


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


def _described(step: Observation) -> str:
    said = quoted(step.status_message, 50) if step.status_message else "no message"
    return f"{step.type} {quoted(step.name, 30)}: {said}"
