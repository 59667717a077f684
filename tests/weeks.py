"""Weeks of scores for tests: made by hand, or drawn from a small world with a known truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from monitors import Judged, WeeklySeries
from monitors.series import WEEK, Dimension

NOW: Final = datetime(2026, 3, 30, 6, 0, tzinfo=UTC)
SHARES: Final = np.array([0.6, 0.3, 0.1])
CAMPAIGN: Final = np.array([0.42, 0.30, 0.28])
LEVELS: Final = np.array([4.45, 4.05, 3.3])
_SESSION, _NOISE = 0.5, 0.8


def judged(value: float, *, week: int = 0, day: float = 3.0, trace: str = "", **fields: Any) -> Judged:
    """Return a score `week` blocks ago, `day` days before that block ends."""
    at = NOW - week * WEEK - timedelta(days=day)
    return Judged(value, at, trace_id=trace or f"t{week}-{day}-{value}-{fields.get('session', '')}", **fields)


def steady(
    weeks: int = 12, n: int = 60, *, seed: int = 1, low: float = 0.0, segments: Mapping[str, str] | None = None
) -> Iterator[Judged]:
    """Yield 1 to 5 scores around 4.2 for this week and `weeks` before it; this week's lie `low` lower."""
    rng = np.random.default_rng(seed)
    for week in range(weeks + 1):
        scores = np.clip(np.round(4.2 - (low if week == 0 else 0.0) + 0.7 * rng.standard_normal(n)), 1, 5)
        for i, score in enumerate(scores):
            at = NOW - week * WEEK - timedelta(days=7 * (i + 0.5) / n)
            yield Judged(float(score), at, trace_id=f"t{week}-{i}", session=f"s{week}-{i}", segments=segments or {})


def level(latent: float) -> float:
    """Return the true mean of clipped, rounded scores around a latent level."""
    cuts = np.array([1.5, 2.5, 3.5, 4.5])
    return float(1 + norm.sf((cuts - latent) / np.hypot(_SESSION, _NOISE)).sum())


def true_mean(shift: float = 0.0) -> float:
    """Return the true mean at the usual mix."""
    return float(SHARES @ [level(latent + shift) for latent in LEVELS])


def shift_for(drop: float) -> float:
    """Return the latent shift that lowers the true mean by the share `drop`."""
    return float(brentq(lambda s: true_mean(s) - true_mean() * (1 - drop), -3, 0)) if drop else 0.0


def world(
    rng: np.random.Generator, n: int, *, shift: float = 0.0, weeks: int = 12, campaign: bool = False
) -> WeeklySeries:
    """Return weeks of the world of ../shared/simulation, straight as columns.

    Likert scores, sessions of 1 + Poisson(2) traces, three segments with moving shares, weeks that wobble (AR(1) and a
    slow sine). `shift` lowers this week, `campaign` moves its mix.
    """
    wobble = _wobble(rng, weeks + 1)
    columns: dict[str, list[np.ndarray]] = {"values": [], "week": [], "session": [], "code": []}
    sessions = 0
    for week in range(weeks + 1):
        shares = rng.dirichlet(150 * (CAMPAIGN if campaign and week == 0 else SHARES))
        sizes = 1 + rng.poisson(2.0, size=n)
        session = np.repeat(np.arange(n), sizes)[:n]
        segment = rng.choice(3, size=n, p=shares)[session]
        latent = LEVELS[segment] + wobble[week] + (shift if week == 0 else 0.0)
        scores = latent + _SESSION * rng.standard_normal(n)[session] + _NOISE * rng.standard_normal(n)
        columns["values"].append(np.clip(np.floor(scores + 0.5), 1, 5))
        columns["week"].append(np.full(n, week))
        columns["session"].append(session + sessions)
        columns["code"].append(segment)
        sessions += n
    values, blocks, clusters, codes = (np.concatenate(columns[name]) for name in ("values", "week", "session", "code"))
    return series_of(values, blocks, clusters, codes, weeks=weeks)


def series_of(
    values: np.ndarray,
    week: np.ndarray,
    session: np.ndarray,
    code: np.ndarray,
    *,
    weeks: int,
    weights: np.ndarray | None = None,
    name: str = "trace_name",
    binary: bool = False,
) -> WeeklySeries:
    """Return columns as a series with one dimension, whose segments are called a, b, c, ..."""
    names = tuple("abcdefghij"[: int(code.max()) + 1])
    size = values.size
    dimension = Dimension(names, np.arange(size), code, np.ones(size), code)
    return WeeklySeries(
        now=NOW,
        baseline_end=NOW - WEEK,
        weeks=weeks,
        values=values.astype(float),
        weights=np.ones(size) if weights is None else weights,
        week=week,
        session=session,
        dimensions={name: dimension},
        recent={},
        excluded=frozenset(),
        binary=binary,
    )


def _wobble(rng: np.random.Generator, weeks: int) -> np.ndarray:
    steps = rng.standard_normal(weeks)
    drift = np.empty(weeks)
    drift[0] = steps[0]
    for t in range(1, weeks):
        drift[t] = 0.5 * drift[t - 1] + np.sqrt(0.75) * steps[t]
    slow = np.sin(2 * np.pi * np.arange(weeks) / 26 + rng.uniform(0, 2 * np.pi))
    return 0.03 * drift + 0.02 * slow
