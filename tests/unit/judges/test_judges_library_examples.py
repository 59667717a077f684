"""The examples of the shipped rubrics can tell a judge that reads from one that does not."""

from __future__ import annotations

from typing import Any

import pytest

from evaluator import starter
from evaluator.definitions import load
from evaluator.rubrics.golden import Result, run_examples
from judges import CANNOT_JUDGE, Rubric
from tests.judging import Opinion, Scripted, as_expected, by_brevity, by_length, near, obedient, unforthcoming

DEFINITIONS = load(starter.folder())
LIBRARY = [each.rubric for each in (*DEFINITIONS.evaluators, *DEFINITIONS.off) if each.rubric is not None]

USELESS: dict[str, Opinion] = {
    "always the best": lambda rubric, _: near(rubric, 1),
    "always the worst": lambda rubric, _: near(rubric, 0),
    "always the middle": lambda rubric, _: near(rubric, 0.5),
    "never anything": lambda *_: CANNOT_JUDGE,
    "the longer the better": by_length,
    "the shorter the better": by_brevity,
}
NEARLY_RIGHT: dict[str, Opinion] = {"obeys what it reads": obedient, "never abstains": unforthcoming}


def passes(rubric: Rubric, answers: list[Any]) -> list[bool]:
    """Whether each example of a rubric accepts what was answered to it."""
    return [trial.result is Result.PASSED for trial in run_examples(Scripted(answers), [rubric], now=lambda: 0.0)]


def misses(rubric: Rubric, judge: Opinion) -> int:
    return passes(rubric, [judge(rubric, example) for example in rubric.spec.examples]).count(False)


@pytest.mark.parametrize("rubric", LIBRARY, ids=lambda rubric: rubric.name)
class TestEach:
    def test_a_judge_that_answers_as_expected_passes(self, rubric: Rubric) -> None:
        assert misses(rubric, as_expected) == 0

    @pytest.mark.parametrize("judge", USELESS)
    def test_a_judge_that_does_not_read_fails_a_third_of_the_examples(self, rubric: Rubric, judge: str) -> None:
        assert misses(rubric, USELESS[judge]) >= len(rubric.spec.examples) / 3

    @pytest.mark.parametrize("judge", NEARLY_RIGHT)
    def test_a_judge_with_one_fault_is_found_out(self, rubric: Rubric, judge: str) -> None:
        assert misses(rubric, NEARLY_RIGHT[judge]) > 0

    def test_both_ends_of_its_scale_are_expected(self, rubric: Rubric) -> None:
        number = len(rubric.spec.examples)
        best, worst = (passes(rubric, [near(rubric, end)] * number) for end in (1, 0))
        assert any(good and not bad for good, bad in zip(best, worst, strict=True))
        assert any(bad and not good for good, bad in zip(best, worst, strict=True))
