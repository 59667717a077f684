"""Who did it: a drop by segments, dimension by dimension, and the traces to read.

In every dimension the contributions of the segments add up to the drop of the headline. A segment is blamed for what
it contributes (its share times its change), never for a low mean: small segments have low means all the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from monitors.drop import Residuals
from monitors.series import FEWEST, NONE, Dimension, Floats, Ints, WeeklySeries

_FALSE_DISCOVERIES: Final = 0.1
_CHANCE: Final = 0.05
_SAME: Final = 0.8
"""Cramer's V above which two segments cannot be told apart."""

_WORST: Final = 5
_PER_SESSION: Final = 2


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


@dataclass(frozen=True, slots=True)
class WorstTrace:
    """A trace to read: its score and what the judge said."""

    trace_id: str
    value: float
    comment: str
    lost: float


@dataclass(frozen=True, slots=True)
class Split:
    """A change of the mean as what changed inside segments and what only the mix did."""

    within: float
    mix: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """The explanation of a drop.

    `dimension` is the one that explains it best, None when it is spread evenly. `rows` are its segments that stand
    out, worst first, and `rest` is what all others contributed: together they are the headline's change. `alike` are
    segments of other dimensions that hold the same traces as the first row.
    """

    dimension: str | None
    rows: tuple[Contribution, ...]
    rest: float
    alike: tuple[tuple[str, str], ...]
    new: tuple[Contribution, ...]
    worst: tuple[WorstTrace, ...]


class _Part(NamedTuple):
    """Per segment of one dimension: share of traffic, mean, contribution with its variance, sessions."""

    share: Floats
    mean: Floats
    points: Floats
    variance: Floats
    sessions: Ints


def attribute(series: WeeklySeries, expected: Residuals) -> Attribution:
    """Explain this week's mean residual."""
    ranked = rank(series, expected)
    best = next((name for name, explained in ranked if explained > 0), None)
    everything = {name: contributions(series, expected, name) for name in series.dimensions}
    rows = tuple(row for row in everything[best] if row.stands_out) if best else ()
    new = tuple(row for name in series.dimensions for row in everything[name] if row.new and row.stands_out)
    total = series.estimate(0, expected.values).mean
    return Attribution(
        dimension=best if rows else None,
        rows=rows,
        rest=total - sum(row.points for row in rows),
        alike=_alike(series, expected.baseline, rows[0]) if rows else (),
        new=tuple(row for row in new if row not in rows),
        worst=worst_traces(series, expected, rows[0] if rows else None),
    )


def split(values: Floats, weights: Floats, codes: Ints, now: Floats) -> Split:
    """Split the change of a weighted mean over one dimension (Kitagawa 1955; current shares weigh the changes).

    Args:
        values: scores of both times.
        weights: their weights.
        codes: the segment of each.
        now: whether a row belongs to the later time.
    """
    size = int(codes.max()) + 1
    later = now.astype(bool)
    share, mean = _shares(values[later], weights[later], codes[later], size)
    before, mean_before = _shares(values[~later], weights[~later], codes[~later], size)
    overall = float(np.nansum(before * mean_before))
    # A new segment has no past to differ from: all of it is mix. One that is gone has no present.
    known = np.where(np.isnan(mean_before), mean, mean_before)
    within = float(np.nansum(share * (mean - known)))
    return Split(within, float(np.nansum((share - before) * (known - overall))))


def contributions(series: WeeklySeries, expected: Residuals, name: str) -> tuple[Contribution, ...]:
    """Return what every segment of a dimension contributed to this week's mean residual, worst first.

    A segment's part is share times mean residual now, less the same in the baseline: all parts add up to the mean
    residual, whose baseline is 0.
    """
    dimension = series.dimensions[name]
    now = _part(series, expected.values, dimension, [0])
    before = _part(series, expected.values, dimension, expected.baseline)
    points = now.points - before.points
    error = np.sqrt(now.variance + before.variance)
    df = np.maximum(now.sessions - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, stats.t.cdf(points / error, df), np.where(points < 0, 0.0, 1.0))
    half = stats.t.ppf(0.975, df) * error
    tested = (now.sessions >= FEWEST) & np.isfinite(p)
    q = np.ones_like(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested])
    rows = [
        Contribution(
            dimension=name,
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
            new=bool(before.share[i] == 0 and now.share[i] > 0 and value != NONE),
        )
        for i, value in enumerate(dimension.values)
        if now.share[i] > 0 or before.share[i] > 0
    ]
    return tuple(sorted(rows, key=lambda row: (row.points, row.value)))


def rank(series: WeeklySeries, expected: Residuals) -> list[tuple[str, float]]:
    """Return the dimensions by how much of the drop they explain beyond chance, best first.

    What a dimension explains is how far its segments' changes differ from the change of the traffic it says nothing new
    about: 0 when all fell alike. Of dimensions that explain the same the one named first in the monitor wins.
    """
    found = [(name, _explained(series, expected, name)) for name in series.dimensions]
    return sorted(found, key=lambda pair: -round(pair[1], 9))


