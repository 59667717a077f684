"""What else happened in the week of a fall: versions that were never seen before, and how a segment did over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from monitors.means import Ints, WeekMean, hajek, week_mean
from monitors.series import FEWEST, NONE, Dimension, WeeklySeries

RELEASED: Final = ("prompt_version", "release", "model")
"""Dimensions whose values people bring out: a new one is an event, where a new tag or user is not."""

_NOTABLE: Final = 0.02
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Change:
    """A value that this week has and no week before: `share` of this week's traffic, first seen `at`."""

    dimension: str
    value: str
    share: float
    at: datetime


def first_seen(series: WeeklySeries, dimensions: Sequence[str] = RELEASED) -> tuple[Change, ...]:
    """Return what is new in this week and has at least 2 % of its traffic, the largest first.

    While an alert is open there are weeks between the baseline and this one that nobody looks at; what was there
    already when this week began may be of them, and is left out.
    """
    if not (series.week > 0).any():
        return ()
    found: list[Change] = []
    for name in dimensions:
        if (dimension := series.dimensions.get(name)) is not None:
            found.extend(_new(series, name, dimension))
    return tuple(sorted(found, key=lambda change: (-change.share, change.dimension, change.value)))


def segment_line(series: WeeklySeries, dimension: str, value: str) -> tuple[WeekMean, ...]:
    """Return the weekly means of one segment, oldest first, this week last."""
    held = series.dimensions[dimension]
    rows = held.rows[held.codes == held.names.index(value)]
    return tuple(_mean(series, week, rows[series.week[rows] == week]) for week in range(series.weeks, -1, -1))


def _mean(series: WeeklySeries, week: int, rows: Ints) -> WeekMean:
    start, n = series.start(week), int(rows.size)
    if n < FEWEST or week in series.excluded:
        return WeekMean(start, n)
    found = hajek(series.values[rows], series.weights[rows], series.session[rows])
    return week_mean(start, found, binary=series.binary)


def _new(series: WeeklySeries, name: str, dimension: Dimension) -> list[Change]:
    this_week = series.week[dimension.rows] == 0
    before = set(np.unique(dimension.codes[~this_week]).tolist())
    total = series.weights[series.week == 0].sum()
    found = []
    for code in np.unique(dimension.codes[this_week]).tolist():
        value = dimension.names[code]
        rows = dimension.rows[this_week & (dimension.codes == code)]
        share = float(series.weights[rows].sum() / total)
        if code in before or value == NONE or share < _NOTABLE:
            continue
        at = min(series.recent[row].at for row in rows.tolist())
        if series.baseline_end >= series.start(0) or at >= series.start(0) + _DAY:
            found.append(Change(name, value, share, at))
    return found
