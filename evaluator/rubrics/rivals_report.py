"""What `evaluator rubric compare` found, for people and for scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluator.calibration.report import figures, worded
from evaluator.messages.figures import dollars
from evaluator.messages.words import answer_of, percent, reason_of, shortened
from evaluator.preview.parts import ids_of, named
from evaluator.rubrics.rivals import SIDES, Contest, Flip
from evaluator.telemetry.logs import spelled_out
from traces import Session, Trace, outcome_to_json

_MOST_SHOWN: Final = 5


def show(found: Contest, names: tuple[str, str], out: Console) -> None:
    """Print how far both agree with people, which is better, at what cost, and traces on which they part."""
    comparison, both = found.comparison, found.agreements
    of = "sessions" if comparison.after.spec.target == "session" else "traces"
    out.print(f"{names[0]} and {names[1]} on {len(comparison.pairs):,} labelled {of}", highlight=False, markup=False)
    if both is None:
        out.print("no trace has a label and a verdict of both: nothing can be said", highlight=False)
        return
    out.print(
        f"{both[0].n:,} judged by both, {both[0].labels:,} labels in {both[0].sessions:,} sessions", highlight=False
    )
    out.print()
    people = {"two people": both[0].people} if both[0].people else {}
    out.print(figures({names[0]: both[0].judge, names[1]: both[1].judge, **people}))
    out.print()
    out.print(verdict(found, names), highlight=False, markup=False)
    out.print(cost(found, names), highlight=False, markup=False)
    nearer = ((names[1], found.flips), (names[0], found.flips[::-1]))
    for at, (name, flips) in enumerate(nearer):
        chosen = [flip for flip in flips if (flip.gained > 0) == (at == 0)]
        if chosen:
            out.print()
            out.print(f"{name} is nearer to people on {len(chosen):,}", highlight=False, markup=False)
            out.print(_flips(chosen[:_MOST_SHOWN], names))
    calls = sum(found.used(side).calls for side in SIDES)
    usd = sum(found.used(side).usd for side in SIDES)
    out.print(f"{calls:,} judge calls, {dollars(usd)} USD; no score was written", style="dim", highlight=False)


def verdict(found: Contest, names: tuple[str, str]) -> str:
    """Return which of both agrees better with people, and how sure that is."""
    both, difference = found.agreements, found.difference
    if both is None or difference is None or found.better is None:
        return "which agrees better cannot be told: one of both, or people, said the same of everything"
    ends = f"{difference.value:+.2f} (95 % {difference.low:+.2f} to {difference.high:+.2f})"
    measure = both[0].headline
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        leans = f"; {names[1]} is better in {percent(found.better)} of the resamples"
        return f"{measure}: the two cannot be told apart, {ends}{leans}"
    better = names[1] if difference.value > 0 else names[0]
    return f"{measure}: {better} agrees better with people, {ends}"


def cost(found: Contest, names: tuple[str, str]) -> str:
    """Return what both cost, and what a point of kappa (a hundredth) does."""
    one, other = (found.price(side) for side in SIDES)
    if one is None or other is None:
        return "nobody told the price of one of the models: what a point of kappa costs is not known"
    said = f"{dollars(one)} and {dollars(other)} USD for 1,000 traces"
    gained = 0.0 if found.difference is None else found.difference.value
    if gained * (other - one) <= 0:
        return said
    dearer = names[1] if other > one else names[0]
    return f"{said}: {dearer} costs {dollars((other - one) / (100 * gained))} USD more for each point of kappa (0.01)"


def _flips(chosen: Sequence[Flip], names: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("people", *names):
        table.add_column(Text(title), max_width=20)
    table.add_column("trace, and the reasons of both", ratio=1)
    for flip in chosen:
        said = ", ".join(dict.fromkeys(worded(value) for value in flip.said.values()))
        outcomes = [side(flip.pair) for side in SIDES]
        reasons = "\n".join(f"- {shortened(reason_of(outcome))}" for outcome in outcomes)
        about = Text(spelled_out(named(flip.pair.trace)), "bold").append(f"\n{reasons}", "not bold")
        table.add_row(*(Text(spelled_out(text)) for text in (said, *map(answer_of, outcomes))), about)
    return table


def as_json(found: Contest, names: tuple[str, str], url: Callable[[Trace | Session], str]) -> dict[str, Any]:
    """Return everything as plain JSON; `url` tells where a person reads what was judged."""
    both = found.agreements
    return {
        "names": list(names),
        "traces": len(found.comparison.pairs),
        "judged_by_both": both[0].n if both else 0,
        "measure": both[0].headline if both else None,
        "agreement": [{name: list(figure) for name, figure in each.judge.items()} for each in both or ()],
        "people": {name: list(figure) for name, figure in both[0].people.items()} if both else {},
        "difference": None if found.difference is None else list(found.difference),
        "better": found.better,
        "usd_per_1000": [found.price(side) for side in SIDES],
        "flips": [_flip(flip, url) for flip in found.flips],
    }


def _flip(flip: Flip, url: Callable[[Trace | Session], str]) -> dict[str, Any]:
    return {
        **ids_of(flip.pair.trace),
        "url": url(flip.pair.trace),
        "people": dict(flip.said),
        "first": outcome_to_json(flip.pair.before),
        "second": outcome_to_json(flip.pair.after),
        "gained": flip.gained,
    }
