"""Weekly statistics without IO: series, drop test, attribution, alert state, chart."""

from monitors.alert import Alert, AlertState, Event, alert_id, step
from monitors.attribution import Attribution, WorstTrace, attribute
from monitors.chart import chart, sparkline
from monitors.drop import DropTest, NotEnoughHistory, alpha, drop_test, expect
from monitors.segments import Contribution
from monitors.series import Judged, Span, WeeklySeries, WeekMean, weekly
from monitors.spec import MonitorSpec

__all__ = [
    "Alert",
    "AlertState",
    "Attribution",
    "Contribution",
    "DropTest",
    "Event",
    "Judged",
    "MonitorSpec",
    "NotEnoughHistory",
    "Span",
    "WeekMean",
    "WeeklySeries",
    "WorstTrace",
    "alert_id",
    "alpha",
    "attribute",
    "chart",
    "drop_test",
    "expect",
    "sparkline",
    "step",
    "weekly",
]
