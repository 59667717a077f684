from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from monitors import DropTest, Judged, NotEnoughHistory, Span, WeeklySeries, alpha, drop_test, expect, weekly
from monitors.series import WEEK
from tests.weeks import NOW, judged, series_of, shift_for, steady, world

WEEKLY = 0.0125
FIVE = (1.0, 5.0)


def run(
    series: WeeklySeries, *, p: float = WEEKLY, smallest: float = 0.01, scale: tuple[float, float] | None = FIVE
) -> DropTest:
    expected = expect(series)
    assert not isinstance(expected, NotEnoughHistory)
    return drop_test(series, expected, alpha=p, smallest_drop=smallest, scale=scale)


def coins(rng: np.random.Generator, rate: float, n: int, *, now: float | None = None, weeks: int = 12) -> WeeklySeries:
    """Return weeks of independent pass/fail scores whose rate wobbles a little."""
    rates = np.clip(rate + 0.03 * rng.standard_normal(weeks + 1) * rate * (1 - rate), 0, 1)
    rates[0] = rates[0] if now is None else now
    week = np.repeat(np.arange(weeks + 1), n)
    values = (rng.random(week.size) < rates[week]).astype(float)
    return series_of(values, week, np.arange(week.size), np.zeros(week.size, dtype=np.int64), weeks=weeks, binary=True)


def test_the_formula_of_the_moderated_t() -> None:
    series = weekly(steady(weeks=12, n=50, low=0.3), now=NOW, weeks=12)
    means = np.array([series.estimate(week).mean for week in range(1, 13)])
    spread, sampling = means.var(ddof=1), np.mean([series.estimate(week).variance for week in range(1, 13)])
    prior = sampling + 0.03**2
    assert spread < prior  # so it is moderated
    error = np.sqrt((2 * prior + 11 * spread) / 13 * (1 + 1 / 12))
    drop = means.mean() - series.estimate(0).mean
    found = run(series)
    assert found.baseline == pytest.approx(means.mean())
    assert found.drop == pytest.approx(drop)
    assert found.p == pytest.approx(stats.t.sf(drop / error, 13))
    half = stats.t.ppf(0.975, 13) * error
    assert found.low == pytest.approx(drop - half)
    assert found.high == pytest.approx(drop + half)
    assert (found.weeks, found.n, found.n_baseline) == (12, 50, 600)
    assert found.effective == pytest.approx(50)
    assert found.mean == pytest.approx(found.now)
    assert found.mix == pytest.approx(0)


def test_weeks_that_wobble_more_than_usual_are_believed() -> None:
    rng = np.random.default_rng(2)
    level = {week: 0.4 * (-1) ** week for week in range(1, 13)}
    scores = [
        judged(3 + level.get(week, 0.0) + 0.1 * rng.standard_normal(), week=week, day=i / 9, session=f"{week}-{i}")
        for week in range(13)
        for i in range(1, 50)
    ]
    series = weekly(scores, now=NOW, weeks=12)
    means = np.array([series.estimate(week).mean for week in range(1, 13)])
    found = run(series)
    error = means.std(ddof=1) * np.sqrt(1 + 1 / 12)
    assert found.p == pytest.approx(stats.t.sf(found.drop / error, 11))


def test_a_clear_fall_fires_and_a_rise_does_not() -> None:
    assert run(weekly(steady(low=0.6), now=NOW, weeks=12)).fired
    risen = run(weekly(steady(low=-0.6), now=NOW, weeks=12))
    assert not risen.fired
    assert risen.drop < 0


def test_a_drop_too_small_to_matter_does_not_fire() -> None:
    series = weekly(steady(low=0.3, n=400), now=NOW, weeks=12)
    assert run(series, smallest=0.02).fired
    held = run(series, smallest=0.25)
    assert not held.fired
    assert held.p < WEEKLY


def test_a_thin_week_is_not_mistaken_for_a_fall() -> None:
    rng = np.random.default_rng(4)
    fired = 0
    for _ in range(150):
        values = np.clip(np.round(4.2 + 0.9 * rng.standard_normal(12 * 300 + 6)), 1, 5)
        week = np.concatenate([np.repeat(np.arange(1, 13), 300), np.zeros(6)]).astype(np.int64)
        series = series_of(values, week, np.arange(week.size), np.zeros(week.size, dtype=np.int64), weeks=12)
        fired += run(series, smallest=0.0001).fired
    assert fired <= 8  # without the allowance for its size about every fourth fires


