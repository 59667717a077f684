"""A report as one page of HTML that asks nobody for anything: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from evaluator.alerts.telling import sight_of
from evaluator.messages.figures import by_mix, change, day, dimension, early, label, signed, value
from evaluator.messages.words import shortened
from evaluator.pages.drawing import limits, range_chart, spark_chart, weekly_chart
from evaluator.pages.report import Report, SegmentRow, spread
from evaluator.pages.templates import template
from evaluator.state.hours import STATES
from monitors import Comparison, DropTest, Judged, NotEnoughHistory

_MOST_REASONS: Final = 12
_WITHOUT_SCORE: Final = frozenset({"skipped", "unscored", "failed", "gone"})


def page(report: Report) -> str:
    """Return the page. Every text on it is escaped: names and reasons come from strangers."""
    by_evaluator: dict[str, Counter[str]] = {}
    reasons: Counter[tuple[str, str, str]] = Counter()
    for (name, state, reason), number in report.funnel.items():
        by_evaluator.setdefault(name, Counter())[state] += number
        if state in _WITHOUT_SCORE and reason:
            reasons[name, state, reason] += number
    states = [state for state in STATES if any(counts[state] for counts in by_evaluator.values())]

    def address(score: Judged) -> str:
        urls = report.urls
        return urls.session(score.session_id) if score.session_id else urls.trace(score.trace_id)

    return template("report.html.j2").render(
        report=report,
        scores=spread(report.chapters),
        states=states,
        covered=sorted(by_evaluator.items()),
        reasons=reasons.most_common(_MOST_REASONS),
        address=address,
        **_WORDS,
    )


def sentence(found: Comparison, binary: bool) -> str:
    """Return which of two segments scores higher, and how sure that is: in per cent, pass rates in points."""
    share = None if binary or None in (found.share, found.share_low, found.share_high) else found
    numbers = (
        (found.points, found.low, found.high) if share is None else (share.share, share.share_low, share.share_high)
    )
    factor, digits, unit = (1.0, 2, "") if share is None and not binary else (100.0, 1, " points" if binary else " %")
    size, low, high = (factor * (number or 0.0) for number in numbers)
    if low <= 0 <= high:
        ends = f"{signed(low, digits)} to {signed(high, digits)}{unit}"
        return f"{found.new} and {found.old} cannot be told apart: {signed(size, digits)}{unit} (95 % {ends})."
    near, far = sorted((abs(low), abs(high)))
    way = "higher" if size > 0 else "lower"
    ends = f"{near:.{digits}f} to {far:.{digits}f}{unit}"
    return f"{found.new} scores {abs(size):.{digits}f}{unit} {way} than {found.old} (95 % {ends})."


def conditions(found: Comparison) -> str:
    """Return what a comparison rests on."""
    parts = [f"{found.n_new:,} against {found.n_old:,} scores"]
    if found.adjusted:
        parts.append(f"at an equal mix of {', '.join(map(dimension, found.adjusted))}")
    if found.together:
        names = " and ".join(map(dimension, found.together))
        parts.append(f"{names} changed together with it, so it may have been that")
    return "; ".join(parts) + "."


def _segment_limits(rows: Sequence[SegmentRow]) -> tuple[float, float]:
    ends = [end for row in rows for end in (row.mean, row.low, row.high) if end is not None]
    return min(ends), max(ends)


def _line_limits(rows: Sequence[SegmentRow], binary: bool) -> tuple[float, float]:
    return limits(*(row.line for row in rows), binary=binary)


def _compared(test: DropTest | NotEnoughHistory) -> bool:
    return isinstance(test, DropTest)


def _moved(test: DropTest) -> str:
    """Return how a change is coloured: only where its interval leaves out 0."""
    return "fell" if test.low > 0 else "rose" if test.high < 0 else ""


_WORDS: Final = {
    "change": change,
    "compared": _compared,
    "conditions": conditions,
    "day": day,
    "dimension": dimension,
    "early": early,
    "by_mix": by_mix,
    "label": label,
    "limits": limits,
    "line_limits": _line_limits,
    "moved": _moved,
    "range_chart": range_chart,
    "segment_limits": _segment_limits,
    "sentence": sentence,
    "shortened": shortened,
    "sight": sight_of,
    "spark_chart": spark_chart,
    "value": value,
    "weekly_chart": weekly_chart,
}
