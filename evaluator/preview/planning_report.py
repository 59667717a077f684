"""What `evaluator plan` found, for people and for scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluator.messages.figures import dollars
from evaluator.messages.words import percent
from evaluator.preview.forecast import ASSUMED_OUTPUT, Cost, Demand, Forecast, demands, forecasts
from evaluator.preview.planning import Plan
from evaluator.state.anchor_rounds import EVERY
from evaluator.telemetry.logs import spelled_out
from judges import Anchors
from traces import Usage, duration_text

_MOST_REASONS = 12
_CHANCE = 0.02


def show(plan: Plan, spent: Mapping[str, Usage], out: Console, *, batch_scores: bool) -> None:
    """Print a plan.

    Args:
        plan: what was replayed.
        spent: what each evaluator has cost so far, where it is known.
        out: where to.
        batch_scores: whether Langfuse takes many scores in one request.
    """
    found = forecasts(plan.now, spent)
    window = plan.traffic.window
    days = (window.end - window.start).total_seconds() / 86_400
    busiest = max(plan.now.hours.values(), default=0)
    _say(
        out,
        f"{plan.now.traces:,} traces finished in the last {duration_text(window.end - window.start)}, "
        f"{plan.now.traces / days:,.0f} a day, {busiest:,} in the busiest hour. Every one was decided about; "
        f"{plan.traffic.read:,} were read whole, and what is skipped, tokens and cost follow from these.",
    )
    if plan.traffic.sessions:
        _say(
            out,
            f"{plan.traffic.sessions:,} sessions; each counts as often as it was idle for long enough, and "
            f"{plan.traffic.sessions_read:,} of their traces were read.",
        )
    out.print()
    out.print(_volumes(found))
    _show_reasons(found, out)
    if any(each.evaluator.rubric is not None for each in found):
        out.print()
        out.print(_costs(found, days))
        _show_assumptions(found, out)
    out.print()
    for each in demands(plan, plan.now, batch_scores=batch_scores):
        _show_demand(each, out)
    _show_late(plan, out)
    if plan.before is not None:
        out.print()
        _show_changes(plan, found, forecasts(plan.before, spent), days, out)


def _say(out: Console, text: str, style: str = "") -> None:
    out.print(Text(text, style), soft_wrap=False)


def _volumes(found: Sequence[Forecast]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("evaluator", max_width=35)
    for column in ("matches", "taken", "skipped", "scores"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in found:
        skipped = percent(each.looked.skips) if each.looked.traces else "?" if each.sampled else ""
        scores = f"{each.scored:,.0f}" if each.looked.traces or not each.sampled else "?"
        of = " (sessions)" if each.evaluator.target == "session" else ""
        table.add_row(each.evaluator.name + of, f"{each.matches:,}", f"{each.sampled:,}", skipped, scores)
    return table


def _show_reasons(found: Sequence[Forecast], out: Console) -> None:
    reasons = [
        (number, f"{each.evaluator.name}: {spelled_out(reason)} ({number} of the {each.looked.parts} read)")
        for each in found
        for reason, number in each.looked.skipped.items()
    ]
    for _, said in sorted(reasons, key=lambda each: -each[0])[:_MOST_REASONS]:
        _say(out, f"  skipped by {said}", "dim")
    if len(reasons) > _MOST_REASONS:
        _say(out, f"  and {len(reasons) - _MOST_REASONS} more reasons; --json has all", "dim")


def _costs(found: Sequence[Forecast], days: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("rubric", max_width=35)
    for column in ("calls", "tokens in", "tokens out", "USD", "USD a day"):
        table.add_column(column, justify="right", no_wrap=True)
    rubrics = [each for each in found if each.evaluator.rubric is not None]
    for each in rubrics:
        table.add_row(each.evaluator.name, *_cost(each, days))
        if each.anchors is not None:
            table.add_row(f"  its anchors, {each.anchors.calls:,.0f} a week", *_cost(_over(each.anchors, days), days))
    if len(rubrics) > 1 or any(each.anchors is not None for each in rubrics):
        table.add_section()
        table.add_row(*("together", *_together(rubrics, days)), style="bold")
    return table


def _over(each: Cost, days: float) -> Cost:
    """Return what rounds of anchors cost in so many days."""
    rounds = days / EVERY.days
    usd = None if each.usd is None else rounds * each.usd
    return Cost(rounds * each.calls, rounds * each.input_tokens, rounds * each.output_tokens, usd)


def _cost(each: Forecast | Cost, days: float) -> list[str]:
    if each.input_tokens is None or each.output_tokens is None:
        return ["?"] * 5
    usd = ["no price"] * 2 if each.usd is None else [dollars(each.usd), dollars(each.usd / days)]
    return [f"{each.calls:,.0f}", f"{each.input_tokens:,.0f}", f"{each.output_tokens:,.0f}", *usd]


def _together(rubrics: Sequence[Forecast], days: float) -> list[str]:
    rounds = [_over(each.anchors, days) for each in rubrics if each.anchors is not None]
    every: list[Forecast | Cost] = [*rubrics, *rounds]
    usd = sum(each.usd or 0.0 for each in every)
    least = "≥ " if any(each.usd is None for each in every) else ""
    sums = (
        sum(each.calls for each in every),
        sum(each.input_tokens or 0.0 for each in every),
        sum(each.output_tokens or 0.0 for each in every),
    )
    return [*(f"{number:,.0f}" for number in sums), f"{least}{dollars(usd)}", f"{least}{dollars(usd / days)}"]


def _show_assumptions(found: Sequence[Forecast], out: Console) -> None:
    assumed = [each.evaluator.name for each in found if each.calls and not each.measured]
    if assumed:
        said = f"assumed: {ASSUMED_OUTPUT} tokens an answer, thinking included, of {', '.join(assumed)}"
        _say(out, f"{said}; once they have been asked 20 times their own answers count", "dim")


def _show_demand(demand: Demand, out: Console) -> None:
    mark, style = ("", "") if demand.allowed is None else ("ok   ", "green") if demand.fits else ("OVER ", "red")
    allowed = "no limit is set" if demand.allowed is None else f"{demand.allowed:,} allowed"
    needs = f"{demand.busiest:,.1f} in the busiest hour, {demand.mean:,.1f} on average; {allowed}"
    out.print(Text(mark, style).append(f"{demand.of}, requests a minute: {needs}", "default"), soft_wrap=False)


def _show_late(plan: Plan, out: Console) -> None:
    for name, (every, late) in plan.traffic.late.items():
        if late:
            what = f"{late:,} of {every:,} scores {name!r} came after the service had looked at their trace"
            _say(out, f"note: {what}: filters on it do not see them", "yellow")


def _show_changes(plan: Plan, now: Sequence[Forecast], before: Sequence[Forecast], days: float, out: Console) -> None:
    new, old = ({each.evaluator.name: each for each in group} for group in (now, before))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("evaluator", max_width=24)
    table.add_column("what changes")
    for column in ("taken before", "now", "USD a day before", "now"):
        table.add_column(column, justify="right", max_width=9)
    changed = 0
    for name in dict.fromkeys([*new, *old]):
        what = _change(new.get(name), old.get(name), plan.moved.get(name, (0, 0)))
        if not what:
            continue
        changed += 1
        table.add_row(name, what, _taken(old.get(name)), _taken(new.get(name)), *(
            _usd(group.get(name), days) for group in (old, new)
        ))  # fmt: skip
    if changed:
        table.add_section()
        table.add_row("all", "", *(f"{sum(e.sampled for e in group):,}" for group in (before, now)), *(
            dollars(sum(e.usd_a_day(days) or 0.0 for e in group)) for group in (before, now)
        ), style="bold")  # fmt: skip
        out.print(table)
    _say(out, f"{len(dict.fromkeys([*new, *old])) - changed} evaluators stay as they are")


def _change(new: Forecast | None, old: Forecast | None, moved: tuple[int, int]) -> str:
    """Say what becomes different about an evaluator; empty when nothing does."""
    if new is None:
        return "is gone"
    if old is None:
        return "is new"
    said = []
    if new.evaluator.version != old.evaluator.version:
        said.append("another version: its monitors begin anew")
    if new.evaluator.when != old.evaluator.when:
        said.append("another filter")
    if new.evaluator.sample != old.evaluator.sample:
        said.append("another sample")
    if _anchors(new) != _anchors(old):
        said.append("other anchors")
    if any(moved):
        of = "sessions" if new.evaluator.target == "session" else "traces"
        said.append(f"takes {moved[0]:,} {of} it did not, leaves {moved[1]:,}")
    if not said and not _is_same(new.usd, old.usd):
        said.append("another price")
    return "; ".join(said)


def _anchors(each: Forecast) -> Anchors | None:
    return each.evaluator.rubric.spec.anchors if each.evaluator.rubric is not None else None


def _is_same(one: float | None, other: float | None) -> bool:
    """Whether two costs are of one price: the random code of the fences is some tokens longer or shorter each time."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_CHANCE)


