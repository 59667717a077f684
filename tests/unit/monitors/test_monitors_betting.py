"""The e-detector: by hand, by what its theorem promises, and by whether it sees a fall."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from monitors import LASTING, YEAR, Judged, evidence, weekly
from monitors.betting import _added
from monitors.series import WEEK
from tests.weeks import NOW, judged, series_of, steady

BETS = (0.05, 0.1, 0.2, 0.4, 0.8)


def _days(below: list[list[float]]) -> tuple[float, float]:
    """Return the evidence of days, oldest first, each a list of sessions of one score; and the same by hand."""
    flat = np.array([each for day in below for each in day])
    age = np.repeat(np.arange(len(below))[::-1], [len(day) for day in below]).astype(np.int32)
    zeros = np.zeros(flat.size, dtype=int)
    series = replace(series_of(flat, zeros, np.arange(flat.size), zeros, weeks=1), age=age)
    every = np.ones(flat.size, dtype=bool)
    by_hand = []
    for bet in BETS:
        stake = 0.0
        for day in below:
            stake = (stake + 1) * float(np.prod([1 + bet * each for each in day]))
        by_hand.append(stake)
    return _added(series, flat, every, every), float(np.mean(by_hand))


def test_stakes_of_every_day_add_up() -> None:
    found, by_hand = _days([[0.1, -0.2], [0.3], [-0.1, 0.25, 0.5]])
    assert found == pytest.approx(by_hand)


def test_a_session_is_one_bet_and_a_large_one_no_larger_than_a_full_one() -> None:
    values, age = np.array([0.5, 0.5, 0.2]), np.zeros(3, dtype=np.int32)
    zeros, every = np.zeros(3, dtype=int), np.ones(3, dtype=bool)
    series = replace(series_of(values, zeros, np.array([0, 0, 1]), zeros, weeks=1), age=age)
    # Two sessions of two scores and of one: a full stake is 1.9 scores, the 90 % point of both.
    by_hand = np.mean([(1 + bet * 1.0 / 2) * (1 + bet * 0.2 / 1.9) for bet in BETS])
    assert _added(series, values, every, every) == pytest.approx(by_hand)


def test_chance_passes_the_promised_level_no_oftener_than_promised() -> None:
    rng, worlds, days = np.random.default_rng(8), 400, 28
    # Skewed scores whose mean is their bound: 0.9 with nine of ten a full point, as judges give them.
    passed = 0
    for _ in range(worlds):
        scores = (rng.random((days, 8)) < 0.9).astype(float)
        found, _ = _days((0.9 - scores).tolist())
        passed += found > YEAR
    assert passed <= worlds * days / YEAR


def _since(at: datetime, low: float, *, weeks: int = 13) -> list[Judged]:
    return [
        replace(score, value=max(1.0, score.value - low)) if score.at >= at else score
        for score in steady(weeks=weeks, n=140, seed=4)
    ]


def test_a_fall_is_seen_and_quiet_weeks_are_not() -> None:
    quiet, fallen = (weekly(_since(NOW - WEEK, low), now=NOW, weeks=13) for low in (0.0, 1.0))
    assert evidence(quiet, scale=(1, 5), most_weeks=12) < YEAR / 4
    assert evidence(fallen, scale=(1, 5), most_weeks=12) > 100 * YEAR


def test_what_adds_up_over_weeks_counts() -> None:
    lasting = weekly(_since(NOW - 3 * WEEK, 0.35), now=NOW, weeks=13)
    assert evidence(lasting, scale=(1, 5), most_weeks=12) > YEAR
    # With too little history before four weeks only the last one is looked at.
    short = weekly(_since(NOW - 3 * WEEK, 0.35, weeks=LASTING + 4), now=NOW, weeks=LASTING + 4)
    assert evidence(short, scale=(1, 5), most_weeks=12) < YEAR


def test_without_history_or_spread_there_is_no_evidence() -> None:
    assert evidence(weekly(steady(weeks=1), now=NOW, weeks=4), scale=None, most_weeks=12) == 0
    same = [judged(4.0, week=week, day=day, session=f"{week}-{day}") for week in range(7) for day in range(1, 7)]
    assert evidence(weekly(same, now=NOW, weeks=6), scale=None, most_weeks=12) == 0
