"""`evaluator alert ...`: what is open, and what people say of a score beforehand."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from evaluator.commands.arguments import duration, instant
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from evaluator.app import Desk
    from evaluator.state.alert_memory import Mark
    from monitors import MonitorSpec

alert = typer.Typer(
    name="alert", help="Open alerts; snooze a score, expect a change.", no_args_is_help=True, rich_markup_mode=None
)

_out = Console(soft_wrap=True)

Score = Annotated[str, typer.Argument(help="the watched score; with environments as `evaluator alert list` shows it")]
Why = Annotated[str, typer.Option(help="a few words for the others")]


@alert.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON list")] = False) -> None:
    """Say of every watched score whether an alert is open, and what was said of it."""
    with _desk() as desk:
        states = desk.alerts.states(spec.key for spec in desk.definitions.monitors)
        said, now = desk.alerts.marks(), desk.clock.now()
        rows = [_row(spec, states[spec.key], said, now) for spec in desk.definitions.monitors]
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    for row in rows:
        _out.print(f"{row['monitor']}: {_sentence(row)}", markup=False, highlight=False)
    if not rows:
        _out.print("nothing is watched; add a score to monitors.yaml")


@alert.command()
def snooze(
    score: Score,
    lasts: Annotated[str, typer.Option("--for", help="how long: 12h, 7d")] = "7d",
    why: Why = "",
) -> None:
    """Tell nobody of a fall of this score for a while; one that is still there afterwards is told then."""
    from evaluator.state.alert_memory import Kind, Mark

    span = duration(lasts, "--for")
    with _desk(keeps=True) as desk:
        mark = Mark(Kind.SNOOZE, _watched(desk, score), desk.clock.now() + span, why)
        desk.alerts.mark(mark)
    _out.print(f"{mark.monitor} is snoozed until {mark.at:%d %b %H:%M} UTC", markup=False, highlight=False)
    _print_line(f"snooze: {{until: {mark.at:%Y-%m-%dT%H:%M}{_reason(why)}}}")


@alert.command()
def expect(
    score: Score,
    at: Annotated[
        str, typer.Option(help="when it takes effect: 2026-12-01, 2026-12-01T14:00 (UTC); by default now")
    ] = "",
    why: Why = "",
) -> None:
    """Say that a change of this score is meant: an open alert closes, and nothing before is compared any more."""
    from evaluator.state.alert_memory import Kind, Mark

    with _desk(keeps=True) as desk:
        mark = Mark(Kind.EXPECT, _watched(desk, score), instant(at, "--at") if at else desk.clock.now(), why)
        desk.alerts.mark(mark)
    _out.print(f"{mark.monitor}: a change is expected on {mark.at:%d %b %H:%M} UTC", markup=False, highlight=False)
    _out.print("a fall is told again when four weeks since then can be compared", highlight=False)
    _print_line(f"expected: [{{at: {mark.at:%Y-%m-%dT%H:%M}{_reason(why)}}}]")


@alert.command()
def forget(score: Score) -> None:
    """Take back what was said of a score on the command line."""
    with _desk() as desk:
        monitor = _watched(desk, score)
        number = desk.alerts.unmark(monitor)
    _out.print(f"{monitor}: {number} taken back" if number else f"{monitor}: nothing was said here", highlight=False)


@contextlib.contextmanager
def _desk(*, keeps: bool = False) -> Iterator[Desk]:
    """Open what the commands need; with `keeps` what is written must outlive the command, before the first service."""
    from evaluator.app import open_desk
    from evaluator.definitions import load

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    if keeps and not settings.redis_url.get_secret_value():
        settings.evaluator_data.mkdir(parents=True, exist_ok=True)
    with open_desk(settings, load(settings.evaluator_config)) as desk:
        yield desk


def _watched(desk: Desk, score: str) -> str:
    return desk.definitions.watched([score])[0].key


def _row(spec: MonitorSpec, state: dict[str, Any] | None, said: list[Mark], now: datetime) -> dict[str, Any]:
    from evaluator.alerts.saying import marks_of
    from monitors import AlertState

    known, given = AlertState.from_json(state), marks_of(spec, said, now)
    changes = [each.at for each in spec.expected]
    changes += [mark.at for mark in said if mark.monitor == spec.key and mark.kind == "expect"]
    return {
        "monitor": spec.key,
        "looked_at": state is not None,
        "open": known.opened is not None,
        "opened": known.opened.isoformat() if known.opened else None,
        "told": known.opened is not None and not known.muted,
        "fall": known.told if known.opened else None,
        "id": known.id if known.opened else None,
        "snoozed": given.snoozed.isoformat() if given.snoozed else None,
        "snoozed_why": given.snoozed_why,
        "expected": [each.isoformat() for each in sorted(changes)],
    }


def _sentence(row: dict[str, Any]) -> str:
    if not row["looked_at"]:
        said = "not looked at yet"
    elif not row["open"]:
        said = "no open alert"
    else:
        deep = "" if row["fall"] is None else f", by {row['fall']:.2f}"
        said = f"low since the week to {row['opened'][:10]}{deep} (alert {row['id'][:8]})"
    if row["snoozed"]:
        said += f"; snoozed until {row['snoozed'][:16].replace('T', ' ')} UTC{_in_brackets(row['snoozed_why'])}"
    if row["expected"]:
        said += f"; change expected on {', '.join(each[:10] for each in row['expected'])}"
    return said


def _in_brackets(why: str) -> str:
    return f" ({why})" if why else ""


def _reason(why: str) -> str:
    return f", why: {json.dumps(why, ensure_ascii=False)}" if why else ""


def _print_line(line: str) -> None:
    _out.print("Redis keeps it. To have it in git, and should Redis be wiped, write into its monitor:", highlight=False)
    _out.print(f"  {line}", markup=False, highlight=False)