def _taken(each: Forecast | None) -> str:
    return "-" if each is None else f"{each.sampled:,}"


def _usd(each: Forecast | None, days: float) -> str:
    if each is None or each.evaluator.rubric is None:
        return "-"
    usd = each.usd_a_day(days)
    return "?" if usd is None else dollars(usd)


def as_json(plan: Plan, spent: Mapping[str, Usage], *, batch_scores: bool) -> dict[str, Any]:
    """Return a plan as plain JSON; takes what `show` takes."""
    window = plan.traffic.window
    document: dict[str, Any] = {
        "from": window.start.isoformat(),
        "to": window.end.isoformat(),
        "traces": plan.now.traces,
        "traces_read": plan.traffic.read,
        "evaluators": [_as_json(each) for each in forecasts(plan.now, spent)],
        "requests_a_minute": [
            {"of": d.of, "mean": round(d.mean, 2), "busiest": round(d.busiest, 2), "allowed": d.allowed, "fits": d.fits}
            for d in demands(plan, plan.now, batch_scores=batch_scores)
        ],
        "sessions": plan.traffic.sessions,
        "session_traces_read": plan.traffic.sessions_read,
        "late_scores": {name: {"all": every, "late": late} for name, (every, late) in plan.traffic.late.items()},
    }
    if plan.before is not None:
        document["before"] = {
            "traces": plan.before.traces,
            "evaluators": [_as_json(each) for each in forecasts(plan.before, spent)],
        }
        document["moved"] = {name: {"gained": new, "lost": old} for name, (new, old) in plan.moved.items()}
    return document


def _as_json(each: Forecast) -> dict[str, Any]:
    return {
        "name": each.evaluator.name,
        "kind": each.evaluator.kind,
        "target": each.evaluator.target,
        "version": each.evaluator.version,
        "matches": each.matches,
        "taken": each.sampled,
        "read": each.looked.traces,
        "skipped": dict(each.looked.skipped),
        "scores": round(each.scored, 1),
        "calls": round(each.calls, 1),
        "input_tokens": None if each.input_tokens is None else round(each.input_tokens),
        "output_tokens": None if each.output_tokens is None else round(each.output_tokens),
        "usd": None if each.usd is None else round(each.usd, 6),
        "answers_measured": each.measured,
        "anchors_a_week": None if each.anchors is None else _round_as_json(each.anchors),
    }


def _round_as_json(each: Cost) -> dict[str, Any]:
    return {
        "calls": round(each.calls, 1),
        "input_tokens": round(each.input_tokens),
        "output_tokens": round(each.output_tokens),
        "usd": None if each.usd is None else round(each.usd, 6),
    }
