"""Judgements that are missing: told within a day, once, and again when they are back."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from evaluator.messages.missing import Gap, gaps, told
from evaluator.messages.rendering import as_text
from tests.watching import House

DAY = timedelta(days=1)


def test_many_are_told_once_and_their_return_too() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    known = None
    said = []
    days = [(100, 0), (90, 10), (60, 40), (60, 40), (10, 0), (10, 1), (99, 1), (100, 0)]
    for scored, failed in days:
        counts["faithfulness", "scored"] += scored
        counts["faithfulness", "failed"] += failed
        found, known = gaps(counts, ["faithfulness"], known)
        said.append([(gap.closed, gap.done, dict(gap.lost)) for gap in found])
    # The second day may be chance (10 of 100, at least 5.5 % for sure); of few one waits for more.
    assert said == [[], [(False, 100, {"failed": 10})], [], [], [], [(True, 21, {"failed": 1})], [], []]


def test_what_may_be_chance_is_not_told() -> None:
    before = {"f": {"counts": {"scored": 0, "failed": 0, "unscored": 0, "gone": 0}, "open": False}}
    assert gaps({("f", "scored"): 27, ("f", "failed"): 3}, ["f"], before)[0] == []
    assert gaps({("f", "scored"): 25, ("f", "unscored"): 5}, ["f"], before)[0] != []
    assert gaps({("f", "scored"): 3, ("f", "failed"): 16}, ["f"], before)[0] == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_what_opens_closes_before_it_opens_again(days: list[tuple[int, int]]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    known, closed = None, True
    for scored, failed in days:
        counts["f", "scored"] += scored
        counts["f", "failed"] += failed
        found, known = gaps(counts, ["f"], known)
        for gap in found:
            assert gap.closed is not closed
            closed = gap.closed


def test_counters_that_were_wiped_begin_anew() -> None:
    _, known = gaps({("f", "scored"): 500, ("f", "failed"): 5}, ["f"], None)
    found, known = gaps({("f", "failed"): 50}, ["f"], known)
    assert found == []
    assert known["f"]["counts"]["failed"] == 50


def test_the_message_names_what_is_missing_and_escapes_names() -> None:
    text = as_text(told([Gap("a*b", 200, {"failed": 40, "unscored": 6}, closed=False), Gap("c", 50, {}, closed=True)]))
    assert "a*b: 23% of 200 judgements are missing (40 failed, 6 unscored)." in text
    assert "c: only 0.0% of 50 judgements are missing now." in text
    assert "not as 0" in text
    assert "Judgements are back" in as_text(told([Gap("c", 50, {}, closed=True)]))


def test_the_daily_look_tells_of_them() -> None:
    house = House()
    house.state.counted.update({("faithfulness", "scored", ""): 500})
    house.look()
    house.clock.at += DAY
    house.state.counted.update({("faithfulness", "scored", ""): 60, ("faithfulness", "failed", "bad_answer"): 40})
    house.look()
    house.look()
    assert len(house.texts) == 1
    assert house.texts[0].startswith(
        "Judgements are missing. faithfulness: 40% of 100 judgements are missing (40 failed)"
    )
