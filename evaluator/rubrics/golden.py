"""Golden tests: the examples of rubrics go to the real judge, and its answers are compared with what is expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Protocol

from evaluator.messages.words import answer_of, is_unasked, usage_of
from evaluator.state.golden_tests import KeptTest
from judges import Example, Question, Rubric
from traces import NotApplicable, Outcome, Usage, Verdict


class Asks(Protocol):
    """What asks judges: `ModelApi`, or a stand-in for it."""

    def ask(self, questions: Sequence[Question], patience: float | None = None) -> Iterator[list[tuple[int, Outcome]]]:
        """Give the places and outcomes of questions as they end."""


class Result(StrEnum):
    """What an example came to."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ASKED = "not asked"
    """The judge could not be asked, often enough that nothing can be said."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One example of a rubric and what its judge answered.

    Attributes:
        rubric: whose example it is.
        number: its place among the examples, from 1.
        outcomes: one for each time it was asked.
        need: the share of them that must be as expected, from 0 to 1.
        seconds: from the start of the test to its last answer.
    """

    rubric: Rubric
    number: int
    outcomes: tuple[Outcome, ...]
    need: float
    seconds: float

    @property
    def example(self) -> Example:
        """The example as its author wrote it."""
        return self.rubric.spec.examples[self.number - 1]

    @property
    def name(self) -> str:
        """How it is called: by its own name, or its number."""
        return self.example.name or f"example {self.number}"

    @property
    def passes(self) -> int:
        """How many answers were as expected."""
        return sum(self.example.expect.met_by(outcome) for outcome in self.outcomes)

    @property
    def is_flaky(self) -> bool:
        """Whether of the same question some answers were as expected and some were not."""
        heard = sum(not is_unasked(outcome) for outcome in self.outcomes)
        return 0 < self.passes < heard

    @property
    def result(self) -> Result:
        """What it came to; what was not asked counts neither for nor against it."""
        unasked = sum(map(is_unasked, self.outcomes))
        needed = self.need * len(self.outcomes) - 1e-9
        if self.passes + unasked < needed:
            return Result.FAILED
        return Result.PASSED if self.passes >= needed else Result.NOT_ASKED

    @property
    def got(self) -> str:
        """What was answered, in words: each different answer, with how often it came."""
        said = Counter(map(answer_of, self.outcomes))
        return ", ".join(answer if len(self.outcomes) == 1 else f"{n}x {answer}" for answer, n in said.most_common())

    @property
    def spread(self) -> float | None:
        """From the lowest to the highest number answered; None where there are not two numbers."""
        numbers = [float(o.value) for o in self.outcomes if isinstance(o, Verdict) and isinstance(o.value, int | float)]
        return max(numbers) - min(numbers) if len(numbers) > 1 else None

    @property
    def telling(self) -> Outcome:
        """The outcome whose reason is worth reading: the first that is not as expected, else the first."""
        unmet = (outcome for outcome in self.outcomes if not self.example.expect.met_by(outcome))
        return next(unmet, self.outcomes[0])

    @property
    def usage(self) -> Usage:
        """What all its answers cost."""
        return sum(map(usage_of, self.outcomes), Usage())


def run_examples(
    model: Asks,
    rubrics: Iterable[Rubric],
    *,
    repeat: int = 1,
    need: float = 1.0,
    now: Callable[[], float],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Trial]:
    """Ask the judges of all examples of rubrics.

    Args:
        model: what is asked.
        rubrics: whose examples; one without any adds nothing.
        repeat: how often each is asked.
        need: share of the answers that must be as expected for an example to pass.
        now: a clock in seconds.
        progress: told how many more questions have ended.
    """
    started = now()
    cases = [(rubric, number) for rubric in rubrics for number in range(1, len(rubric.spec.examples) + 1)]
    asked = [case for case in cases for _ in range(repeat)]
    first = [rubric.question_from(rubric.spec.examples[number - 1].inputs) for rubric, number in asked]
    ended = {at: (each, 0.0) for at, each in enumerate(first) if isinstance(each, NotApplicable)}
    outcomes: dict[int, tuple[Outcome, float]] = {**ended}
    progress(len(outcomes))
    places = [at for at, each in enumerate(first) if isinstance(each, Question)]
    for lot in model.ask([each for each in first if isinstance(each, Question)]):
        outcomes |= {places[at]: (outcome, now() - started) for at, outcome in lot}
        progress(len(lot))
    return [
        Trial(
            rubric,
            number,
            tuple(outcomes[at][0] for at in range(start, start + repeat)),
            need,
            max(outcomes[at][1] for at in range(start, start + repeat)),
        )
        for (rubric, number), start in zip(cases, range(0, len(asked), repeat), strict=True)
    ]


def summaries(tested: Iterable[Trial], at: datetime) -> dict[str, KeptTest]:
    """Return what the examples of each rubric came to at a time, by rubric; those of one stand together."""
    by_rubric = groupby(tested, key=lambda each: each.rubric.name)
    return {name: _summary(list(trials), at) for name, trials in by_rubric}


def _summary(trials: Sequence[Trial], at: datetime) -> KeptTest:
    results = Counter(each.result for each in trials)
    return KeptTest(
        at,
        trials[0].rubric.version,
        passed=results[Result.PASSED],
        failed=results[Result.FAILED],
        unasked=results[Result.NOT_ASKED],
        flaky=sum(each.is_flaky for each in trials),
        repeat=max(len(each.outcomes) for each in trials),
    )
