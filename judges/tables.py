"""Agreement read from tables: a row for each value of one, a column for each of the other, a cell how often both.

Every function takes one table, or many in the leading axes, and gives one figure for each: NaN where nothing can be
told. A bootstrap is then one multiplication.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Distance = Literal["nominal", "linear", "quadratic"]
Metric = Literal["nominal", "ordinal", "interval"]

Floats = NDArray[np.float64]

_DISTANCES: Final[dict[Metric, Distance]] = {"nominal": "nominal", "interval": "quadratic"}


def apart(positions: Floats, distance: Distance) -> Floats:
    """Return how far each value is from each other one: any as far, by the difference, or by its square."""
    differences = np.abs(positions[:, None] - positions[None, :])
    match distance:
        case "nominal":
            return (differences > 0).astype(float)
        case "linear":
            return differences
        case "quadratic":
            return differences**2


def same(tables: Floats) -> Floats:
    """Return the share of the weight on which both say the same."""
    return _ratio(np.trace(tables, axis1=-2, axis2=-1), tables.sum(axis=(-2, -1)))


def kappa(tables: Floats, distances: Floats) -> Floats:
    """Return Cohen's kappa (1960; weighted 1968): 1 is full agreement, 0 what chance would give."""
    shares = _shares(tables)
    expected = np.einsum("...i,...j,ij->...", shares.sum(axis=-1), shares.sum(axis=-2), distances)
    return _one_minus((shares * distances).sum(axis=(-2, -1)), expected)


def alpha(coincidences: Floats, positions: Floats, metric: Metric) -> Floats:
    """Return Krippendorff's alpha of tables of what was said together of one item (Krippendorff 2011)."""
    totals = coincidences.sum(axis=-2)
    if metric == "ordinal":
        # The square of how many values lie between two, half of each end.
        middles = np.cumsum(totals, axis=-1) - totals / 2
        distances = (middles[..., :, None] - middles[..., None, :]) ** 2
    else:
        distances = apart(positions, _DISTANCES[metric])
    by_chance = (totals[..., :, None] * totals[..., None, :] * distances).sum(axis=(-2, -1))
    expected = _ratio(by_chance, totals.sum(axis=-1) - 1)
    return _one_minus((coincidences * distances).sum(axis=(-2, -1)), expected)


def spearman(tables: Floats) -> Floats:
    """Return Spearman's rank correlation, tied values at the middle of their ranks."""
    shares = _shares(tables)
    rows, columns = shares.sum(axis=-1), shares.sum(axis=-2)
    first, second = (np.cumsum(each, axis=-1) - each / 2 - 0.5 for each in (rows, columns))
    covariance = np.einsum("...i,...ij,...j->...", first, shares, second)
    spread = (rows * first**2).sum(axis=-1) * (columns * second**2).sum(axis=-1)
    return _ratio(covariance, np.sqrt(spread))


def kendall(tables: Floats) -> Floats:
    """Return Kendall's tau-b: pairs in the same order less pairs in the opposite one, ties left out of both sides."""
    shares = _shares(tables)
    below = np.cumsum(np.cumsum(shares, axis=-2), axis=-1)
    before = np.zeros_like(shares)
    before[..., 1:, 1:] = below[..., :-1, :-1]
    beyond = np.zeros_like(shares)  # smaller in the row, greater in the column
    beyond[..., 1:, :] = below[..., :-1, -1:] - below[..., :-1, :]
    difference = 2 * (shares * (before - beyond)).sum(axis=(-2, -1))
    # Rounding may leave a hair below nothing where all is tied.
    untied = (np.maximum(1 - (shares.sum(axis=axis) ** 2).sum(axis=-1), 0.0) for axis in (-1, -2))
    return _ratio(difference, np.sqrt(np.prod(list(untied), axis=0)))


def shift(tables: Floats, positions: Floats) -> Floats:
    """Return by how much the rows' value is above the columns', on average."""
    return np.asarray((_shares(tables) * (positions[:, None] - positions[None, :])).sum(axis=(-2, -1)), dtype=float)


def row_means(tables: Floats, positions: Floats) -> Floats:
    """Return the mean of the rows' values for each column."""
    return _ratio(np.einsum("i,...ij->...j", positions, tables), tables.sum(axis=-2))


def _shares(tables: Floats) -> Floats:
    return _ratio(tables, tables.sum(axis=(-2, -1), keepdims=True))


def _one_minus(observed: Floats, expected: Floats) -> Floats:
    return np.asarray(1 - _ratio(observed, expected), dtype=float)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return a quotient, NaN where there is nothing to divide by."""
    known = np.asarray(below) > 1e-12
    return np.asarray(np.where(known, above / np.where(known, below, 1.0), np.nan), dtype=float)
