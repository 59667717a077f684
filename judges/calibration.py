"""How far a judge agrees with people, with intervals, beside how far people agree with each other.

People differ, so there is no one right label of a subject: each person's label is a row of its own, and the rows of one
subject share its weight. What is told is how far the judge agrees with a person; the ceiling is how far one person
agrees with another on the same subjects, by the same formulas. Intervals are percentiles of resampled sessions: traces
of one session are alike (a cluster bootstrap; Davison and Hinkley 1997, 3.8).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from judges import tables
from judges.agreement import Value
from judges.shared_scale import SharedScale
from judges.tables import Floats

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95
MOST_LEVELS: Final = 25
"""Distinct numbers that are kept apart; more are moved to the nearest of as many evenly spaced ones."""

_SHOWN: Final = 5
"""Parts of a scale without steps in the table of what was said together."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One subject, on the shared scale.

    Attributes:
        ours: what the judge gave.
        labels: what people said, by person.
        weight: one over the probability that the subject was taken.
        session: what is not independent has the same one.
    """

    ours: Value
    labels: Mapping[str, Value]
    weight: float = 1.0
    session: str = ""


class Figure(NamedTuple):
    """A figure and its 95 % interval; the ends are None where too few resamples have one."""

    value: float
    low: float | None
    high: float | None


class LevelMean(NamedTuple):
    """What the judge gave on average where people said one thing: `at` is where that stands, `n` are labels."""

    label: Value
    at: float
    n: int
    ours: Figure


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How far a judge agrees with people.

    Attributes:
        n: subjects that both judged.
        labels: what people said of them, altogether.
        raters: how many people.
        sessions: how many sessions they are of.
        effective: how many equally likely subjects would tell as much (Kish).
        shown: the values in the table, from worst to best where they have an order.
        table: labels by what the judge gave (rows) and what people said (columns), as shares of the weighted whole.
        counts: the same as plain numbers of labels.
        judge: figures of the judge against a person, by name; what cannot be told is left out.
        people: the same of one person against another; empty without two labels of one subject.
        levels: what the judge gave where people said one thing; empty for values without an order.
        headline: the name of the figure that a floor is compared with.
        draws: its resamples.
    """

    n: int
    labels: int
    raters: int
    sessions: int
    effective: float
    shown: tuple[Value, ...]
    table: Floats
    counts: NDArray[np.int64]
    judge: Mapping[str, Figure]
    people: Mapping[str, Figure]
    levels: tuple[LevelMean, ...]
    headline: str
    draws: Floats

    def below(self, floor: float) -> float | None:
        """Return the share of resamples whose headline figure is below a floor; None when it cannot be told."""
        known = self.draws[np.isfinite(self.draws)]
        return float((known < floor).mean()) if known.size and self.headline in self.judge else None


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """The values that are kept apart: where they stand, and which shown value each belongs to."""

    positions: Floats
    shown: tuple[Value, ...]
    coarse: Floats
    index: Mapping[Value, int]

    def code(self, value: Value) -> int:
        known = self.index.get(value)
        return int(np.abs(self.positions - float(value)).argmin()) if known is None else known


def agreement(items: Sequence[Labelled], scale: SharedScale, rng: np.random.Generator) -> Agreement:
    """Return how far a judge agrees with people on subjects that both judged.

    Args:
        items: the subjects, each with a label at least.
        scale: on which all values lie.
        rng: draws the resamples.

    Raises:
        ValueError: there is no item.
    """
    if not items:
        raise ValueError("there is nothing to compare: no subject was judged by both")
    grid = _grid(items, scale)
    codes = {name: code for code, name in enumerate(dict.fromkeys(item.session for item in items))}
    sessions = [codes[item.session] for item in items]
    against = _tables(grid, [(s, *row) for item, s in zip(items, sessions, strict=True) for row in _rows(item)])
    among = _tables(grid, [(s, *row) for item, s in zip(items, sessions, strict=True) for row in _pairs(item)])
    both = _coincidences(grid, items, sessions, ours=True)
    people = _coincidences(grid, items, sessions, ours=False)
    drawn = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=RESAMPLES).astype(float)
    weights = np.array([item.weight for item in items])
    ours = _figures(grid, scale, against, both, drawn)
    headline = "weighted kappa" if scale.ordered and not scale.is_binary else "kappa"
    counts = _counts(grid, items)
    return Agreement(
        n=len(items),
        labels=sum(len(item.labels) for item in items),
        raters=len({rater for item in items for rater in item.labels}),
        sessions=len(codes),
        effective=float(weights.sum() ** 2 / (weights**2).sum()),
        shown=grid.shown,
        table=_coarse(against.sum(axis=0), grid.coarse) / max(float(against.sum()), 1e-12),
        counts=counts,
        judge={name: figure for name, draws in ours.items() if (figure := _figure(draws)) is not None},
        people={
            name: figure
            for name, draws in _figures(grid, scale, among, people, drawn).items()
            if name != "bias" and (figure := _figure(draws)) is not None
        },
        levels=_levels(grid, against, drawn, counts) if scale.ordered else (),
        headline=headline,
        draws=ours[headline][1:],
    )


def _rows(item: Labelled) -> Iterable[tuple[Value, Value, float]]:
    return ((item.ours, said, item.weight / len(item.labels)) for said in item.labels.values())


