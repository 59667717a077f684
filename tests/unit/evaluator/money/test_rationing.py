"""What is still to come of a day, and at which rates it may be taken."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.money.rationing import LEAST_SHARE, Demand, Flow, Seen, kept_shares, quota_rate, still_to_come

USUAL = [10.0] * 12 + [30.0] * 12
amounts = st.floats(0, 1e6)


def test_a_day_like_the_others_goes_on_like_them() -> None:
    today = [*USUAL[:12], *[0.0] * 12]
    assert still_to_come(Seen(today, [USUAL, USUAL]), 12) == pytest.approx(360)
    assert still_to_come(Seen(today, [USUAL]), 23.5) < 15  # a day that has seen nothing since noon


def test_a_day_twice_as_busy_goes_on_twice_as_busy() -> None:
    today = [2 * number for number in USUAL[:12]] + [0.0] * 12
    assert 650 < still_to_come(Seen(today, [USUAL]), 12) < 720


def test_no_day_is_taken_to_be_more_than_four_times_another() -> None:
    assert still_to_come(Seen([1000.0] * 24, [USUAL]), 12) == pytest.approx(4 * 360)
    assert still_to_come(Seen([0.0] * 24, [USUAL]), 12) >= 360 / 4


def test_a_service_that_began_at_noon_has_missed_nothing_before_it() -> None:
    today = [0.0] * 12 + [30.0] + [0.0] * 11
    assert still_to_come(Seen(today, [USUAL], since=12), 13) == pytest.approx(330)


def test_a_first_day_goes_on_as_it_began() -> None:
    assert still_to_come(Seen([0.0] * 9 + [50.0] + [0.0] * 14, since=9), 10) == pytest.approx(50 * 14)
    assert still_to_come(Seen([0.0] * 24), 10) == 0


def test_a_burst_is_believed_to_last_for_an_hour_and_then_is_forgotten() -> None:
    flow = Flow()
    for _ in range(60):
        flow.came(10, 1 / 60)
    assert flow.an_hour == pytest.approx(600, rel=0.15)
    assert flow.beyond(100 * 10, 10) == pytest.approx(500, rel=0.2)
    assert flow.beyond(100 * 0.5, 0.5) == pytest.approx(250, rel=0.2)
    flow.came(0, 1)
    assert flow.beyond(100 * 9, 9) == 0


@given(amounts, amounts, amounts, st.floats(0, 1))
def test_a_rate_is_a_probability_and_never_more_than_may_be_taken(
    quota: float, taken: float, expected: float, most: float
) -> None:
    rate = quota_rate(quota, taken, expected, most)
    assert 0 <= rate <= most
    assert rate * expected <= max(quota * 1.01 - taken, 0) * 1.000001 or math.isclose(rate * expected, 0, abs_tol=1e-6)


def test_when_a_quota_is_used_up_a_little_is_still_taken() -> None:
    assert 0 < quota_rate(1000, 1000, 5000, 1) <= 0.001
    assert quota_rate(1000, 1010, 5000, 1) == 0


def demand(name: str, rate: float, usd: float, *payers: str) -> Demand:
    return Demand((name, 0), rate, usd, payers or ("*",))


def test_the_lowest_rate_gives_way_first_and_rate_1_last() -> None:
    demands = [demand("all", 1, 4), demand("half", 0.5, 4), demand("few", 0.05, 4)]
    assert kept_shares(demands, {"*": 12}) == {("all", 0): 1, ("half", 0): 1, ("few", 0): 1}
    assert kept_shares(demands, {"*": 9}) == {("all", 0): 1, ("half", 0): 1, ("few", 0): 0.25}
    assert kept_shares(demands, {"*": 6}) == {("all", 0): 1, ("half", 0): 0.5, ("few", 0): LEAST_SHARE}
    assert kept_shares(demands, {"*": 1})["all", 0] == 0.25
    assert set(kept_shares(demands, {"*": -1}).values()) == {LEAST_SHARE}


def test_a_budget_of_ones_own_thins_nobody_else() -> None:
    demands = [demand("a", 0.5, 4, "*", "a"), demand("b", 0.5, 4)]
    assert kept_shares(demands, {"*": 100, "a": 1}) == {("a", 0): 0.25, ("b", 0): 1}


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=6),
    st.floats(-10, 300),
)
def test_what_is_kept_fits_the_money_and_follows_the_rates(lines: list[tuple[float, float]], left: float) -> None:
    demands = [demand(str(place), rate, usd) for place, (rate, usd) in enumerate(lines)]
    shares = kept_shares(demands, {"*": left})
    kept = sum(each.usd * shares[each.tier] for each in demands)
    wanted = sum(each.usd for each in demands)
    assert kept <= max(left, 0) + LEAST_SHARE * wanted + 1e-6
    assert kept >= min(left, wanted) - 1e-6
    by_rate = sorted(demands, key=lambda each: each.rate)
    for low, high in itertools.pairwise(by_rate):
        assert low.usd == 0 or high.usd == 0 or shares[low.tier] <= shares[high.tier] + 1e-9
