"""Outcomes in words for a terminal: what was answered, why, and what it cost."""

from __future__ import annotations

from typing import Final

from evaluator.telemetry import spelled_out
from judges import CANNOT_JUDGE
from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict

SHORT: Final = 240
"""Characters of a reason in a table."""


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
