"""Weeks of two rulers, bridged by anchors that both judged: for information, never for an alert.

The old ruler's weeks are taken over by what the new one gives more or less to the same frozen traces. That is an
average over the anchors: it holds for these weeks as far as the anchors are like their traffic, and its error is one
and the same at every look. So nobody is woken by it; who is told that the measure changed hears whether the score fell
with it.
"""

from __future__ import annotations

import numpy as np
import scipy

from monitors.drift import Shift
from monitors.drop import Difference, without_shift
from monitors.series import FEWEST, WeeklySeries
from monitors.spec import MINIMUM_WEEKS
from monitors.spread import WOBBLE, standard_error, value_range


def bridged(
    before: WeeklySeries, now: WeeklySeries, shift: Shift, scale: tuple[float, float] | None = None
) -> Difference | None:
    """Return how far this week lies below the weeks before it, which another ruler measured; None of too few scores.

    Args:
        before: the scores of the old ruler.
        now: those of the new one, this week among them.
        shift: by how much the new one gives more to the same traces.
        scale: lowest and highest possible score; by default what was seen.
    """
    weeks = [before.estimate(week) for week in before.baseline()]
    if len(weeks) < MINIMUM_WEEKS or 0 in now.excluded or int((now.week == 0).sum()) < FEWEST:
        return None
    week = now.estimate(0)
    if not np.isfinite(week.variance):
        return None
    error, df = standard_error([week], weeks, WOBBLE * value_range(now, scale))
    plain = float(np.mean([each.mean for each in weeks])) - week.mean
    drop, error, df = without_shift(plain, error, df, shift)
    half = float(scipy.stats.t.ppf(0.975, df)) * error
    return Difference(drop, drop - half, drop + half)
