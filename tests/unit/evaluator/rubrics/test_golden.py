"""Golden tests without a model: what an example comes to, and how it is told to people, scripts and CI systems."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evaluator.rubrics import golden_report
from evaluator.rubrics.golden import Result, Trial, run_examples
from judges import Question, Rubric, RubricSpec
from tests.building import ANY_TEXT
from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict

AWAY = Failure("model_unavailable", "the model API does not answer", retryable=True)
PAID = Usage("gpt", 1, 100, 20, 0.001)


def rubric(*examples: dict[str, Any], name: str = "helpfulness", **changes: Any) -> Rubric:
    written = {
        "name": name,
        "inputs": {"question": "$.root.input", "answer": "$.root.output"},
        "criteria": "Does it help? 5: yes. 1: no.",
        "score": {"type": "numeric", "min": 1, "max": 5},
        "examples": list(examples) or [example()],
    }
    return Rubric(RubricSpec.model_validate({**written, **changes}))


def example(name: str = "", answer: str = "30 days.", **expect: Any) -> dict[str, Any]:
    return {
        "name": name,
        "inputs": {"question": "How long?", "answer": answer},
        "expect": expect or {"at_least": 4},
    }


def trial(*outcomes: Outcome, need: float = 1.0, of: Rubric | None = None, number: int = 1) -> Trial:
    return Trial(of or rubric(), number, outcomes, need, 0.5)


def four(reason: str = "It helps.", value: float = 4.0) -> Verdict:
    return Verdict(value, reason, usage=PAID)


class Judge:
    """Answers with the outcomes given, in two lots and not in their order."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = outcomes
        self.questions: Sequence[Question] = ()

    def ask(self, questions: Sequence[Question], patience: float | None = None) -> Iterator[list[tuple[int, Outcome]]]:
        assert patience is None
        self.questions = questions
        ended = list(enumerate(self.outcomes))[::-1]
        assert len(ended) == len(questions)
        yield ended[:1]
        yield ended[1:]


class TestAnExample:
    @pytest.mark.parametrize(
        ("outcomes", "need", "result"),
        [
            ([four()], 1.0, Result.PASSED),
            ([four(value=3)], 1.0, Result.FAILED),
            ([Unscored("no idea")], 1.0, Result.FAILED),
            ([Failure("bad_answer", "no JSON")], 1.0, Result.FAILED),
            ([NotApplicable("no answer")], 1.0, Result.FAILED),
            ([AWAY], 1.0, Result.NOT_ASKED),
            ([Failure("key_refused", "check OPENAI_API_KEY")], 1.0, Result.NOT_ASKED),
            ([four(), four(), four(value=1)], 1.0, Result.FAILED),
            ([four(), four(), four(value=1)], 0.6, Result.PASSED),
            # One more answer could not save it, or could not spoil it.
            ([AWAY, four(value=1)], 1.0, Result.FAILED),
            ([AWAY, four(), four()], 0.6, Result.PASSED),
            ([AWAY, four(), four()], 1.0, Result.NOT_ASKED),
            ([four()] * 10 + [four(value=1)] * 90, 0.1, Result.PASSED),
        ],
    )
    def test_what_it_comes_to(self, outcomes: list[Outcome], need: float, result: Result) -> None:
        assert trial(*outcomes, need=need).result is result

    def test_it_is_flaky_when_the_same_question_is_answered_both_ways(self) -> None:
        assert trial(four(), four(value=1)).is_flaky
        assert not trial(four(value=2), four(value=1)).is_flaky
        assert not trial(four(), AWAY).is_flaky

    def test_different_answers_are_counted_and_their_spread_told(self) -> None:
        several = trial(four(), four(value=3.5), four(), Unscored("?"))
        assert several.got == "2x 4, 1x 3.5, 1x cannot_judge"
        assert several.spread == 0.5
        assert trial(four()).spread is None

    def test_the_reason_worth_reading_is_of_what_was_not_expected(self) -> None:
        assert trial(four("good"), four("bad", 1), four("worse", 1)).telling.reason == "bad"
        assert trial(four("good"), four("also good")).telling.reason == "good"


class TestARun:
    def test_each_example_is_asked_as_often_as_wanted_and_gets_its_own_answers(self) -> None:
        first = rubric(example("one"), example("two", at_most=2))
        second = rubric(example(equals=5), name="tone")
        judge = Judge(four(), four(value=5), four(value=1), four(value=2), four(value=5), four(value=3))
        ended: list[int] = []
        done = run_examples(judge, [first, second], repeat=2, now=lambda: 7.0, progress=ended.append)
        assert [(each.rubric.name, each.name, each.got, each.result.value) for each in done] == [
            ("helpfulness", "one", "1x 4, 1x 5", "passed"),
            ("helpfulness", "two", "1x 1, 1x 2", "passed"),
            ("tone", "example 1", "1x 5, 1x 3", "failed"),
        ]
        assert sum(ended) == 6
        assert [each.seconds for each in done] == [0.0, 0.0, 0.0]

    def test_an_example_without_text_in_a_needed_input_is_not_asked(self) -> None:
        judge = Judge(four())
        empty, full = run_examples(judge, [rubric(example(answer=" "), example())], now=lambda: 0.0)
        assert empty.outcomes == (NotApplicable("no answer"),)
        assert empty.result is Result.FAILED
        assert full.result is Result.PASSED
        assert len(judge.questions) == 1

    @given(st.lists(st.sampled_from([four(), four(value=1), Unscored("?"), AWAY]), min_size=1, max_size=8))
    def test_more_need_never_turns_a_failure_into_a_pass(self, outcomes: list[Outcome]) -> None:
        order = {Result.PASSED: 2, Result.NOT_ASKED: 1, Result.FAILED: 0}
        results = [order[trial(*outcomes, need=tenth / 10).result] for tenth in range(1, 11)]
        assert results == sorted(results, reverse=True)


