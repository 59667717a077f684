"""What `evaluator calibrate` found, for people at a terminal and for scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluator.calibration.agreement import FEWEST, Calibration, Difference
from evaluator.calibration.weekly import spanned
from evaluator.messages.figures import value as points
from evaluator.messages.words import shortened
from evaluator.telemetry.logs import spelled_out
from judges.agreement import Value
from judges.calibration import Figure
from traces import RecordedScore

MEASURES: Final = {
    "agreement": "say the same",
    "kappa": "Cohen's kappa",
    "weighted kappa": "kappa, quadratic weights",
    "alpha": "Krippendorff's alpha",
    "spearman": "Spearman's rank correlation",
    "kendall": "Kendall's tau-b",
    "bias": "judge above people",
}
"""Figures in the order in which they are told, with their full names."""

_MOST_SHOWN: Final = 10


def show(found: Calibration, url: Callable[[RecordedScore], str], out: Console, floor: float | None = None) -> None:
    """Print how far a judge agrees with people, what it gave where they said what, and where they differ."""
    out.print(spelled_out(heading(found)), highlight=False, markup=False)
    for why, number in found.left_out.items():
        out.print(f"{number:,} labelled subjects {why}", style="yellow", highlight=False)
    agreement = found.found
    if agreement is None:
        out.print(f"nothing to compare: no subject has a score {found.name} and a label {found.against}", markup=False)
        return
    if found.scale.pass_at is not None:
        out.print(f"people say yes or no; the judge's numbers pass from {found.scale.pass_at:g} on", highlight=False)
    out.print()
    people = {"two people": agreement.people} if agreement.people else {}
    out.print(figures({"judge and a person": agreement.judge, **people}))
    out.print()
    out.print("what the judge gave (rows) where people said (columns), in labels", highlight=False)
    out.print(_crossed(found))
    if verdict := verdict_of(found, floor):
        out.print()
        out.print(verdict, highlight=False)
    if said := corrected_of(found):
        out.print(said, highlight=False)
    if found.differences:
        out.print()
        out.print("where they differ, what teaches most first", highlight=False)
        out.print(_differences(found.differences[:_MOST_SHOWN], url))


def heading(found: Calibration) -> str:
    """Return what was compared, in one line."""
    agreement = found.found
    if agreement is None:
        return f"{found.name} against {found.against}"
    people = f"{agreement.raters:,} {'person' if agreement.raters == 1 else 'people'}"
    judge = f" by {found.judge}" if found.judge else ""
    weighted = "" if abs(agreement.effective - agreement.n) < 1 else f" (worth {agreement.effective:,.0f})"
    return (
        f"{found.name}{judge} against {found.against}: {agreement.n:,} subjects{weighted} of {agreement.sessions:,} "
        f"sessions, {agreement.labels:,} labels of {people}"
    )


def verdict_of(found: Calibration, floor: float | None) -> str:
    """Return what the headline figure means: for the floor, and beside the ceiling."""
    agreement, headline = found.found, found.headline
    if agreement is None:
        return ""
    if headline is None:
        return f"{agreement.headline} cannot be told: one of both said the same of everything"
    parts = []
    if floor is not None and (below := agreement.below(floor)) is not None:
        side, sure = ("below", below) if below > 0.5 else ("above", 1 - below)
        parts.append(f"{side} the floor of {floor:g} with {sure:.0%} confidence")
    if (people := agreement.people.get(agreement.headline)) is not None:
        parts.append(f"people among themselves reach {people.value:.2f}")
    if not found.is_enough:
        parts.append(f"too few labels to rely on it ({FEWEST} subjects of 10 sessions are needed)")
    said = f": {'; '.join(parts)}" if parts else ""
    return f"{agreement.headline} {spanned(headline)}{said}"


def corrected_of(found: Calibration) -> str:
    """Return the mean of the last seven days, as the judge gave it and as people would have; empty where unknown."""
    made, binary = found.corrected, found.scale.is_binary
    if made is None:
        return ""
    raw, mean, low, high = (points(each, binary) for each in (made.raw, made.mean, made.low, made.high))
    by = f"by {made.labels:,} of {made.by}"
    return f"last seven days: {raw} by the judge; people would have it at {mean} (95 % {low} to {high}), {by}"


def figures(columns: Mapping[str, Mapping[str, Figure]]) -> Table:
    """Return figures with their intervals as a table, a column for each who is compared with people."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for title in columns:
        table.add_column(title, justify="right")
        table.add_column("95 %", justify="right", style="dim")
    for name, title in MEASURES.items():
        row = [known.get(name) for known in columns.values()]
        if any(row):
            table.add_row(title, *(cell for figure in row for cell in _cells(figure, signed=name == "bias")))
    return table


