"""How much weekly means differ by themselves: what a week's mean is held against."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.means import Estimate, Floats
from monitors.series import WeeklySeries

_PRIOR_WEEKS: Final = 2.0
WOBBLE: Final = 0.0075
"""The usual spread of weekly means for no reason at all, as a share of the scale's range."""


def standard_error(now: list[Estimate], weeks: list[Estimate], wobble: float) -> tuple[float, float]:
    """Return the standard error of the mean of some weeks against that of the others, and its degrees of freedom."""
    count = len(weeks)
    sampling = float(np.mean([week.variance for week in weeks]))
    variance, df = _moderated(weeks, sampling, wobble)
    # A thinner week than the others is also noisier; it must not look like a fall.
    one = float(np.mean([week.variance * week.effective for week in weeks]))
    thin = sum(max(0.0, one / week.effective - sampling) for week in now) / len(now) ** 2
    return float(np.sqrt(variance * (1 / len(now) + 1 / count) + thin)), df


def spread_of_weeks(series: WeeklySeries, values: Floats, weeks: list[int], wobble: float) -> tuple[float, float]:
    """Return the variance of the weekly means of `values`, moderated, and its degrees of freedom."""
    found = [series.estimate(week, values) for week in weeks]
    return _moderated(found, float(np.mean([week.variance for week in found])), wobble)


def _moderated(weeks: list[Estimate], sampling: float, wobble: float) -> tuple[float, float]:
    count, prior = len(weeks), sampling + wobble**2
    seen = float(np.var([week.mean for week in weeks], ddof=1))
    moderated = (_PRIOR_WEEKS * prior + (count - 1) * seen) / (_PRIOR_WEEKS + count - 1)
    # One-sided: where weeks wobble more than the prior says, they are believed.
    return (seen, count - 1.0) if seen > prior else (moderated, count - 1 + _PRIOR_WEEKS)


def value_range(series: WeeklySeries, scale: tuple[float, float] | None) -> float:
    """Return how far the lowest and the highest score lie apart: of the scale, or what was seen of it."""
    if scale is not None:
        return scale[1] - scale[0]
    if series.binary:
        return 1.0
    # Not minimum to maximum: one absurd value would blind the test.
    low, high = np.quantile(series.values, [0.01, 0.99])
    return float(high - low) or float(np.ptp(series.values))
