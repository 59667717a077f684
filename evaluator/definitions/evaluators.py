"""What a definition comes to: one thing that scores, and what it needs of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from evaluator.definitions.mistakes import nearest
from judges import CategoricalScale, Rubric
from monitors import MonitorSpec
from rules import Rule
from rules.remembering import Remembering
from traces import DataType, Observe, SampleRule, Severity, Target, When, at_least, worst


@dataclass(frozen=True, slots=True)
class Evaluator:
    """One thing that scores traces, their observations or sessions: a rule or a rubric, on what, and at which rate.

    `observe` is there when observations are its target; `idle`, how long nothing may have come, when sessions are.
    `in_pass` names the rules whose verdicts its filters ask for and get in the same pass (conditions.py). `compares`
    says whether its rule compares with earlier traces: what it says then follows from more than the trace.
    """

    name: str
    kind: Literal["rule", "rubric"]
    when: When
    sample: tuple[SampleRule, ...]
    version: str
    data_type: DataType
    rule: Rule | None = None
    rubric: Rubric | None = None
    observe: Observe | None = None
    idle: timedelta | None = None
    severity: Severity | None = None
    in_pass: frozenset[str] = frozenset()
    compares: bool = field(init=False, compare=False)

    @property
    def target(self) -> Target:
        """What gets a score."""
        if self.idle is not None:
            return "session"
        return "trace" if self.observe is None else "observation"

    def __post_init__(self) -> None:
        compares = self.rule is not None and any(isinstance(part, Remembering) for part in self.rule.every_part())
        object.__setattr__(self, "compares", compares)

    @property
    def is_off(self) -> bool:
        """Whether its file says that it is not to run."""
        return self.rubric is not None and not self.rubric.spec.enabled

    @property
    def scores(self) -> dict[str, DataType]:
        """The type of each score it writes, by name: its own first, then those of a checklist's criteria."""
        parts = self.rubric.spec.score_names[1:] if self.rubric is not None else ()
        return {self.name: self.data_type, **dict.fromkeys(parts, DataType.BOOLEAN)}


def with_verdicts(evaluators: Sequence[Evaluator]) -> list[Evaluator]:
    """Return evaluators that know which rules their filters ask for.

    A rule's verdict is known in the pass that finds the trace when it follows from the trace alone: when the rule
    checks whole traces and its own `when` asks for no score. Sessions are judged later, by the scores there are then.
    """
    ready = {
        each.name: each
        for each in evaluators
        if each.rule is not None and each.target == "trace" and not each.compares and not _asks_scores(each.when)
    }
    known: list[Evaluator] = []
    for each in evaluators:
        filters = [each.when, *(line.when for line in each.sample)] if each.target != "session" else []
        names = {when.score.name for when in filters if when.score is not None} & ready.keys()
        for when in filters:
            if (wanted := when.found) is not None:
                names |= {name for name, rule in ready.items() if at_least(rule.severity, wanted)}
        known.append(replace(each, in_pass=frozenset(names - {each.name})))
    return known


def unanswerable(evaluator: Evaluator) -> str | None:
    """Return what a filter asks for that no rule can tell in time; None when all can be told."""
    filters = (evaluator.when, *(line.when for line in evaluator.sample))
    if evaluator.target == "session" and any(when.found is not None for when in filters):
        return "when.found: a session is not judged when its traces are; ask for the score of a rule by its name"
    if any(line.budget is not None and asks_rules(line.when, evaluator.in_pass) for line in evaluator.sample):
        return "sample.budget: a rule's verdict comes too late to choose the rate of its line; say rate"
    return None


def never_found(evaluator: Evaluator, evaluators: Sequence[Evaluator]) -> str | None:
    """Return a remark on a filter that asks for a finding which no rule can make; None when there is none."""
    worst_known = worst(each.severity for each in evaluators if each.name in evaluator.in_pass and each.severity)
    for when in (evaluator.when, *(line.when for line in evaluator.sample)):
        if when.found is not None and not at_least(worst_known, when.found):
            asked = f"{evaluator.name} asks for `found: {when.found}`"
            return f"{asked}, and no rule on traces has this severity or a worse one"
    return None


def _asks_scores(when: When) -> bool:
    return when.score is not None or when.found is not None


def asks_rules(when: When, in_pass: frozenset[str]) -> bool:
    """Whether a filter needs the verdict of a rule."""
    return bool(_asking(when, in_pass))


def without_rules(when: When, in_pass: frozenset[str]) -> When:
    """Return a filter without what it asks of rules."""
    rest = when.model_fields_set - _asking(when, in_pass)
    return When.model_validate({name: getattr(when, name) for name in rest})


def of_rules(when: When, in_pass: frozenset[str]) -> When:
    """Return what a filter asks of rules, and nothing else."""
    return When.model_validate({name: getattr(when, name) for name in _asking(when, in_pass)})


def _asking(when: When, in_pass: frozenset[str]) -> set[str]:
    """Return the conditions of a filter that ask for the verdict of a rule."""
    found = {"found"} if when.found is not None else set()
    return found | ({"score"} if when.score is not None and when.score.name in in_pass else set())


def unwatchable(spec: MonitorSpec, evaluators: Sequence[Evaluator]) -> str | None:
    """Return why a score that one of these writes cannot be watched so; None when it can, or others write it."""
    kind = next((one.scores[spec.score] for one in evaluators if spec.score in one.scores), None)
    if kind is None:
        return None
    if kind is not DataType.CATEGORICAL:
        return None if spec.labels is None else f"labels: the values of {spec.score!r} are no labels"
    if spec.labels is None:
        return f"score: the values of {spec.score!r} are labels; say with `labels: [...]` whose share is watched"
    scale = next(
        (one.rubric.spec.score for one in evaluators if one.rubric is not None and one.name == spec.score), None
    )
    known = scale.labels if isinstance(scale, CategoricalScale) else spec.labels
    wrong = next((label for label in spec.labels if label not in known), None)
    return None if wrong is None else f"labels: {spec.score!r} has no label {wrong!r}; {nearest(wrong, known)}"
