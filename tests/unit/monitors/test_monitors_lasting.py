"""Four weeks that are low together where no single one shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitors import (
    AlertState,
    DropTest,
    Event,
    Judged,
    Span,
    drop_test,
    expect,
    lasting_alpha,
    lasting_test,
    step,
    weekly,
)
from monitors.drop import NotEnoughHistory
from monitors.series import WEEK
from tests.weeks import NOW

LASTING = DropTest(4.1, 4.0, 0.1, 0.05, 0.15, 0.0001, 0.0005, 0.04, 12, 1600, 4800, 800, 1500.0, span=4)
CALM = DropTest(4.1, 4.08, 0.02, -0.1, 0.14, 0.5, 0.004, 0.04, 12, 400, 4800, 200, 390.0)


def weeks_of(lows: dict[int, float], *, weeks: int = 16, n: int = 400, seed: int = 1) -> Iterable[Judged]:
    """Give scores around 4.1 with weeks that wobble a little, those in `lows` lower by as much."""
    rng = np.random.default_rng(seed)
    for week in range(weeks):
        level = 4.1 - lows.get(week, 0.0) + 0.02 * rng.standard_normal()
        for i, noise in enumerate(0.8 * rng.standard_normal(n)):
            at = NOW - week * WEEK - timedelta(days=7 * (i + 0.5) / n)
            yield Judged(level + noise, at, trace_id=f"{week}-{i}")


def run(scores: Iterable[Judged], weeks: int = 15, excluded: tuple[Span, ...] = ()) -> DropTest | None:
    series = weekly(scores, now=NOW, weeks=weeks, excluded=excluded)
    found = lasting_test(series, alpha=lasting_alpha(1), smallest_drop=0.01, scale=(1, 5), most_weeks=12)
    return found[0] if found else None


def test_a_small_fall_that_lasts_fires_where_no_week_does() -> None:
    lows = dict.fromkeys(range(4), 0.11)
    series = weekly(weeks_of(lows), now=NOW, weeks=15)
    expected = expect(series, most_weeks=12)
    assert not isinstance(expected, NotEnoughHistory)
    assert not drop_test(series, expected, alpha=0.004, smallest_drop=0.01, scale=(1, 5)).fired
    found = run(weeks_of(lows))
    assert found is not None
    assert found.fired
    assert found.low < 0.11 < found.high
    assert (found.span, found.weeks, found.n, found.n_baseline) == (4, 12, 1600, 4800)


@pytest.mark.parametrize("lows", [{}, {0: 0.8}, {2: 2.0}, dict.fromkeys(range(4), -0.3)], ids=str)
def test_neither_nothing_nor_one_bad_week_is_a_fall_that_lasts(lows: dict[int, float]) -> None:
    found = run(weeks_of(lows))
    assert found is not None
    assert not found.fired


def test_one_better_week_among_them_hides_nothing() -> None:
    found = run(weeks_of({0: 0.3, 1: 0.05, 2: 0.3, 3: 0.3}))
    assert found is not None
    assert found.fired


def test_with_a_week_left_out_or_too_few_before_they_are_not_tested() -> None:
    lows = dict.fromkeys(range(4), 0.5)
    hole = Span(NOW - 2 * WEEK - timedelta(days=1), NOW - 2 * WEEK)
    assert run(weeks_of(lows), excluded=(hole,)) is None
    assert run(weeks_of(lows, weeks=11)) is None
    assert run(weeks_of(lows, weeks=12)) is not None


def test_joined_they_are_explained_as_one_week() -> None:
    series = weekly(weeks_of(dict.fromkeys(range(4), 0.5)), now=NOW, weeks=15)
    found = lasting_test(series, alpha=0.0005, smallest_drop=0.01, scale=(1, 5), most_weeks=12)
    assert found is not None
    test, expected = found
    joined = series.joined(4)
    assert joined.estimate(0).n == test.n
    assert joined.estimate(0, expected.residual).mean == pytest.approx(-test.drop, abs=1e-9)
    assert expected.baseline == list(range(1, 13))
    assert set(joined.recent) == {row for row in range(series.values.size) if series.week[row] == 0}


def after(state: AlertState, lasting: DropTest | None, days: int = 0) -> tuple[AlertState, Event | None]:
    at = NOW + timedelta(days=days)
    return step(state, CALM, lasting=lasting, version="v1", at=at, project="p", monitor="s")


def test_it_opens_once_with_a_baseline_before_it_and_stays_open_while_it_lasts() -> None:
    state, event = after(AlertState(version="v1"), LASTING)
    assert event is Event.FELL
    assert state.baseline_end == NOW - 4 * WEEK
    assert AlertState.from_json(state.to_json()) == state
    again, event = after(state, LASTING, days=3)
    assert (again, event) == (state, None)
    over, event = after(state, replace(LASTING, p=0.3), days=9)
    assert event is Event.RESOLVED
    assert over.fallen == (Span(NOW - 4 * WEEK, NOW + timedelta(days=2)),)


def test_a_single_week_that_falls_is_told_as_such_and_is_over_when_it_is_calm() -> None:
    deep = replace(CALM, p=0.0001, drop=0.5)
    state, event = step(AlertState(version="v1"), deep, lasting=LASTING, version="v1", at=NOW, project="p", monitor="s")
    assert (event, state.span, state.told) == (Event.FELL, 1, 0.5)
    assert after(state, LASTING, days=8)[1] is Event.RESOLVED
