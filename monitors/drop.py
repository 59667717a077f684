"""Did the score fall this week? A moderated t test over weeks, not over traces.

Weeks differ a little for no reason anybody wants a page for. So the week is the unit of replication: this week's mean
residual is held against the spread of the K weeks before it. That spread, known from few weeks, is moderated towards
what sampling alone predicts plus a usual wobble (Smyth 2004), and only ever upwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

import numpy as np
import scipy

from monitors.drift import Anchored, Shift
from monitors.expected import residuals
from monitors.means import Estimate, Floats, hajek
from monitors.series import FEWEST, WeeklySeries
from monitors.spec import MINIMUM_WEEKS
from monitors.spread import WOBBLE, standard_error, value_range

_DAILY: Final = 0.004
_WEEKLY: Final = 0.6 / 52
_DAILY_LASTING: Final = 0.0005
LASTING: Final = 4
"""Weeks that are low together where no single one shows it."""

LASTING_BASELINE: Final = 8
"""With fewer weeks before them they are not tested together."""
_LEAST: Final = 1e-300
_LARGEST_ALPHA: Final = 0.1


Blame = Literal["app", "judge", "unclear"]
"""Whether the application, or the judge that scores it, is why a score is low."""


@dataclass(frozen=True, slots=True)
class DropTest:
    """This week against the baseline, in points of the score.

    `drop` is the fall at an unchanged mix of traffic (negative: a rise), `low` to `high` its 95 % interval; `mix` is
    what the changed mix added to the plain mean (`mean`). `smallest` is the least drop worth reporting. `p` is
    one-sided. `span` is how many weeks are tested together, this one the last; `population` about how many there were
    to be scored in them, by the probabilities with which they were taken. Where an e-detector decides, `evidence` is
    what it has against "nothing fell", and it fires when more than `needed`. `judge` is by how much the judge moved
    between these weeks, where anchors know; when they are sure of it, it is `taken_out` of the drop. `p_apart` is p
    with it taken out.
    """

    baseline: float
    mean: float
    drop: float
    low: float
    high: float
    p: float
    alpha: float
    smallest: float
    weeks: int
    n: int
    n_baseline: int
    sessions: int
    effective: float
    span: int = 1
    population: float = 0.0
    evidence: float | None = None
    needed: float = math.inf
    judge: Shift | None = None
    taken_out: bool = False
    p_apart: float = 1.0

    @property
    def now(self) -> float:
        """This week's level at the baseline's mix of traffic, as the judge of the baseline would have it."""
        return self.baseline - self.drop

    @property
    def mix(self) -> float:
        """What the changed mix of traffic did to the plain mean."""
        return self.mean - self.now - self.by_judge

    @property
    def by_judge(self) -> float:
        """What the judge's move did to the plain mean, as far as it is taken out."""
        return self.judge.points if self.judge is not None and self.taken_out else 0.0

    @property
    def blame(self) -> Blame | None:
        """Who did it; None where no anchors know, or nothing is low."""
        if self.judge is None:
            return None
        if self.taken_out:
            return "app" if self.fired else "judge" if self.drop - self.by_judge >= self.smallest else None
        if not self.fired:
            return None
        apart = self.drop + self.judge.points
        return "app" if self.p_apart < self.alpha and apart >= self.smallest else "unclear"

    @property
    def fired(self) -> bool:
        """Whether people should hear of it."""
        sure = self.p < self.alpha if self.evidence is None else self.evidence > self.needed
        return sure and self.drop >= self.smallest

    @property
    def claim(self) -> float:
        """How p relates to the level at which it fires, infinite when the fall is too small to matter."""
        if self.drop < self.smallest:
            return math.inf
        return self.p / self.alpha if self.evidence is None else self.needed / max(self.evidence, _LEAST)

    def sharing(self, share: float) -> DropTest:
        """Return the test with its level multiplied by `share`."""
        return replace(self, alpha=self.alpha * share, needed=self.needed / share)

    def relative(self, points: float) -> float | None:
        """Return points of the score as a share of the baseline; None when the baseline is not above 0."""
        return points / self.baseline if self.baseline > 0 else None


class Difference(NamedTuple):
    """A fall in points of the score with its 95 % interval."""

    drop: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class NotEnoughHistory:
    """No test: `reason` says what is missing. `mean` of this week's `n` scores is None when there are none.

    `early` is how far this week lies below the few weeks there are, for information: it knows nothing of how much
    weeks differ by themselves, or of the mix.
    """

    reason: str
    weeks: int
    n: int
    mean: float | None
    early: Difference | None = None


class Residuals(NamedTuple):
    """Score minus expectation, one a row of the series; what the test and the attribution share."""

    baseline: list[int]
    residual: Floats
    level: float


