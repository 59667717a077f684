"""Weekly statistics without IO: series, drop test, attribution, alert state, chart."""

from monitors.alert import Alert, AlertState, Event, alert_id, detectable, foreseen, is_calm, reopened, step
from monitors.attribution import Attribution, WorstTrace, attribute
from monitors.betting import YEAR, evidence
from monitors.bridging import bridged
from monitors.changes import Change, first_seen, segment_line
from monitors.chart import Segment, chart, sparkline
from monitors.comparison import Comparison, compare, newest
from monitors.drop import (
    LASTING,
    DropTest,
    NotEnoughHistory,
    alpha,
    drop_test,
    expect,
    lasting_alpha,
    lasting_test,
    without_judge,
)
from monitors.holm import Claim, shares
from monitors.marks import Expected, Marks, Snooze, marks, moment
from monitors.means import WeekMean
from monitors.segments import Contribution
from monitors.series import Held, Judged, Span, WeeklySeries, weekly
from monitors.spec import Fraction, MonitorSpec, OnLow

__all__ = [
    "LASTING",
    "YEAR",
    "Alert",
    "AlertState",
    "Attribution",
    "Change",
    "Claim",
    "Comparison",
    "Contribution",
    "DropTest",
    "Event",
    "Expected",
    "Fraction",
    "Held",
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
    "bridged",
    "chart",
    "compare",
    "detectable",
    "drop_test",
    "evidence",
    "expect",
    "first_seen",
    "foreseen",
    "is_calm",
    "lasting_alpha",
    "lasting_test",
    "marks",
    "moment",
    "newest",
    "reopened",
    "segment_line",
    "shares",
    "sparkline",
    "step",
    "weekly",
    "without_judge",
]
