"""The pages as text: nothing of strangers is markup, nothing is asked elsewhere, empty places say what to do."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evaluator.definitions import Definitions, load
from evaluator.pages.drawing import HourBar, hourly_chart
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled
from evaluator.state.dead_letters import DeadLetter
from evaluator.status import page
from evaluator.status.page import Frame, MonitorRow, ScoreWeeks, Told
from monitors import WeekMean
from tests.looks import NOW, busy, status
from traces import TraceRef, Usage

HOSTILE = '<img src=x onerror=alert(1)>" onmouseover="alert(2)'
FRAME = Frame(HOSTILE, NOW)
PAGES = Path(page.__file__).parent / "pages"


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    folder = tmp_path_factory.mktemp("config")
    (folder / "rules.yaml").write_text("- {name: answered, rule: not_empty}\n")
    (folder / "evaluator.yaml").write_text("coverage: {objective: 99%}\n")
    return load(folder)


def letter(trace_id: str = HOSTILE) -> DeadLetter:
    ref = TraceRef(trace_id, "r", "production", NOW, NOW)
    return DeadLetter(Job(ref, (Sampled("answered", 1.0, "0"),)), f"bad_answer: {HOSTILE}", NOW)


def every_page(definitions: Definitions) -> list[str]:
    week = WeekMean(NOW, 20, 4.0, 3.5, 4.5)
    return [
        page.overview(FRAME, busy(), definitions, {}),
        page.evaluators(FRAME, busy(), definitions, {"answered": Usage("", 3, 10, 10, 0.3)}),
        page.trace(FRAME, HOSTILE, error=HOSTILE),
        page.scores(FRAME, [ScoreWeeks(HOSTILE, False, NOW, HOSTILE, [week, week])], 12),
        page.alerts(
            FRAME,
            [MonitorRow(HOSTILE, NOW, HOSTILE, HOSTILE)],
            [Told(NOW, HOSTILE)],
            {("a", "b"): HOSTILE},
            delivers=True,
        ),
        page.dead_letters(FRAME, [letter()], Counter(bad_answer=1)),
        page.unavailable(FRAME, HOSTILE, "/"),
    ]


def test_names_and_reasons_of_strangers_are_text(definitions: Definitions) -> None:
    for text in every_page(definitions):
        assert "<img" not in text
        assert 'onmouseover="' not in text
        assert "<script>" not in text


def test_nothing_is_asked_elsewhere_and_nothing_is_inline(definitions: Definitions) -> None:
    files = [(PAGES / name).read_text() for name in ("style.css", "live.js")]
    for text in [*every_page(definitions), *files]:
        assert re.findall(r"(?:src|href|action)=\"(?!/)[^\"#]", text) == []
        assert "style=" not in text
        assert "url(" not in text
        assert "@import" not in text


def test_the_overview_says_what_is_wrong_and_what_to_do(definitions: Definitions) -> None:
    text = page.overview(FRAME, busy(), definitions, {})
    assert "verdict bad" in text
    assert "What to do: evaluator check" in text
    assert "paused for 20 s" in text
    assert "gpt: 12 of 64 calls at once a process: &lt;script&gt;" in text
    assert "60.0 %" in text


def test_empty_places_teach(definitions: Definitions) -> None:
    empty = status(leader=None, hours={}, funnel=type(status().funnel)(), workers=[])
    text = page.overview(FRAME, empty, definitions, {})
    for said in ("evaluator run", "Nothing fell due", "No process lives"):
        assert said in text
    assert "monitors.yaml" in page.scores(FRAME, [], 12)
    assert "Nothing was given up" in page.dead_letters(FRAME, [], Counter())
    assert "SLACK_WEBHOOK_URL" in page.alerts(FRAME, [], [], {}, delivers=False)
    assert "its u and the rate" in page.trace(FRAME, "")
    assert "too few in any" in page.scores(
        FRAME, [ScoreWeeks("a", False, None, "", [WeekMean(NOW, 2, None, None, None)])], 12
    )


def test_a_dead_letter_comes_with_its_command() -> None:
    text = page.dead_letters(FRAME, [letter("t1"), letter("it's")], Counter(bad_answer=1_203))
    assert "evaluator dead-letters replay t1/answered" in text
    assert "and 1,201 older ones" in text
    assert "replay &#39;it&#39;&#34;&#39;&#34;&#39;s/answered&#39;" in text


def test_an_evaluator_shows_what_a_score_costs(definitions: Definitions) -> None:
    text = page.evaluators(FRAME, status(), definitions, {"answered": Usage("", 3, 10, 10, 0.9)})
    assert ">0.10000<" in text


def test_a_state_that_nobody_is_in_has_no_column(definitions: Definitions) -> None:
    text = page.evaluators(FRAME, status(), definitions, {})
    assert ">scored</th>" in text
    assert ">gone</th>" not in text
    assert ">failed</th>" in page.evaluators(FRAME, busy(), definitions, {})


def test_hours_are_stacked_and_never_leave_the_picture() -> None:
    start = datetime(2026, 11, 29, tzinfo=UTC)
    bars = [HourBar(start + timedelta(hours=n), 10 * n, 5 * n, n, 2 * n) for n in range(24)]
    heights = [float(height) for height in re.findall(r'height="([0-9.]+)"', hourly_chart(bars))]
    assert len(heights) == 4 * 23
    assert max(heights) < 150
    assert "rect" not in hourly_chart([])
