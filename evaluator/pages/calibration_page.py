"""A calibration as one page of HTML, in the style of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup, escape

from evaluator.calibration.agreement import Calibration
from evaluator.calibration.report import MEASURES, corrected_of, heading, verdict_of, worded
from evaluator.messages.figures import day
from evaluator.messages.words import shortened
from evaluator.pages.drawing import Scale, range_chart, weekly_chart
from evaluator.pages.templates import template
from judges.calibration import LevelMean
from monitors import WeekMean
from traces import RecordedScore

_WIDE: Final = 360
_HIGH: Final = 240
_LEFT: Final = 34
_BOTTOM: Final = 26
_EDGE: Final = 12


def page(
    found: Calibration,
    history: Sequence[Mapping[str, Any]],
    url: Callable[[RecordedScore], str],
    floor: float | None = None,
) -> str:
    """Return the page; `history` are the findings of past weeks, oldest first."""
    agreement = found.found
    figures = [] if agreement is None else [*agreement.judge.items(), *agreement.people.items()]
    lows = [figure.value if figure.low is None else figure.low for name, figure in figures if name != "bias"]
    columns = None if agreement is None else agreement.table.sum(axis=0)

    def shade(row: int, column: int) -> float:
        whole = 0.0 if columns is None else float(columns[column])
        return 70 * float(agreement.table[row, column]) / whole if agreement is not None and whole else 0.0

    made = template("calibration.html.j2")
    made.environment.filters["worded"] = worded
    return made.render(
        found=found,
        heading=heading(found),
        verdict=verdict_of(found, floor),
        corrected=corrected_of(found),
        measures=MEASURES,
        ends=(min([0.0, *lows]), 1.0),
        history=[week for each in history if (week := _week(each)) is not None],
        address=url,
        shade=shade,
        day=day,
        level_chart=level_chart,
        range_chart=range_chart,
        shortened=shortened,
        weekly_chart=weekly_chart,
        worded=worded,
    )


def level_chart(levels: Sequence[LevelMean], low: float, high: float) -> Markup:
    """Return what a judge gave on average where people said one thing, with intervals, and the line of agreement."""
    x = Scale(low, high, _LEFT + _EDGE, _WIDE - _EDGE)
    y = Scale(low, high, _HIGH - _BOTTOM, _EDGE)
    parts = [
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="the judge where people said what">',
        f'<line class="grid" x1="{x(low):.1f}" y1="{y(low):.1f}" x2="{x(high):.1f}" y2="{y(high):.1f}"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        at = low + share * (high - low)
        parts.append(f'<text x="{_LEFT - 4}" y="{y(at) + 4:.1f}" text-anchor="end">{at:.3g}</text>')
    for level in levels:
        place, figure = x(level.at), level.ours
        said = f"{level.n:,} labels: {figure.value:.2f}"
        if figure.low is not None and figure.high is not None:
            ends = f'y1="{y(figure.low):.1f}" y2="{y(figure.high):.1f}"'
            parts.append(f'<line class="whisker" x1="{place:.1f}" x2="{place:.1f}" {ends}/>')
            said += f" ({figure.low:.2f} to {figure.high:.2f})"
        dot = f'<circle class="dot" cx="{place:.1f}" cy="{y(figure.value):.1f}" r="4">'
        name = escape(shortened(worded(level.label), 12))
        parts.append(f"{dot}<title>{said}</title></circle>")
        parts.append(f'<text x="{place:.1f}" y="{_HIGH - 8}" text-anchor="middle">{name}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers, and text that is escaped


def _week(kept: Mapping[str, Any]) -> WeekMean | None:
    figure = kept.get("figure")
    return None if figure is None else WeekMean(datetime.fromisoformat(kept["at"]), kept["n"], *figure)
