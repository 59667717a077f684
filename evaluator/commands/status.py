"""`evaluator status`, `top` and `why`: how the service is doing, and what became of one trace or session."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from evaluator.commands.arguments import duration
from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from evaluator.app import App

_out = Console(soft_wrap=True)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="serve the status page instead, until Ctrl-C")] = False,
    port: Annotated[
        int | None, typer.Option(help="where to serve it; by default EVALUATOR_STATUS_PORT", min=1, max=65535)
    ] = None,
) -> None:
    """Say how far behind the service is, what waits, what became of everything and what was given up."""
    if serve:
        _serve(port)
        return
    from evaluator.status.overview import look
    from evaluator.status.report import show
    from evaluator.status.verdict import health_of
    from evaluator.worker import open_queue

    with _opened() as app:
        now = app.clock.now()
        seen = look(app, open_queue(app), now)
        health = health_of(seen, app.definitions.service, now)
    if as_json:
        sys.stdout.write(json.dumps({"health": health.as_json(), **seen.as_json()}) + "\n")
    else:
        show(seen, _out, health)


def top(
    every: Annotated[str, typer.Option(help="how often to look: 2s, 1m")] = "2s",
    looks: Annotated[int | None, typer.Option(help="leave after so many looks", min=1)] = None,
) -> None:
    """Show how the service is doing, live; q or Ctrl-C leaves. Without a terminal each look is printed."""
    from evaluator.status.overview import look
    from evaluator.status.top import drawn, run
    from evaluator.worker import open_queue

    seconds = duration(every, "--every").total_seconds()
    with _opened() as app:
        queue, service = open_queue(app), app.definitions.service
        run(lambda: drawn(look(app, queue, app.clock.now()), service, app.clock.now()), _out, seconds, looks)


def why(
    which: Annotated[
        str,
        typer.Argument(help="id of a trace or session, or the address of its page in Langfuse", metavar="TRACE"),
    ],
    since: Annotated[str, typer.Option(help="how far back to look for it")] = "30d",
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Say why a trace or session has a score, or none: seen, matched, sampled, judged, written, or what stopped it."""
    back = duration(since, "--since")
    from evaluator.app import open_desk, with_managed_prompts
    from evaluator.definitions import load
    from evaluator.status.story_facts import story_of
    from evaluator.status.story_report import show

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config))
    with open_desk(settings, definitions) as desk:
        story = story_of(desk, which, back)
    if as_json:
        sys.stdout.write(json.dumps(story.as_json(), ensure_ascii=False) + "\n")
    else:
        show(story, _out)


def _serve(port: int | None) -> None:
    from evaluator.pulse import beating
    from evaluator.service import until_told_to_stop
    from evaluator.status.server import served_beside

    with (
        _opened(port, serve=True) as app,
        until_told_to_stop() as told,
        beating(app, "status") as pulse,
        served_beside(app, pulse) as address,
    ):
        if address is None:
            raise ConfigError([Problem("EVALUATOR_STATUS_PORT", "is 0, so nothing is served: give --port too")])
        _out.print(f"the status page is at {address}; Ctrl-C ends it", markup=False, highlight=False)
        told.wait()


@contextlib.contextmanager
def _opened(port: int | None = None, *, serve: bool = False) -> Iterator[App]:
    from evaluator.app import open_app

    settings = load_settings()
    if serve:
        # Said once more, it is one that somebody asks for: to go on without the page would be of no use.
        wanted = settings.evaluator_status_port if port is None else port
        settings = settings.model_copy(update={"evaluator_status_port": wanted})
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    with open_app(settings) as app:
        yield app
