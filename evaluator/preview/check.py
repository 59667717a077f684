"""`evaluator check`: is everything as it must be, and what will happen when the service runs?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluator.app import App, open_app
from evaluator.definitions import Definitions, load
from evaluator.errors import ConfigError, EvaluatorError
from evaluator.messages.delivery import Destination
from evaluator.messages.words import rates, seen
from evaluator.scoring.prompts import fetched, sources, told
from evaluator.settings import Settings
from evaluator.telemetry.logs import spelled_out
from evaluator.watch import SIGHT

_NOBODY: Final = (
    "nobody is set up to be told, alerts are only logged: set SLACK_WEBHOOK_URL, or SLACK_BOT_TOKEN and SLACK_CHANNEL, "
    "or another destination (docs/alerts.md)"
)


def check(settings: Settings, out: Console, *, offline: bool = False) -> bool:
    """Print what is defined and whether every service answers; return whether all is well.

    Raises:
        ConfigError: the definitions are wrong, with every problem of every file.
    """
    definitions = load(settings.evaluator_config)
    _print_definitions(definitions, out)
    if offline:
        return True
    with contextlib.ExitStack() as stack:
        try:
            app = stack.enter_context(open_app(settings, definitions=definitions))
        except ConfigError as error:
            for problem in error.problems:
                _print_result(out, problem.where, problem.what, good=False)
            return False
        probes: tuple[tuple[str, Callable[[App], str]], ...] = (
            ("Redis", _redis),
            ("Langfuse", _langfuse),
            *((("prompts", _prompts),) if sources(definitions.evaluators) else ()),
            *_models(definitions),
            *_destinations(app),
        )
        results = [_try(out, name, probe, app) for name, probe in probes]
        if not app.destinations:
            out.print(f"[yellow]note[/yellow] {_NOBODY}", highlight=False)
        if results[0]:
            _print_sight(app, out)
        return all(results)


def _print_definitions(definitions: Definitions, out: Console) -> None:
    table = Table(title=f"{len(definitions.evaluators)} evaluators from {definitions.folder}", title_justify="left")
    for column in ("score", "kind", "type", "on", "rate", "version"):
        table.add_column(column, no_wrap=column in {"score", "version"})
    for evaluator in definitions.evaluators:
        table.add_row(
            evaluator.name,
            evaluator.kind,
            evaluator.data_type.value.lower(),
            escape(seen(evaluator)),
            escape(rates(evaluator)),
            evaluator.version,
        )
        for name, kind in list(evaluator.scores.items())[1:]:
            table.add_row(name, "criterion", kind.value.lower(), "", "", "")
    out.print(table)
    if definitions.off:
        names = ", ".join(evaluator.name for evaluator in definitions.off)
        out.print(f"switched off, and valid: {names} (`enabled: true` in a file switches it on)", highlight=False)
    watched = ", ".join(monitor.key for monitor in definitions.monitors)
    out.print(f"watched: {watched or 'nothing; add a score to monitors.yaml'}", highlight=False)
    for note in definitions.notes:
        out.print(f"note: {note}", markup=False, highlight=False)


def _try(out: Console, name: str, probe: Callable[[App], str], app: App) -> bool:
    try:
        _print_result(out, name, probe(app), good=True)
    except EvaluatorError as error:
        _print_result(out, name, str(error), good=False)
        return False
    return True


def _print_result(out: Console, name: str, what: str, *, good: bool) -> None:
    mark = "[green]ok  [/green]" if good else "[red]FAIL[/red]"
    out.print(f"{mark} {escape(name)}: {escape(spelled_out(what))}", highlight=False)


def _print_sight(app: App, out: Console) -> None:
    """Print what the last look at each watched score could see."""
    for monitor, state in app.alerts.states(spec.key for spec in app.definitions.monitors).items():
        said = "not looked at yet" if state is None else state.get(SIGHT, "not looked at since the last upgrade")
        out.print(f"watched {monitor}: {said}", markup=False, highlight=False)


def _redis(app: App) -> str:
    return app.state.ping() + ("" if app.settings.redis_url.get_secret_value() else ", embedded")


def _langfuse(app: App) -> str:
    able = app.langfuse.capabilities()
    writes = "scores in batches" if able.batch_scores else "one score per request (batches need 4.59)"
    return f"{able.version}, project {able.project_name}, {writes}"


def _prompts(app: App) -> str:
    return "; ".join(told(fetched(app.definitions, app.langfuse).evaluators))


def _models(definitions: Definitions) -> list[tuple[str, Callable[[App], str]]]:
    """Return a probe for each server that is used: that of models without an entry, and that of each entry."""
    known = [model for model in definitions.models if definitions.service.models.is_elsewhere(model)]
    probes: list[tuple[str, Callable[[App], str]]] = []
    if not definitions.models:
        probes.append(("model API", lambda _: "not needed: no rubrics"))
    elif len(known) < len(definitions.models):
        probes.append(("model API", lambda app: app.model.probe()))
    return probes + [(f"model {model}", lambda app, model=model: app.model.probe(model)) for model in known]


def _destinations(app: App) -> list[tuple[str, Callable[[App], str]]]:
    """Return a probe for each place where alerts go."""
    if not app.destinations:
        return []
    return [(each.name, partial(_probed, each)) for each in app.destinations]


def _probed(to: Destination, _: App) -> str:
    return to.probe()
