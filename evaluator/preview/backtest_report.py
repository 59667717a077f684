"""What a backtest found: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from evaluator.messages.figures import sees, value
from evaluator.preview.backtest import Replayed, Sight, Told
from monitors import Event

_MARKS: Final = {Event.FELL: "fell", Event.GREW: "fell further", Event.RESOLVED: "recovered"}


def show(found: Sequence[Replayed], out: Console) -> None:
    """Print what each monitor would have told, how much of that is chance, and what it can see."""
    for each in found:
        falls = sum(told.event is Event.FELL for told in each.told)
        out.print(each.monitor, style="bold", markup=False, highlight=False)
        alerts = "1 alert" if falls == 1 else f"{falls} alerts"
        out.print(f"  {alerts} in {each.weeks} weeks, a look a day", highlight=False)
        for told in each.told:
            out.print(f"    {_line(told, each)}", markup=False, highlight=False)
        out.print(f"  {_chance(each)}", markup=False, highlight=False)
        for line in _sight(each):
            out.print(f"  {line}", markup=False, highlight=False)
        out.print()


def _line(told: Told, found: Replayed) -> str:
    day = f"{told.at:%d %b %Y}"
    what = _MARKS.get(told.event, str(told.event).replace("_", " "))
    if told.test is None:
        return f"{day}  {what}"
    before, now = (value(points, found.binary) for points in (told.test.baseline, told.test.now))
    weeks = f" over {told.test.span} weeks" if told.test.span > 1 else ""
    who = f", {told.who}" if told.who else ""
    return f"{day}  {what} {before} → {now}{weeks} (p = {told.test.p:.2g}){who}"


def _chance(found: Replayed) -> str:
    if found.promised is not None:
        return f"false alerts: at most {found.promised:g} a year, by the theorem of the e-detector"
    if found.chance is None:
        return f"false alerts: cannot be told from {found.quiet} quiet weeks; 8 are needed"
    low, high = found.chance.low, found.chance.high
    said = f"{found.chance.value:.2f} a year by chance (95 % {low:.2f} to {high:.2f})"
    return f"false alerts: {said}, from {found.quiet} quiet weeks in random order"


def _sight(found: Replayed) -> list[str]:
    sight = found.sight
    if sight is None:
        return [f"what it can see: nothing can be compared yet ({found.reason})"]
    lines = [f"{sees(sight.smallest, sight.level, found.binary)} ({sight.n:,} scores, {sight.rate:.1%} of traces)"]
    if sight.wanted is not None:
        need = (
            f"score {sight.needed:.1%} of traces"
            if sight.needed is not None
            else "no sampling rate is enough: weeks differ by more than that, or smallest_drop is larger"
        )
        lines.append(f"to see a fall of {sight.wanted:.1%} within a week: {need}")
    return lines


def as_json(found: Sequence[Replayed]) -> dict[str, Any]:
    """Return everything as plain JSON: times in ISO 8601, shares from 0 to 1."""
    return {"monitors": [_monitor(each) for each in found]}


def _monitor(found: Replayed) -> dict[str, Any]:
    chance = found.chance
    return {
        "monitor": found.monitor,
        "weeks": found.weeks,
        "quiet_weeks": found.quiet,
        "false_alerts_promised": found.promised,
        "told": [_event(told) for told in found.told],
        "false_alerts_a_year": None
        if chance is None
        else {"value": chance.value, "low": chance.low, "high": chance.high},
        "sight": None if found.sight is None else _seen(found.sight),
        "reason": found.reason,
    }


def _seen(sight: Sight) -> dict[str, Any]:
    return {
        "smallest_fall": sight.smallest,
        "smallest_share": sight.share,
        "sampling_rate": sight.rate,
        "scores": sight.n,
        "wanted_share": sight.wanted,
        "needed_rate": sight.needed,
    }


def _event(told: Told) -> dict[str, Any]:
    test = told.test
    return {
        "at": told.at.isoformat(),
        "event": str(told.event),
        "blamed": told.who or None,
        "from": None if test is None else test.baseline,
        "to": None if test is None else test.now,
        "p": None if test is None else test.p,
        "weeks": None if test is None else test.span,
    }
