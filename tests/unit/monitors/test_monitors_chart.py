from __future__ import annotations

from datetime import timedelta

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors import WeekMean, chart, sparkline, weekly
from tests.weeks import NOW, steady

MEANS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=60)


def line(weeks: int = 12) -> tuple[WeekMean, ...]:
    return weekly(steady(weeks=weeks - 3, low=0.5), now=NOW, weeks=weeks).line()


@given(MEANS)
def test_a_sparkline_has_one_character_a_week(means: list[float | None]) -> None:
    text = sparkline(means)
    assert len(text) == len(means)
    assert [mark == "·" for mark in text] == [mean is None for mean in means]


def test_a_sparkline_goes_from_lowest_to_highest() -> None:
    assert sparkline([1.0, None, 2.0, 3.0]) == "▁·▅█"
    assert sparkline([2.0, 2.0]) == "▄▄"
    assert sparkline([]) == ""


@pytest.mark.parametrize("title", ["faithfulness", "costs $5 and $6", "質 \U0001f600", "", "a\nb"])
def test_a_chart_is_a_small_picture_whatever_the_title(title: str) -> None:
    picture = chart(line(), title)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000


def test_a_chart_is_the_same_each_time_and_touches_nothing_global() -> None:
    before = dict(mpl.rcParams)
    assert chart(line(), "s", percent=True) == chart(line(), "s", percent=True)
    assert dict(mpl.rcParams) == before


def test_a_chart_of_gaps_is_drawn_too() -> None:
    gaps = [WeekMean(NOW - timedelta(weeks=k), 0) for k in range(5, 0, -1)]
    assert chart(gaps, "nothing").startswith(b"\x89PNG")
