"""Past weeks through the monitors: what was told, what is chance, what can be seen."""

from __future__ import annotations

from datetime import timedelta

import pytest

from evaluator.preview.backtest import Replayed, backtest
from monitors import Event, MonitorSpec
from tests.watching import START, House

SPEC = MonitorSpec(score="faithfulness", scale=(1, 5), segments=("prompt_version",))


def history(*, fallen: tuple[int, int] | None = None, low: float = 1.2, days: int = 30 * 7) -> House:
    house = House(SPEC)
    first, last = fallen or (0, 0)
    house.fill(last, days)
    if fallen:
        house.fill(first, last, low=low)
        house.fill(0, first)
    return house


def replay(house: House, weeks: int = 12, **more: float) -> Replayed:
    return backtest(house.langfuse, SPEC, START, weeks=weeks, **more)  # type: ignore[arg-type]  # wanted


def test_a_fall_of_the_past_is_found_when_it_was_and_blames_who_did_it() -> None:
    found = replay(history(fallen=(42, 56)))
    fell, *_, recovered = found.told
    events = [told.event for told in found.told if told.event is not Event.GREW]
    assert events == [Event.FELL, Event.RESOLVED]
    assert START - timedelta(days=56) < fell.at <= START - timedelta(days=49)
    assert fell.who == "prompt version answer:4"
    assert START - timedelta(days=42) < recovered.at < START - timedelta(days=30)
    assert found.quiet < 13


def test_quiet_weeks_tell_nothing_and_say_what_chance_would() -> None:
    found = replay(history())
    assert found.told == ()
    assert found.quiet == 13
    assert found.chance is not None
    assert found.chance.low <= found.chance.value <= found.chance.high < 6


def test_too_few_quiet_weeks_say_nothing_of_chance() -> None:
    assert replay(history(), weeks=4).chance is None


def test_what_can_be_seen_and_the_rate_that_shows_more() -> None:
    sight = replay(history(), wanted=0.02).sight
    assert sight is not None
    assert sight.rate == pytest.approx(0.5)
    assert sight.share is not None
    assert 0.02 < sight.share < 0.1
    assert sight.needed is None or sight.needed > sight.rate
    easier = replay(history(), wanted=sight.share * 1.2).sight
    assert easier is not None
    assert easier.needed is not None
    assert easier.needed < sight.rate


def test_the_rate_for_what_is_seen_now_is_the_rate_now() -> None:
    now = replay(history()).sight
    assert now is not None
    assert now.share is not None
    same = replay(history(), wanted=now.share).sight
    assert same is not None
    assert same.needed == pytest.approx(now.rate, rel=0.05)


def test_a_score_without_history_says_why_nothing_can_be_seen() -> None:
    found = replay(history(days=14))
    assert found.sight is None
    assert "earlier weeks to compare with" in found.reason
