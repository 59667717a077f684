from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.batch import Backlog
from evaluator.overload import LEAST_SHARE, Pace, next_share

START = datetime(2026, 11, 20, tzinfo=UTC)
LOOK = timedelta(seconds=30)
MAX = timedelta(minutes=15)
lags = st.timedeltas(timedelta(), timedelta(days=2))


@given(st.floats(LEAST_SHARE, 1), lags, lags)
def test_a_share_is_a_share_and_moves_the_right_way(share: float, lag: timedelta, before: timedelta) -> None:
    following = next_share(share, lag, before, MAX)
    assert LEAST_SHARE <= following <= 1
    assert following <= share if lag > MAX / 2 else following >= share


def test_the_lag_is_what_waits_by_what_was_worked_off() -> None:
    pace = Pace()
    assert pace.lag(Backlog(10), START) == timedelta()
    for _ in range(20):
        pace.put()
    # 10 waited, 20 came, 24 wait: 6 were done in half a minute.
    assert pace.lag(Backlog(24), START + LOOK) == 4 * LOOK
    assert pace.lag(Backlog(24), START + 2 * LOOK) == 5 * LOOK, "nothing is done: it grows with the clock"
    assert pace.lag(Backlog(0), START + 3 * LOOK) == timedelta()


@pytest.mark.parametrize("times", [2, 10, 50])
def test_an_hour_of_overload_stays_bounded_and_passes_without_help(times: int) -> None:
    """Ten times as many messages come as can be done: the backlog stops growing, and everything is sampled again."""
    pace, share, lag = Pace(), 1.0, timedelta()
    done_a_look = 30
    waiting = 0.0
    lags_seen: list[timedelta] = []
    shares: list[float] = []
    for look in range(360):
        now = START + look * LOOK
        following = pace.lag(Backlog(int(waiting)), now)
        share, lag = next_share(share, following, lag, MAX), following
        come = int(done_a_look * (times if look < 120 else 0.6) * share)
        for _ in range(come):
            pace.put()
        waiting = max(0.0, waiting + come - done_a_look)
        lags_seen.append(lag)
        shares.append(share)
    assert max(lags_seen) < 4 * MAX
    assert 0.3 / times < sum(shares[20:120]) / 100 < 3 / times
    assert shares[-1] == 1
    assert lags_seen[-1] < LOOK * 2
