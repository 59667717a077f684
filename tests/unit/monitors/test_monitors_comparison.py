"""Two segments against each other: against statsmodels and a bootstrap, and where the mix would mislead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import bootstrap
from statsmodels.regression.linear_model import WLS

from monitors import Comparison, Judged, WeeklySeries, compare, newest, weekly
from tests.weeks import NOW, judged

DIMENSIONS = ("prompt_version", "trace_name", "model", "tags")


def scores(n: int = 900, *, gain: float = 0.3, seed: int = 3, model: str = "") -> Iterator[Judged]:
    """Yield scores of two versions; the new one gets more of the hard traffic, which scores 1 lower."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        session = i // 3
        new = bool(rng.random() < 0.5)
        hard = bool(rng.random() < (0.8 if new else 0.2))
        value = 4.0 + gain * new - 1.0 * hard + 0.4 * np.sin(session) + 0.5 * rng.standard_normal()
        segments = {
            "prompt_version": f"answer:{4 if new else 3}",
            "trace_name": "hard" if hard else "easy",
            "model": (model if new else "old") if model else f"m{i % 3}",
            "tags": "a,b" if i % 2 else "b",
        }
        weight = 1.0 / (0.2 + 0.8 * rng.random())
        at = timedelta(days=20 * (i + 0.5) / n)
        yield Judged(float(value), NOW - at, f"t{i}", weight, f"s{session}", segments)


def series(rows: Iterator[Judged], weeks: int = 3) -> WeeklySeries:
    return weekly(rows, now=NOW, weeks=weeks, segments=DIMENSIONS)


def compared(rows: Iterator[Judged]) -> Comparison:
    found = compare(series(rows), "prompt_version", "answer:4", "answer:3")
    assert found is not None
    return found


def columns(rows: list[Judged], *names: str) -> NDArray[np.float64]:
    parts = [np.ones(len(rows)), np.array([row.segments["prompt_version"] == "answer:4" for row in rows])]
    for name in names:
        known = sorted({row.segments[name] for row in rows})[1:]
        parts += [np.array([row.segments[name] == value for row in rows]) for value in known]
    return np.column_stack(parts).astype(float)


def test_it_is_the_clustered_regression_of_statsmodels() -> None:
    rows = list(scores())
    found = compare(series(iter(rows)), "prompt_version", "answer:4", "answer:3")
    assert found is not None
    values, weights = np.array([row.value for row in rows]), np.array([row.weight for row in rows])
    sessions = np.unique([row.session for row in rows], return_inverse=True)[1]
    # `a,b` against `b`: one column says it all.
    fit = WLS(values, columns(rows, "trace_name", "model", "tags"), weights).fit(
        cov_type="cluster", cov_kwds={"groups": sessions}, use_t=True
    )
    low, high = fit.conf_int()[1]
    assert found.points == pytest.approx(fit.params[1], rel=1e-9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.01)
    assert found.p == pytest.approx(fit.pvalues[1], rel=0.05)
    assert found.adjusted == ("trace_name", "model", "tags")


def test_a_harder_mix_does_not_hide_what_a_version_gained() -> None:
    found = compared(scores(3000))
    assert found.mean_new < found.mean_old
    assert 0.2 < found.low < 0.3 < found.high < 0.45
    assert found.share is not None
    assert found.share == pytest.approx(found.points / found.mean_old)
    assert found.share_low is not None
    assert found.share_high is not None
    assert 0 < found.share_low < found.share < found.share_high


def test_the_interval_of_the_share_is_that_of_a_bootstrap_over_sessions() -> None:
    rows = list(scores(900))
    alone = weekly(rows, now=NOW, weeks=3, segments=("prompt_version",))
    found = compare(alone, "prompt_version", "answer:4", "answer:3")
    assert found is not None
    clusters = [[row for row in rows if row.session == name] for name in dict.fromkeys(row.session for row in rows)]
    sums = np.array([[*sums_of(cluster, "answer:4"), *sums_of(cluster, "answer:3")] for cluster in clusters])

    def share(drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        of_new, new, of_old, old = np.moveaxis(sums[drawn].sum(axis=axis if axis >= 0 else axis - 1), -1, 0)
        return np.asarray(of_new / new / (of_old / old) - 1)

    places, draw = (np.arange(len(clusters)),), np.random.default_rng(1)
    drawn = bootstrap(places, share, n_resamples=4000, method="percentile", rng=draw)
    interval = drawn.confidence_interval
    assert (found.share_low, found.share_high) == pytest.approx((interval.low, interval.high), abs=0.006)


def sums_of(cluster: list[Judged], version: str) -> tuple[float, float]:
    mine = [row for row in cluster if row.segments["prompt_version"] == version]
    return sum(row.weight * row.value for row in mine), sum(row.weight for row in mine)


def test_what_changed_together_cannot_be_told_apart_and_is_said() -> None:
    found = compared(scores(model="new"))
    assert found.together == ("model",)
    assert "model" not in found.adjusted
    assert found.low < 0.3 < found.high


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    hits = [found.low <= 0.3 <= found.high for found in (compared(scores(240, seed=seed)) for seed in range(200))]
    assert 0.90 <= np.mean(hits) <= 0.99


def test_too_few_scores_are_no_comparison() -> None:
    versions = ["answer:4", *(["answer:3"] * 39)]
    few = [
        judged(4.0, day=(i + 1) / 10, session=f"s{i}", segments={"prompt_version": version})
        for i, version in enumerate(versions)
    ]
    held = weekly(few, now=NOW, weeks=3, segments=DIMENSIONS)
    assert compare(held, "prompt_version", "answer:4", "answer:3") is None
    assert compare(held, "prompt_version", "answer:3", "answer:9") is None
    assert newest(held, "prompt_version") == ["answer:3"]


def test_the_newest_is_the_one_that_came_last() -> None:
    rows = [
        judged(4.0, week=week, day=i / 10 + 0.1, session=f"s{week}-{i}", segments={"prompt_version": version})
        for version, first in (("answer:1", 3), ("answer:3", 0), ("answer:2", 1))
        for week in range(first + 1)
        for i in range(8)
    ]
    held = weekly(rows, now=NOW, weeks=3, segments=("prompt_version",))
    assert newest(held, "prompt_version") == ["answer:3", "answer:2", "answer:1"]
