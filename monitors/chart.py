"""The weekly line as a picture, and as one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors.means import Floats, WeekMean
from monitors.series import WEEK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BARS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "·"
_LINE: Final = "#1f4e79"
_NOW: Final = "#c0392b"
_GUILTY: Final = "#e08a1e"
_LONGEST_LABEL: Final = 80

Dates = NDArray[np.datetime64]


def sparkline(means: Sequence[float | None]) -> str:
    """Return one character a week, lowest to highest; a week without a mean is a dot."""
    known = [mean for mean in means if mean is not None]
    if not known:
        return _GAP * len(means)
    low, span = min(known), max(known) - min(known)
    steps = len(_BARS) - 1
    return "".join(
        _GAP if mean is None else _BARS[round((mean - low) / span * steps) if span > 0 else steps // 2]
        for mean in means
    )


class Segment(NamedTuple):
    """A segment that a chart shows beside the whole: what it is called, and its weekly means."""

    name: str
    line: Sequence[WeekMean]


def chart(line: Sequence[WeekMean], title: str, *, percent: bool = False, guilty: Segment | None = None) -> bytes:
    """Return a PNG of the weekly means with their 95 % intervals, the last week marked, and those of a segment.

    Characters outside ASCII in the texts become `?`: the built-in font has few of them.
    """
    # Only an alert needs a chart: here, no worker pays 0.3 s for it at its start.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.dates import DateFormatter  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    figure = Figure(figsize=(7.2, 2.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends, mean = _drawn(axes, line, _LINE)
    axes.axvspan(ends[-1] - np.timedelta64(7, "D"), ends[-1], color=_NOW, alpha=0.07, linewidth=0)
    if guilty is not None:
        _drawn(axes, guilty.line, _GUILTY, _ascii(guilty.name))
        for text in axes.legend(loc="lower left", fontsize=8, frameon=False).get_texts():
            text.set_parse_math(False)
    axes.plot(ends[-1:], mean[-1:], color=_NOW, marker="o", markersize=7, linestyle="none")
    axes.set_title(_ascii(title), loc="left", fontsize=10, parse_math=False)
    axes.xaxis.set_major_formatter(DateFormatter("%d %b"))  # type: ignore[no-untyped-call]  # matplotlib's gap
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    picture = BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _drawn(axes: Axes, line: Sequence[WeekMean], color: str, label: str = "") -> tuple[Dates, Floats]:
    """Draw weekly means with their band; return where they are."""
    ends = np.array([(week.start + WEEK).astimezone(UTC).replace(tzinfo=None) for week in line], dtype="datetime64[s]")
    mean, low, high = (
        np.array([np.nan if value is None else value for value in column])
        for column in zip(*((week.mean, week.low, week.high) for week in line), strict=True)
    )
    # While an alert is open the weeks since it opened are no baseline: nothing is drawn across them.
    gaps = np.flatnonzero(np.diff(ends) > np.timedelta64(8, "D")) + 1
    joined = np.insert(ends, gaps, ends[gaps] - np.timedelta64(1, "s"))
    line_mean, line_low, line_high = (np.insert(column, gaps, np.nan) for column in (mean, low, high))
    axes.fill_between(joined, line_low, line_high, color=color, alpha=0.18, linewidth=0)
    # A segment of one week has no band.
    axes.vlines(ends, low, high, color=color, alpha=0.3, linewidth=2)
    # A leading underscore would hide a label from the legend.
    axes.plot(
        joined, line_mean, color=color, marker="o", markersize=3.5, linewidth=1.5, label=label.lstrip("_") or None
    )
    return ends, mean


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()[:_LONGEST_LABEL]
