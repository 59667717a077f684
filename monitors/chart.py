"""The weekly line as a picture, and as one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from io import BytesIO
from typing import Final

import numpy as np

from monitors.series import WEEK, WeekMean

_BARS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "·"
_LINE: Final = "#1f4e79"
_NOW: Final = "#c0392b"


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


def chart(line: Sequence[WeekMean], title: str, *, percent: bool = False) -> bytes:
    """Return a PNG of the weekly means with their 95 % intervals, the last week marked.

    Characters outside ASCII in the title become `?`: the built-in font has few of them.
    """
    # Only an alert needs a chart: here, no worker pays 0.3 s for it at its start.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.dates import DateFormatter  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    figure = Figure(figsize=(7.2, 2.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends = np.array([(week.start + WEEK).astimezone(UTC).replace(tzinfo=None) for week in line], dtype="datetime64[s]")
    mean, low, high = (
        np.array([np.nan if value is None else value for value in column])
        for column in zip(*((week.mean, week.low, week.high) for week in line), strict=True)
    )
    axes.fill_between(ends, low, high, color=_LINE, alpha=0.18, linewidth=0)
    axes.plot(ends, mean, color=_LINE, marker="o", markersize=3.5, linewidth=1.5)
    axes.plot(ends[-1:], mean[-1:], color=_NOW, marker="o", markersize=7, linestyle="none")
    axes.set_title(title.encode("ascii", "replace").decode(), loc="left", fontsize=10, parse_math=False)
    axes.xaxis.set_major_formatter(DateFormatter("%d %b"))  # type: ignore[no-untyped-call]  # matplotlib's gap
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    picture = BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
