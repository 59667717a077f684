"""The culprit of six segments, while the mix moves: named first as often as in the recorded simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from monitors import NotEnoughHistory, expect
from monitors.segments import contributions
from tests.weeks import level, series_of

SHARES = np.array([0.35, 0.25, 0.15, 0.12, 0.08, 0.05])
LEVELS = np.array([4.4, 4.2, 4.0, 3.8, 3.5, 3.2])
WEEKS = 8


def named_first(rng: np.random.Generator, n: int) -> bool:
    """Whether the one segment that pulls the total down by 5 % is named first."""
    culprit = int(rng.choice(6, p=SHARES))
    wanted = 0.05 * sum(share * level(latent) for share, latent in zip(SHARES, LEVELS, strict=True)) / SHARES[culprit]
    now = LEVELS.copy()
    if wanted < level(LEVELS[culprit]) - 1.01:
        now[culprit] += brentq(lambda s: level(LEVELS[culprit]) - level(LEVELS[culprit] + s) - wanted, -9, 0)
    else:
        now[culprit] -= 2.0
    week = np.repeat(np.arange(WEEKS + 1), n)
    mixed = rng.dirichlet(80 * SHARES)
    code = np.concatenate([rng.choice(6, n, p=mixed), rng.choice(6, WEEKS * n, p=SHARES)])
    latent = np.where(week == 0, now[code], LEVELS[code]) + np.hypot(0.5, 0.8) * rng.standard_normal(code.size)
    series = series_of(np.clip(np.round(latent), 1, 5), week, np.arange(code.size), code, weeks=WEEKS)
    expected = expect(series)
    assert not isinstance(expected, NotEnoughHistory)
    return contributions(series, expected, "trace_name")[0].value == "abcdef"[culprit]


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_the_culprit_is_named_first_as_often_as_recorded(shared: Path, n: int) -> None:
    rows = json.loads((shared / "simulation" / "attribution.json").read_text())
    wanted = next(row["top1_contribution"] for row in rows if row["n"] == n)
    runs, rng = 120, np.random.default_rng(n)
    hits = np.mean([named_first(rng, n) for _ in range(runs)])
    assert hits >= wanted - 3 * np.sqrt(wanted * (1 - wanted) / runs) - 0.005