def worst_traces(series: WeeklySeries, expected: Residuals, blamed: Contribution | None) -> tuple[WorstTrace, ...]:
    """Return the traces that cost most (lowest residual times weight), of the blamed segment first.

    Not the lowest scores: some segments are always low. At most two a session, for one bad session is one story.
    """
    lost = expected.values * series.weights / series.weights[series.week == 0].sum()
    member = np.zeros(series.values.size, dtype=bool)
    if blamed is not None:
        dimension = series.dimensions[blamed.dimension]
        member[dimension.rows[dimension.codes == dimension.values.index(blamed.value)]] = True
    order = sorted(series.recent, key=lambda row: (not member[row], lost[row], series.recent[row].trace_id))
    chosen: list[WorstTrace] = []
    sessions: dict[int, int] = {}
    traces: set[str] = set()
    for row in order:
        score, session = series.recent[row], int(series.session[row])
        if lost[row] >= 0 or score.trace_id in traces or not score.trace_id or sessions.get(session, 0) >= _PER_SESSION:
            continue
        sessions[session] = sessions.get(session, 0) + 1
        traces.add(score.trace_id)
        chosen.append(WorstTrace(score.trace_id, score.value, score.comment, float(lost[row])))
        if len(chosen) == _WORST:
            break
    return tuple(chosen)


def cramers_v(first: Floats, second: Floats) -> float:
    """Return Cramer's V of two yes/no columns, 0 when either never varies."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return abs(float(np.corrcoef(first, second)[0, 1]))


def _part(series: WeeklySeries, residual: Floats, dimension: Dimension, weeks: list[int]) -> _Part:
    size = len(dimension.values)
    rows = np.isin(series.week, weeks)
    # Each week counts once, as it does in the headline.
    weighed = series.weights / np.maximum(np.bincount(series.week, series.weights), np.finfo(float).tiny)[series.week]
    pairs = rows[dimension.rows]
    row, code = dimension.rows[pairs], dimension.codes[pairs]
    portion = dimension.portion[pairs]
    weight, session = weighed[row], series.session[row]
    total = weighed[rows].sum()
    member = np.bincount(code, weight, size)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(code, weight * series.values[row], size) / member
    points = np.bincount(code, weight * portion * residual[row], size) / total
    # Linearised ratio: a session's sum in the segment, less the segment's part of the session's weight.
    clusters, cluster = np.unique(series.session[rows], return_inverse=True)
    weights = np.bincount(cluster, weighed[rows])
    keys, key = np.unique(np.searchsorted(clusters, session) * size + code, return_inverse=True)
    sums = np.bincount(key, weight * portion * residual[row])
    of, where = keys % size, keys // size
    squares = np.bincount(of, sums**2, size) - 2 * points * np.bincount(of, sums * weights[where], size)
    count = clusters.size
    correction = count / (count - 1) if count > 1 else np.inf
    variance = correction * np.maximum(squares + points**2 * (weights @ weights), 0.0) / total**2
    return _Part(member / total, mean, points, variance, np.bincount(of, minlength=size))


def _explained(series: WeeklySeries, expected: Residuals, name: str) -> float:
    rows = [row for row in contributions(series, expected, name) if row.share > 0 and row.sessions >= FEWEST]
    if not rows:
        return 0.0
    share = np.array([row.share for row in rows])
    change = np.array([row.points for row in rows]) / share
    df = np.maximum(np.array([row.sessions for row in rows]) - 1, 1)
    half = np.array([row.high - row.points for row in rows])
    variance = (half / stats.t.ppf(0.975, df) / share) ** 2
    old = np.array([not row.new for row in rows])
    # Where everything is new there is nothing left that shows what would have happened anyway.
    common = float(np.average(change[old], weights=share[old])) if old.any() else 0.0
    apart = (change - common) ** 2
    freedom = len(rows) - 1 if old.any() else len(rows)
    if freedom == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        chance = float(stats.chi2.sf(np.where(apart > 0, apart / variance, 0.0).sum(), freedom))
    if chance * len(series.dimensions) >= _CHANCE:
        return 0.0
    return max(0.0, float(share @ (apart - variance)))


def _alike(series: WeeklySeries, baseline: list[int], blamed: Contribution) -> tuple[tuple[str, str], ...]:
    """Return segments of other dimensions that hold, of all weeks' traces, nearly the same as the blamed one."""
    used = np.isin(series.week, [0, *baseline])
    mine = _membership(series.dimensions[blamed.dimension], blamed.value, series.values.size)[used]
    found: list[tuple[str, str]] = []
    for name, dimension in series.dimensions.items():
        if name == blamed.dimension:
            continue
        codes, counts = np.unique(
            dimension.codes[np.isin(dimension.rows, np.flatnonzero(used)[mine > 0])], return_counts=True
        )
        likely = [dimension.values[code] for code in codes[counts > _SAME / 2 * mine.sum()]]
        same = (v for v in likely if cramers_v(mine, _membership(dimension, v, series.values.size)[used]) > _SAME)
        found.extend((name, value) for value in same if value != NONE)
    return tuple(found)


def _membership(dimension: Dimension, value: str, size: int) -> Floats:
    member = np.zeros(size)
    member[dimension.rows[dimension.codes == dimension.values.index(value)]] = 1.0
    return member


def _shares(values: Floats, weights: Floats, codes: Ints, size: int) -> tuple[Floats, Floats]:
    member = np.bincount(codes, weights, size)
    with np.errstate(invalid="ignore"):
        return member / weights.sum(), np.bincount(codes, weights * values, size) / member


def _known(mean: float) -> float | None:
    return None if np.isnan(mean) else float(mean)
