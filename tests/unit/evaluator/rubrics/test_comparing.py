"""Two versions of a rubric side by side: what differs, by how much, and how sure that is."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from evaluator.preview.intervals import mean_difference, share
from evaluator.rubrics import comparing_report
from evaluator.rubrics.comparing import Comparison, Pair, compare
from judges import Question, Rubric, RubricSpec
from tests.building import trace
from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict

AWAY = Failure("model_unavailable", "the model API does not answer", retryable=True)
PAID = Usage("gpt", 1, 100, 20, 0.001)


def rubric(criteria: str = "Does it help?", **changes: Any) -> Rubric:
    written = {
        "name": "helpfulness",
        "inputs": {"answer": "$.root.output"},
        "criteria": criteria,
        "score": {"type": "numeric", "min": 1, "max": 5},
    }
    return Rubric(RubricSpec.model_validate({**written, **changes}))


OLD, NEW = rubric(), rubric("Does it really help?")


def said(value: float | bool | str, reason: str = "Because.") -> Verdict:
    return Verdict(value, reason, usage=PAID)


def compared(*pairs: tuple[Outcome, Outcome], before: Rubric = OLD, after: Rubric = NEW) -> Comparison:
    return Comparison(before, after, tuple(Pair(trace(), one, other) for one, other in pairs), 0)


class TestFlips:
    @pytest.mark.parametrize(
        ("before", "after", "differs"),
        [
            (said(4, "a"), said(4, "b"), False),
            (said(4), said(5), True),
            (said("good"), said("bad"), True),
            (said(4), Unscored("?"), True),
            (Unscored("a"), Unscored("b"), False),
            (NotApplicable("no documents"), said(4), True),
            (said(4), Failure("bad_answer", "no JSON"), True),
        ],
    )
    def test_what_differs(self, before: Outcome, after: Outcome, differs: bool) -> None:
        assert Pair(trace(), before, after).differs is differs

    def test_what_could_not_be_asked_does_not_count(self) -> None:
        found = compared((said(4), said(5)), (AWAY, said(4)), (said(4), AWAY), (said(4), said(4)))
        assert found.flips is not None
        assert found.flips.value == 0.5
        assert len(found.asked) == 2

    def test_no_flip_in_fifty_is_no_proof_that_there_is_none(self) -> None:
        found = share([False] * 50)
        assert found is not None
        assert (found.value, found.low) == (0.0, 0.0)
        assert 0.06 < found.high < 0.08
        assert share([]) is None


class TestShift:
    def test_the_mean_difference_is_paired(self) -> None:
        found = compared(*[(said(before), said(after)) for before, after in ((1, 2), (3, 4), (5, 5), (2, 3))]).shift
        assert found is not None
        expected = stats.ttest_1samp([1, 1, 0, 1], 0).confidence_interval(0.95)
        assert (found.value, found.low, found.high) == pytest.approx((0.75, expected.low, expected.high))

    def test_only_traces_that_both_scored_count(self) -> None:
        found = compared((said(1), Unscored("?")), (said(1), said(2)), (said(3), said(2)))
        assert found.numbers() == [(1.0, 2.0), (3.0, 2.0)]

    def test_different_ranges_are_compared_by_the_share_of_their_range(self) -> None:
        wide = rubric(score={"type": "numeric", "min": 0, "max": 10})
        found = compared((said(5), said(10)), (said(3), said(0)), after=wide)
        assert found.scale == (0.0, 1.0)
        assert found.numbers() == [(1.0, 1.0), (0.5, 0.0)]

    def test_yes_or_no_is_a_share_and_labels_have_no_mean(self) -> None:
        yes = rubric(score={"type": "boolean"})
        assert compared((said(True), said(False)), before=yes, after=yes).numbers() == [(1.0, 0.0)]
        labels = rubric(score={"type": "categorical", "labels": ["good", "bad"]})
        found = compared((said("good"), said("bad")), before=labels, after=labels)
        assert (found.numbers(), found.shift, found.scale) == ([], None, None)

    @given(st.lists(st.floats(-4, 4), min_size=2, max_size=40))
    def test_an_interval_holds_its_mean_and_turns_with_the_sides(self, differences: list[float]) -> None:
        found, turned = mean_difference(differences), mean_difference([-d for d in differences])
        assert found is not None
        assert turned is not None
        assert found.low <= found.value <= found.high
        assert (turned.low, turned.value, turned.high) == pytest.approx((-found.high, -found.value, -found.low))


class Judge:
    """Scores by the words of the criteria, the same question another way each time it is asked."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question], patience: float | None = None) -> Iterator[list[tuple[int, Outcome]]]:
        assert patience is None
        for at, question in reversed(list(enumerate(questions))):
            self.asked.append(question)
            yield [(at, said(5.0 if "really" in question.prompt.system else 4.0, question.prompt.user[-9:]))]


