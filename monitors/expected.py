"""What each score was expected to be, had nothing changed but the mix of traffic.

Expectations follow what kind of traffic a trace is (its name, its tags, ...) and not what we did to answer it (prompt
version, model, release). Moving traffic to a worse model is a fall of quality, not of the mix, and a release that lives
for one week would explain that week away.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.means import Floats, Ints
from monitors.series import FEWEST, Dimension, WeeklySeries

OURS: Final = frozenset({"prompt_version", "model", "release", "version"})
"""Dimensions that describe our system and not the traffic."""

_PASSES: Final = 30
_SETTLED: Final = 1e-10


def residuals(series: WeeklySeries, baseline: list[int]) -> tuple[Floats, float]:
    """Return score minus expectation for every row, and the level an average baseline week has.

    With one dimension the expectation is the segment's own baseline mean; with several it is their additive fit.
    Traffic that the baseline does not know is expected to do as well as the rest. The mean residual of the baseline
    weeks is exactly 0, each week counting once.
    """
    rows = np.isin(series.week, baseline)
    level = float(np.average(series.values[rows], weights=series.weights[rows]))
    left = series.values - level
    fits = [
        _Fit(series, dimension, rows, baseline) for name, dimension in series.dimensions.items() if name not in OURS
    ]
    for _ in range(_PASSES if len(fits) > 1 else 1):
        # Backfitting: each dimension takes what the others left, so what two could explain goes to the first.
        largest = 0.0
        for fit in fits:
            effect = fit.effects(left)
            left = left - effect[fit.code]
            largest = max(largest, float(np.abs(effect).max(initial=0.0)))
        if largest <= _SETTLED:
            break
    centre = float(np.mean(series.means(left)[baseline]))
    return left - centre, level + centre


class _Fit:
    """The segments of one dimension, as far as the baseline knows them well."""

    def __init__(self, series: WeeklySeries, dimension: Dimension, rows: np.ndarray, baseline: list[int]) -> None:
        self.code: Ints = dimension.joint
        self._rows = rows
        self._size = int(self.code.max(initial=-1)) + 1
        self._weights = series.weights[rows]
        self._total = np.bincount(self.code[rows], self._weights, self._size)
        # A segment that lives in few weeks would take those weeks' own ups and downs out of the noise.
        weeks = np.zeros(self._size, dtype=np.int64)
        for week in baseline:
            weeks[np.unique(self.code[series.week == week])] += 1
        scores = np.bincount(self.code[rows], minlength=self._size)
        self._known = (scores >= FEWEST) & (weeks * 2 >= len(baseline))

    def effects(self, left: Floats) -> Floats:
        """Return the mean of what is left, by segment; 0 where the baseline does not know enough."""
        sums = np.bincount(self.code[self._rows], self._weights * left[self._rows], self._size)
        return np.where(self._known, sums / np.maximum(self._total, np.finfo(float).tiny), 0.0)
