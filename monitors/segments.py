"""What every segment of a dimension contributed to a week, and how much of the change a dimension explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from monitors.codes import compact
from monitors.drop import Residuals
from monitors.means import Floats, Ints
from monitors.series import FEWEST, NONE, Dimension, WeeklySeries

_FALSE_DISCOVERIES: Final = 0.1
_CHANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Contribution:
    """A segment's part in the change of the headline, in points of the score; negative pulled it down.

    Shares are of the weighted traffic, means of the scores themselves (None where it had none). `low` to `high` is the
    95 % interval, `p` one-sided for "pulled down", `q` the same with all segments of the dimension in mind.
    """

    dimension: str
    value: str
    share: float
    share_before: float
    mean: float | None
    mean_before: float | None
    points: float
    low: float
    high: float
    p: float
    q: float
    sessions: int
    new: bool

    @property
    def stands_out(self) -> bool:
        """Whether it may be shown as a culprit."""
        return self.q < _FALSE_DISCOVERIES and self.sessions >= FEWEST and self.points < 0


class _Part(NamedTuple):
    """Per segment of one dimension, in some weeks.

    `share` of traffic and `mean` score; `points` contributed with their variance; `level`, the mean residual, with its
    own; and how many sessions.
    """

    share: Floats
    mean: Floats
    points: Floats
    variance: Floats
    level: Floats
    level_variance: Floats
    sessions: Ints


class Table(NamedTuple):
    """One dimension, this week and in the baseline."""

    name: str
    dimension: Dimension
    now: _Part
    before: _Part

    @property
    def new(self) -> NDArray[np.bool_]:
        """Which segments the baseline does not know."""
        return np.asarray((self.before.share == 0) & (self.now.share > 0), dtype=np.bool_)


def contributions(series: WeeklySeries, expected: Residuals, name: str) -> tuple[Contribution, ...]:
    """Return what every segment of a dimension contributed to this week's mean residual, worst first.

    A segment's part is share times mean residual now, less the same in the baseline: all parts add up to the mean
    residual, whose baseline is 0.
    """
    return rows_of(table(series, expected, name))


def rank(series: WeeklySeries, expected: Residuals) -> list[tuple[str, float]]:
    """Return the dimensions by how much of the drop they explain beyond chance, best first.

    What a dimension explains is how far its segments' changes differ from the change of the traffic it says nothing new
    about (0 when all fell alike), and what moving traffic between its segments did. Of dimensions that explain the same
    the one named first in the monitor wins.
    """
    found = [(name, explained(series, expected.baseline, table(series, expected, name))) for name in series.dimensions]
    return sorted(found, key=lambda pair: -round(pair[1], 9))


def table(series: WeeklySeries, expected: Residuals, name: str) -> Table:
    """Return one dimension's segments, this week and in the baseline."""
    dimension = series.dimensions[name]
    now = _part(series, expected.residual, dimension, [0])
    return Table(name, dimension, now, _part(series, expected.residual, dimension, expected.baseline))


def rows_of(table: Table) -> tuple[Contribution, ...]:
    """Return the segments of a table as contributions, worst first."""
    now, before = table.now, table.before
    points = now.points - before.points
    error = np.sqrt(now.variance + before.variance)
    df = np.maximum(now.sessions - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, scipy.stats.t.cdf(points / error, df), np.where(points < 0, 0.0, 1.0))
    half = scipy.stats.t.ppf(0.975, df) * error
    tested = (now.sessions >= FEWEST) & np.isfinite(p)
    q = np.ones_like(p)
    if tested.any():
        # Segments that share traces move together in ways nobody knows (Benjamini and Yekutieli 2001).
        shared = table.dimension.portion.min(initial=1.0) < 1
        q[tested] = scipy.stats.false_discovery_control(p[tested], method="by" if shared else "bh")
    rows = [
        Contribution(
            dimension=table.name,
            value=value,
            share=float(now.share[i]),
            share_before=float(before.share[i]),
            mean=_known(now.mean[i]),
            mean_before=_known(before.mean[i]),
            points=float(points[i]),
            low=float(points[i] - half[i]),
            high=float(points[i] + half[i]),
            p=float(p[i]),
            q=float(q[i]),
            sessions=int(now.sessions[i]),
            new=bool(table.new[i]) and value != NONE,
        )
        for i, value in enumerate(table.dimension.names)
        if now.share[i] > 0 or before.share[i] > 0
    ]
    return tuple(sorted(rows, key=lambda row: (row.points, row.value)))


