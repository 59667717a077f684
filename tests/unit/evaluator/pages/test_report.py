"""The report: what is gathered, what the page says of it, and that nothing on it is anybody's markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.messages.alert import Urls
from evaluator.pages.drawing import Scale, limits, round_levels, spark_chart, weekly_chart
from evaluator.pages.report import Chapter, Report, chapter
from evaluator.pages.report_page import conditions, page, sentence
from monitors import AlertState, Comparison, MonitorSpec, WeekMean
from monitors.series import WEEK
from tests.watching import START, House, recorded
from traces import Usage

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"
URLS = Urls("https://langfuse.example/traces/{}".format, "https://langfuse.example/sessions/{}".format)
FOUND = Comparison(
    dimension="prompt_version",
    new="answer:4",
    old="answer:3",
    mean_new=4.2,
    mean_old=3.75,
    n_new=500,
    n_old=900,
    points=0.45,
    low=0.12,
    high=0.82,
    p=0.01,
    share=0.12,
    share_low=0.03,
    share_high=0.22,
    adjusted=("model", "trace_name"),
    together=(),
)


def house(*, name: str = "answer", comment: str = "because", days: int = 84) -> House:
    """Return a quarter in which version 4 is worse by 0.8, on the hard half of the traffic."""
    made = House(MonitorSpec(score="faithfulness", scale=(1, 5)))
    rng = np.random.default_rng(1)
    for day in range(days):
        for i in range(40):
            new, hard = day < 14 and i % 2 == 0, rng.random() < 0.4
            level = 4.3 - 0.8 * new - 0.5 * hard + 0.7 * rng.standard_normal()
            segments = {"prompt_version": f"{name}:{4 if new else 3}", "trace_name": "billing" if hard else "support"}
            metadata = {"segments": segments, "session_id": f"s{day}-{i // 3}"}
            at = START - timedelta(days=day, minutes=5 + 30 * i)
            value = float(np.clip(round(level), 1, 5))
            made.langfuse.held.append(recorded(value, at, f"{day:04x}{i:04x}", metadata=metadata, comment=comment))
    return made


def gathered(made: House, weeks: int = 12, state: AlertState | None = None) -> Chapter:
    return chapter(made.langfuse, made.specs[0], START, weeks, state or AlertState())


def printed(*chapters: Chapter, **fields: Any) -> str:
    empty = Report("Support", START - 12 * WEEK, START, chapters, Counter(), {}, URLS)
    return page(replace(empty, **fields))


class Checked(HTMLParser):
    """Reads a page: which tags it has, what it says, what it would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def read(text: str) -> Checked:
    found = Checked(text)
    assert found.open == []
    return found


def test_the_page_says_what_the_scores_say() -> None:
    made = house()
    found = gathered(made, state=AlertState(opened=START - timedelta(days=3)))
    said = read(printed(found)).said
    values = [float(score.value) for score in made.langfuse.held]
    assert found.whole is not None
    assert found.whole.n == len(values)
    assert f"{np.mean(values):.2f} over the period, {len(values):,} scores" in said
    assert "low since 27 Mar" in said
    assert re.search(r"answer:4 scores \d+\.\d % lower than answer:3 \(95 % \d+\.\d to \d+\.\d %\)\.", said)
    assert "at an equal mix of trace name" in said
    assert said.index("By prompt version") < said.index("By trace name")
    assert len(found.line) == 12
    assert "How scores are spread" in said


def test_shares_means_and_bars_add_up() -> None:
    found = gathered(house())
    (prompts, names) = found.breakdowns
    assert [part.dimension for part in found.breakdowns] == ["prompt_version", "trace_name"]
    for part in (prompts, names):
        assert sum(row.share for row in part.rows) == pytest.approx(1)
        assert found.whole is not None
        assert sum(row.n for row in part.rows) == found.whole.n
        assert sum(row.share * row.mean for row in part.rows) == pytest.approx(found.whole.mean)
    assert sum(bar.now for bar in found.bars) == pytest.approx(1)
    assert sum(bar.before for bar in found.bars) == pytest.approx(1)
    assert [bar.label for bar in found.bars] == ["1", "2", "3", "4", "5"]


def test_what_to_read_is_the_lowest_and_the_highest_of_this_week_two_a_session_at_most() -> None:
    found = gathered(house())
    week = [score.value for score in house().langfuse.held if score.timestamp >= START - WEEK]
    assert found.worst[0].value == min(week)
    assert found.best[0].value == max(week)
    for chosen in (found.worst, found.best):
        assert len(chosen) == 5
        assert max(Counter(score.session for score in chosen).values()) <= 2


def test_a_score_of_many_values_is_binned_and_a_boolean_passes_or_fails() -> None:
    made = House(MonitorSpec(score="faithfulness"))
    rng = np.random.default_rng(2)
    made.langfuse.held = [
        recorded(float(rng.normal()), START - timedelta(hours=i + 1), f"t{i}", comment="") for i in range(300)
    ]
    assert len(gathered(made).bars) == 10
    made.langfuse.held = [
        recorded(float(i % 3 > 0), START - timedelta(hours=i + 1), f"t{i}", data_type="BOOLEAN") for i in range(300)
    ]
    found = gathered(made)
    assert [bar.label for bar in found.bars] == ["fail", "pass"]
    made.langfuse.held = [
        recorded(float(i > 0), START - timedelta(hours=i + 1), f"t{i}", data_type="BOOLEAN") for i in range(20)
    ]
    rows = [row for part in gathered(made).breakdowns for row in part.rows]
    assert max(row.high for row in rows if row.high is not None) == 1, "no pass rate is above 1"
    said = read(printed(found)).said
    assert "66.7 % over the period" in said
    assert "fail · t" in said


