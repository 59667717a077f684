"""What people said of a score, wherever they said it: monitors.yaml or the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from evaluator.state.alert_memory import Kind, Mark
from monitors import Expected, Marks, MonitorSpec, Snooze, marks


def marks_of(spec: MonitorSpec, said: Sequence[Mark], now: datetime) -> Marks:
    """Return what counts at a time of what a monitor's file says and what was `said` on the command line."""
    of = [mark for mark in said if mark.monitor == spec.key]
    snoozes = [Snooze(until=mark.at, why=mark.why) for mark in of if mark.kind is Kind.SNOOZE]
    changes = [Expected(at=mark.at, why=mark.why) for mark in of if mark.kind is Kind.EXPECT]
    return marks([*snoozes, *([spec.snooze] if spec.snooze else [])], [*changes, *spec.expected], now)