def _part(series: WeeklySeries, residual: Floats, dimension: Dimension, weeks: list[int]) -> _Part:
    size = len(dimension.names)
    rows = np.isin(series.week, weeks)
    # Each week counts once, as it does in the headline.
    weighed = series.weights / np.maximum(np.bincount(series.week, series.weights), np.finfo(float).tiny)[series.week]
    pairs = rows[dimension.rows]
    row, code = dimension.rows[pairs], dimension.codes[pairs]
    portion = dimension.portion[pairs]
    weight = weighed[row]
    total = weighed[rows].sum()
    member = np.bincount(code, weight, size)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(code, weight * series.values[row], size) / member
    points = np.bincount(code, weight * portion * residual[row], size) / total
    # Linearised ratio: a session's sum in the segment, less the segment's part of the session's weight.
    clusters, cluster = compact(series.session[rows])
    weights = np.bincount(cluster, weighed[rows])
    place = np.zeros(series.values.size, dtype=np.int64)
    place[rows] = cluster
    keys, key = compact(place[row] * size + code)
    of, where = keys % size, keys // size
    sums = np.bincount(key, weight * portion * residual[row])
    squares = np.bincount(of, sums**2, size) - 2 * points * np.bincount(of, sums * weights[where], size)
    variance = _corrected(clusters.size) * np.maximum(squares + points**2 * (weights @ weights), 0.0) / total**2
    sessions = np.bincount(of, minlength=size)
    with np.errstate(invalid="ignore"):
        level = np.bincount(code, weight * residual[row], size) / member
        errors = np.bincount(key, weight * (residual[row] - level[code]))
        spread = _corrected(sessions) * np.bincount(of, errors**2, size) / member**2
    return _Part(member / total, mean, points, variance, level, spread, sessions)


def _corrected(clusters: Ints | int) -> Floats:
    """Return C / (C - 1): what a variance of few clusters lacks."""
    count = np.asarray(clusters, dtype=float)
    return np.where(count > 1, count / np.maximum(count - 1, 1), np.inf)


def explained(series: WeeklySeries, baseline: list[int], table: Table) -> float:
    """Return what a dimension explains of the drop, in squared points of the score, 0 when it may be chance."""
    level = _CHANCE / len(series.dimensions)
    return _differences(table, level) + _moves(series, baseline, table, level)


def _differences(table: Table, level: float) -> float:
    """Return how differently the segments changed, beyond chance."""
    known = (table.now.sessions >= FEWEST) & (table.new | (table.before.sessions >= FEWEST))
    if not known.any():
        return 0.0
    share, new = table.now.share[known], table.new[known]
    change = (table.now.level - np.where(table.new, 0.0, table.before.level))[known]
    variance = (table.now.level_variance + np.where(table.new, 0.0, table.before.level_variance))[known]
    # Where everything is new there is nothing left that shows what would have happened anyway.
    common = 0.0 if new.all() else float(np.average(change[~new], weights=share[~new]))
    apart = (change - common) ** 2
    freedom = known.sum() - (0 if new.all() else 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = float(np.where(apart > 0, apart / variance, 0.0).sum())
    if freedom == 0 or scipy.stats.chi2.sf(surprise, freedom) >= level:
        return 0.0
    return max(0.0, float(share @ (apart - variance)))


def _moves(series: WeeklySeries, baseline: list[int], table: Table, level: float) -> float:
    """Return what moving traffic between segments did by itself: to a worse model, say."""
    usual = np.where(table.before.share > 0, table.before.level, 0.0)
    dimension = table.dimension
    parts: Floats = dimension.portion * usual[dimension.codes]
    rows: Floats = np.bincount(dimension.rows, parts, series.values.size).astype(np.float64)
    now = series.estimate(0, rows)
    moved = now.mean - float(np.mean(series.means(rows)[baseline]))
    if -moved <= scipy.stats.norm.isf(level) * np.sqrt(now.variance):
        return 0.0
    return max(0.0, moved**2 - now.variance)


def _known(mean: float) -> float | None:
    return None if np.isnan(mean) else float(mean)
