"""How the service is doing, for people in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.table import Table

from evaluator.state.hours import STATES
from evaluator.status.overview import Status, slowed_text, span_text
from evaluator.status.verdict import Health
from evaluator.telemetry.logs import spelled_out

_COLOURS: Final = {"well": "green", "warn": "yellow", "bad": "red"}


def show(status: Status, out: Console, health: Health | None = None) -> None:
    """Print a look; first how it is and what to do, where somebody has judged that."""
    if health is not None:
        out.print(health.headline, style=_COLOURS[health.level], markup=False, highlight=False)
        for trouble in health.troubles:
            out.print(f"  {spelled_out(trouble.what)}: {spelled_out(trouble.todo)}", markup=False, highlight=False)
    out.print(f"leader        {status.leader or 'none: no scheduler is running'}", highlight=False)
    behind = "nothing was read yet" if status.behind is None else f"{span_text(status.behind)} (quiet_for included)"
    out.print(f"read up to    {behind}", highlight=False)
    for lane, known in status.lanes.items():
        waits = f"{known.messages:,} waiting, the oldest for {span_text(known.oldest)}" if known.messages else "empty"
        out.print(f"lane {lane.value:<9}{waits}", highlight=False)
    roles = Counter(each.role for each in status.workers)
    lives = ", ".join(f"{number} {role}" for role, number in sorted(roles.items()))
    out.print(f"processes     {lives or 'none'}", highlight=False)
    out.print(f"in hand       {status.in_hand:,}, those that come again later among them", highlight=False)
    if any(status.batches):
        out.print("batches       {:,} waiting to be sent, {:,} sent".format(*status.batches), highlight=False)
    if status.sessions:
        out.print(f"sessions      {status.sessions:,} waiting until they are idle", highlight=False)
    share = "" if status.load.share == 1 else f", sampling at {status.load.share:.0%} of the configured rates"
    out.print(f"lag           {span_text(status.load.lag)}{share}", highlight=False)
    _show_held_up(status, out)
    _show_money(status, out)
    for each in status.kept:
        if each.share < 1:
            said = f"{each.share:.1%} of {each.due:,} pairs due in the last hour were evaluated in time"
            out.print(f"coverage      {each.evaluator}: {said}", markup=False, highlight=False)
    _show_undelivered(status, out)
    for place, number in status.low.most_common():
        out.print(f"low scores    {number:,} on the way to {place}", markup=False, highlight=False)
    if status.counts:
        out.print(_table(status.counts))
    for reason, number in status.reasons.most_common():
        out.print(f"  {number:>9,} {spelled_out(reason)}", style="dim", markup=False, highlight=False)
    _show_judges(status, out)
    if status.dead:
        out.print("given up in the last 30 days, kept as dead letters:", style="red", highlight=False)
        for reason, number in status.dead.most_common():
            out.print(f"  {number:>9,} {spelled_out(reason)}", markup=False, highlight=False)


def _show_judges(status: Status, out: Console) -> None:
    known = {name: trust for name, trust in status.trust.items() if trust.is_known}
    for name, trust in known.items():
        style = "yellow" if trust.is_doubtful else None
        said = f"golden tests {trust.said_of_tests}; people: {trust.said_of_agreement}"
        out.print(f"judge         {name}: {spelled_out(said)}", style=style, markup=False, highlight=False)
    if others := [name for name in status.trust if name not in known]:
        said = "nothing is known of them yet: evaluator rubric test asks their golden examples"
        out.print(f"judges        {', '.join(others)}: {said}", style="dim", markup=False, highlight=False)
    for name, judge in status.anchors.items():
        style = "yellow" if judge.moved else None
        out.print(f"anchors       {name}: {judge.how}", style=style, markup=False, highlight=False)


def _show_money(status: Status, out: Console) -> None:
    for payer, money in status.budgets.items():
        said = f"{money.spent:,.2f} of {money.limit:,.2f} USD spent today ({money.spent / money.limit:.0%})"
        style = "red" if money.spent >= money.limit else None
        out.print(f"budget        {payer}: {said}", style=style, markup=False, highlight=False)
    if status.parked:
        waiting = ", ".join(f"{number:,} of {name}" for name, number in status.parked.items())
        out.print(f"no money yet  {waiting}", markup=False, highlight=False)
    for model, why in status.closed.items():
        out.print(f"closed        {model}, its questions wait: {why}", style="red", markup=False, highlight=False)
    for model, slowed in status.slowed.items():
        out.print(f"slowed        {model}: {slowed_text(slowed)}", style="yellow", markup=False, highlight=False)
    for name, spans in status.owed.items():
        said = ", ".join(f"{span.start:%d %b %H:%M} to {span.end:%d %b %H:%M}" for span in spans)
        out.print(f"no money yet  {name}: what ended {said} UTC", markup=False, highlight=False)


def _show_held_up(status: Status, out: Console) -> None:
    for name, part in status.load.shares.items():
        said = f"its model cannot keep up, sampling at {part:.0%} of the configured rates"
        out.print(f"held up       {name}: {said}", markup=False, highlight=False)


def _show_undelivered(status: Status, out: Console) -> None:
    if status.undelivered:
        out.print(f"messages      {status.undelivered} not delivered yet", style="red", highlight=False)
    for (destination, message), why in status.not_taken.items():
        out.print(f"  {destination}: {why} ({message})", style="red", markup=False, highlight=False)


def _table(counts: Mapping[str, Counter[str]]) -> Table:
    columns = [
        state for state in ("pending", *STATES) if state == "pending" or any(known[state] for known in counts.values())
    ]
    table = Table("evaluator", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, known in counts.items():
        table.add_row(name, *(f"{known[state]:,}" if known[state] else "" for state in columns))
    return table
