"""Two segments of a dimension against each other: which prompt version scores higher, all else being equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import scipy

from monitors.means import Floats, Ints, hajek
from monitors.series import FEWEST, NONE, Dimension, WeeklySeries

_MOST_SEGMENTS: Final = 30
"""Segments of a dimension that are told apart in an adjustment; the rarer ones count as one."""

_OWN: Final = 0.05
"""With less than this share of its own variation left, a segment cannot be told apart from the adjustment."""

_ROWS: Final = 65_536
"""Rows that are spread out into columns at once: a million of them must fit."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much higher `new` scores than `old`, in points, all else being equal.

    `low` to `high` is the 95 % interval, robust to dependence within sessions; `p` is two-sided. `share`, with its
    interval, is the same as a share of the old one's mean, None when that is not above 0. `adjusted` are the dimensions
    whose mix was held equal, `together` those that changed with this one, so that their part cannot be told apart.
    """

    dimension: str
    new: str
    old: str
    mean_new: float
    mean_old: float
    n_new: int
    n_old: int
    points: float
    low: float
    high: float
    p: float
    share: float | None
    share_low: float | None
    share_high: float | None
    adjusted: tuple[str, ...]
    together: tuple[str, ...]


def compare(series: WeeklySeries, dimension: str, new: str, old: str) -> Comparison | None:
    """Compare two segments over all weeks of a series; None where either has too few scores.

    A weighted regression of the score on the segment and on the segments of every other dimension, with sessions as
    clusters (Liang and Zeger 1986; small-sample factor G/(G-1) * (n-1)/(n-k), t with G-1 degrees of freedom). The
    coefficient is taken out by partialling (Frisch and Waugh 1933; Lovell 1963), so that a million scores are compared
    in little memory. Scores of neither, or of both, are left out.
    """
    held = series.dimensions[dimension]
    is_new, is_old = _member(held, new, series.values.size), _member(held, old, series.values.size)
    rows = np.flatnonzero(is_new != is_old)
    chosen = is_new[rows].astype(float)
    if min(chosen.sum(), chosen.size - chosen.sum()) < FEWEST:
        return None
    weights, values = series.weights[rows], series.values[rows]
    _, cluster = np.unique(series.session[rows], return_inverse=True)
    clusters = int(cluster.max()) + 1
    if clusters < FEWEST:
        return None
    design, adjusted, together = _adjustment(series, dimension, rows, chosen)
    own = design.residual(chosen)
    spread = float(weights @ own**2)
    points = float((weights * own) @ values / spread)
    left = design.residual(values) - points * own
    old_rows = chosen == 0
    base = hajek(values[old_rows], weights[old_rows], cluster[old_rows])
    freedom = values.size - design.width - 1
    factor = clusters / (clusters - 1) * (values.size - 1) / max(freedom, 1)
    influence = np.bincount(cluster, weights * own * left, clusters) / spread
    of_base = np.bincount(cluster, weights * (values - base.mean) * old_rows, clusters) / weights[old_rows].sum()
    error = float(np.sqrt(factor * (influence @ influence)))
    reach = float(scipy.stats.t.ppf(0.975, clusters - 1))
    share = points / base.mean if base.mean > 0 else None
    half = 0.0
    if share is not None:
        both = (influence - share * of_base) / base.mean
        half = reach * float(np.sqrt(factor * (both @ both)))
    return Comparison(
        dimension=dimension,
        new=new,
        old=old,
        mean_new=float(np.average(values[~old_rows], weights=weights[~old_rows])),
        mean_old=base.mean,
        n_new=int(chosen.sum()),
        n_old=int(old_rows.sum()),
        points=points,
        low=points - reach * error,
        high=points + reach * error,
        p=float(2 * scipy.stats.t.sf(abs(points) / error, clusters - 1)) if error > 0 else float(points == 0),
        share=share,
        share_low=None if share is None else share - half,
        share_high=None if share is None else share + half,
        adjusted=tuple(adjusted),
        together=tuple(together),
    )


def _adjustment(
    series: WeeklySeries, dimension: str, rows: Ints, chosen: Floats
) -> tuple[_Design, list[str], list[str]]:
    """Return the columns to adjust by, the dimensions they are of, and those that changed with the compared one."""
    weights = series.weights[rows]
    varies = weights @ (chosen - np.average(chosen, weights=weights)) ** 2
    design, adjusted, together = _Design(weights, rows, series.values.size), list[str](), list[str]()
    for name, other in series.dimensions.items():
        if name == dimension:
            continue
        wider = design.wider(other)
        if weights @ wider.residual(chosen) ** 2 < _OWN * varies:
            together.append(name)
        elif wider.width > design.width:
            design = wider
            adjusted.append(name)
    return design, adjusted, together


def newest(series: WeeklySeries, dimension: str) -> list[str]:
    """Return the segments of a dimension that have enough scores, the one that came last first."""
    held = series.dimensions[dimension]
    counts = np.bincount(held.codes, minlength=len(held.names))
    oldest = np.full(len(held.names), -1)
    np.maximum.at(oldest, held.codes, series.week[held.rows])
    fit = [code for code in range(len(held.names)) if counts[code] >= FEWEST and held.names[code] != NONE]
    return [held.names[code] for code in sorted(fit, key=lambda code: (oldest[code], -counts[code]))]


def _member(dimension: Dimension, value: str, size: int) -> Ints:
    member = np.zeros(size, dtype=np.int32)
    if value in dimension.names:
        member[dimension.rows[dimension.codes == dimension.names.index(value)]] = 1
    return member


class _Design:
    """The columns of an adjustment: a constant, and yes or no for each segment of some dimensions."""

    def __init__(self, weights: Floats, rows: Ints, size: int, columns: Sequence[tuple[Ints, Ints]] = ()) -> None:
        self._weights = weights
        self._rows = rows
        self._place = np.full(size, -1, dtype=np.int64)
        self._place[rows] = np.arange(rows.size)
        self._columns = tuple(columns)
        self.width = 1 + sum(int(codes.max()) + 1 for _, codes in self._columns)

    def wider(self, dimension: Dimension) -> _Design:
        """Return the design with the segments of one more dimension, but the most common one."""
        place = self._place[dimension.rows]
        codes = dimension.codes[place >= 0]
        common = np.argsort(-np.bincount(codes, minlength=len(dimension.names)), kind="stable")
        number = np.full(len(dimension.names), -1, dtype=np.int64)
        present = common[np.isin(common, codes)]
        number[present[1:]] = np.minimum(np.arange(present.size - 1), _MOST_SEGMENTS - 1)
        told = number[codes]
        kept = told >= 0
        if not kept.any():
            return self
        column = (place[place >= 0][kept], told[kept])
        return _Design(self._weights, self._rows, self._place.size, (*self._columns, column))

    def residual(self, values: Floats) -> Floats:
        """Return what the columns do not explain of some values."""
        moment = np.zeros(self.width)
        for start, block in self._blocks():
            stop = start + len(block)
            moment += block.T @ (self._weights[start:stop] * values[start:stop])
        solution = self._inverse @ moment
        left = np.empty(values.size)
        for start, block in self._blocks():
            left[start : start + len(block)] = values[start : start + len(block)] - block @ solution
        return left

    @cached_property
    def _inverse(self) -> Floats:
        gram = np.zeros((self.width, self.width))
        for start, block in self._blocks():
            gram += block.T @ (block * self._weights[start : start + len(block), None])
        # Pseudo: segments of two dimensions may be the same rows.
        return np.asarray(np.linalg.pinv(gram, hermitian=True), dtype=np.float64)

    def _blocks(self) -> Iterator[tuple[int, Floats]]:
        for start in range(0, self._rows.size, _ROWS):
            size = min(_ROWS, self._rows.size - start)
            block = np.zeros((size, self.width))
            block[:, 0] = 1.0
            first = 1
            for places, codes in self._columns:
                here = (places >= start) & (places < start + size)
                block[places[here] - start, first + codes[here]] = 1.0
                first += int(codes.max()) + 1
            yield start, block
