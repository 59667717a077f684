"""What an evaluator says before anybody is asked: a rule its outcome, a rubric its question. Never an exception."""

from __future__ import annotations

from typing import Final

from evaluator.definitions.evaluators import Evaluator
from judges import Question
from traces import Failure, NotApplicable, Outcome, Session, Trace

PROMPT_MISSING: Final = "prompt_missing"
"""Kind of failure of a rubric whose criteria Langfuse holds and has never given; they may come."""

_NO_RULE: Final = NotApplicable("evaluator without rule or rubric")


def first_outcome(evaluator: Evaluator, material: Trace | Session) -> Outcome | Question:
    """Return what an evaluator says of what it looks at, or what its judge must be asked first."""
    if (skipped := _unmet(evaluator, material)) is not None:
        return skipped
    if evaluator.rubric is None:
        return rule_outcome(evaluator, material) if isinstance(material, Trace) else _NO_RULE
    try:
        if evaluator.rubric.spec.awaits_prompt:
            return Failure(PROMPT_MISSING, f"Langfuse has not given {evaluator.rubric.spec.prompt} yet", retryable=True)
        return evaluator.rubric.question(material)
    except Exception as error:  # noqa: BLE001 - whatever a question cannot be made of must not stop the others
        return Failure("rule_error", f"{type(error).__name__} in {evaluator.name}")


def rule_outcome(evaluator: Evaluator, trace: Trace) -> Outcome:
    """Return what a rule says of a trace."""
    if (skipped := _unmet(evaluator, trace)) is not None:
        return skipped
    if evaluator.rule is None:
        return _NO_RULE
    try:
        return evaluator.rule.check(trace)
    except Exception as error:  # noqa: BLE001 - a team's own rule may raise anything; it must not stop the others
        return Failure("rule_error", f"{type(error).__name__} in {evaluator.name}")


def _unmet(evaluator: Evaluator, material: Trace | Session) -> NotApplicable | None:
    """Say which condition of `when`, of those that need the whole trace, does not hold."""
    if not evaluator.when.needs_whole:
        return None
    traces = material.traces if isinstance(material, Session) else (material.whole or material,)
    unmet = evaluator.when.unmet(traces)
    return None if unmet is None else NotApplicable(f"`when` asks for another {unmet}")


def nothing_there(evaluator: Evaluator) -> str:
    """Return why there is nothing to look at, fit to be counted."""
    return "no such observation" if evaluator.target == "observation" else "target changed"