def alpha(false_alerts_per_year: float, *, looks_per_week: int = 7) -> float:
    """Return the p below which to fire, so that chance alone fires that often a year.

    Daily looks at a rolling week are strongly dependent: .004 keeps it below 1 a year in simulation, for one
    look a week .6 / 52 does.
    """
    single = _DAILY if looks_per_week > 1 else _WEEKLY
    return min(single * false_alerts_per_year, _LARGEST_ALPHA)


def lasting_alpha(false_alerts_per_year: float) -> float:
    """Return the p below which four weeks together fire.

    Looked at daily beside the single week, .0005 adds .1 to .4 false alerts a score-year to its .5 to .7; both together
    stay below 1 in simulation, at 30 to 5000 scores a week.
    """
    return min(_DAILY_LASTING * false_alerts_per_year, _LARGEST_ALPHA)


def expect(series: WeeklySeries, *, most_weeks: int | None = None) -> Residuals | NotEnoughHistory:
    """Return the residuals against the newest `most_weeks` comparable weeks, or why nothing can be compared yet."""
    baseline = series.baseline()[:most_weeks]
    n = _count(series)
    mean = series.estimate(0).mean if n else None
    if reason := _missing(series, len(baseline), n):
        early = _early(series, baseline) if n >= FEWEST and baseline and 0 not in series.excluded else None
        return NotEnoughHistory(reason, len(baseline), n, mean, early)
    values, level = residuals(series, baseline)
    return Residuals(baseline, values, level)


def drop_test(
    series: WeeklySeries,
    expected: Residuals,
    *,
    alpha: float,
    smallest_drop: float,
    scale: tuple[float, float] | None = None,
    judge: Anchored | None = None,
) -> DropTest:
    """Test whether this week lies below the baseline.

    Args:
        series: the scores.
        expected: their residuals.
        alpha: fire below this p.
        smallest_drop: least drop that matters, as a share of the baseline.
        scale: lowest and highest possible score; by default what was seen.
        judge: what anchors know of what measured it.
    """
    return _tested(series, expected, [0], alpha=alpha, smallest_drop=smallest_drop, scale=scale, judge=judge)


def lasting_test(
    series: WeeklySeries,
    *,
    alpha: float,
    smallest_drop: float,
    scale: tuple[float, float] | None = None,
    most_weeks: int | None = None,
    judge: Anchored | None = None,
) -> tuple[DropTest, Residuals] | None:
    """Test whether the last four weeks together lie below those before them: a small fall that lasts.

    Args:
        series: the scores, with a baseline that ends where this week begins.
        alpha: fire below this p.
        smallest_drop: least drop that matters, as a share of the baseline.
        scale: lowest and highest possible score; by default what was seen.
        most_weeks: the newest weeks before the four that are compared with.
        judge: what anchors know of what measured it.

    Returns:
        The test, and the residuals for `series.joined(LASTING)`. None when one of the four weeks may not be compared,
        or too few of those before.
    """
    fit = series.baseline()
    recent = [0, *(week for week in fit if week < LASTING)]
    baseline = [week for week in fit if week >= LASTING][:most_weeks]
    if len(recent) < LASTING or len(baseline) < LASTING_BASELINE or _missing(series, len(baseline), _count(series)):
        return None
    values, level = residuals(series, baseline)
    wanted = Residuals(baseline, values, level)
    found = _tested(series, wanted, recent, alpha=alpha, smallest_drop=smallest_drop, scale=scale, judge=judge)
    return found, Residuals([week - LASTING + 1 for week in baseline], values, level)


