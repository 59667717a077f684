"""Weekly statistics without IO: series, drop test, attribution, alert state, chart."""

from monitors.alert import Alert, AlertState, Event, alert_id, detectable, foreseen, is_calm, reopened, step
from monitors.attribution import Attribution, WorstTrace, attribute
from monitors.changes import Change, first_seen, segment_line
from monitors.chart import Segment, chart, sparkline
from monitors.drop import DropTest, NotEnoughHistory, alpha, drop_test, expect
from monitors.marks import Expected, Marks, Snooze, marks, moment
from monitors.segments import Contribution
from monitors.series import Judged, Span, WeeklySeries, WeekMean, weekly
from monitors.spec import MonitorSpec, OnLow

__all__ = [
    "Alert",
    "AlertState",
    "Attribution",
    "Change",
    "Contribution",
    "DropTest",
    "Event",
    "Expected",
    "Judged",
    "Marks",
    "MonitorSpec",
    "NotEnoughHistory",
    "OnLow",
    "Segment",
    "Snooze",
    "Span",
    "WeekMean",
    "WeeklySeries",
    "WorstTrace",
    "alert_id",
    "alpha",
    "attribute",
    "chart",
    "detectable",
    "drop_test",
    "expect",
    "first_seen",
    "foreseen",
    "is_calm",
    "marks",
    "moment",
    "reopened",
    "segment_line",
    "sparkline",
    "step",
    "weekly",
]
