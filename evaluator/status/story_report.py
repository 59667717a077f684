"""The story of a trace or session in a terminal."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluator.status.story import Fate, Story
from evaluator.telemetry.logs import spelled_out

_STYLES: Final = {
    "scored": "green",
    "failed": "red",
    "gone": "red",
    "unseen": "red",
    "pending": "yellow",
    "unfinished": "yellow",
}


def show(story: Story, out: Console) -> None:
    """Print it: what it is, whether it was seen, and what became of it with each evaluator."""
    facts = story.facts
    about = (facts.name, facts.environment, f"{facts.steps} {'steps' if facts.idle is None else 'traces'}")
    out.print(
        f"{facts.kind} {spelled_out(facts.id)}: {spelled_out(', '.join(filter(None, about)))}",
        markup=False,
        highlight=False,
    )
    out.print(f"ended {facts.ended:%Y-%m-%d %H:%M:%S} UTC, {spelled_out(facts.url)}", markup=False, highlight=False)
    out.print(story.seen, markup=False, highlight=False)
    out.print()
    table = Table("evaluator", "state", "why", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for fate in story.fates:
        state = Text(fate.state.replace("_", " "), _STYLES.get(fate.state, ""))
        table.add_row(fate.evaluator, state, _why(fate))
    out.print(table)
    out.print()
    out.print(story.headline, markup=False, highlight=False)


def _why(fate: Fate) -> Text:
    said = Text(spelled_out(fate.why))
    if fate.position is not None and fate.rate is not None and "u = " not in fate.why:
        said.append(f" (u = {fate.position:.4f}, rate {fate.rate:.4g})", "dim")
    if fate.todo:
        said.append(f"\nwhat to do: {spelled_out(fate.todo)}", "cyan")
    return said
