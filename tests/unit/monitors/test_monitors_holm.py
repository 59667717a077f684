"""One budget of false alerts for many scores: against statsmodels' Holm, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from monitors import Claim, shares

RATIOS = st.lists(st.floats(0, 3), min_size=1, max_size=12)


def _fires(ratios: list[float], total: float) -> list[bool]:
    claims = {str(i): Claim(ratio, 1.0) for i, ratio in enumerate(ratios)}
    found = shares(claims, total)
    return [claims[name].ratio < found[name] for name in claims]


@given(RATIOS)
def test_with_equal_budgets_it_is_holm(ratios: list[float]) -> None:
    # Holm's adjusted p: the i-th smallest of m times m - i, and never less than those before it.
    order = np.argsort(ratios, kind="stable")
    adjusted = np.maximum.accumulate(np.array(ratios)[order] * np.arange(len(ratios), 0, -1))
    near = bool(np.any(np.abs(adjusted - 1) < 1e-9))
    assert near or [_fires(ratios, 1.0)[i] for i in order] == (adjusted < 1).tolist()


@pytest.mark.parametrize("ratios", [[0.2, 0.4, 0.6, 2.0], [0.3, 0.1, 0.45, 0.9]])
def test_it_agrees_with_statsmodels(ratios: list[float]) -> None:
    level = 0.01
    rejected = multipletests([level * ratio for ratio in ratios], alpha=level, method="holm")[0]
    assert _fires(ratios, 1.0) == rejected.tolist()


@given(RATIOS, st.floats(0.1, 20))
def test_no_score_gets_more_than_its_own_budget(ratios: list[float], total: float) -> None:
    claims = {str(i): Claim(ratio, 1.0) for i, ratio in enumerate(ratios)}
    assert all(0 < share <= 1 for share in shares(claims, total).values())


def test_the_total_is_shared_by_budgets() -> None:
    found = shares({"a": Claim(0.2, 1.0), "b": Claim(5.0, 3.0)}, 2.0)
    assert found == {"a": 0.5, "b": 2 / 3}  # a fires at 2 of 4, and b then has 2 of its 3


def test_chance_fires_no_more_often_than_the_total_allows() -> None:
    rng = np.random.default_rng(3)
    level = 0.05
    fired = [any(_fires((rng.random(6) / level).tolist(), 1.0)) for _ in range(4000)]
    assert np.mean(fired) < level + 3 * np.sqrt(level / 4000)
