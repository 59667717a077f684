"""What `evaluator rubric diff` found, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluator.messages.figures import dollars
from evaluator.messages.words import answer_of, is_priced, percent, reason_of, shortened, usd
from evaluator.preview.intervals import Interval
from evaluator.preview.parts import ids_of, named
from evaluator.rubrics.comparing import Comparison, Pair
from evaluator.telemetry.logs import spelled_out
from judges import Rubric
from traces import Outcome, Session, Trace, Usage, Verdict, outcome_to_json

MOST_SHOWN: Final = 20
"""Differences that are printed; JSON has all."""

_SIDES: Final[tuple[Callable[[Pair], Outcome], ...]] = (lambda pair: pair.before, lambda pair: pair.after)


def show(found: Comparison, out: Console) -> None:
    """Print what became of the sample under both versions, and where they differ."""
    neither = f"; {found.skipped:,} more had nothing to judge for either" if found.skipped else ""
    what = "sessions" if found.after.spec.target == "session" else "traces"
    out.print(f"{found.after.name}: {len(found.pairs):,} {what}{neither}", highlight=False, markup=False)
    out.print()
    out.print(_summary(found))
    out.print()
    _show_difference(found, out)
    differences = sorted((pair for pair in found.asked if pair.differs), key=_importance, reverse=True)
    if differences:
        out.print()
        out.print(_differences(differences[:MOST_SHOWN]))
    if len(differences) > MOST_SHOWN:
        out.print(f"and {len(differences) - MOST_SHOWN} more; --json has all", style="dim", highlight=False)
    used = sum((found.used(side) for side in (*_SIDES, lambda pair: pair.again)), Usage())
    out.print(
        f"{used.calls:,} judge calls, {dollars(used.usd)} USD; no score was written", style="dim", highlight=False
    )


def _summary(found: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for title in ("before", "after"):
        table.add_column(title, justify="right")
    rubrics = (found.before, found.after)
    table.add_row("version", *(rubric.version for rubric in rubrics))
    table.add_row("model", *(", ".join(dict.fromkeys(rubric.spec.judge.models)) for rubric in rubrics))
    states = [Counter(_state(side(pair)) for pair in found.pairs) for side in _SIDES]
    for state in dict.fromkeys(state for counts in states for state in sorted(counts)):
        table.add_row(spelled_out(state), *(f"{counts[state]:,}" for counts in states))
    numbers = found.numbers()
    if numbers:
        means = (sum(side) / len(numbers) for side in zip(*numbers, strict=True))
        table.add_row("mean of those scored by both", *(f"{mean:.3f}" for mean in means))
    table.add_row("cost, USD", *(_cost(found, side) for side in _SIDES))
    return table


def _state(outcome: Outcome) -> str:
    return "scored" if isinstance(outcome, Verdict) else answer_of(outcome)


def _cost(found: Comparison, side: Callable[[Pair], Outcome]) -> str:
    return usd(found.used(side), priced=all(is_priced(side(pair)) for pair in found.pairs))


def _show_difference(found: Comparison, out: Console) -> None:
    number = sum(pair.differs for pair in found.asked)
    if (flips := found.flips) is not None:
        said = f"{number} of {len(found.asked)} differ: {percent(flips.value)}"
        out.print(f"{said} (95 % interval {percent(flips.low)} to {percent(flips.high)})", highlight=False)
    if (noise := found.noise) is not None:
        said = f"the version before against itself: {percent(noise.value)} differ"
        out.print(f"{said} ({percent(noise.low)} to {percent(noise.high)}): so much is chance", highlight=False)
    if (shift := found.shift) is not None:
        scale = found.scale
        of = f" on a scale of {scale[0]:g} to {scale[1]:g}" if scale is not None else ""
        said = f"the version after scores {_signed(shift.value)}{of}"
        # Where all differ by the same, how far the next one may be from them cannot be told.
        reach = f" (95 % interval {_signed(shift.low)} to {_signed(shift.high)})" if shift.low < shift.high else ""
        out.print(f"{said}{reach}", highlight=False)
    changes = Counter((answer_of(pair.before), answer_of(pair.after)) for pair in found.asked if pair.differs)
    kinds = ", ".join(f"{before} → {after} {n}x" for (before, after), n in changes.most_common(8))
    if kinds:
        out.print(f"most often: {spelled_out(kinds)}", highlight=False, markup=False)
    if unasked := len(found.pairs) - len(found.asked):
        out.print(f"{unasked} could not be asked, and do not count", style="yellow", highlight=False)
    if found.noise is None and number:
        out.print("--noise asks the version before twice, to see how much of this is chance", style="dim")


def _differences(pairs: list[Pair]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("before", "after"):
        table.add_column(title, max_width=14)
    table.add_column("which, and the reasons of both", ratio=1)
    for pair in pairs:
        reasons = "\n".join(f"- {shortened(reason_of(side(pair)))}" for side in _SIDES)
        about = Text(spelled_out(named(pair.trace)), "bold").append(f"\n{reasons}", "not bold")
        table.add_row(*(Text(spelled_out(answer_of(side(pair)))) for side in _SIDES), about)
    return table


def _importance(pair: Pair) -> float:
    """Larger differences first; where one side says nothing, there is no size."""
    both = pair.both
    if both is None:
        return -1.0
    values = [each.value for each in both]
    return abs(float(values[0]) - float(values[1])) if not any(isinstance(v, str) for v in values) else 1.0


def _signed(number: float) -> str:
    return f"{number:+.3f}"


def as_json(found: Comparison, url: Callable[[Trace | Session], str]) -> dict[str, Any]:
    """Return everything as plain JSON; `url` tells where a person reads what was judged."""
    return {
        "name": found.after.name,
        "before": _side(found, found.before, _SIDES[0]),
        "after": _side(found, found.after, _SIDES[1]),
        "sessions" if found.after.spec.target == "session" else "traces": len(found.pairs),
        "skipped_by_both": found.skipped,
        "scale": found.scale,
        "differ": _interval(found.flips),
        "noise": _interval(found.noise),
        "mean_difference": _interval(found.shift),
        "pairs": [_pair(pair, url) for pair in found.pairs],
    }


def _side(found: Comparison, rubric: Rubric, side: Callable[[Pair], Outcome]) -> dict[str, Any]:
    used = found.used(side)
    states = Counter(_state(side(pair)) for pair in found.pairs)
    models = list(dict.fromkeys(rubric.spec.judge.models))
    judge = {"calls": used.calls, "input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
    return {"version": rubric.version, "models": models, "states": dict(states), **judge, "usd": round(used.usd, 8)}


def _interval(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}


def _pair(pair: Pair, url: Callable[[Trace | Session], str]) -> dict[str, Any]:
    sides = {"before": pair.before, "after": pair.after, **({"again": pair.again} if pair.again is not None else {})}
    outcomes = {name: outcome_to_json(outcome) for name, outcome in sides.items()}
    return {
        **ids_of(pair.trace),
        "url": url(pair.trace),
        "differs": pair.differs,
        **outcomes,
    }
