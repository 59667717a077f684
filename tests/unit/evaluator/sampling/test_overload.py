from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.sampling.jobs import Burden
from evaluator.sampling.overload import LEAST_SHARE, JudgePaces, Pace, next_share

LOOK = timedelta(seconds=30)
MAX = timedelta(minutes=15)
lags = st.timedeltas(timedelta(), timedelta(days=2))


@given(st.floats(LEAST_SHARE, 1), lags, lags, st.timedeltas(timedelta(), timedelta(hours=1)))
def test_a_share_is_a_share_and_moves_the_right_way(
    share: float, lag: timedelta, before: timedelta, passed: timedelta
) -> None:
    following = next_share(share, lag, before, MAX, passed)
    assert LEAST_SHARE <= following <= 1
    assert following <= share if lag > MAX / 2 else following >= share


def test_a_share_falls_to_what_fits_as_far_as_one_look_tells() -> None:
    minute = timedelta(minutes=1)
    assert next_share(1.0, MAX + minute, MAX, MAX, minute) == 0.5, "it grows by a minute a minute: twice too much comes"
    assert next_share(1.0, MAX + 9 * minute, MAX, MAX, minute) == 0.25
    assert next_share(1.0, MAX + minute / 60, MAX, MAX, minute) == 0.75
    assert next_share(1.0, MAX + minute, timedelta(), MAX) == 0.5, "nobody knows"


def test_the_lag_is_what_waits_by_what_ended_while_others_waited() -> None:
    pace = Pace()
    assert pace.lag(10, 100, 0.0) == timedelta()
    # 6 ended in half a minute, and 24 wait.
    assert pace.lag(24, 106, 30.0) == timedelta(minutes=2)
    assert pace.lag(24, 106, 60.0) == timedelta(minutes=4), "it is the mean since there was enough to do"
    assert pace.before == timedelta(minutes=2)
    assert pace.lag(0, 140, 90.0) == timedelta()
    # The quiet night before says nothing of how fast they could be.
    assert pace.lag(0, 140, 30_000.0) == timedelta()
    assert pace.lag(50, 140, 30_030.0) == timedelta()
    assert pace.lag(50, 140, 30_060.0) == LOOK, "nothing ends: it grows with the clock"
    assert pace.lag(50, 145, 30_090.0) == 10 * timedelta(minutes=1), "50 wait, 5 ended in a minute"


def test_how_fast_they_were_a_while_ago_does_not_count() -> None:
    pace = Pace()
    for look in range(11):
        pace.lag(20, 0, 30.0 * look)
    for look in range(1, 11):
        lag = pace.lag(20, 10 * look, 30.0 * (10 + look))
    assert lag == 2 * LOOK


def test_a_redis_that_was_emptied_is_a_beginning() -> None:
    pace = Pace()
    pace.lag(10, 1000, 0.0)
    pace.lag(10, 1010, 30.0)
    assert pace.lag(10, 2, 60.0) == LOOK
    assert pace.lag(10, 12, 90.0) == LOOK


def test_each_evaluator_follows_its_own_model_and_comes_back_slowly() -> None:
    paces = JudgePaces(["tone", "facts"])
    first, then = Burden(pairs={"tone": 40, "facts": 2}), Burden(pairs={"tone": 50, "facts": 2}, decided={"facts": 60})
    paces.lags(first, 0.0)
    lags = paces.lags(then, 2000.0)
    assert lags == {"tone": timedelta(seconds=2000), "facts": timedelta(seconds=2000 / 30)}
    shares = paces.shares({}, lags, MAX)
    assert shares == {"tone": 0.5}
    assert paces.shares(shares, paces.lags(Burden(), 2030.0), MAX) == {"tone": 0.625}


def test_a_scheduler_that_begins_under_overload_takes_no_more_and_little_less_until_it_knows_the_lag() -> None:
    paces, before = JudgePaces(["tone"]), {"tone": 0.2}
    lags = paces.lags(Burden(pairs={"tone": 300}, decided={"tone": 50}), 0.0)
    assert paces.shares(before, lags, MAX) == before, "what waits may have waited for an hour"
    lags = paces.lags(Burden(pairs={"tone": 300}, decided={"tone": 57}), 30.0)
    assert lags["tone"] > MAX
    assert paces.shares(before, lags, MAX) == {"tone": 0.1}, "nobody knows whether it grows"
    lags = paces.lags(Burden(pairs={"tone": 290}, decided={"tone": 67}), 60.0)
    assert paces.shares(before, lags, MAX) == before, "it shrinks"


@pytest.mark.parametrize("times", [2, 10, 50])
def test_an_hour_of_overload_stays_bounded_and_passes_without_help(times: int) -> None:
    """Ten times as many messages come as can be done: the backlog stops growing, and everything is sampled again."""
    pace, share, lag = Pace(), 1.0, timedelta()
    done_a_look = 30
    waiting, ended = 0.0, 0
    lags_seen: list[timedelta] = []
    shares: list[float] = []
    for look in range(360):
        following = pace.lag(int(waiting), ended, 30.0 * look)
        share, lag = pace.share_after(share, following, lag, MAX), following
        come = int(done_a_look * (times if look < 120 else 0.6) * share)
        done = min(waiting + come, done_a_look)
        waiting, ended = waiting + come - done, ended + int(done)
        lags_seen.append(lag)
        shares.append(share)
    assert max(lags_seen) < (2 if times <= 10 else 4) * MAX
    assert 0.3 / times < sum(shares[20:120]) / 100 < 3 / times
    assert shares[-1] == 1
    assert lags_seen[-1] < LOOK * 2