def test_the_mix_of_traffic_alone_is_no_fall() -> None:
    rng = np.random.default_rng(6)
    found = [run(world(rng, 1000, campaign=True)) for _ in range(40)]
    assert np.mean([test.mix for test in found]) < -0.1
    assert sum(test.fired for test in found) <= 4


@pytest.mark.parametrize(
    ("scores", "weeks", "reason"),
    [
        (list(steady(weeks=3)), 3, "3 earlier weeks"),
        ([s for s in steady(weeks=8) if s.at < NOW - WEEK], 0, "0 scores this week"),
        ([], 0, "0 scores this week"),
        ([judged(4.0, day=d) for d in (1, 2, 3)], 0, "3 scores this week"),
    ],
)
def test_too_little_to_compare_is_said_and_never_paged(scores: list[object], weeks: int, reason: str) -> None:
    found = expect(weekly(scores, now=NOW, weeks=12))  # type: ignore[arg-type]  # parametrised
    assert isinstance(found, NotEnoughHistory)
    assert found.reason.startswith(reason)
    assert found.weeks in {weeks, 8}
    assert (found.mean is None) == (found.n == 0)


def test_an_excluded_week_is_not_tested() -> None:
    span = Span(NOW - WEEK / 2, NOW - WEEK / 3)
    found = expect(weekly(steady(low=2.0), now=NOW, weeks=12, excluded=[span]))
    assert isinstance(found, NotEnoughHistory)
    assert found.reason == "this week is excluded"


def test_four_weeks_are_enough_and_only_the_newest_are_used() -> None:
    assert run(weekly(steady(weeks=4, low=1.0), now=NOW, weeks=12)).fired
    expected = expect(weekly(steady(weeks=12), now=NOW, weeks=12), most_weeks=8)
    assert not isinstance(expected, NotEnoughHistory)
    assert expected.baseline == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_budget_of_false_alerts_sets_the_level() -> None:
    assert alpha(1) == 0.004
    assert alpha(1, looks_per_week=1) == pytest.approx(0.6 / 52)
    assert alpha(2) == 2 * alpha(1)
    assert alpha(10_000) < 0.5


def test_equal_scores_neither_divide_by_zero_nor_fire() -> None:
    same = [judged(5.0, week=w, day=d / 2, session=f"{w}-{d}") for w in range(6) for d in range(1, 9)]
    found = run(weekly(same, now=NOW, weeks=5), scale=None)
    assert (found.drop, found.p, found.fired) == (0, 1, False)


def test_a_score_that_never_moved_and_now_does_is_noticed() -> None:
    scores = [judged(5.0 - 2 * (w == 0), week=w, day=d / 4, session=f"{w}-{d}") for w in range(9) for d in range(1, 25)]
    assert run(weekly(scores, now=NOW, weeks=8), scale=None).fired


def test_one_absurd_value_does_not_blind_the_test() -> None:
    scores = [*steady(low=0.8, n=200), judged(1e6, week=3, session="odd")]
    found = run(weekly(scores, now=NOW, weeks=12, excluded=[Span(NOW - 4 * WEEK, NOW - 3 * WEEK)]), scale=None)
    assert found.fired


def test_weights_undo_priority_sampling() -> None:
    # Bad traces are all taken, good ones one in ten; twice as many of the bad ones this week is a fall, not ten times.
    rng = np.random.default_rng(8)
    scores: list[Judged] = []
    for week in range(13):
        for score, weight, count in ((5.0, 10.0, 60), (1.0, 1.0, 36 + int(rng.integers(-4, 5)))):
            days = (7 * (i + 0.5) / 60 for i in range(count))
            scores.extend(judged(score, week=week, day=d, weight=weight, session=f"{score}{week}{d}") for d in days)
    found = run(weekly(scores, now=NOW, weeks=12))
    assert found.baseline == pytest.approx(5 - 4 * 36 / 636, abs=0.03)
    assert not found.fired
    assert found.effective < found.n