def test_names_and_reasons_of_strangers_stay_text_and_nothing_is_loaded() -> None:
    made = house(name=HOSTILE, comment=HOSTILE)
    funnel = Counter({(HOSTILE, "failed", HOSTILE): 3})
    text = printed(gathered(made), project=HOSTILE, funnel=funnel, spending={HOSTILE: Usage(usd=1.0)})
    found = read(text)
    assert not {"script", "img", "iframe", "link", "object", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in {"src", "srcset", "action"}]
    assert HOSTILE in found.said
    addresses = {value for name, value in found.attributes if name == "href" and value}
    assert all(address.startswith(("#", "https://langfuse.example/")) for address in addresses)
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text


def test_coverage_and_cost_are_told_with_reasons() -> None:
    funnel = Counter(
        {
            ("tone", "sampled", ""): 120,
            ("tone", "scored", ""): 100,
            ("tone", "failed", "bad_answer"): 15,
            ("tone", "skipped", "no documents"): 5,
        }
    )
    spending = {"tone": Usage(calls=115, input_tokens=1_200_000, output_tokens=34_000, usd=12.346)}
    said = read(printed(funnel=funnel, spending=spending)).said
    assert "15 of tone: failed, bad_answer" in said
    assert "5 of tone: skipped, no documents" in said
    assert "1,234,000" in said
    assert "12.35" in said


def test_with_nothing_to_say_it_says_so() -> None:
    assert "No score is watched" in read(printed()).said
    silent = House(MonitorSpec(score="faithfulness"))
    said = read(printed(gathered(silent))).said
    assert "No scores in this period." in said
    assert "0 scores this week; 5 are needed" in said
    assert "Nothing is counted here" in said
    silent.langfuse.held = [
        recorded(4.0, START - timedelta(hours=i + 1), f"t{i}", metadata={"session_id": "one"}) for i in range(9)
    ]
    assert "4.00 over the period, 9 scores of 1 session." in read(printed(gathered(silent))).said


@pytest.mark.parametrize(
    ("found", "binary", "said"),
    [
        (FOUND, False, "answer:4 scores 12.0 % higher than answer:3 (95 % 3.0 to 22.0 %)."),
        (
            replace(FOUND, points=-0.45, low=-0.82, high=-0.12, share=-0.12, share_low=-0.22, share_high=-0.03),
            False,
            "answer:4 scores 12.0 % lower than answer:3 (95 % 3.0 to 22.0 %).",
        ),
        (FOUND, True, "answer:4 scores 45.0 points higher than answer:3 (95 % 12.0 to 82.0 points)."),
        (
            replace(FOUND, share_low=-0.03),
            False,
            "answer:4 and answer:3 cannot be told apart: +12.0 % (95 % \N{MINUS SIGN}3.0 to +22.0 %).",
        ),
        (
            replace(FOUND, share=None, share_low=None, share_high=None),
            False,
            "answer:4 scores 0.45 higher than answer:3 (95 % 0.12 to 0.82).",
        ),
    ],
)
def test_a_comparison_is_one_sentence(found: Comparison, binary: bool, said: str) -> None:
    assert sentence(found, binary) == said


def test_what_a_comparison_rests_on_is_said() -> None:
    assert conditions(FOUND) == "500 against 900 scores; at an equal mix of model, trace name."
    alone = replace(FOUND, adjusted=(), together=("model",))
    assert conditions(alone) == ("500 against 900 scores; model changed together with it, so it may have been that.")


def weeks(*means: float | None) -> Iterator[WeekMean]:
    for place, mean in enumerate(means):
        start = START - (len(means) - place) * WEEK
        yield WeekMean(start, 0) if mean is None else WeekMean(start, 40, mean, mean - 0.1, mean + 0.1)


def test_a_gap_breaks_the_line_and_what_is_outside_lies_on_the_edge() -> None:
    line = list(weeks(4.0, 4.1, None, 3.9, 4.0))
    drawn = weekly_chart(line, False, 'a "label"')
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 4
    assert 'aria-label="a &#34;label&#34;"' in drawn
    assert limits(line) == pytest.approx((3.8, 4.2))
    assert limits([]) == (0.0, 1.0)
    assert limits(list(weeks(0.95)), binary=True) == pytest.approx((0.85, 1.0))
    assert Scale(0, 1, 10, 20)(5) == 20
    assert "polyline" not in spark_chart([], 0, 1)


def test_a_week_without_an_interval_is_on_the_line_all_the_same() -> None:
    line = list(weeks(4.0, 4.1, 3.9))
    line[1] = replace(line[1], n=1, low=None, high=None)
    drawn = weekly_chart(line, False, "weeks")
    assert drawn.count("<polyline") == 1
    assert drawn.count("<polygon") == 2


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_an_axis_has_a_few_round_levels_within_its_ends(low: float, span: float) -> None:
    levels = round_levels(low, low + span)
    assert 2 <= len(levels) <= 5
    assert low - 1e-5 * span <= levels[0] <= levels[-1] <= low + span * (1 + 1e-5)
    steps = {f"{after - before:.1e}" for before, after in pairwise(levels)}
    assert {step[:3] for step in steps} <= {"1.0", "2.0", "5.0"}


def test_the_levels_of_a_scale_of_five_are_those_people_think_in() -> None:
    assert round_levels(3.23, 5.19) == [3.5, 4.0, 4.5, 5.0]
    assert round_levels(0, 1) == [0.0, 0.5, 1.0]
