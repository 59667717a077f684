"""What `evaluator rubric tune` proposes and whether it is better, for people and for scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from evaluator.messages.figures import dollars
from evaluator.messages.words import reason_of
from evaluator.rubrics import rivals_report
from evaluator.rubrics.rivals import Contest
from evaluator.rubrics.tuning import Change, Lessons
from evaluator.telemetry.logs import spelled_out
from traces import Outcome, Session, Trace, Usage

NAMES: Final = ("as it is", "proposed")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of tuning a rubric.

    Attributes:
        name: of the rubric.
        lessons: where its judge and people differ.
        kept: how many labelled traces were kept for the test.
        outcome: what a model said to those; None where there was nothing to ask.
        change: what it proposes; None without a proposal.
        diff: the same, as a diff of the file.
        contest: both versions on what was kept; None without a proposal.
        used: what judging the lessons and the proposal cost; the test is in `contest`.
    """

    name: str
    lessons: Lessons
    kept: int
    outcome: Outcome | None
    change: Change | None
    diff: str
    contest: Contest | None
    used: Usage


def show(found: Tuned, out: Console) -> None:
    """Print where judge and people differ, what is proposed, and whether it is better on labels it has not seen."""
    lessons = found.lessons
    out.print(
        f"{found.name}: judge and people differ on {lessons.differing:,} of {lessons.judged:,} labelled traces to "
        f"learn from; {found.kept:,} are kept for the test",
        highlight=False,
        markup=False,
    )
    if found.outcome is not None:
        out.print(spelled_out(reason_of(found.outcome)), highlight=False, markup=False)
    for line in found.diff.splitlines():
        style = "green" if line.startswith("+") else "red" if line.startswith("-") else ""
        out.print(Text(spelled_out(line), style))
    if found.contest is not None:
        rivals_report.show(found.contest, NAMES, out)
        out.print()
    out.print(verdict(found), highlight=False, markup=False)
    spent = f"{found.used.calls:,} calls to find and write it, {dollars(found.used.usd)} USD; nothing was changed"
    out.print(spent, style="dim", highlight=False)


def verdict(found: Tuned) -> str:
    """Return whether to take it, as far as labels tell."""
    if not found.lessons.judged:
        return "nothing to learn from: no trace of that half has a label and a verdict"
    if not found.lessons.differing:
        return "nothing to learn: the judge says what people say of every trace to learn from"
    if found.outcome is not None and found.change is None:
        return "no proposal: what the judge got wrong has no words in common, or could not be written"
    difference = None if found.contest is None else found.contest.difference
    if difference is None or difference.low is None or difference.high is None:
        return "not better with what is here: too few labels were kept to tell; label more (evaluator label)"
    ends = f"{difference.value:+.2f} (95 % {difference.low:+.2f} to {difference.high:+.2f})"
    if difference.low > 0:
        return f"better on labels it has not seen, {ends}: read the diff, and take it if you would have written it"
    if difference.high < 0:
        return f"worse on labels it has not seen, {ends}: leave the rubric as it is"
    return f"not better with what is here, {ends}: the interval holds 0; more labels may tell (evaluator label)"


def as_json(found: Tuned, url: Callable[[Trace | Session], str]) -> dict[str, Any]:
    """Return everything as plain JSON; `url` tells where a person reads a trace."""
    change, contest = found.change, found.contest
    return {
        "rubric": found.name,
        "learned_from": found.lessons.judged,
        "differing": found.lessons.differing,
        "kept": found.kept,
        "reasoning": None if found.outcome is None else found.outcome.reason,
        "anchors": {} if change is None else dict(change.anchors),
        "cases": [] if change is None else list(change.precedents),
        "examples": [] if change is None else [each.model_dump(exclude_none=True) for each in change.examples],
        "diff": found.diff,
        "verdict": verdict(found),
        "contest": None if contest is None else rivals_report.as_json(contest, NAMES, url),
        "usd": found.used.usd,
    }