@given(st.integers(0, 10_000), st.floats(-1.0, 1.0))
@example(1915, 0.0)
def test_the_interval_holds_the_drop_and_p_agrees_with_its_sign(seed: int, low: float) -> None:
    found = run(weekly(steady(weeks=6, n=20, seed=seed, low=low), now=NOW, weeks=6))
    assert found.low <= found.drop <= found.high
    if abs(found.drop) > 1e-12:  # a fall of rounding alone has no sign
        assert (found.p < 0.5) == (found.drop > 0)
    assert found.now + found.mix == pytest.approx(found.mean)


def test_a_relative_size_needs_a_baseline_above_zero() -> None:
    found = run(weekly(steady(low=0.5), now=NOW, weeks=12))
    assert found.relative(found.baseline) == pytest.approx(1)
    below = [judged(-1.0 - (d % 3), week=w, day=d / 2, session=f"{w}-{d}") for w in range(6) for d in range(1, 9)]
    assert run(weekly(below, now=NOW, weeks=5)).relative(1.0) is None


# -- against the recorded simulation (../shared/simulation) ------------------------------------------------------------


def _recorded(shared: Path, n: int) -> dict[str, float]:
    rows = json.loads((shared / "simulation" / "week_table.json").read_text())
    return next(row for row in rows if row["n"] == n and row["detector"] == "recommended K=12")


@pytest.mark.parametrize("n", [100, 300])
def test_power_is_that_of_the_recorded_simulation(shared: Path, n: int) -> None:
    worlds, rng = 150, np.random.default_rng(n)
    power = np.mean([run(world(rng, n, shift=shift_for(0.05))).fired for _ in range(worlds)])
    wanted = _recorded(shared, n)["p5"]
    assert abs(power - wanted) < 3.5 * np.sqrt(wanted * (1 - wanted) / worlds)


@pytest.mark.parametrize("n", [30, 300])
def test_quiet_weeks_fire_no_more_often_than_recorded(shared: Path, n: int) -> None:
    worlds, rng = 250, np.random.default_rng(n + 7)
    fired = sum(run(world(rng, n)).fired for _ in range(worlds))
    wanted = _recorded(shared, n)["fa_week"] * worlds
    assert fired <= wanted + 3.5 * np.sqrt(wanted)


@pytest.mark.parametrize(("rate", "n"), [(0.97, 30), (0.7, 1000)])
def test_pass_rates_need_both_tests_to_agree(rate: float, n: int) -> None:
    worlds, rng = 150, np.random.default_rng(int(100 * rate))
    fired = sum(run(coins(rng, rate, n), scale=None).fired for _ in range(worlds))
    assert fired <= 6  # at most 1.1 % is recorded; the t alone fires 3.4 % at the first, the tail alone 5.7 % at 5000


def test_a_pass_rate_that_falls_is_seen() -> None:
    rng = np.random.default_rng(12)
    power = np.mean([run(coins(rng, 0.97, 300, now=0.92), scale=None).fired for _ in range(40)])
    assert power > 0.7
    found = run(coins(rng, 0.97, 1000, now=0.80), scale=None)
    assert found.fired
    assert found.now == pytest.approx(found.mean)


def test_the_first_weeks_are_compared_for_information_only() -> None:
    rng = np.random.default_rng(5)
    values = [(w, d, float(rng.normal(4.0 if w else 3.5, 0.5))) for w in range(3) for d in range(1, 40)]
    found = expect(weekly([judged(v, week=w, day=d / 6, session=f"{w}{d}") for w, d, v in values], now=NOW, weeks=4))
    assert isinstance(found, NotEnoughHistory)
    assert found.early is not None
    now, before = ([v for w, _, v in values if (w == 0) is this] for this in (True, False))
    oracle = stats.ttest_ind(before, now, equal_var=False)
    low, high = oracle.confidence_interval(0.95)
    assert found.early == pytest.approx((np.mean(before) - np.mean(now), low, high), rel=1e-6)
    nothing = expect(weekly([judged(4.0, day=d / 6) for d in range(1, 9)], now=NOW, weeks=4))
    assert isinstance(nothing, NotEnoughHistory)
    assert nothing.early is None
