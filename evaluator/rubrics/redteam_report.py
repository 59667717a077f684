"""What a red team found: tables for people, JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from evaluator.messages.figures import dollars
from evaluator.messages.words import answer_of, percent
from evaluator.preview.intervals import Interval
from evaluator.rubrics.redteam import Findings, Kind, Shot
from evaluator.telemetry.logs import spelled_out

_SURE: Final = 0.05
_SHOWN: Final = 10
"""Attacks that got through and are shown; JSON has all."""


def show(found: Sequence[Findings], asked: int, planned: int, out: Console) -> None:
    """Print what was found of each judge model; `asked` of `planned` questions were sent."""
    for each in found:
        _show_model(each, out)
    if asked < planned:
        out.print(f"{asked:,} of {planned:,} questions were asked: the rest was beyond --max-usd or got no answer")


def _show_model(found: Findings, out: Console) -> None:
    out.print(found.model, style="bold", markup=False, highlight=False)
    attacks, noise = found.rate(Kind.ATTACK), found.rate(Kind.HARMLESS)
    lines = [
        ("attacks that raised the verdict", _share(attacks, found, Kind.ATTACK)),
        ("harmless texts that did (noise)", _share(noise, found, Kind.HARMLESS)),
        ("attacks that left no verdict", f"{found.broken:,}"),
        ("attacks told as `suspected`", _percent(found.noticed)),
        ("the fences change honest verdicts by", _points(found.shift)),
    ]
    if found.excess is not None:
        doing = "more than" if found.chance < _SURE else "no more than"
        lines.insert(2, ("", f"attacks raise {doing} harmless texts do (p = {found.chance:.2g})"))
    for what, said in lines:
        out.print(f"  {what:<38}{said}", markup=False, highlight=False)
    if attacks is not None:
        out.print(_families(found))
    through = [shot for shot, flipped in found.flipped(Kind.ATTACK) if flipped]
    for shot in through[:_SHOWN]:
        out.print(f"  {_told(shot)}", markup=False, highlight=False)
    if len(through) > _SHOWN:
        out.print(f"  and {len(through) - _SHOWN:,} more; --json has them all", highlight=False)
    cost = f"{dollars(found.used.usd)} USD" if found.is_priced else "no price is known"
    out.print(f"  {found.used.calls:,} judge calls, {cost}\n", highlight=False)


def _families(found: Findings) -> Table:
    table = Table("  family", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("raised", justify="right")
    table.add_column("asked", justify="right")
    families = dict.fromkeys(shot.attack.family for shot, _ in found.flipped(Kind.ATTACK) if shot.attack is not None)
    for family in families:
        flips = [flipped for _, flipped in found.flipped(Kind.ATTACK, family)]
        table.add_row(f"  {family}", f"{sum(flips):,}", f"{len(flips):,}")
    return table


def _told(shot: Shot) -> str:
    attack = shot.attack.name if shot.attack is not None else ""
    said = answer_of(shot.outcome) if shot.outcome is not None else ""
    return spelled_out(f"got through: {shot.rubric.name}, example {shot.number}, {attack} in {shot.place}: {said}")


def _share(rate: Interval | None, found: Findings, kind: Kind) -> str:
    flips = [flipped for _, flipped in found.flipped(kind)]
    return f"{_percent(rate)}; {sum(flips):,} of {len(flips):,}" if flips else "nothing to raise"


def _percent(rate: Interval | None) -> str:
    return "-" if rate is None else f"{percent(rate.value)} (95 % {percent(rate.low)} to {percent(rate.high)})"


def _points(shift: Interval | None) -> str:
    if shift is None:
        return "-"
    value, low, high = (f"{100 * each:+.1f}" for each in (shift.value, shift.low, shift.high))
    return f"{value} % of the scale (95 % {low} to {high})"


def as_json(found: Sequence[Findings], asked: int, planned: int) -> dict[str, Any]:
    """Return everything as plain JSON; shares from 0 to 1, the cost in USD."""
    return {"models": [_model(each) for each in found], "asked": asked, "planned": planned}


def _model(found: Findings) -> dict[str, Any]:
    flips = found.flipped(Kind.ATTACK)
    families = dict.fromkeys(shot.attack.family for shot, _ in flips if shot.attack is not None)
    return {
        "model": found.model,
        "flip_rate": _interval(found.rate(Kind.ATTACK)),
        "noise": _interval(found.rate(Kind.HARMLESS)),
        "excess": found.excess,
        "p": found.chance,
        "families": {family: _interval(found.rate(Kind.ATTACK, family)) for family in families},
        "no_verdict": found.broken,
        "suspected": _interval(found.noticed),
        "fence_shift": _interval(found.shift),
        "got_through": [
            {
                "rubric": shot.rubric.name,
                "example": shot.number,
                "attack": shot.attack.name if shot.attack is not None else "",
                "input": shot.place,
                "level": shot.level,
            }
            for shot, flipped in flips
            if flipped
        ],
        "judge": {
            "calls": found.used.calls,
            "input_tokens": found.used.input_tokens,
            "output_tokens": found.used.output_tokens,
            "usd": round(found.used.usd, 8) if found.is_priced else None,
        },
    }


def _interval(known: Interval | None) -> dict[str, float] | None:
    return None if known is None else {"value": known.value, "low": known.low, "high": known.high}
