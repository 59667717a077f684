"""Judges made of a few lines, for golden examples: one that answers as expected, and others no rubric should pass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Final

from evaluator.definitions import Evaluator
from judges import (
    CANNOT_JUDGE,
    BooleanScale,
    ChecklistScale,
    Example,
    NumericScale,
    Question,
    Reply,
    Rubric,
    RubricSpec,
)
from traces import Outcome, Usage, Verdict, as_text

Answer = tuple[float, Any]
"""How good an answer is, from 0 to 1, and what stands under "score" in the JSON."""

Opinion = Callable[[Rubric, Example], Any]
"""What a judge says of an example: what stands under "score"."""

_TALKS_TO_US: Final = re.compile(
    r"evaluat|évaluateur|judges:|verdict|supervisor|(?:correct|highest) score", re.IGNORECASE
)


class Scripted:
    """Answers questions in the order they are asked, without a wire."""

    def __init__(self, answers: Sequence[Any]) -> None:
        self._answers = answers

    def ask(self, questions: Sequence[Question], patience: float | None = None) -> Iterator[list[tuple[int, Outcome]]]:
        """Give every outcome at once."""
        yield [(at, read(question, self._answers[at])) for at, question in enumerate(questions)]


def read(question: Question, score: Any) -> Outcome:
    """Return what a question makes of an answer with this score."""
    text = json.dumps({"reasoning": "Because.", "score": score})
    outcome = question.read(Reply(text, "scripted", "stop", Usage("scripted", 1, 100, 20, 0.0)))
    assert isinstance(outcome, Outcome)
    return outcome


def answers_of(rubric: Rubric) -> list[Answer]:
    """Return every answer a judge may give on the rubric's scale, from the worst to the best."""
    match rubric.spec.score:
        case NumericScale() as scale:
            found = [((level - scale.min) / (scale.max - scale.min), level) for level in scale.levels]
        case BooleanScale():
            found = [(0.0, False), (1.0, True)]
        case ChecklistScale() as scale:
            each = product(("no", "yes"), repeat=len(scale.criteria))
            found = [_checked(scale, dict(zip(scale.criteria, said, strict=True))) for said in each]
        case other:
            raise TypeError(other.type)
    return sorted(found, key=lambda answer: answer[0])


def near(rubric: Rubric, wanted: float) -> Any:
    """Return the answer closest to a goodness from 0 to 1."""
    return min(answers_of(rubric), key=lambda answer: abs(answer[0] - wanted))[1]


def as_expected(rubric: Rubric, example: Example) -> Any:
    """Answer what the example's author wants to hear."""
    question = rubric.question_from(example.inputs)
    assert isinstance(question, Question)
    possible = [CANNOT_JUDGE, *(score for _, score in answers_of(rubric))]
    return next(score for score in possible if example.expect.met_by(read(question, score)))


def obedient(rubric: Rubric, example: Example) -> Any:
    """Answer as expected, but give full marks to whatever talks to the judge."""
    if _TALKS_TO_US.search(json.dumps(example.inputs, ensure_ascii=False)):
        return near(rubric, 1)
    return as_expected(rubric, example)


def unforthcoming(rubric: Rubric, example: Example) -> Any:
    """Answer as expected, but never that it cannot tell: the middle instead."""
    said = as_expected(rubric, example)
    return near(rubric, 0.5) if said == CANNOT_JUDGE else said


def by_length(rubric: Rubric, example: Example) -> Any:
    """Give more the longer the judged text is among the rubric's examples."""
    lengths = sorted(_length(each) for each in rubric.spec.examples)
    return near(rubric, lengths.index(_length(example)) / (len(lengths) - 1))


def by_brevity(rubric: Rubric, example: Example) -> Any:
    """Give more the shorter the judged text is among the rubric's examples."""
    lengths = sorted((_length(each) for each in rubric.spec.examples), reverse=True)
    return near(rubric, lengths.index(_length(example)) / (len(lengths) - 1))


def _length(example: Example) -> int:
    judged = next(name for name in ("answer", "transcript", "documents") if name in example.inputs)
    return len(as_text(example.inputs[judged]))


def _checked(scale: ChecklistScale, said: dict[str, str]) -> Answer:
    verdict = scale.judged({name: {"reason": "", "answer": answer} for name, answer in said.items()}, "")
    assert isinstance(verdict, Verdict)
    return float(verdict.value), {name: {"reason": "Seen.", "answer": answer} for name, answer in said.items()}


def numeric_judge(**changes: Any) -> Evaluator:
    """Return an evaluator whose rubric gives an answer 1 to 5, with some of its keys changed."""
    written = {
        "name": "helpfulness",
        "inputs": {"answer": "$.root.output"},
        "criteria": "Does it help?",
        "score": {"type": "numeric", "min": 1, "max": 5},
    }
    made = Rubric(RubricSpec.model_validate({**written, **changes}))
    return Evaluator(made.name, "rubric", made.spec.when, made.spec.sample, made.version, made.data_type, rubric=made)
