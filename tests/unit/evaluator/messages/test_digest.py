"""The weekly digest: what it says, and when it says nothing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evaluator.definitions.service_config import Digests
from evaluator.messages.digest import Coverage, DigestLine, Totals, digest
from evaluator.messages.rendering import as_text
from monitors import MonitorSpec, NotEnoughHistory
from monitors.drop import Difference
from tests.unit.evaluator.messages.test_slack_message import LINE, TEST
from tests.watching import START, House
from tests.weeks import NOW
from traces import Usage

NOTHING = Coverage(None, {}, 0.0)
CALM = replace(TEST, drop=0.01, low=-0.02, high=0.04, p=0.25)
SHORT = NotEnoughHistory("2 earlier weeks to compare with; 4 are needed", 2, 40, 3.9)
SILENT = NotEnoughHistory("0 scores this week; 5 are needed", 0, 0, None)


def text_of(lines: list[DigestLine], coverage: Coverage = NOTHING) -> str:
    return as_text(digest(lines, coverage, NOW))


def test_it_has_a_line_for_every_score_and_what_matters_stands_first() -> None:
    content = digest(
        [
            DigestLine("new-score", False, LINE[-3:], SHORT),
            DigestLine("silent", False, (), SILENT),
            DigestLine("user-feedback", True, LINE, replace(TEST, baseline=0.9, mean=0.91, drop=-0.01, p=0.9)),
            DigestLine("faithfulness", False, LINE, TEST, NOW),
        ],
        NOTHING,
        NOW,
    )
    text = as_text(content)
    assert content["text"] == "Quality this week, 30 Mar 2026: 4 scores watched, low: faithfulness"
    assert text.index("faithfulness") < text.index("new-score")
    assert "faithfulness 3.81 from 412 scored" in text
    assert "\N{MINUS SIGN}0.29 (95 %" in text
    assert "against the 10 weeks before" in text
    assert "low since the week to 30 Mar" in text
    assert "not compared: 2 earlier weeks" in text
    assert "silent no scores this week" in text
    assert "91.0 %" in text
    assert "+1.0 points" in text


def test_hundreds_of_scores_fit_into_a_message() -> None:
    lines = [DigestLine(f"score-{i}", False, LINE, CALM) for i in range(300)]
    content = digest(lines, NOTHING, NOW)
    assert len(content["blocks"]) <= 50
    assert "260 more scores" in as_text(content)
    assert "no open alert" in content["text"]


def test_what_moved_by_more_than_chance_is_named() -> None:
    rise = replace(TEST, drop=-0.3, low=-0.4, high=-0.2, p=1 - 1e-6)
    lines = [
        DigestLine("calm", False, LINE, CALM),
        DigestLine("risen", False, LINE, rise),
        DigestLine("fallen", False, LINE, TEST),
    ]
    text = text_of(lines)
    assert "Moved: risen +7 %, fallen \N{MINUS SIGN}7 %" in text
    assert "calm" not in text.split("Moved:")[1].split("\n")[0]
    assert [line.is_news for line in lines] == [False, True, True]
    assert "Moved" not in text_of(lines[:1])


def test_a_score_that_fell_silent_is_told_and_one_that_never_was_is_not() -> None:
    gone, never = DigestLine("gone", False, LINE, SILENT), DigestLine("never", False, (), SILENT)
    assert gone.is_news
    assert not never.is_news
    assert "No scores any more: gone\n" in text_of([gone, never])


def test_judgements_that_are_missing_are_no_zeros_and_no_secret() -> None:
    few = DigestLine("few", False, LINE, CALM, missing=0.01)
    many = DigestLine("many", False, LINE, CALM, missing=0.31)
    assert not few.is_news
    assert many.is_news
    text = text_of([few, many])
    assert "1.0% of judgements are missing" in text
    assert "Judgements are missing: many 31%\n" in text


def totals(at: int, **states: int) -> Totals:
    return Totals(START + timedelta(days=at), {("tone", state): number for state, number in states.items()}, at / 2)


def test_coverage_is_what_came_since_the_last_digest() -> None:
    before = Totals.from_json(json.loads(json.dumps(totals(7, sampled=100, scored=90, failed=10).to_json())))
    found = totals(14, sampled=150, scored=130, failed=15, unscored=5).since(before)
    assert found == Coverage(
        START + timedelta(days=7),
        {("tone", "sampled"): 50, ("tone", "scored"): 40, ("tone", "failed"): 5, ("tone", "unscored"): 5},
        3.5,
    )
    assert found.missing("tone") == pytest.approx(0.2)
    assert found.missing("user-feedback") is None
    text = text_of([], found)
    assert "Since 6 Apr: 50 evaluations sampled: 40 scored, 5 unscored, 5 failed; 3.50 USD on judges." in text


@pytest.mark.parametrize("before", [None, totals(7, sampled=900, scored=900)])
def test_what_was_forgotten_is_counted_from_the_beginning(before: Totals | None) -> None:
    found = totals(14, sampled=20, scored=20).since(before)
    assert (found.since, found.pairs["tone", "scored"], found.usd) == (None, 20, 7.0)


def told(house: House, **counted: int) -> list[str]:
    """Send a digest a week later, with more counted; return what it says."""
    before = len(house.slack.got)
    house.state.counted.update({("faithfulness", state, ""): number for state, number in counted.items()})
    house.watch.digest()
    return [as_text(content) for content in house.slack.got[before:]]


def calm_house(digests: Digests = "changes", days: int = 14) -> House:
    house = House(MonitorSpec(score="faithfulness"), digests=digests)
    house.fill(-days, 91, seed=100)
    return house


def test_quiet_weeks_are_quiet_and_the_first_says_that_it_works() -> None:
    house = calm_house()
    assert len(told(house, sampled=350, scored=350)) == 1
    house.clock.at += timedelta(days=7)
    assert told(house, sampled=350, scored=350) == []
    house.clock.at += timedelta(days=7)
    (text,) = told(house, sampled=350, scored=200, failed=150)
    assert "Judgements are missing: faithfulness 43%" in text
    assert "Since 6 Apr: 350 evaluations sampled: 200 scored, 150 failed." in text


def test_always_is_every_week_and_off_is_never() -> None:
    every, never = calm_house("always"), calm_house("off")
    for _ in range(2):
        assert len(told(every)) == 1
        assert told(never) == []
        every.clock.at += timedelta(days=7)
        never.clock.at += timedelta(days=7)


def test_an_alert_that_is_resolved_is_news_once() -> None:
    house = calm_house(days=0)
    told(house)
    house.fill(-7, 0, low=1.2, seed=100)
    house.clock.at += timedelta(days=7)
    house.look()
    (text,) = told(house)
    assert "Low: faithfulness" in text
    assert "prompt version answer:4" in text
    state: dict[str, Any] = house.state.states["faithfulness"]
    house.state.states["faithfulness"] = {**state, "opened": None}
    house.clock.at += timedelta(days=7)
    assert len(told(house)) == 1


def test_looking_at_it_sends_and_changes_nothing() -> None:
    house = calm_house()
    house.state.counted = Counter({("faithfulness", "scored", ""): 3})
    house.state.spent = {"faithfulness": Usage(usd=1.5)}
    assert "3 scored; 1.50 USD on judges" in as_text(house.watch.overview())
    assert house.slack.got == []
    assert len(told(house)) == 1


def test_a_mix_that_moved_alone_is_no_fall_of_quality() -> None:
    moved = replace(CALM, mean=3.9)  # from 4.1, while inside the segments it is .01
    said = "the plain mean is 3.90: the mix of traffic moved, quality inside segments did not"
    assert said in text_of([DigestLine("faithfulness", False, LINE, moved)])
    assert "mix of traffic" not in text_of([DigestLine("faithfulness", False, LINE, replace(CALM, mean=4.09))])
    assert "mix of traffic" not in text_of([DigestLine("faithfulness", False, LINE, replace(TEST, mean=3.5))])


def test_the_first_weeks_are_shown_for_information() -> None:
    early = replace(SHORT, early=Difference(0.12, -0.06, 0.3))
    text = text_of([DigestLine("new-score", False, LINE[-3:], early)])
    assert "4 are needed; for information, the plain mean moved by" in text
    assert "by \N{MINUS SIGN}0.12 (95 % \N{MINUS SIGN}0.30 to +0.06)" in text