def _cells(figure: Figure | None, *, signed: bool) -> tuple[str, str]:
    if figure is None:
        return "", ""
    form = "+.2f" if signed else ".2f"
    ends = "" if figure.low is None else f"{figure.low:{form}} to {figure.high:{form}}"
    return f"{figure.value:{form}}", ends


def _crossed(found: Calibration) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    agreement = found.found
    table.add_column("")
    for value in agreement.shown if agreement else ():
        table.add_column(Text(spelled_out(worded(value))), justify="right")
    for row, value in enumerate(agreement.shown if agreement else ()):
        counts = agreement.counts[row] if agreement else ()
        styles = ("bold" if row == column else "" for column in range(len(counts)))
        cells = (Text(f"{n:,}" if n else "·", style) for n, style in zip(counts, styles, strict=True))
        table.add_row(Text(spelled_out(worded(value))), *cells)
    return table


def _differences(shown: tuple[Difference, ...], url: Callable[[RecordedScore], str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("judge", "people"):
        table.add_column(title, max_width=14)
    table.add_column("reasons of both", ratio=1)
    for each in shown:
        reasons = [f"- {_line(each.pair.ours.comment) or 'no reason'}"]
        reasons += [f"- {_line(rater[:12])}: {_line(comment)}" for rater, comment in each.comments]
        about = Text(url(each.pair.ours), "bold").append("\n" + "\n".join(reasons), "not bold")
        said = ", ".join(dict.fromkeys(worded(value) for value in each.said.values()))
        table.add_row(Text(spelled_out(worded(each.ours))), Text(spelled_out(said)), about)
    return table


def _line(text: str) -> str:
    return shortened(spelled_out(" ".join(text.split())))


def worded(value: Value) -> str:
    """Return a value as people call it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.4g}"


def as_json(found: Calibration, url: Callable[[RecordedScore], str], floor: float | None = None) -> dict[str, Any]:
    """Return everything as plain JSON; `url` tells where a person reads a subject."""
    agreement = found.found
    return {
        **found.summary(),
        "name": found.name,
        "against": found.against,
        "since": found.since.isoformat(),
        "left_out": dict(found.left_out),
        "enough": found.is_enough,
        "sessions": agreement.sessions if agreement else 0,
        "effective": agreement.effective if agreement else 0.0,
        "values": list(agreement.shown) if agreement else [],
        "levels": [[level.label, level.n, list(level.ours)] for level in agreement.levels] if agreement else [],
        "floor": floor,
        "below_floor": agreement.below(floor) if agreement and floor is not None else None,
        "differences": [_difference(each, url) for each in found.differences],
    }


def _difference(each: Difference, url: Callable[[RecordedScore], str]) -> dict[str, Any]:
    ours = each.pair.ours
    return {
        "trace_id": ours.trace_id,
        "observation_id": ours.observation_id,
        "session_id": ours.session_id,
        "url": url(ours),
        "ours": each.ours,
        "reason": ours.comment,
        "labels": dict(each.said),
        "comments": dict(each.comments),
        "distance": each.distance,
    }