def _tested(
    series: WeeklySeries,
    expected: Residuals,
    recent: list[int],
    *,
    alpha: float,
    smallest_drop: float,
    scale: tuple[float, float] | None,
    judge: Anchored | None,
) -> DropTest:
    now = [series.estimate(week, expected.residual) for week in recent]
    weeks = [series.estimate(week, expected.residual) for week in expected.baseline]
    span = value_range(series, scale)
    error, df = standard_error(now, weeks, WOBBLE * span)
    drop = -float(np.mean([week.mean for week in now]))
    shift = judge.over(series, recent, expected.baseline) if judge is not None else None
    lasts = len(now) == 1 or _lasts([week.mean for week in now])

    def tail(drop: float, error: float, df: float) -> float:
        return _p(drop, error, df, expected.level, now, weeks, binary=series.binary) if lasts else 1.0

    p = p_apart = tail(drop, error, df)
    taken_out = False
    if judge is not None and shift is not None:
        taken_out = judge.has_moved(series.start(max(expected.baseline)))
        if taken_out:
            offsets = judge.offsets(series, expected.baseline)
            level = [week._replace(mean=week.mean - points) for week, points in zip(weeks, offsets, strict=True)]
            error, df = standard_error(now, level, WOBBLE * span)
        apart, wider, its_df = without_shift(drop, error, df, shift)
        p_apart = tail(apart, wider, its_df)
        # What nobody is sure of would only add its noise to every week's test.
        if taken_out:
            drop, error, df, p = apart, wider, its_df, p_apart
    half = float(scipy.stats.t.ppf(0.975, df)) * error
    return DropTest(
        baseline=expected.level,
        mean=float(np.mean([series.estimate(week).mean for week in recent])),
        drop=drop,
        low=drop - half,
        high=drop + half,
        p=p,
        alpha=alpha,
        smallest=smallest_drop * (expected.level if expected.level > 0 else span),
        weeks=len(weeks),
        n=sum(week.n for week in now),
        n_baseline=sum(week.n for week in weeks),
        sessions=sum(week.sessions for week in now),
        effective=sum(week.effective for week in now),
        span=len(recent),
        population=float(series.weights[np.isin(series.week, recent)].sum()),
        judge=shift,
        taken_out=taken_out,
        p_apart=p_apart,
    )


def _p(
    drop: float,
    error: float,
    df: float,
    level: float,
    now: Sequence[Estimate],
    weeks: Sequence[Estimate],
    *,
    binary: bool,
) -> float:
    p = _tail(drop, error, df)
    if not binary:
        return p
    effective, before = (sum(week.effective for week in some) for some in (now, weeks))
    return max(p, _predictive_tail(level, drop, effective, before))


def without_shift(drop: float, error: float, df: float, shift: Shift) -> tuple[float, float, float]:
    """Return a drop without the judge's part in it, its standard error, and its degrees of freedom (Satterthwaite)."""
    variance = error**2 + shift.variance
    parts = error**4 / df + shift.variance**2 / shift.df
    return drop + shift.points, math.sqrt(variance), variance**2 / parts if parts > 0 else df


def without_judge(series: WeeklySeries, expected: Residuals, test: DropTest | NotEnoughHistory) -> Residuals:
    """Return residuals without what the judge gives more or less this week, as far as it is taken out of the test."""
    if not isinstance(test, DropTest) or not test.by_judge:
        return expected
    return expected._replace(residual=expected.residual - np.where(series.week == 0, test.by_judge, 0.0))


def _early(series: WeeklySeries, baseline: list[int]) -> Difference | None:
    """Return this week against the few before it: Welch's interval, with sessions as what is independent."""
    rows = np.isin(series.week, baseline)
    before = hajek(series.values[rows], series.weights[rows], series.session[rows])
    now = series.estimate(0)
    variance = now.variance + before.variance
    if not np.isfinite(variance):
        return None
    parts = now.variance**2 / (now.sessions - 1) + before.variance**2 / (before.sessions - 1)
    drop = before.mean - now.mean
    half = float(scipy.stats.t.ppf(0.975, variance**2 / parts) * np.sqrt(variance)) if parts > 0 else 0.0
    return Difference(drop, drop - half, drop + half)


def _lasts(means: list[float]) -> bool:
    """Whether weeks are low without the worst of them too: one bad week is no fall that lasts."""
    others = sorted(means)[1:]
    return 2 * sum(others) / len(others) <= sum(means) / len(means)


def _count(series: WeeklySeries) -> int:
    return int((series.week == 0).sum())


def _missing(series: WeeklySeries, weeks: int, n: int) -> str:
    if 0 in series.excluded:
        return "this week is excluded"
    if n < FEWEST:
        return f"{n} scores this week; {FEWEST} are needed"
    if weeks < MINIMUM_WEEKS:
        return f"{weeks} earlier weeks to compare with; {MINIMUM_WEEKS} are needed"
    return ""


def _tail(drop: float, error: float, df: float) -> float:
    if error == 0:  # every score of every week is the same number, this week's perhaps another
        return 0.0 if drop > 0 else 1.0
    return float(scipy.stats.t.sf(drop / error, df))


def _predictive_tail(level: float, drop: float, effective: float, effective_baseline: float) -> float:
    """Return how likely so few passes are, given the baseline's (Jeffreys prior, beta-binomial).

    The t alone fires too often at high pass rates of few traces, this tail alone at many traces: both must agree.
    """
    n = max(1, round(effective))
    passed = round(n * min(1.0, max(0.0, level - drop)))
    good = min(1.0, max(0.0, level)) * effective_baseline
    return float(scipy.stats.betabinom.cdf(passed, n, good + 0.5, effective_baseline - good + 0.5))
