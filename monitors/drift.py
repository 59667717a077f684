"""Did the judge move? The same frozen traces are judged again and again: a paired test, and what a fall owes to it.

Anchors are a sample stratified by score, so each has a weight, and its mean is that of the traffic. Anchors of one
session are alike. A round is one judging of all of them. Between two rounds nobody knows when a judge changed: every
moment is as likely, so its level is a line from the one to the other, and how much of a week lay before the change is
uncertain by the variance of a uniform moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise, product
from typing import Final, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from monitors.means import Floats, hajek
from monitors.series import WEEK, WeeklySeries

LEVEL: Final = 0.005
"""Two-sided p below which a judge has moved: by chance alone once in three to ten years (benchmarks/drift.py)."""

SMALLEST: Final = 0.01
"""Smaller shifts are never told, as a share of the scale."""

FEWEST: Final = 10
"""Anchors in both rounds with which something is said at all."""

_CALM: Final = 0.2
_NEW_NORMAL: Final = timedelta(weeks=4)
_REMEMBERED: Final = 8
_EXACT: Final = 12
_KNOWN: Final = 1 / 3
_DAY: Final = timedelta(days=1)
_MOMENT: Final = timedelta(minutes=1)


class Anchor(NamedTuple):
    """How much a frozen trace counts, and to which session it belonged."""

    weight: float
    session: str


@dataclass(frozen=True, slots=True)
class Round:
    """One judging of the anchors: their values by id. `ruler` names what measured, as `Judged.version` does.

    `apart` says that it was made while the judge was known to have moved: it is no part of what is normal. `since` is
    from which traces on somebody new judges, after the round before and not later than this one; None where nobody did.
    """

    at: datetime
    ruler: str
    values: Mapping[str, float]
    apart: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much a judge gives more (negative: less) to the same traces, in points, with its 95 % interval.

    `p` is two-sided and asks whether it moved at all. `variance` also holds that nobody knows when in a week it moved;
    `df` are its degrees of freedom, `n` the anchors, `at` the last round.
    """

    points: float
    low: float
    high: float
    p: float
    variance: float
    df: float
    n: int
    at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Anchored:
    """What anchors know of a judge: its rounds, oldest first, and the times at which it was found to have moved."""

    anchors: Mapping[str, Anchor]
    rounds: tuple[Round, ...] = ()
    moves: tuple[datetime, ...] = ()

    @property
    def last(self) -> Round | None:
        """The newest round."""
        return self.rounds[-1] if self.rounds else None

    def has_moved(self, since: datetime) -> bool:
        """Whether it was found to have moved after a time."""
        return any(at > since for at in self.moves)

    def over(self, series: WeeklySeries, recent: Sequence[int], baseline: Sequence[int]) -> Shift | None:
        """Return by how much the judge gave more in some weeks than in others; None where the anchors do not know.

        They do not when what measured the weeks is not what they were judged by, when the last round is older than a
        week, or when rounds lie so that they hardly tell these weeks apart. Before the first round the judge is taken
        to have been what it was in it.

        Args:
            series: the scores.
            recent: blocks that are looked at.
            baseline: blocks they are compared with.
        """
        rounds = self._known(series)
        if len(rounds) < 2 or rounds[-1].at < series.now - WEEK:
            return None
        now, before = (_shares(series, weeks, rounds) for weeks in (recent, baseline))
        # Rounds to which both sides owe the same say nothing of their difference.
        if np.abs(now.levels - before.levels).sum() / 2 < _KNOWN:
            return None
        found = paired(self.anchors, _levels(rounds, before.levels), _levels(rounds, now.levels), rounds[-1].at)
        return None if found is None else _widened(found, self._timing(rounds, now.inside - before.inside))

    def between(self, old: str, new: str) -> Shift | None:
        """Return by how much one ruler gives more than another to the same traces; None where not both judged them."""
        sides = [[each for each in self.rounds if each.ruler == ruler] for ruler in (old, new)]
        if not all(sides):
            return None
        before, after = (_levels(known, np.full(len(known), 1 / len(known))) for known in sides)
        return paired(self.anchors, before, after, sides[1][-1].at)

    def offsets(self, series: WeeklySeries, weeks: Sequence[int]) -> list[float]:
        """Return by how much the judge gave more in each of some weeks than in all of them, in points."""
        rounds = self._known(series)
        usual = _levels(rounds, _shares(series, weeks, rounds).levels)
        levels = (_levels(rounds, _shares(series, [week], rounds).levels) for week in weeks)
        found = (paired(self.anchors, usual, level, series.now) for level in levels)
        return [0.0 if shift is None else shift.points for shift in found]

    def _known(self, series: WeeklySeries) -> list[Round]:
        """Return the rounds by the judge that measured a series, up to its end."""
        known = [each for each in self.rounds if each.ruler == series.version and each.at <= series.now]
        return _with_steps(known) if series.age is not None else []

    def _timing(self, rounds: Sequence[Round], inside: Floats) -> float:
        """Return the variance that comes of not knowing when between two rounds the judge moved."""
        steps = (paired(self.anchors, before.values, after.values, after.at) for before, after in pairwise(rounds))
        return sum(
            (step.points * float(share)) ** 2 / 12
            for step, share in zip(steps, inside, strict=True)
            if step is not None and step.p < 2 * LEVEL
        )


