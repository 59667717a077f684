"""Who did it: a drop by segments, dimension by dimension, and the traces to read.

In every dimension the contributions of the segments add up to the drop of the headline. A segment is blamed for what
it contributes (its share times its change), never for a low mean: small segments have low means all the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitors.drop import Residuals
from monitors.means import Floats, Ints
from monitors.segments import Contribution, Table, explained, rows_of, table
from monitors.series import NONE, Dimension, Judged, WeeklySeries

_SAME: Final = 0.8
"""Cramer's V above which two segments cannot be told apart."""

_SUBSTANTIAL: Final = 0.1
"""A dimension that explains less of the (squared) drop than this is no explanation, however certain."""

_WORST: Final = 5
_PER_SESSION: Final = 2


@dataclass(frozen=True, slots=True)
class WorstTrace:
    """A trace to read, or a session where the score is of one: its score and what the judge said."""

    trace_id: str
    value: float
    comment: str
    lost: float
    session_id: str = ""


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


def attribute(series: WeeklySeries, expected: Residuals) -> Attribution:
    """Explain this week's mean residual."""
    tables = [table(series, expected, name) for name in series.dimensions]
    everything = {each.name: rows_of(each) for each in tables}
    best = _best(series, expected, tables, everything)
    rows = tuple(row for row in everything[best] if row.stands_out) if best else ()
    new = tuple(row for name in series.dimensions for row in everything[name] if row.new and row.stands_out)
    total = series.estimate(0, expected.residual).mean
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


def worst_traces(series: WeeklySeries, expected: Residuals, blamed: Contribution | None) -> tuple[WorstTrace, ...]:
    """Return the traces that cost most (lowest residual times weight), of the blamed segment first.

    Not the lowest scores: some segments are always low. At most two a session, for one bad session is one story.
    """
    lost = expected.residual * series.weights / series.weights[series.week == 0].sum()
    member = np.zeros(series.values.size, dtype=bool)
    if blamed is not None:
        dimension = series.dimensions[blamed.dimension]
        member[dimension.rows[dimension.codes == dimension.names.index(blamed.value)]] = True
    chosen: list[WorstTrace] = []
    sessions: dict[int, int] = {}
    traces: set[tuple[str, str]] = set()
    for row in _in_order(series, lost, member):
        score, session = series.recent[row], int(series.session[row])
        read = _read(score)
        if lost[row] >= 0 or read in traces or not any(read) or sessions.get(session, 0) >= _PER_SESSION:
            continue
        sessions[session] = sessions.get(session, 0) + 1
        traces.add(read)
        chosen.append(WorstTrace(score.trace_id, score.value, score.comment, float(lost[row]), score.session_id))
        if len(chosen) == _WORST:
            break
    return tuple(chosen)


def _in_order(series: WeeklySeries, lost: Floats, member: NDArray[np.bool_]) -> Iterator[int]:
    """Give the rows of this week's traces: those of the blamed segment first, then what cost most."""
    rows = np.fromiter(series.recent, dtype=np.int64, count=len(series.recent))
    ordered = rows[np.lexsort((lost[rows], ~member[rows]))].tolist()
    # Few are read in the end, so ties are only put in order when it is their turn: what the judge was surest of first.
    for _, alike in groupby(ordered, key=lambda row: (member[row], lost[row])):
        yield from sorted(alike, key=lambda row: (-series.recent[row].confidence, _read(series.recent[row])))


def _read(score: Judged) -> tuple[str, str]:
    """Return what a person would read: a trace, or a session."""
    return score.trace_id, score.session_id


def cramers_v(first: Floats, second: Floats) -> float:
    """Return Cramer's V of two yes/no columns, 0 when either never varies."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return abs(float(np.corrcoef(first, second)[0, 1]))


def _best(
    series: WeeklySeries,
    expected: Residuals,
    tables: list[Table],
    rows: Mapping[str, tuple[Contribution, ...]],
) -> str | None:
    """Return the dimension that explains most; of those whose worst segment is the same, the monitor's favourite."""
    size = {each.name: explained(series, expected.baseline, each) for each in tables}
    enough = _SUBSTANTIAL * series.estimate(0, expected.residual).mean ** 2
    fit = [name for name in size if size[name] > enough and rows[name][0].stands_out]
    if not fit:
        return None
    best = max(fit, key=lambda name: (round(size[name], 9), -fit.index(name)))
    same = _alike(series, expected.baseline, rows[best][0])
    return next(name for name in fit if name == best or (name, rows[name][0].value) in same)


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
        likely = [dimension.names[code] for code in codes[counts > _SAME / 2 * mine.sum()]]
        same = (v for v in likely if cramers_v(mine, _membership(dimension, v, series.values.size)[used]) > _SAME)
        found.extend((name, value) for value in same if value != NONE)
    return tuple(found)


def _membership(dimension: Dimension, value: str, size: int) -> Floats:
    member = np.zeros(size)
    member[dimension.rows[dimension.codes == dimension.names.index(value)]] = 1.0
    return member


def _shares(values: Floats, weights: Floats, codes: Ints, size: int) -> tuple[Floats, Floats]:
    member = np.bincount(codes, weights, size)
    with np.errstate(invalid="ignore"):
        return member / weights.sum(), np.bincount(codes, weights * values, size) / member
