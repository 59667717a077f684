"""`evaluator backtest`: what the monitors would have told about the past, and how much of that is chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

import numpy as np

from evaluator.alerts.judged import Scores, judged
from evaluator.alerts.weekly_look import Look, analysed
from evaluator.langfuse import Window
from evaluator.preview.intervals import Interval, mean_difference
from monitors import (
    LASTING,
    AlertState,
    DropTest,
    Event,
    Held,
    MonitorSpec,
    NotEnoughHistory,
    WeeklySeries,
    alpha,
    attribute,
    detectable,
    drop_test,
    expect,
    step,
)
from monitors.series import WEEK
from monitors.spread import WOBBLE

_DAY: Final = timedelta(days=1)
_SHUFFLES: Final = 10
"""Orders of the quiet weeks that are tried for each of them."""

_FEWEST_QUIET: Final = 8


@dataclass(frozen=True, slots=True)
class Told:
    """One message that would have gone out. `who` is the segment that is blamed first, empty without one."""

    at: datetime
    event: Event
    test: DropTest | None
    who: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What can be seen at the rate at which traces are scored now.

    Attributes:
        smallest: the least fall that is found in four of five weeks, in points of the score.
        level: of the weeks before, in points.
        rate: the share of traces that is scored, 1 for scores that nobody sampled.
        n: scores in the last week.
        wanted: the fall that is asked for, as a share of the level; None when nothing is.
        needed: the rate that would show it; None when no rate does, or nothing is wanted.
    """

    smallest: float
    level: float
    rate: float
    n: int
    wanted: float | None = None
    needed: float | None = None

    @property
    def share(self) -> float | None:
        """The smallest fall as a share of the level; None where the level is not above 0."""
        return self.smallest / self.level if self.level > 0 else None


@dataclass(frozen=True, slots=True)
class Replayed:
    """One monitor over past weeks.

    Attributes:
        monitor: its key.
        binary: whether the score is a pass rate.
        weeks: how many were replayed, a look a day.
        told: the messages, in their order.
        chance: false alerts a year, from the quiet weeks in random order; None with too few of them.
        quiet: weeks without an open alert that could be put in another order.
        promised: the most false alerts a year, where a theorem says so and nothing has to be tried.
        sight: what can be seen now; None where nothing can be compared, `reason` says why.
    """

    monitor: str
    binary: bool
    weeks: int
    told: tuple[Told, ...]
    chance: Interval | None
    quiet: int
    sight: Sight | None
    reason: str = ""
    promised: float | None = None


