"""What a proposal becomes in a rubric's file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from evaluator.rubrics.editing import edited
from evaluator.rubrics.rivals import LabelledTrace
from evaluator.rubrics.tuning import Disagreement, Lessons, change_of
from judges import Redaction, Rubric, RubricSpec
from judges.shared_scale import shared_scale
from judges.tuning import PROPOSAL, Case, Lesson, Proposal
from tests.building import step, trace
from traces import Trace, Usage, Verdict

SPEC: Final[dict[str, Any]] = {
    "name": "tone",
    "inputs": {"answer": "$.root.output"},
    "criteria": "Is it polite?",
    "score": {"type": "numeric", "min": 1, "max": 5, "step": 1},
    "judge": {"model": "gpt"},
}
RUBRIC: Final = Rubric(RubricSpec.model_validate(SPEC))
FILE: Final = "name: tone\ncriteria: Is it polite?\nscore: {type: numeric, min: 1, max: 5, step: 1}\n"


def disagreement(of: Trace) -> Disagreement:
    return Disagreement(LabelledTrace(of, {}), Verdict(1.0, "rude"), 5.0, 1.0, Lesson({}, "1", "rude", "5"))


def parts_of(one: Trace) -> list[Trace]:
    return [one.at(each) for each in one.observations]


@pytest.mark.parametrize(
    "traces",
    [
        [replace(trace(), id=f"{number:032x}") for number in range(2)],
        [replace(trace(), id="long-" * 20 + str(number)) for number in range(2)],
        parts_of(trace(step("a", output="So."), step("b", output="No.")))[-2:],
    ],
    ids=["ids that begin alike", "ids that are long and begin alike", "steps of one trace"],
)
def test_examples_that_come_of_it_have_names_of_their_own(traces: list[Trace]) -> None:
    found = [disagreement(each) for each in traces]
    lessons = Lessons(2, tuple(found), 2, Usage(), shared_scale(RUBRIC.spec.score, [5.0], None))
    proposal = Proposal({}, (Case(0, "It is short", "that is fine"), Case(1, "It is long", "that is fine")))
    outcome = Verdict(True, "they differ", details={PROPOSAL: proposal})
    change = change_of(outcome, RUBRIC, lessons, Redaction())
    names = [each.name for each in change.examples]
    assert len({*names}) == len(names) == 2
    assert max(map(len, names)) <= 60
    assert all(f"name: {name}" in edited(FILE, {}, change.precedents, change.examples) for name in names)