def paired(
    anchors: Mapping[str, Anchor], before: Mapping[str, float], after: Mapping[str, float], at: datetime
) -> Shift | None:
    """Return the shift of the anchors that have a value on both sides; None with too few of them.

    A paired t by the weighted mean of the differences with sessions as clusters (with equal weights and one anchor a
    session the usual one); where few anchors differ, the exact sign-flip test must agree (Fisher 1935).
    """
    both = sorted(before.keys() & after.keys() & anchors.keys())
    if len(both) < FEWEST:
        return None
    moved = np.array([after[each] - before[each] for each in both])
    weights = np.array([anchors[each].weight for each in both])
    names = {name: code for code, name in enumerate(dict.fromkeys(anchors[each].session for each in both))}
    sessions = np.array([names[anchors[each].session] for each in both], dtype=np.int64)
    found = hajek(moved, weights, sessions)
    sums = np.bincount(sessions, weights)
    df = float(sums.sum() ** 2 / (sums @ sums)) - 1
    if df < 1 or not math.isfinite(found.variance):
        return None
    p = max(
        _two_sided(found.mean, found.variance, df),
        _flipped(np.asarray(np.bincount(sessions, weights * moved), dtype=np.float64)),
    )
    return _shift(found.mean, found.variance, df, p, len(both), at)


class Turn(StrEnum):
    """Why people hear of a judge."""

    MOVED = "moved"
    BACK = "back"
    NEW_NORMAL = "new_normal"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class DriftState:
    """What is remembered of a judge: when it was found to have moved (None: it has not), and what is normal since when.

    `moves` are all times at which it was found to have moved.
    """

    opened: datetime | None = None
    since: datetime | None = None
    moves: tuple[datetime, ...] = ()


def marked(rounds: Sequence[Round], before: DriftState, turn: Turn | None) -> tuple[Round, ...]:
    """Return rounds after a step: what was judged while the judge was known to have moved is apart, until it is normal.

    Args:
        rounds: with the newest, which the step was about.
        before: the state before it.
        turn: why people hear of it.
    """
    if turn is Turn.NEW_NORMAL and before.opened is not None:
        opened = before.opened
        return tuple(replace(each, apart=each.apart and each.at < opened) for each in rounds)
    moved = turn is Turn.MOVED or (before.opened is not None and turn is not Turn.BACK)
    return (*rounds[:-1], replace(rounds[-1], apart=moved))


def against_normal(anchored: Anchored, state: DriftState) -> Shift | None:
    """Return the newest round against the mean of those before it that are normal; None without any."""
    last = anchored.last
    usual = [each for each in anchored.rounds[:-1] if not each.apart and (not state.since or each.at >= state.since)]
    if last is None or not usual:
        return None
    return paired(anchored.anchors, _levels(usual, np.full(len(usual), 1 / len(usual))), last.values, last.at)


