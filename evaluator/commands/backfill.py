"""`evaluator backfill`: past traffic, estimated first, then evaluated behind live traffic."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from evaluator.commands.arguments import instant
from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs, spelled_out

if TYPE_CHECKING:
    from evaluator.app import App
    from evaluator.backfill import Backfilled, Progress, Request
    from evaluator.definitions import Definitions, Evaluator
    from evaluator.preview.estimate import Estimate

_out = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)

_WHY = {
    "budget": "a budget is spent until midnight UTC",
    "limit": "as many traces were handed over as were asked for",
    "interrupted": "it was interrupted; what was handed over stays in the queue",
}


def backfill(
    since: Annotated[str, typer.Option("--from", help="what finished from then on: 2026-11-01, or with T14:00 (UTC)")],
    until: Annotated[str, typer.Option("--to", help="and before then; by default up to now")] = "",
    evaluator: Annotated[list[str] | None, typer.Option("--evaluator", help="only this; may be repeated")] = None,
    rate: Annotated[
        float | None, typer.Option(help="share of the traces, in place of the rates of `sample`", min=0, max=1)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="how many traces at most", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only the estimate")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    work: Annotated[bool, typer.Option(help="evaluate in this process too")] = True,
    content: Annotated[int, typer.Option(help="traces read whole for the estimate", min=0)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Evaluate what finished in the past, behind live traffic; goes on where it was when it is called again."""
    from evaluator.app import open_app, with_managed_prompts
    from evaluator.backfill import Positions
    from evaluator.definitions import load
    from evaluator.state.connection import connect

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config))
    chosen = _chosen(definitions, evaluator or [])
    with open_app(settings, definitions=definitions) as app, connect(app.redis_url) as client:
        request = _request(app, chosen, since, until, rate)
        at = Positions(client, settings.evaluator_namespace).read(request)
        found = _estimated(app, request, at, content, limit)
        document: dict[str, Any] = {"from": at.at.isoformat(), "to": request.window.end.isoformat(), **_as_json(found)}
        if not as_json:
            _show(found, request, at)
        if not dry_run and (found.pairs or found.raised):
            _must_agree(yes=yes)
            done = _run(app, client, request, found.pairs, limit=limit, work=work)
            document["done"] = _done_json(done)
            if not as_json:
                _show_done(done)
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")


def _chosen(definitions: Definitions, names: list[str]) -> list[Evaluator]:
    from evaluator.definitions.mistakes import nearest

    known = {each.name: each for each in definitions.evaluators}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(Problem("--evaluator", f"{name!r} is none; {nearest(name, known)}") for name in unknown)
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def _request(app: App, chosen: list[Evaluator], since: str, until: str, rate: float | None) -> Request:
    """Return what is asked for; what live discovery has not come to yet is its own."""
    from evaluator.backfill import Request, at_rate
    from evaluator.langfuse import Window

    latest = app.clock.now() - app.definitions.service.discovery.quiet_for
    mark = app.state.watermark()
    latest = latest if mark is None else min(latest, mark)
    start = instant(since, "--from")
    hour = latest.replace(minute=0, second=0, microsecond=0)
    end = instant(until, "--to") if until else latest
    if end >= latest:
        # To the full hour: within it the same command is the same backfill, which goes on where it was.
        end = hour if start < hour else latest
        _errors.print(f"note: up to {end:%Y-%m-%d %H:%M} UTC; what finishes later is evaluated as it comes")
    if start >= end:
        raise typer.BadParameter(f"begins at {start.isoformat()}, not before {end.isoformat()}", param_hint="--from")
    evaluators = chosen if rate is None else [at_rate(each, rate) for each in chosen]
    return Request(Window(start, end), tuple(evaluators), fixed=rate is not None)


