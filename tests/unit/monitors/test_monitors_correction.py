"""Corrected means: against ppi-python, by hand, and by how often the interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import t as student

from monitors.correction import Chances, Corrected, Scored, by_few, by_labels, by_rates

# Forty people's labels and a judge's scores of the same, and what ppi-python 0.2.3 (ppi_mean_ci, alpha .05, normal)
# makes of them with 400 more scores: 3.2452, from 3.0242 to 3.4665.
SAID = [
    4,
    5,
    5,
    3,
    5,
    5,
    5,
    1,
    3,
    4,
    2,
    2,
    4,
    5,
    3,
    1,
    4,
    5,
    2,
    3,
    2,
    5,
    1,
    3,
    5,
    3,
    1,
    4,
    5,
    5,
    5,
    2,
    4,
    5,
    3,
    5,
    3,
    1,
    3,
    4,
]
PPI_PYTHON = (3.24534546, 3.02417998, 3.46651093)


def even(values: np.ndarray, first: int = 0) -> Scored:
    """Return scores that count once each, every one of a session of its own."""
    return Scored(values.astype(float), np.ones(values.size), np.arange(first, first + values.size))


def first(scored: Scored, number: int) -> Scored:
    return Scored(scored.values[:number], scored.weights[:number], scored.sessions[:number])


def drawn() -> tuple[np.ndarray, Scored, Scored]:
    rng = np.random.default_rng(4)
    said = rng.integers(1, 6, 40).astype(float)
    ours = np.clip(said + rng.normal(0, 0.8, 40), 1, 5).round(3)
    rest = np.clip(rng.integers(1, 6, 400) + rng.normal(0, 0.8, 400), 1, 5).round(3)
    assert said.tolist() == SAID
    return said, even(ours), even(rest, 40)


def test_it_is_what_ppi_python_says_but_for_the_t_of_few_labels() -> None:
    found = by_labels(*drawn())
    assert found is not None
    assert found.mean == pytest.approx(PPI_PYTHON[0], abs=0.001)
    assert (found.low, found.high) == pytest.approx(PPI_PYTHON[1:], abs=0.012)
    assert found.high - found.low > PPI_PYTHON[2] - PPI_PYTHON[1]
    assert found.labels == 40


@given(st.integers(0, 10_000), st.integers(12, 80), st.integers(50, 400))
@settings(max_examples=50)
def test_it_is_the_formula_of_ppi_written_down_again(seed: int, n: int, rest: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(3, 1, n + rest)
    judge = 0.7 * truth + rng.normal(1, 0.6, n + rest)
    y, f, others = truth[:n], judge[:n], judge[n:]
    lam = float(np.clip(np.cov(y, f, ddof=0)[0, 1] / ((1 + n / rest) * np.var(judge)), 0, 1))
    error = np.sqrt(lam**2 * np.var(others) / rest + np.var(y - lam * f) / n)
    found = by_labels(y, even(f), even(others, n))
    assert found is not None
    assert found.mean == pytest.approx(lam * others.mean() + (y - lam * f).mean(), abs=1e-9)
    half = student.ppf(0.975, n - 1) * error
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)  # sessions less one, not subjects


def test_a_judge_who_tells_nothing_leaves_the_labels_alone() -> None:
    said, ours, rest = drawn()
    found = by_labels(said, ours._replace(values=np.full(40, 3.0)), rest._replace(values=np.full(400, 3.0)))
    assert found is not None
    assert found.mean == pytest.approx(said.mean())


def test_weights_and_sessions_count() -> None:
    said, ours, rest = drawn()
    plain = by_labels(said, ours, rest)
    heavy = by_labels(said, ours._replace(weights=np.full(40, 5.0)), rest._replace(weights=np.full(400, 5.0)))
    assert plain is not None
    assert heavy is not None
    assert plain[1:] == pytest.approx(heavy[1:])
    together = by_labels(said, ours._replace(sessions=np.arange(40) // 10), rest)
    assert together is not None
    assert together.high - together.low != pytest.approx(plain.high - plain.low)


@pytest.mark.parametrize("labels", [0, 9])
def test_few_labels_tell_nothing(labels: int) -> None:
    said, ours, rest = drawn()
    few = first(ours, labels)
    assert by_labels(said[:labels], few, rest) is None
    assert by_labels(said, ours, first(rest, 0)) is None
    assert by_labels(said, ours._replace(sessions=np.zeros(40, dtype=int)), rest) is None


def test_hardly_any_failure_gives_the_exact_interval() -> None:
    said = np.array([0.0, 0.0] + [1.0] * 48)
    found = by_few(said, even(np.ones(50)), even(np.ones(10), 50))
    exact = binomtest(48, 50).proportion_ci(0.95)
    assert found is not None
    assert (found.raw, found.mean) == (1, 0.96)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    sure = by_few(np.ones(20), even(np.ones(20)), even(np.ones(10), 20))
    assert sure is not None
    assert (sure.high, sure.low) == pytest.approx((1, 0.025 ** (1 / 20)))
    assert by_few(np.array([]), even(np.array([])), even(np.ones(3))) is None


def test_a_pass_rate_is_corrected_by_the_rates_of_errors() -> None:
    week = even(np.array([1.0] * 600 + [0.0] * 400))
    # Passes .9 of the good and .3 of the bad: .6 = .9 x + .3 (1 - x), so half are good.
    found = by_rates(week, (0.7, 10**7), (0.9, 10**7))
    assert found is not None
    assert found.raw == 0.6
    assert found.mean == pytest.approx(0.5, abs=0.001)
    fewer = by_rates(week, (0.7, 30), (0.9, 30))
    assert fewer is not None
    assert fewer.high - fewer.low > 2 * (found.high - found.low)
    assert by_rates(week, (0.5, 100), (0.5, 100)) is None  # a coin
    assert by_rates(week, (0.5, 0), (0.9, 100)) is None
    perfect = by_rates(even(np.ones(50)), (0.9, 40), (0.9, 40))
    assert perfect is not None
    assert (perfect.mean, perfect.high) == (1, 1)


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(8)
    held = {"labels": 0, "rates": 0}
    for _ in range(300):
        truth = rng.random(600) < 0.7
        ours = np.where(truth, rng.random(600) < 0.9, rng.random(600) < 0.3).astype(float)
        other = rng.random(120) < 0.6
        passes = np.where(other, rng.random(120) < 0.9, rng.random(120) < 0.3)
        rates = ((~passes[~other]).mean(), int((~other).sum())), (passes[other].mean(), int(other.sum()))
        by = {
            "labels": by_labels(truth[:100].astype(float), even(ours[:100]), even(ours[100:], 100)),
            "rates": by_rates(even(ours), *rates),
        }
        for name, found in by.items():
            assert isinstance(found, Corrected)
            held[name] += found.low <= 0.7 <= found.high
    assert all(270 < number <= 300 for number in held.values()), held


def test_unequal_chances_to_be_drawn_leave_the_mean_where_it_is_and_the_interval_holds_it() -> None:
    rng = np.random.default_rng(8)
    held, off = 0, []
    for _ in range(300):
        truth = rng.normal(3, 0.8, 600)
        early = np.arange(600) < 300
        judge = truth + np.where(early, 0.1, 0.9) + rng.normal(0, 0.5, 600)  # too kind in the second half
        chance = np.where(early, 0.4, 0.1)
        taken = rng.random(600) < chance
        both = even(judge[taken]), even(judge[~taken], 600)
        found = by_labels(truth[taken], *both, Chances(chance[taken], chance[~taken]))
        assert found is not None
        assert found.raw == pytest.approx(judge.mean())
        held += found.low < 3 < found.high
        off.append(found.mean - 3)
    assert abs(np.mean(off)) < 3 * np.std(off) / 300**0.5
    assert binomtest(held, 300, 0.95).pvalue > 0.001
