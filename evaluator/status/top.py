"""`evaluator top`: the overview in a terminal, renewed until somebody has seen enough."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evaluator.definitions.service_config import ServiceConfig
from evaluator.errors import EvaluatorError
from evaluator.status.overview import Status, slowed_text, span_text
from evaluator.status.verdict import health_of
from evaluator.telemetry.logs import spelled_out

_COLOURS: Final = {"well": "green", "warn": "yellow", "bad": "red"}
_MOST_REASONS: Final = 8
_PLACES: Final = 24
_BARS: Final = " ▁▂▃▄▅▆▇█"


def drawn(status: Status, service: ServiceConfig, now: datetime) -> RenderableType:
    """Return one look."""
    health = health_of(status, service, now)
    head = Text(spelled_out(health.headline), f"bold {_COLOURS[health.level]}")
    lines = [Text(f"  {spelled_out(each.what)}: {spelled_out(each.todo)}", "dim") for each in health.troubles]
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 3, 0, 0))
    for name, value in _facts(status):
        facts.add_row(Text(name, "dim"), Text(spelled_out(value)))
    reasons = [
        Text(f"{number:>9,}  {spelled_out(reason)}", "dim")
        for reason, number in status.reasons.most_common(_MOST_REASONS)
    ]
    foot = Text(f"{now:%H:%M:%S} UTC   q or Ctrl-C leaves", "dim")
    return Group(head, *lines, Text(), facts, Text(), _evaluators(status), Text(), *reasons, Text(), foot)


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    yield "read up to", "nothing yet" if status.behind is None else f"{span_text(status.behind)} ago"
    yield "leader", status.leader or "nobody"
    threads = sum(each.threads for each in status.workers)
    yield "processes", f"{len(status.workers)}, {threads} worker threads a lane"
    yield "evaluated", f"{status.per_minute:,.1f} a minute"
    for lane, known in status.lanes.items():
        if known.messages:
            yield f"lane {lane.value}", f"{known.messages:,} messages, the oldest for {span_text(known.oldest)}"
    yield "in hand", f"{status.in_hand:,} messages"
    for limit in status.limits:
        if limit.pause:
            yield limit.name, f"paused for {span_text(limit.pause)}"
    for model, slowed in status.slowed.items():
        yield f"slowed, {model}", slowed_text(slowed)
    for whose, money in status.budgets.items():
        yield f"spent, {whose}", f"{money.spent:,.2f} of {money.limit:,.2f} USD today"
    yield "24 hours", _spark(status)


def _spark(status: Status) -> str:
    """Return how many pairs of each hour were scored, as bars."""
    scored = [sum(n for (_, state, _), n in funnel.items() if state == "scored") for funnel in status.hours.values()]
    most = max(scored, default=0)
    return (
        "".join(_BARS[-(-number * 8 // most)] if most else _BARS[0] for number in scored[-_PLACES:]) + f" most {most:,}"
    )


def _evaluators(status: Status) -> Table:
    columns = ("sampled", "scored", "pending", "skipped", "unscored", "failed", "gone")
    table = Table("evaluator", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right")
    for name, known in status.counts.items():
        table.add_row(Text(spelled_out(name)), *(f"{known[state]:,}" if known[state] else "" for state in columns))
    return table


def run(look: Callable[[], RenderableType], out: Console, every: float, looks: int | None = None) -> None:
    """Draw a look every so many seconds until q or Ctrl-C; where there is no terminal, print them one after another.

    `looks` is how many; None for as many as somebody wants to see. A look that fails is told, and tried again.
    """
    left = looks
    with contextlib.suppress(KeyboardInterrupt), _keys(sys.stdin, out) as pressed, _screen(out) as draw:
        while left is None or left > 0:
            draw(_looked(look))
            left = None if left is None else left - 1
            if left == 0 or pressed(every):
                return


def _looked(look: Callable[[], RenderableType]) -> RenderableType:
    try:
        return look()
    except EvaluatorError as error:
        return Text(f"cannot look: {spelled_out(str(error))}", "red")


@contextlib.contextmanager
def _screen(out: Console) -> Iterator[Callable[[RenderableType], None]]:
    if not out.is_terminal:
        yield out.print
        return
    with Live(console=out, screen=True, auto_refresh=False) as live:
        yield lambda drawn: live.update(drawn, refresh=True)


@contextlib.contextmanager
def _keys(given: TextIO, out: Console) -> Iterator[Callable[[float], bool]]:
    """Give a function that waits some seconds and says whether q was pressed; the terminal is left as it was."""
    if not (out.is_terminal and given.isatty()):
        yield threading.Event().wait
        return
    before = termios.tcgetattr(given)
    try:
        tty.setcbreak(given)
        yield lambda seconds: bool(select.select([given], [], [], seconds)[0]) and _leaves(os.read(given.fileno(), 64))
    finally:
        termios.tcsetattr(given, termios.TCSADRAIN, before)


def _leaves(typed: bytes) -> bool:
    """Whether somebody wants to leave: by q, or because the terminal is gone."""
    return not typed or b"q" in typed.lower()