def _pairs(item: Labelled) -> Iterable[tuple[Value, Value, float]]:
    number = len(item.labels) * (len(item.labels) - 1)
    return ((one, other, item.weight / number) for one, other in permutations(item.labels.values(), 2))


def _grid(items: Sequence[Labelled], scale: SharedScale) -> _Grid:
    seen = dict.fromkeys(value for item in items for value in (item.ours, *item.labels.values()))
    numbers = not scale.labels and not scale.is_binary
    if not numbers:
        known = scale.levels or tuple(sorted(seen, key=str))
        index = {value: place for place, value in enumerate(known)}
        return _Grid(np.arange(len(known), dtype=float), known, np.eye(len(known)), index)
    values = sorted({*map(float, seen), *map(float, scale.levels)})
    positions = np.array(values) if len(values) <= MOST_LEVELS else np.linspace(scale.low, scale.high, MOST_LEVELS)
    counted = 0 < len(scale.levels) <= MOST_LEVELS
    shown = np.array(scale.levels if counted else np.linspace(scale.low, scale.high, _SHOWN), dtype=float)
    nearest = np.abs(positions[:, None] - shown[None, :]).argmin(axis=1)
    coarse = np.zeros((positions.size, shown.size))
    coarse[np.arange(positions.size), nearest] = 1
    return _Grid(positions, tuple(map(float, shown)), coarse, {float(at): n for n, at in enumerate(positions)})


def _tables(grid: _Grid, rows: Sequence[tuple[int, Value, Value, float]]) -> Floats:
    """Return one table a session: how much weight lies on each pair of values."""
    size = grid.positions.size
    found = np.zeros((1 + max((session for session, *_ in rows), default=0), size, size))
    for session, one, other, weight in rows:
        found[session, grid.code(one), grid.code(other)] += weight
    return found


def _coincidences(grid: _Grid, items: Sequence[Labelled], sessions: Sequence[int], *, ours: bool) -> Floats:
    """Return one table a session of what was said together of one subject, as Krippendorff counts it."""
    size = grid.positions.size
    found = np.zeros((max(sessions) + 1, size, size))
    mean = sum(item.weight for item in items) / len(items)
    for item, session in zip(items, sessions, strict=True):
        said = [*([item.ours] if ours else []), *item.labels.values()]
        if len(said) > 1:
            counts = np.bincount([grid.code(value) for value in said], minlength=size).astype(float)
            found[session] += item.weight / mean * (np.outer(counts, counts) - np.diag(counts)) / (len(said) - 1)
    return found


def _figures(grid: _Grid, scale: SharedScale, by_session: Floats, together: Floats, drawn: Floats) -> dict[str, Floats]:
    """Return each figure of the whole, and behind it those of the resamples."""
    whole = _resampled(by_session, drawn)
    shown = _coarse(whole, grid.coarse)
    found = {
        "agreement": tables.same(shown),
        "kappa": tables.kappa(shown, 1 - np.eye(len(grid.shown))),
        "alpha": tables.alpha(_resampled(together, drawn), grid.positions, "ordinal" if scale.ordered else "nominal"),
    }
    if scale.ordered and not scale.is_binary:
        found["weighted kappa"] = tables.kappa(whole, tables.apart(grid.positions, "quadratic"))
    if scale.ordered:
        found |= {"spearman": tables.spearman(whole), "kendall": tables.kendall(whole)}
        found["bias"] = tables.shift(whole, grid.positions)
    return found


def _resampled(by_session: Floats, drawn: Floats) -> Floats:
    """Return the table of all sessions, and behind it one for each resample of them."""
    flat = by_session.reshape(len(by_session), -1)
    # Sessions behind the last that has a table have none: nobody else labelled them.
    every = np.vstack([np.ones(len(flat)), drawn[:, : len(flat)]]) @ flat
    return np.asarray(every.reshape(-1, *by_session.shape[1:]), dtype=float)


def _coarse(whole: Floats, coarse: Floats) -> Floats:
    return np.asarray(coarse.T @ whole @ coarse, dtype=float)


def _figure(draws: Floats) -> Figure | None:
    value, known = float(draws[0]), draws[1:][np.isfinite(draws[1:])]
    if math.isnan(value):
        return None
    if known.size < RESAMPLES / 2:
        return Figure(value, None, None)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(value, float(low), float(high))


def _counts(grid: _Grid, items: Sequence[Labelled]) -> NDArray[np.int64]:
    rows = [(0, item.ours, said, 1.0) for item in items for said in item.labels.values()]
    return np.rint(_coarse(_tables(grid, rows)[0], grid.coarse)).astype(np.int64)


def _levels(grid: _Grid, by_session: Floats, drawn: Floats, counts: NDArray[np.int64]) -> tuple[LevelMean, ...]:
    narrow = np.asarray(_resampled(by_session, drawn) @ grid.coarse, dtype=float)
    means = tables.row_means(narrow, grid.positions)
    found = ((at, label, int(counts[:, at].sum()), _figure(means[:, at])) for at, label in enumerate(grid.shown))
    return tuple(
        LevelMean(label, float(at if isinstance(label, str) else label), n, figure)
        for at, label, n, figure in found
        if figure is not None
    )
