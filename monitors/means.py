"""Weighted means, how sure they are where sessions are alike, and the intervals that people see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from monitors.codes import compact

Floats = NDArray[np.float64]
Ints = NDArray[np.int64] | NDArray[np.int32]

_NO_WIDTH: Final = 1e-9


class Estimate(NamedTuple):
    """A weighted mean. `variance` is that of the mean, robust to dependence within sessions (infinite for one session).

    `effective` is Kish's sample size: how many equally weighted scores would tell as much.
    """

    mean: float
    variance: float
    n: int
    sessions: int
    effective: float


@dataclass(frozen=True, slots=True)
class WeekMean:
    """One week of the line people see: a 95 % interval around the mean; all None where there were too few scores."""

    start: datetime
    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def hajek(values: Floats, weights: Floats, sessions: Ints) -> Estimate:
    """Return the Hajek mean sum(w y) / sum(w) and the variance that compares weeks (Binder 1983), sessions as clusters.

    Raises:
        ValueError: there is nothing to average; missing data is never 0.
    """
    if values.size == 0:
        raise ValueError("no scores: there is no mean")
    total = weights.sum()
    mean = float(weights @ values / total)
    _, cluster = compact(sessions)
    errors = np.bincount(cluster, weights * (values - mean))
    count = errors.size
    variance = float(errors @ errors / total**2 * count / (count - 1)) if count > 1 else np.inf
    return Estimate(mean, variance, values.size, count, float(total**2 / (weights @ weights)))


def interval(found: Estimate, *, binary: bool) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean; None where one session tells nothing of the spread.

    Of a pass rate it lies within 0 and 1. Where sessions do not differ, as where nothing failed, the robust interval
    has no width, and says more than so few can know: there it is Wilson's (1927), with sessions as trials.
    """
    if not np.isfinite(found.variance):
        return None, None
    half = float(scipy.stats.t.ppf(0.975, found.sessions - 1) * np.sqrt(found.variance))
    if not binary:
        return found.mean - half, found.mean + half
    if half < _NO_WIDTH:
        return _wilson(min(1.0, max(0.0, found.mean)), min(float(found.sessions), found.effective))
    return max(0.0, found.mean - half), min(1.0, found.mean + half)


def _wilson(rate: float, trials: float) -> tuple[float, float]:
    z = float(scipy.stats.norm.ppf(0.975))
    shrunk = 1 + z**2 / trials
    middle = (rate + z**2 / (2 * trials)) / shrunk
    half = z * math.sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2) / shrunk
    return max(0.0, middle - half), min(1.0, middle + half)


def week_mean(start: datetime, found: Estimate, *, binary: bool) -> WeekMean:
    """Return a week of the line people see."""
    low, high = interval(found, binary=binary)
    return WeekMean(start, found.n) if low is None else WeekMean(start, found.n, found.mean, low, high)
