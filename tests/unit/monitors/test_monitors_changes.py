from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from monitors import Change, first_seen, segment_line, weekly
from monitors.series import WEEK
from tests.weeks import NOW, steady

SEGMENTS = ("prompt_version", "release", "model", "tags")


def test_what_is_new_is_named_with_its_share_and_its_first_day() -> None:
    scores = []
    for i, score in enumerate(steady(segments={"prompt_version": "answer:3", "model": "m", "tags": "x"})):
        new = i < 60 and score.at > NOW - timedelta(days=3)
        given = {"prompt_version": "answer:4", "model": "m", "tags": "fresh"} if new else score.segments
        scores.append(replace(score, segments=given))
    (change,) = first_seen(weekly(scores, now=NOW, weeks=12, segments=SEGMENTS))
    assert (change.dimension, change.value) == ("prompt_version", "answer:4")
    assert change.share == pytest.approx(3 / 7, abs=0.02)
    assert change.at == min(score.at for score in scores if score.segments["prompt_version"] == "answer:4")


@pytest.mark.parametrize(("days", "told"), [(5, 1), (7, 0)])
def test_what_may_be_of_weeks_nobody_looks_at_is_not_called_new(days: int, told: int) -> None:
    scores = [
        replace(score, segments={"model": "n" if score.at > NOW - timedelta(days=days) else "m"}) for score in steady()
    ]
    series = weekly(scores, now=NOW, weeks=10, segments=SEGMENTS, baseline_end=NOW - 2 * WEEK)
    assert len(first_seen(series)) == told


def test_without_a_week_before_nothing_is_new() -> None:
    scores = [score for score in steady(segments={"model": "m"}) if score.at >= NOW - WEEK]
    assert first_seen(weekly(scores, now=NOW, weeks=12, segments=SEGMENTS)) == ()


def test_a_handful_of_traces_is_no_release() -> None:
    scores = list(steady(n=300, segments={"release": "r1"}))
    odd = [replace(score, segments={"release": f"r{i}"}) for i, score in enumerate(scores[:5], start=2)]
    assert first_seen(weekly([*odd, *scores[5:]], now=NOW, weeks=12, segments=SEGMENTS)) == ()
    assert isinstance(Change("release", "r2", 0.5, NOW).share, float)


def test_a_segment_has_a_line_of_its_own() -> None:
    scores = [
        replace(score, value=1.0 if i % 2 else 5.0, segments={"model": "low" if i % 2 else "high"})
        for i, score in enumerate(steady(4))
    ]
    series = weekly(scores, now=NOW, weeks=4, segments=SEGMENTS)
    line = segment_line(series, "model", "low")
    assert [week.start for week in line] == [week.start for week in series.line()]
    assert {(week.n, week.mean) for week in line} == {(30, 1.0)}
