"""What the watch needs of everything around it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from evaluator.alerts.judged import Scores
from evaluator.langfuse import Capabilities
from evaluator.state.alert_memory import Mark
from evaluator.state.hours import Funnel
from evaluator.state.monitor_records import MonitorRecord
from monitors.drift import Anchored
from traces import Usage


class ScoreStore(Scores, Protocol):
    """What the watch needs of Langfuse."""

    def capabilities(self) -> Capabilities:
        """Return the project."""

    def trace_url(self, trace_id: str) -> str:
        """Return where a person reads a trace."""

    def session_url(self, session_id: str) -> str:
        """Return where a person reads a session."""

    def prompt_url(self, name: str) -> str:
        """Return where a person reads a prompt."""

    def scores_url(self) -> str:
        """Return where a person reads all scores."""


class MonitorState(Protocol):
    """What the watch needs of the fleet's state."""

    def monitor(self, name: str) -> AbstractContextManager[MonitorRecord]:
        """Lock a monitor; state and outbox are saved together on a clean exit."""

    def funnel(self) -> Funnel:
        """Return how many (trace, evaluator) pairs reached each state, by (evaluator, state, reason)."""

    def spending(self) -> dict[str, Usage]:
        """Return what judge calls cost so far, by evaluator."""


class Saying(Protocol):
    """What people said of scores beforehand."""

    def marks(self) -> list[Mark]:
        """Return all of it."""


class Judges(Protocol):
    """What is known of those who judge."""

    def anchored(self, score: str) -> Anchored | None:
        """Return what anchors know of the judge of a score; None where it has none."""

    def again(self, score: str) -> bool:
        """Ask the judge of a score about its anchors now, unless that was done lately; return whether it was."""