def backtest(
    langfuse: Scores,
    spec: MonitorSpec,
    now: datetime,
    *,
    weeks: int,
    wanted: float | None = None,
    looked: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Replay the daily looks of past weeks at one score.

    Args:
        langfuse: where the scores are.
        spec: the monitor.
        now: until when.
        weeks: how many weeks of looks.
        wanted: a fall to find the sampling rate for, as a share of the level.
        looked: told how many more looks were taken.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    start = now - (weeks + spec.baseline_weeks + LASTING) * WEEK
    held = Held.of(judged(langfuse, spec, Window(start, now)), now=now, segments=spec.segments)
    told: list[Told] = []
    quiet: set[int] = set()
    state, last = AlertState(), None
    for day in range(7 * weeks, -1, -1):
        last = analysed(spec, state, now - day * _DAY, held)
        state, event = _stepped(spec, state, last)
        if event is not None:
            told.append(_told(last, event))
        if day % 7 == 0 and state.opened is None and isinstance(last.test, DropTest):
            quiet.add(day // 7)
        looked(1)
    whole = held.weekly(weeks=weeks, excluded=spec.excluded)
    sight, reason = _sight(spec, last, wanted) if last is not None else (None, "no looks")
    by_chance = chance(spec, whole, sorted(quiet))
    promised = None if spec.test == "weeks" else spec.false_alerts_per_year
    return Replayed(spec.key, whole.binary, weeks, tuple(told), by_chance, len(quiet), sight, reason, promised)


def _stepped(spec: MonitorSpec, state: AlertState, look: Look) -> tuple[AlertState, Event | None]:
    version = look.series.version if (look.series.week == 0).any() else None
    return step(state, look.test, lasting=look.lasting, version=version, at=look.at, project="", monitor=spec.key)


def _told(look: Look, event: Event) -> Told:
    test = look.fell if event is Event.FELL else look.test
    who = ""
    series, expected = look.explains if event is Event.FELL else (look.series, look.expected)
    if event in {Event.FELL, Event.GREW} and not isinstance(expected, NotEnoughHistory):
        rows = attribute(series, expected).rows
        who = f"{rows[0].dimension.replace('_', ' ')} {rows[0].value}" if rows else ""
    return Told(look.at, event, test if isinstance(test, DropTest) else None, who)


def chance(spec: MonitorSpec, series: WeeklySeries, quiet: list[int]) -> Interval | None:
    """Return how many alerts a year chance alone would give, with an interval over weeks; None of too few quiet weeks.

    Each quiet week is held against others that are drawn at random, as if they had come before it: whatever fires then
    is a false alert. One look a week, at the level that allows as many false alerts as daily looks do.
    """
    fit = [week for week in quiet if week == 0 or week in series.baseline()]
    if spec.test != "weeks":
        return None  # its promise is about days one after the other: weeks in another order say nothing of it
    if len(fit) < _FEWEST_QUIET or not (series.week == 0).any():
        return None
    random = Random(0)
    level = alpha(spec.false_alerts_per_year, looks_per_week=1)
    fired: list[float] = []
    for week in fit:
        others = [other for other in fit if other != week]
        hits = [
            _fires(spec, permuted, level)
            for _ in range(_SHUFFLES)
            for permuted in [_reordered(series, [week, *random.sample(others, len(others))])]
        ]
        fired.append(sum(hits) / len(hits))
    found = mean_difference(fired)
    return None if found is None else Interval(52 * found.value, max(0.0, 52 * found.low), 52 * found.high)


def _fires(spec: MonitorSpec, series: WeeklySeries, level: float) -> bool:
    expected = expect(series, most_weeks=spec.baseline_weeks)
    if isinstance(expected, NotEnoughHistory):
        return False
    return drop_test(series, expected, alpha=level, smallest_drop=spec.smallest_drop, scale=spec.scale).fired


def _reordered(series: WeeklySeries, order: list[int]) -> WeeklySeries:
    """Return a series with its weeks in another order, week 0 first; those that are not named are left out."""
    place = np.full(series.weeks + 2, -1, dtype=np.int32)
    for new, old in enumerate(order):
        place[old] = new
    week = place[series.week]
    # What belongs to no week is put behind all of them, where nothing looks.
    return replace(series, week=np.where(week < 0, len(order), week), weeks=len(order) - 1, excluded=frozenset())


def _sight(spec: MonitorSpec, look: Look, wanted: float | None) -> tuple[Sight | None, str]:
    if isinstance(look.test, NotEnoughHistory) or isinstance(look.expected, NotEnoughHistory):
        return None, look.test.reason if isinstance(look.test, NotEnoughHistory) else ""
    series, test = look.series, look.test
    rows = series.week == 0
    rate = float(rows.sum() / series.weights[rows].sum())
    needed = None if wanted is None else _needed(spec, look.series, look.expected.residual, test, wanted, rate)
    return Sight(detectable(test), test.baseline, rate, test.n, wanted, needed), ""


def _needed(
    spec: MonitorSpec, series: WeeklySeries, residual: np.ndarray, test: DropTest, wanted: float, rate: float
) -> float | None:
    """Return the sampling rate at which a fall of this share is found in four of five weeks; None if at none.

    What sampling adds to the spread of weeks goes down with the rate; how much weeks differ by themselves does not.
    """
    sampling = series.estimate(0, residual).variance
    span = (
        spec.scale[1] - spec.scale[0] if spec.scale is not None else (1.0 if series.binary else np.ptp(series.values))
    )
    both = sampling + (WOBBLE * float(span)) ** 2
    factor = detectable(replace(test, smallest=0.0)) ** 2 / both
    room = (wanted * test.baseline) ** 2 / factor - (both - sampling)
    if room <= 0 or wanted * test.baseline < test.smallest:
        return None
    needed = rate * sampling / room
    return needed if needed <= 1 else None