def judge_step(state: DriftState, found: Shift | None, span: float) -> tuple[DriftState, Turn | None]:
    """Return the next state, and why people should hear of it, if they should.

    Args:
        state: what was known before the newest round.
        found: the newest round against what is normal.
        span: length of the scale.
    """
    if found is None:
        return state, None
    if state.opened is None:
        if found.p >= LEVEL or abs(found.points) < SMALLEST * span:
            return state, None
        moves = (*state.moves, found.at)[-_REMEMBERED:]
        return replace(state, opened=found.at, moves=moves), Turn.MOVED
    if found.p > _CALM:
        return replace(state, opened=None, moves=(*state.moves, found.at)[-_REMEMBERED:]), Turn.BACK
    if found.at - state.opened >= _NEW_NORMAL:
        return replace(state, opened=None, since=state.opened), Turn.NEW_NORMAL
    return state, None


class _Shares(NamedTuple):
    """What weeks owe to each round, and which part of them lies between each two; both add up to at most 1."""

    levels: Floats
    inside: Floats


def _shares(series: WeeklySeries, weeks: Sequence[int], rounds: Sequence[Round]) -> _Shares:
    ages = np.array([(series.now - each.at) / _DAY for each in rounds])  # falling: the last one is the youngest
    levels, inside = np.zeros(len(rounds)), np.zeros(len(rounds) - 1)
    for week in weeks:
        rows = series.week == week
        weight = series.weights[rows] / series.weights[rows].sum()
        # A day is as exact as the columns are; its middle stands for it.
        when = -(np.asarray(series.age)[rows] + 0.5)
        levels += np.array([weight @ np.interp(when, -ages, one) for one in np.eye(len(rounds))])
        inside += np.array([weight[(when >= -a) & (when < -b)].sum() for a, b in pairwise(ages)])
    return _Shares(levels / len(weeks), inside / len(weeks))


def _with_steps(rounds: Sequence[Round]) -> list[Round]:
    """Return rounds with those repeated between which the moment of the change is known: there the line is a step."""
    stepped: list[Round] = []
    for each in rounds:
        if each.since is not None and stepped and stepped[-1].at < each.since < each.at:
            stepped += [replace(stepped[-1], at=each.since - _MOMENT), replace(each, at=each.since)]
        stepped.append(each)
    return stepped


def _levels(rounds: Sequence[Round], shares: NDArray[np.float64]) -> dict[str, float]:
    """Return each anchor's mean over rounds; a round that lacks it is left out."""
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    for each, share in zip(rounds, shares.tolist(), strict=True):
        for name, value in each.values.items() if share > 0 else ():
            sums[name] = sums.get(name, 0.0) + share * value
            weights[name] = weights.get(name, 0.0) + share
    return {name: total / weights[name] for name, total in sums.items()}


def _widened(found: Shift, timing: float) -> Shift:
    return _shift(found.points, found.variance + timing, found.df, found.p, found.n, found.at)


def _shift(points: float, variance: float, df: float, p: float, n: int, at: datetime) -> Shift:
    half = float(scipy.stats.t.ppf(0.975, df)) * math.sqrt(variance)
    return Shift(points, points - half, points + half, p, variance, df, n, at)


def _two_sided(points: float, variance: float, df: float) -> float:
    if variance == 0:  # every anchor moved by the same, or none did
        return 1.0 if points == 0 else 0.0
    return 2 * float(scipy.stats.t.sf(abs(points) / math.sqrt(variance), df))


def _flipped(moved: Floats) -> float:
    """Return the exact two-sided p of the sum, both signs of each as likely; 0 where too many differ to need it."""
    differ = moved[moved != 0]
    if differ.size > _EXACT:
        return 0.0
    sums = np.abs(np.array(list(product((-1.0, 1.0), repeat=differ.size))) @ differ) if differ.size else np.zeros(1)
    return float(np.mean(sums >= abs(differ.sum()) * (1 - 1e-9)))
