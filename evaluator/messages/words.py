"""Outcomes, filters and rates in words for a terminal."""

from __future__ import annotations

from typing import Final, TypeGuard

from evaluator.definitions import Evaluator
from evaluator.telemetry.logs import spelled_out
from judges import CANNOT_JUDGE
from traces import Failure, NotApplicable, Outcome, SampleRule, Unscored, Usage, Verdict, When, duration_text

SHORT: Final = 240
"""Characters of a reason in a table."""


_OF_THE_CONTENT: Final = frozenset(
    {"answer_cut", "bad_answer", "content_filter", "context_too_long", "judge_declined", "no_answer"}
)
"""Kinds of failure that the model's answer itself was. Of any other nothing is learned about the rubric."""


def answer_of(outcome: Outcome) -> str:
    """Return what an outcome says, in a word or two."""
    match outcome:
        case Verdict(bool() as yes):
            return "true" if yes else "false"
        case Verdict(float() | int() as number):
            return f"{number:.4g}"
        case Verdict(value):
            return str(value)
        case Unscored():
            return CANNOT_JUDGE
        case NotApplicable():
            return "skipped"
        case Failure(kind):
            return kind


def reason_of(outcome: Outcome) -> str:
    """Return why, on one line that cannot steer a terminal: a judge may quote what it was shown."""
    return spelled_out(" ".join(outcome.reason.split()))


def usage_of(outcome: Outcome) -> Usage:
    """Return what an outcome cost; what was never asked cost nothing."""
    return Usage() if isinstance(outcome, NotApplicable) else outcome.usage


def is_unasked(outcome: Outcome) -> TypeGuard[Failure]:
    """Whether nothing was learned about the rubric: its judge did not answer, and not because of the content."""
    return isinstance(outcome, Failure) and outcome.kind not in _OF_THE_CONTENT


def is_priced(outcome: Outcome) -> bool:
    """Whether its cost is known: somebody told the price of its model, or nothing was asked."""
    return not (isinstance(outcome, Verdict) and outcome.details.get("unpriced"))


def usd(used: Usage, *, priced: bool = True) -> str:
    """Return a cost in US dollars as a table shows it."""
    if not used.calls:
        return "-"
    return f"{used.usd:.5f}" if priced else "no price"


def shortened(text: str, longest: int = SHORT) -> str:
    """Return a text of at most `longest` characters; … stands where it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def percent(share: float) -> str:
    """Return a share of 1 in per cent, with two places where it is small."""
    return f"{share:.0%}" if share >= 0.01 or not share else f"{share:.2%}"


def conditions(when: When) -> str:
    """Return what a filter asks for."""
    asked = when.model_dump(exclude_none=True, mode="json")
    return ", ".join(f"{name} {_words(value)}" for name, value in asked.items()) or "every trace"


def seen(evaluator: Evaluator) -> str:
    """Return what an evaluator looks at: which traces, which observations of them, or which sessions, and when."""
    asked = conditions(evaluator.when)
    if evaluator.idle is not None:
        which = "every session" if asked == conditions(When()) else f"sessions with a trace of {asked}"
        return f"{which}, idle for {duration_text(evaluator.idle)}"
    if evaluator.observe is None:
        return asked
    observe = evaluator.observe
    what = " ".join(_words(list(part)) for part in (observe.type, observe.name) if part is not None)
    return f"{what}, at most {observe.at_most} a trace; {asked}"


def _words(value: object) -> str:
    match value:
        case dict():
            others = [f"{key} {_words(inner)}" for key, inner in value.items() if key != "name"]
            return " ".join([*([_words(value["name"])] if "name" in value else []), *others])
        case list():
            return " or ".join(map(_words, value))
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def rates(evaluator: Evaluator) -> str:
    """Return at which rates an evaluator takes which traces."""
    lines = (_rate(line) for line in evaluator.sample)
    filters = (conditions(line.when) for line in evaluator.sample)
    return ", ".join(
        rate if condition == "every trace" else f"{rate} where {condition}"
        for rate, condition in zip(lines, filters, strict=True)
    )


def _rate(line: SampleRule) -> str:
    if line.budget is None:
        return percent(line.rate)
    return f"{line.budget}" + (f", at most {percent(line.rate)}" if line.rate < 1 else "")
