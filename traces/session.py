"""A session: the traces of one conversation, judged together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from traces.model import Trace, TraceRef
from traces.packing import Passage
from traces.transcript import transcript_of


@dataclass(frozen=True, slots=True)
class SessionRef:
    """Enough of a session, as far as it has grown, for a queue message; never content.

    `id` names this growth of it: the same session with one more trace has another. `session_id` is Langfuse's.
    `started` is the start of its oldest known root, `ended` the end of its last one, both timezone-aware.
    """

    id: str
    session_id: str
    environment: str
    started: datetime
    ended: datetime


Ref = TraceRef | SessionRef
"""What a job is about."""


@dataclass(frozen=True, slots=True)
class Session:
    """The traces of one conversation in order of their start, at least one of them.

    `older_left_out` says that the conversation has traces before these which were not read.
    """

    id: str
    traces: tuple[Trace, ...]
    older_left_out: bool = False
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def last(self) -> Trace:
        """The trace that began last."""
        return self.traces[-1]

    @property
    def ended(self) -> datetime:
        """When the last of its traces ended."""
        return max(trace.ref.ended for trace in self.traces)

    @property
    def environment(self) -> str:
        """The environment of its last trace."""
        return self.last.environment

    @property
    def latency(self) -> float:
        """Seconds from the start of the first trace to the end of the last one."""
        return (self.ended - self.traces[0].root.start).total_seconds()

    @property
    def cost(self) -> float | None:
        """Cost in USD of all traces that have one; None when none has."""
        known = [cost for trace in self.traces if (cost := trace.cost) is not None]
        return sum(known) if known else None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of all its traces."""
        return tuple(sorted({tag for trace in self.traces for tag in trace.tags}))

    def segments(self) -> Mapping[str, str]:
        """The keys a monitor may attribute a drop to: what holds at its end, and the tags of all its traces."""
        known: dict[str, str] = {}
        for trace in self.traces:
            known |= trace.segments()
        return {**known, "tags": ",".join(self.tags)} if self.tags else known

    def document(self) -> dict[str, Any]:
        """Return the session as one plain JSON object, made once: what a JSONPath sees."""
        if "document" not in self._made:
            self._made["document"] = {
                "id": self.id,
                "environment": self.environment,
                "user_id": next((trace.user_id for trace in self.traces if trace.user_id), None),
                "tags": list(self.tags),
                "latency": self.latency,
                "cost": self.cost,
                "traces": [trace.document() for trace in self.traces],
            }
        known: dict[str, Any] = self._made["document"]
        return known

    def document_with(self, key: str | None) -> dict[str, Any]:
        """Return `document`, whatever a path begins with."""
        del key
        return self.document()

    def transcript(self) -> str:
        """Return the session as text a judge can read: its traces one after the other, each with number and time."""
        return self.passage().text

    def passage(self) -> Passage:
        """Return the transcript as it may be packed or divided when it is too long."""
        return transcript_of(self.traces, "[older traces of this session are left out]" if self.older_left_out else "")