def _estimated(app: App, request: Request, at: Progress, content: int, limit: int | None) -> Estimate:
    from evaluator.app import Desk
    from evaluator.commands.progress import counting
    from evaluator.langfuse import Window
    from evaluator.preview.estimate import estimate

    parts = {name: getattr(app, name) for name in Desk.__slots__}
    window = Window(at.at, request.window.end)
    with counting("traces listed", None, _errors, app.clock.monotonic) as more:
        return estimate(Desk(**parts), window, request.evaluators, content=content, limit=limit, told=more)


def _must_agree(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: say --yes, or --dry-run for the estimate alone")
    typer.confirm("go on?", abort=True, err=True)


def _run(app: App, client: Any, request: Request, pairs: int, *, limit: int | None, work: bool) -> Backfilled:
    from evaluator.backfill import Backfill
    from evaluator.commands.progress import counting
    from evaluator.service import until_told_to_stop
    from evaluator.worker import calm_collector, open_queue, working

    calm_collector()
    queue = open_queue(app)
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(until_told_to_stop())
        if work:
            stack.enter_context(working(app, queue))
        more = stack.enter_context(counting("pairs handed over", pairs, _errors, app.clock.monotonic))
        return Backfill(app, queue, client, request, limit=limit, told=told).run(more)


def _show(found: Estimate, request: Request, at: Progress) -> None:
    begin = at.at > request.window.start
    if begin:
        _say(f"goes on at {at.at:%Y-%m-%d %H:%M} UTC: {at.traces:,} traces before were looked at already")
    _say(f"{found.traces:,} traces finished from {at.at:%Y-%m-%d %H:%M} to {request.window.end:%Y-%m-%d %H:%M} UTC")
    _say(f"{found.done:,} pairs of trace and evaluator have their score already, {found.pairs:,} are to be evaluated")
    if found.replaced:
        _say(f"{found.replaced:,} of them have a score by another version of their evaluator, which is replaced")
    if found.raised:
        _say(f"{found.raised:,} scores stay and are written again with the inclusion probability of this rate")
    for each in found.forecasts:
        if each.sampled:
            what = "sessions" if each.evaluator.target == "session" else "traces"
            _say(f"  {each.evaluator.name}: {each.sampled:,} {what}, {each.calls:,.0f} judge calls")
    cost = "nobody knows the price" if found.usd is None else f"{found.usd:,.2f} USD"
    _say(f"{found.evaluated:,} traces, about {found.calls:,.0f} judge calls, {cost}")
    _say(f"about {_span(found.seconds)}, for {found.because}; longer while live traffic waits")


def _show_done(done: Backfilled) -> None:
    states: dict[str, int] = {}
    for (_, state, _), number in done.funnel.items():
        states[state] = states.get(state, 0) + number
    _say(f"{done.progress.pairs:,} pairs handed over, {done.progress.raised:,} probabilities raised")
    if done.progress.refused:
        _say(f"{done.progress.refused:,} of these were not taken by Langfuse: the log says why")
    for state, number in sorted(states.items()):
        _say(f"  {number:>8,} {state.replace('_', ' ')}")
    if done.stopped:
        _say(f"stopped: {_WHY[done.stopped]}")
        _say(f"the same command goes on at {done.progress.at:%Y-%m-%d %H:%M} UTC")


def _say(text: str) -> None:
    _out.print(spelled_out(text), markup=False, highlight=False)


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if seconds >= 60 else f"{max(1, round(seconds))} s"


def _as_json(found: Estimate) -> dict[str, Any]:
    plain = {**asdict(replace(found, forecasts=())), "calls": round(found.calls, 1), "seconds": round(found.seconds)}
    del plain["forecasts"]
    plain["evaluators"] = {
        each.evaluator.name: {"traces": each.sampled, "calls": round(each.calls, 1), "usd": each.usd}
        for each in found.forecasts
    }
    return plain


def _done_json(done: Backfilled) -> dict[str, Any]:
    progress = asdict(done.progress)
    return {**progress, "at": done.progress.at.isoformat(), "stopped": done.stopped or None}
