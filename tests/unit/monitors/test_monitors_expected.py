from __future__ import annotations

import numpy as np
import pytest

from monitors import Judged, weekly
from monitors.expected import residuals
from tests.weeks import NOW, judged, steady, world


def _mixed(rng: np.random.Generator, *dimensions: str, weeks: int = 6, n: int = 40) -> list[Judged]:
    return [
        judged(
            float(rng.normal()),
            week=week,
            day=7 * (i + 0.5) / n,
            session=f"{week}-{i}",
            weight=float(rng.choice([1.0, 5.0])),
            segments={name: str(rng.choice(["x", "y"])) for name in dimensions},
        )
        for week in range(weeks + 1)
        for i in range(n)
    ]


def test_with_one_dimension_a_segment_is_expected_to_do_as_it_did() -> None:
    series = world(np.random.default_rng(3), 400)
    left, _ = residuals(series, series.baseline())
    codes = series.dimensions["trace_name"].joint
    for code in range(3):
        before = series.values[(codes == code) & (series.week > 0)].mean()
        shifts = before - (series.values - left)[codes == code]
        assert np.ptp(shifts) == pytest.approx(0, abs=1e-9)
        assert abs(shifts[0]) < 0.01  # but for the centre, in which every week counts once


def test_baseline_weeks_are_zero_on_average() -> None:
    series = weekly(
        _mixed(np.random.default_rng(1), "trace_name", "tags"), now=NOW, weeks=6, segments=["tags", "trace_name"]
    )
    left, _ = residuals(series, series.baseline())
    assert np.mean([series.estimate(week, left).mean for week in series.baseline()]) == pytest.approx(0, abs=1e-12)


def test_two_dimensions_are_fitted_together() -> None:
    rng = np.random.default_rng(5)
    effects = {"x": 1.0, "y": -1.0}
    scores = []
    for score in _mixed(rng, "trace_name", "environment", weeks=8, n=80):
        s = score.segments
        value = 3 + effects[s["trace_name"]] + 0.5 * effects[s["environment"]]
        scores.append(Judged(value, score.at, session=score.session, segments=s))
    series = weekly(scores, now=NOW, weeks=8, segments=["trace_name", "environment"])
    left, _ = residuals(series, series.baseline())
    assert np.abs(left).max() < 1e-6


def test_our_own_versions_do_not_explain_a_week_away() -> None:
    # Every week has its own release: as an explanation it would leave no spread between weeks at all.
    scores = [
        Judged(s.value, s.at, session=s.session, segments={"release": f"r{(NOW - s.at).days // 7}", "model": "m"})
        for s in steady(weeks=8)
    ]
    series = weekly(scores, now=NOW, weeks=8, segments=["release", "model"])
    left, level = residuals(series, series.baseline())
    np.testing.assert_allclose(left, series.values - level)


def test_a_segment_of_few_weeks_does_not_explain_them_away() -> None:
    scores = [
        Judged(s.value, s.at, session=s.session, segments={"tags": f"week-{(NOW - s.at).days // 7}"})
        for s in steady(weeks=8)
    ]
    series = weekly(scores, now=NOW, weeks=8, segments=["tags"])
    left, level = residuals(series, series.baseline())
    np.testing.assert_allclose(left, series.values - level)


def test_unknown_traffic_is_expected_to_do_as_well_as_the_rest() -> None:
    scores = [*steady(weeks=6, segments={"trace_name": "old"}), judged(1.0, segments={"trace_name": "new"})]
    series = weekly(scores, now=NOW, weeks=6, segments=["trace_name"])
    left, level = residuals(series, series.baseline())
    assert left[-1] == pytest.approx(1.0 - level)