def printed(*several: Trial, width: int = 100) -> str:
    out = Console(file=io.StringIO(), width=width)
    golden_report.show(several, out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


class TestForPeople:
    def test_the_table_says_what_was_expected_got_and_why(self) -> None:
        text = printed(trial(four("It says how.")), trial(four("An [red]evasion[/red].\x1b[2J", 2)))
        assert "helpfulness 1 of 2 as expected" in text
        for said in ("example 1", "≥ 4", "FAIL", "0.00100", "It says how.", "An [red]evasion[/red].\\x1b[2J"):
            assert said in text
        assert "1 of 2 examples as expected, 1 not; 2 judge calls, 0.0020 USD" in text

    def test_what_is_flaky_is_said(self) -> None:
        text = printed(trial(four(), four(value=1)))
        assert "1/2" in text
        assert "1 flaky" in text
        assert "spread 3" in text

    def test_a_reason_nobody_could_be_asked_is_told_once(self) -> None:
        text = printed(*[trial(AWAY)] * 5)
        assert text.count("the model API does not answer") == 1
        assert "5 could not be asked" in text

    def test_a_cost_nobody_knows_is_not_shown_as_nothing(self) -> None:
        text = printed(trial(Verdict(4.0, "Fine.", usage=Usage("gpt", 1, 9, 9), details={"unpriced": True})))
        assert "no price" in text
        assert "a model has no price" in text

    @pytest.mark.parametrize("width", [40, 80, 120])
    def test_it_fits_a_terminal(self, width: int) -> None:
        text = printed(trial(four("word " * 200)), trial(four("word " * 200, 1)), width=width)
        assert all(len(line) <= width for line in text.splitlines()[:-1])


def test_as_json_holds_every_answer() -> None:
    document = golden_report.as_json([trial(four(), Unscored("Nothing to go by.", PAID)), trial(AWAY)])
    assert json.loads(json.dumps(document)) == document
    (found,) = document["rubrics"]
    assert [each["got"] for each in found["examples"][0]["answers"]] == [4.0, "cannot_judge"]
    assert found["examples"][0]["expected"] == {"at_least": 4.0}
    assert (document["passed"], document["failed"], document["not_asked"], document["flaky"]) == (0, 1, 1, 1)
    assert document["judge"] == {"calls": 2, "input_tokens": 200, "output_tokens": 40, "usd": 0.002}


class TestJUnit:
    def parsed(self, *several: Trial) -> ET.Element:
        text = golden_report.junit(several, seconds=2.5, started="2026-11-23T12:00:00")
        return ET.fromstring(text.encode())

    def test_a_suite_a_rubric_and_a_case_an_example(self) -> None:
        both = rubric(example("one"), example("two"))
        root = self.parsed(
            trial(four(), of=both),
            trial(four("Too vague.", 2), of=both, number=2),
            trial(AWAY, of=rubric(name="tone")),
        )
        assert root.tag == "testsuites"
        assert [suite.get("name") for suite in root] == ["rubric helpfulness", "rubric tone"]
        counts = [[suite.get(key) for key in ("tests", "failures", "errors", "skipped")] for suite in root]
        assert counts == [["2", "1", "0", "0"], ["1", "0", "1", "0"]]
        assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
        cases = list(root.iter("testcase"))
        assert [(case.get("classname"), case.get("name")) for case in cases] == [
            ("rubric.helpfulness", "one"),
            ("rubric.helpfulness", "two"),
            ("rubric.tone", "example 1"),
        ]
        assert [[part.tag for part in case] for case in cases] == [
            ["system-out"],
            ["failure", "system-out"],
            ["error", "system-out"],
        ]
        failure = root.find(".//failure")
        assert failure is not None
        assert failure.get("message") == "expected ≥ 4, got 2"
        assert failure.text == "Too vague."

    def test_every_number_is_one(self) -> None:
        for element in self.parsed(trial(four())).iter():
            for key in ("tests", "failures", "errors", "skipped", "time"):
                assert float(element.get(key, "0")) >= 0

    @given(ANY_TEXT)
    def test_any_reasoning_is_held(self, text: str) -> None:
        root = self.parsed(trial(four(text, 1)))
        failure = root.find(".//failure")
        assert failure is not None
        assert len(failure.text or "") <= len(text)
