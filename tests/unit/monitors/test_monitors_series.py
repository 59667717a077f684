from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from monitors import Judged, Span, weekly
from monitors.codes import compact
from monitors.means import Estimate, hajek, interval
from monitors.series import NONE, WEEK
from tests.weeks import NOW, judged, steady

SCORES = arrays(np.float64, st.integers(2, 40), elements=st.floats(-100, 100))


def _random(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(4, 1, n), rng.choice([1.0, 4.0, 20.0], n), rng.integers(0, n // 3, n)


@given(SCORES)
def test_with_weight_one_the_mean_is_the_plain_mean(values: np.ndarray) -> None:
    found = hajek(values, np.ones(values.size), np.arange(values.size))
    assert found.mean == pytest.approx(values.mean(), abs=1e-9)
    assert found.variance == pytest.approx(values.var(ddof=1) / values.size, abs=1e-9)
    assert found.effective == pytest.approx(values.size)


@given(SCORES, st.integers(0, 2**32 - 1), st.floats(0.1, 50))
def test_neither_order_nor_the_unit_of_weights_matters(values: np.ndarray, seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    weights, sessions = rng.uniform(1, 20, values.size), rng.integers(0, 5, values.size)
    order = rng.permutation(values.size)
    one = hajek(values, weights, sessions)
    other = hajek(values[order], factor * weights[order], sessions[order])
    np.testing.assert_allclose(tuple(one), tuple(other), rtol=1e-7, atol=1e-9)


def test_the_weighted_mean_is_that_of_statsmodels() -> None:
    values, weights, sessions = _random(1)
    assert hajek(values, weights, sessions).mean == pytest.approx(DescrStatsW(values, weights).mean)


def test_the_variance_is_that_of_a_clustered_regression() -> None:
    values, weights, sessions = _random(2)
    fit = WLS(values, np.ones(values.size), weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": sessions, "use_correction": True}
    )
    # statsmodels also corrects by (n - 1) / (n - p), which is 1 for a mean.
    assert hajek(values, weights, sessions).variance == pytest.approx(float(fit.cov_params()[0, 0]))


def test_copies_within_a_session_tell_nothing_new() -> None:
    values = np.array([1.0, 3.0, 5.0, 4.0])
    once = hajek(values, np.ones(4), np.arange(4))
    thrice = hajek(np.repeat(values, 3), np.ones(12), np.repeat(np.arange(4), 3))
    assert thrice.variance == pytest.approx(once.variance)


def test_one_session_has_no_known_variance() -> None:
    assert hajek(np.array([1.0, 2.0]), np.ones(2), np.zeros(2, dtype=np.int64)).variance == np.inf


def test_no_scores_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no scores"):
        hajek(np.array([]), np.array([]), np.array([], dtype=np.int64))


@pytest.mark.parametrize(
    ("before_now", "block"),
    [
        (timedelta(seconds=1), 0),
        (WEEK, 0),
        (WEEK + timedelta(microseconds=1), 1),
        (2 * WEEK, 1),
        (2 * WEEK + timedelta(microseconds=1), 2),
    ],
)
def test_blocks_are_seven_days_and_half_open(before_now: timedelta, block: int) -> None:
    series = weekly([Judged(1.0, NOW - before_now)], now=NOW, weeks=4)
    assert series.week.tolist() == [block]
    assert series.start(block) <= NOW - before_now < series.start(block) + WEEK


@pytest.mark.parametrize("at", [NOW, NOW + timedelta(days=1), NOW - 6 * WEEK])
def test_what_lies_outside_the_weeks_is_left_out(at: object) -> None:
    assert weekly([Judged(1.0, at)], now=NOW, weeks=4).values.size == 0  # type: ignore[arg-type]  # parametrised


def test_a_frozen_baseline_leaves_the_time_since_out() -> None:
    end = NOW - 3 * WEEK
    scores = [judged(1.0, week=week) for week in range(6)]
    series = weekly(scores, now=NOW, weeks=3, baseline_end=end)
    assert sorted(series.week.tolist()) == [0, 1, 2, 3]
    assert series.start(1) == end - WEEK


def test_nothing_before_a_new_normal_is_comparable() -> None:
    series = weekly(steady(weeks=8), now=NOW, weeks=8, since=NOW - 5 * WEEK)
    assert series.baseline() == [1, 2, 3, 4]


def test_an_excluded_span_takes_its_whole_block_out() -> None:
    span = Span(NOW - 2 * WEEK - timedelta(hours=1), NOW - 2 * WEEK)
    series = weekly(steady(weeks=4), now=NOW, weeks=4, excluded=[span])
    assert series.baseline() == [1, 3, 4]
    assert series.line()[-3].mean is None


def test_a_week_of_few_scores_or_of_one_session_is_no_baseline() -> None:
    few = [judged(4.0, week=1, day=d, session=f"{d}") for d in (1, 2, 3, 4)]
    one = [judged(4.0, week=2, day=d / 2, session="same") for d in range(1, 12)]
    fine = [judged(4.0, week=3, day=d / 2, session=f"{d}") for d in range(1, 12)]
    assert weekly([*few, *one, *fine], now=NOW, weeks=4).baseline() == [3]


def test_weeks_without_scores_are_gaps_and_never_zero() -> None:
    line = weekly(steady(weeks=2), now=NOW, weeks=4).line()
    assert [week.n for week in line] == [0, 0, 60, 60, 60]
    assert [week.mean is None for week in line] == [True, True, False, False, False]
    assert all(week.low < week.mean < week.high for week in line[2:] if week.mean and week.low and week.high)


def test_only_what_measured_most_of_this_week_is_compared() -> None:
    old = [judged(4.0, week=w, day=d / 2, version="v1", session=f"{w}{d}") for w in range(4) for d in range(1, 8)]
    new = [judged(2.0, day=d / 3, version="v2", session=f"n{d}") for d in range(1, 15)]
    series = weekly([*old, *new], now=NOW, weeks=4)
    assert (series.version, series.left_out, series.values.size) == ("v2", 28, 14)
    assert set(series.recent) == set(range(14))
    assert {score.version for score in series.recent.values()} == {"v2"}


def test_a_fallback_now_and_then_does_not_change_the_ruler() -> None:
    usual = [judged(4.0, week=w, day=d / 2, version="a", session=f"{w}{d}") for w in range(3) for d in range(1, 10)]
    other = [judged(3.0, day=0.01, version="b")]
    assert weekly([*usual, *other], now=NOW, weeks=3).version == "a"


def test_rows_of_the_week_keep_their_trace() -> None:
    scores = list(steady(weeks=3, n=10))
    series = weekly(scores, now=NOW, weeks=3)
    assert {score.trace_id for score in series.recent.values()} == {f"t0-{i}" for i in range(10)}
    for row, score in series.recent.items():
        assert (series.values[row], series.week[row]) == (score.value, 0)


def test_each_tag_is_a_segment_of_its_own() -> None:
    scores = [judged(1.0, segments={"tags": "b, a"}), judged(2.0, segments={"tags": "a"}), judged(3.0)]
    tags = weekly(scores, now=NOW, weeks=1, segments=["tags"]).dimensions["tags"]
    pairs = {(int(row), tags.names[code]) for row, code in zip(tags.rows, tags.codes, strict=True)}
    assert pairs == {(0, "a"), (0, "b"), (1, "a"), (2, NONE)}
    assert np.bincount(tags.rows, tags.portion).tolist() == [1, 1, 1]
    assert len(set(tags.joint.tolist())) == 3


@pytest.mark.parametrize(
    ("values", "declared", "binary"),
    [
        ((0, 1, 1), False, True),
        ((1, 1), True, True),
        ((1, 1), False, False),
        ((0, 1, 2), False, False),
        ((), True, False),
    ],
)
def test_pass_or_fail_is_told_from_a_scale(values: tuple[float, ...], declared: bool, binary: bool) -> None:
    scores = [judged(value, day=1 + i / 10, boolean=declared) for i, value in enumerate(values)]
    assert weekly(scores, now=NOW, weeks=1).binary is binary


def test_an_empty_stream_is_an_empty_series() -> None:
    series = weekly([], now=NOW, weeks=4, segments=["model", "tags"])
    assert (series.version, series.baseline(), series.since) == (None, [], None)
    assert [week.mean for week in series.line()] == [None] * 5


@given(st.lists(st.integers(0, 40) | st.integers(0, 2**40), max_size=60))
def test_codes_are_made_compact_as_numpy_does(codes: list[int]) -> None:
    known, place = compact(np.array(codes, dtype=np.int64))
    wanted, wanted_place = np.unique(np.array(codes, dtype=np.int64), return_inverse=True)
    assert known.tolist() == wanted.tolist()
    assert place.tolist() == wanted_place.tolist()


def test_means_of_all_weeks_are_those_of_each() -> None:
    series = weekly(steady(weeks=4, n=20), now=NOW, weeks=4)
    assert series.means(series.values) == pytest.approx([series.estimate(week).mean for week in range(5)])


def test_a_trace_belongs_to_each_of_its_tags() -> None:
    tagged = [judged(4, day=d, segments={"tags": tags}) for d, tags in enumerate(["b,a", "", "a", "b, a,c"], 1)]
    found = weekly(tagged, now=NOW, weeks=1, segments=["tags"]).dimensions["tags"]
    pairs = sorted(zip(found.rows.tolist(), (found.names[code] for code in found.codes), found.portion, strict=True))
    third = pytest.approx(1 / 3)
    assert pairs == [(0, "a", 0.5), (0, "b", 0.5), (1, "(none)", 1), (2, "a", 1), *((3, t, third) for t in "abc")]


@pytest.mark.parametrize("passed", [0.0, 1.0])
def test_where_nothing_failed_few_sessions_say_so_with_the_width_of_few(passed: float) -> None:
    one_each = [judged(passed, day=d / 4, boolean=True, session=f"s{d}", weight=1.3) for d in range(1, 21)]
    week = weekly(one_each, now=NOW, weeks=1).line()[-1]
    wilson = proportion_confint(20 * passed, 20, method="wilson")
    assert (week.mean, week.low, week.high) == pytest.approx((passed, *wilson))
    alike = [judged(passed, day=d / 4 + i / 99, boolean=True, session=f"s{d}") for d in range(1, 6) for i in range(9)]
    few = weekly(alike, now=NOW, weeks=1).line()[-1]
    assert (few.low, few.high) == pytest.approx(proportion_confint(5 * passed, 5, method="wilson"))


def test_a_number_that_never_differs_has_no_width_and_a_pass_rate_stays_possible() -> None:
    same = [judged(4.0, day=d / 4, session=f"s{d}") for d in range(1, 21)]
    week = weekly(same, now=NOW, weeks=1).line()[-1]
    assert (week.low, week.high) == (4.0, 4.0)
    one = [judged(float(d > 1), day=d / 4, boolean=True, session=f"s{d}") for d in range(1, 21)]
    week = weekly(one, now=NOW, weeks=1).line()[-1]
    assert week.low is not None
    assert week.low < 0.95
    assert week.high == 1


@given(st.floats(0, 1), st.floats(1, 1e6))
def test_wilsons_interval_holds_its_rate_and_is_statsmodels(rate: float, trials: float) -> None:
    low, high = interval(Estimate(rate, 0.0, int(trials), 10**7, trials), binary=True)
    assert low is not None
    assert high is not None
    assert 0 <= low <= rate + 1e-12
    assert rate - 1e-12 <= high <= 1
    assert (low, high) == pytest.approx(proportion_confint(rate * trials, trials, method="wilson"), abs=1e-9)
