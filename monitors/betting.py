"""The e-detector: evidence against "nothing fell" that adds up by the day, and a budget kept by a theorem.

Every day bets against the scores: a stake is multiplied by 1 + b (bound - score), scores taken to 0..1. As long as the
true level is not below the bound no bet wins on average, however scores are spread (Waudby-Smith and Ramdas 2024). The
sum of the stakes begun on each day (Shiryaev and Roberts) then grows by at most one a day, so it passes 364 not oftener
than once in 364 days on average (Shin, Ramdas and Rinaldo 2024). Stakes begun before the last weeks are left out, which
only makes it smaller.

The promise takes the bound as known. It is the expected level less 1.5 times the usual spread of weeks, so that wobble
is no fall; sessions are what is independent.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.codes import compact
from monitors.drop import LASTING, LASTING_BASELINE
from monitors.expected import residuals
from monitors.means import Floats
from monitors.series import WeeklySeries
from monitors.spread import WOBBLE, spread_of_weeks, value_range

YEAR: Final = 364
"""Days of whole weeks: with this much evidence there is one false alert a year, at most."""

_BETS: Final = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
_MARGIN: Final = 1.5
_LARGE: Final = 0.9
"""The share of sessions (a day) that bet with less than a full stake."""

_CAP: Final = 1e300


def evidence(series: WeeklySeries, *, scale: tuple[float, float] | None, most_weeks: int) -> float:
    """Return the evidence that the last days lie below the weeks before them: 1 to 364 and more, 0 without history.

    The days are those of the last four weeks, or of the last one where there is no history for more.

    Args:
        series: the scores, with a baseline that ends where this week begins.
        scale: lowest and highest possible score; by default what was seen.
        most_weeks: the newest weeks before these days that are compared with.
    """
    fit = series.baseline()
    newest = LASTING if sum(week >= LASTING for week in fit) >= LASTING_BASELINE else 1
    baseline = [week for week in fit if week >= newest][:most_weeks]
    recent = [0, *(week for week in fit if week < newest)]
    if len(baseline) < 2 or series.age is None:
        return 0.0
    residual, _ = residuals(series, baseline)
    variance, _ = spread_of_weeks(series, residual, baseline, WOBBLE * value_range(series, scale))
    low, high = scale or (float(series.values.min()), float(series.values.max()))
    if high <= low:
        return 0.0
    bound = np.clip(series.values - residual - _MARGIN * np.sqrt(variance), low, high)
    below = (bound - series.values) / (high - low)
    return _added(series, below, np.isin(series.week, recent), np.isin(series.week, baseline))


def _added(series: WeeklySeries, below: Floats, recent: np.ndarray, before: np.ndarray) -> float:
    """Return the sum of the stakes begun on each day; what a session says on a day is one bet."""
    stakes, _ = _bets(series, below, before)
    full = float(np.quantile(stakes, _LARGE)) if stakes.size else 0.0
    if full <= 0:
        return 0.0
    weights, (lost, days) = _bets(series, below, recent)
    bets = lost / np.maximum(weights, full)
    total = np.zeros(_BETS.size)
    for day in range(int(days.max(initial=-1)), -1, -1):
        today = bets[days == day]
        if today.size:
            won = np.log1p(_BETS[:, None] * today).sum(axis=1)
            total = np.minimum((total + 1) * np.exp(np.minimum(won, 600)), _CAP)
    return float(total.mean())


def _bets(series: WeeklySeries, below: Floats, rows: np.ndarray) -> tuple[Floats, tuple[Floats, np.ndarray]]:
    """Return for each session of a day its weight, how far it lies below its bound in all, and the day."""
    assert series.age is not None  # noqa: S101 - the caller looked
    age = series.age[rows].astype(np.int64)
    days = int(age.max(initial=0)) + 1
    known, place = compact(series.session[rows].astype(np.int64) * days + age)
    weights = np.bincount(place, series.weights[rows], known.size).astype(np.float64)
    lost = np.bincount(place, series.weights[rows] * below[rows], known.size).astype(np.float64)
    return weights, (lost, known % days)
