"""Estimates with the interval in which they lie: a mean of paired differences, a share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def mean_difference(differences: Sequence[float]) -> Interval | None:
    """Return the mean of paired differences with its t interval; None with fewer than two."""
    if len(differences) < 2:
        return None
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def share(hits: Sequence[bool]) -> Interval | None:
    """Return a share with its exact interval (Clopper and Pearson); None of nothing."""
    if not hits:
        return None
    found = stats.binomtest(sum(hits), len(hits)).proportion_ci(CONFIDENCE)
    return Interval(sum(hits) / len(hits), float(found.low), float(found.high))