class TestAsking:
    def test_both_versions_are_asked_about_each_trace_and_each_gets_its_own_answer(self) -> None:
        judge, ended = Judge(), list[int]()
        traces = [trace(), replace(trace(output=""), id="t2"), trace()]
        found = compare(judge, OLD, NEW, traces, skipped=3, progress=ended.append)
        assert [(getattr(p.before, "value", None), getattr(p.after, "value", None)) for p in found.pairs] == [
            (4.0, 5.0),
            (None, None),
            (4.0, 5.0),
        ]
        assert found.pairs[1].before == NotApplicable("no answer")
        assert (len(judge.asked), sum(ended), found.skipped) == (4, 6, 3)

    def test_noise_is_the_old_version_against_itself(self) -> None:
        found = compare(Judge(), OLD, NEW, [trace()] * 4, noise=True)
        assert found.noise is not None
        assert (found.noise.value, found.flips and found.flips.value) == (0.0, 1.0)
        assert compare(Judge(), OLD, NEW, [trace()]).noise is None


def printed(found: Comparison, width: int = 80) -> str:
    out = Console(file=io.StringIO(), width=width)
    comparing_report.show(found, out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


class TestForPeople:
    def test_the_largest_differences_come_first_with_both_reasons(self) -> None:
        text = printed(
            compared(
                (said(4, "Fine."), Unscored("No idea.")),
                (said(4, "Fine."), said(3, "Less\x1b[2J so.")),
                (said(5, "All there."), said(1, "Nothing there.")),
                (said(4), said(4)),
            )
        )
        assert "3 of 4 differ: 75% (95 % interval 19% to 99%)" in text
        places = [text.index(said) for said in ("Nothing there.", "Less\\x1b[2J so.", "No idea.")]
        assert places == sorted(places)
        assert "no score was written" in text

    def test_without_any_spread_no_interval_is_claimed(self) -> None:
        text = printed(compared((said(4), said(4)), (said(4), said(4))))
        assert "the version after scores +0.000 on a scale of 1 to 5\n" in text

    def test_many_differences_are_cut_and_it_says_so(self) -> None:
        text = printed(compared(*[(said(4), said(5))] * 30))
        assert "and 10 more; --json has all" in text
        assert max(map(len, text.splitlines())) <= 80

    def test_an_empty_sample_is_no_error(self) -> None:
        assert "0 traces" in printed(compared())


def test_as_json_holds_every_pair() -> None:
    found = compared((said(4), said(5)), (said(4), AWAY))
    document = comparing_report.as_json(found, lambda part: f"https://langfuse/{part.id}")
    assert json.loads(json.dumps(document)) == {**document, "scale": [1.0, 5.0]}
    assert [pair["differs"] for pair in document["pairs"]] == [True, True]
    assert document["differ"]["value"] == 1.0
    assert document["before"]["calls"] == 2
    assert document["pairs"][0]["url"] == "https://langfuse/t1"
