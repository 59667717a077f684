"""What is known of a judge, in words: its golden tests, and its agreement with people."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from evaluator.calibration.trust import Agreement, Trust
from evaluator.definitions import Definitions, load
from evaluator.rubrics.golden import Trial, summaries
from evaluator.state.golden_tests import KeptTest
from evaluator.status import page
from evaluator.status.page import Frame
from evaluator.status.report import show
from evaluator.status.verdict import health_of
from judges.calibration import Figure
from monitors import WeekMean
from tests.looks import NOW, status
from tests.serving import RUBRIC
from traces import Failure, Verdict

FRAME = Frame("project", NOW)
EXAMPLES = """
examples:
  - {inputs: {question: How?, answer: So.}, expect: {at_least: 4}}
  - {inputs: {question: How?, answer: No.}, expect: {at_most: 2}}
"""
WELL = KeptTest(NOW, "v1", 5, 0, 0)
AGREES = Agreement("quality", 0.6, NOW, "weighted kappa", Figure(0.71, 0.6, 0.8), 40, "v1")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    folder: Path = tmp_path_factory.mktemp("config")
    (folder / "rubrics").mkdir()
    (folder / "rubrics" / "helpfulness.yaml").write_text(RUBRIC + EXAMPLES)
    return load(folder)


def shown(definitions: Definitions, trust: Trust) -> str:
    return page.evaluators(FRAME, status(trust={"helpfulness": trust}), definitions, {})


def test_a_run_of_tests_is_summed_up_by_rubric(definitions: Definitions) -> None:
    (rubric,) = definitions.rubrics()
    good, bad = Verdict(5.0, "", 1.0), Verdict(1.0, "", 1.0)
    away = Failure("model_unavailable", "", retryable=True)
    tested = [
        Trial(rubric, 1, (good, bad, good), 0.6, 1.0),
        Trial(rubric, 2, (good, good, good), 1.0, 1.0),
        Trial(rubric, 2, (away, away, away), 1.0, 1.0),
    ]
    kept = summaries(tested, NOW)["helpfulness"]
    assert (kept.passed, kept.failed, kept.unasked, kept.flaky, kept.repeat) == (1, 1, 1, 1, 3)
    assert kept.version == rubric.version


def test_what_is_not_known_says_how_to_learn_it(definitions: Definitions) -> None:
    text = shown(definitions, Trust("v1", 5, None, None))
    assert "never run (5 examples): <code>evaluator rubric test helpfulness</code>" in text
    assert "calibrate: {against: SCORE" in text
    text = shown(definitions, Trust("v1", 0, None, Agreement("quality", None)))
    assert "it has no examples: give its file <code>examples</code>" in text
    assert "not looked at yet, against quality: <code>evaluator calibrate helpfulness</code>" in text
    assert "too few labels quality to tell (3 subjects)" in shown(
        definitions, Trust("v1", 0, None, Agreement("quality", None, NOW, subjects=3))
    )
    assert "Can the judges be trusted?" not in page.evaluators(FRAME, status(), definitions, {})


def test_what_is_known_stands_with_its_day_its_interval_and_its_course(definitions: Definitions) -> None:
    weeks = tuple(WeekMean(NOW - timedelta(weeks=w), 40, 0.7 + w / 100, 0.6, 0.8) for w in (2, 1, 0))
    text = shown(definitions, Trust("v1", 5, WELL, replace(AGREES, weeks=weeks)))
    assert "5 of 5 as expected on 29 Nov 2026<" in text
    assert "weighted kappa 0.71 (95 % 0.60 to 0.80) against quality, floor 0.6, 40 subjects, on 29 Nov 2026" in text
    assert '<svg class="spark"' in text
    assert "fell" not in text
    assert "evaluator rubric test" not in text


def test_a_judge_surely_below_its_floor_is_marked_before_the_week_says_so(definitions: Definitions) -> None:
    seen = Agreement("quality", 0.6, NOW, "kappa", Figure(-0.04, -0.12, 0.0), 30, "v1")
    assert Trust("v1", 5, WELL, seen).is_doubtful
    assert "0.00) against quality, floor 0.6, 30 subjects, on 29 Nov 2026: <code>evaluator calibrate" in shown(
        definitions, Trust("v1", 5, WELL, seen)
    )
    for wide in (Figure(0.4, 0.1, 0.7), Figure(0.4, None, None)):
        assert not replace(seen, figure=wide).is_low


def test_what_speaks_against_a_judge_is_marked(definitions: Definitions) -> None:
    low = Agreement("quality", 0.6, NOW, "kappa", Figure(0.4, 0.3, 0.5), 40, "v1", datetime(2026, 11, 2, tzinfo=UTC))
    trust = Trust("v1", 5, KeptTest(NOW, "v1", 3, 2, 0, flaky=1), low)
    text = shown(definitions, trust)
    assert text.count('class="why fell"') == 2
    assert "3 of 5 as expected, 1 flaky on 29 Nov 2026" in text
    assert "floor 0.6, below it since 2 Nov 2026" in text
    health = health_of(status(trust={"helpfulness": trust}), definitions.service, NOW)
    assert [each.todo for each in health.troubles] == ["evaluator calibrate helpfulness shows where they differ"]
    assert trust.is_doubtful


def test_in_a_terminal_those_of_which_nothing_is_known_share_a_line() -> None:
    out = Console(file=io.StringIO(), width=200)
    never = Trust("v1", 5, None, Agreement("quality", None))
    show(status(trust={"tone": never, "helpfulness": Trust("v1", 5, WELL, AGREES), "other": never}), out)
    assert isinstance(out.file, io.StringIO)
    (known, others) = [line for line in out.file.getvalue().splitlines() if line.startswith("judge")]
    assert known.startswith("judge         helpfulness: golden tests 5 of 5 as expected on 29 Nov 2026; people: weigh")
    assert others.startswith("judges        tone, other: nothing is known of them yet: evaluator rubric test")


def test_a_test_of_another_version_says_nothing_against_this_one(definitions: Definitions) -> None:
    trust = Trust("v2", 5, KeptTest(NOW, "v1", 3, 2, 0), AGREES)
    assert not trust.is_doubtful
    text = shown(definitions, trust)
    assert "of another version: <code>evaluator rubric test helpfulness</code>" in text
    assert "fell" not in text
    # Where Langfuse keeps the prompt, nobody here knows the version that judges.
    assert not Trust("", 5, KeptTest(NOW, "v1", 3, 2, 0), None).is_stale
