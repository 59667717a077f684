"""`evaluator try`: evaluators on one trace or session. It imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from evaluator.commands.arguments import NOT_ASKED, duration
from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from evaluator.definitions import Evaluator
    from traces import Session, Trace

_out = Console(soft_wrap=True)


def try_it(
    which: Annotated[str, typer.Argument(help="a trace: its id, or the address of its page in Langfuse", metavar="ID")],
    session: Annotated[
        bool, typer.Option("--session", help="it is the id of a session (an address tells by itself)")
    ] = False,
    rubrics: Annotated[list[str] | None, typer.Option("--rubric", help="only this one; may be repeated")] = None,
    only_prompt: Annotated[bool, typer.Option("--prompt", help="render the prompts and call no model")] = False,
    since: Annotated[str, typer.Option(help="how far back to look for it")] = "30d",
    unfinished: Annotated[bool, typer.Option("--unfinished", help="even while it still goes on")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Try the evaluators on one trace or session: prompt, answer, cost, whether they would take it. Writes nothing."""
    back = duration(since, "--since")
    from evaluator.app import open_desk, with_managed_prompts
    from evaluator.definitions import load
    from evaluator.messages.words import is_unasked
    from evaluator.preview import trying, trying_report
    from evaluator.preview.parts import url_of

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config).with_on(rubrics or []))
    named = {each.name for each in definitions.rubrics(rubrics or [])} if rubrics else None
    chosen = [each for each in definitions.evaluators if named is None or each.name in named]
    found: Trace | Session
    session_id = trying.session_in(which) or (which.strip() if session else None)
    with open_desk(settings, definitions) as desk:
        if session_id is not None:
            chosen = chosen if named is not None else _of_sessions(chosen)
            visit = trying.find_session(desk, session_id, back)
            if not unfinished:
                trying.check_idle(desk, visit, chosen)
            found, tried = trying.attempt_session(desk, visit, chosen)
        else:
            found = trace = trying.find(desk, which, back)
            if not unfinished:
                trying.check_finished(desk, trace)
            tried = trying.attempt(desk, trace, chosen)
        if not only_prompt:
            trying.ask(desk.model, tried)
        url = url_of(found, desk.langfuse)
    if as_json:
        sys.stdout.write(json.dumps(trying_report.as_json(found, url, tried), ensure_ascii=False) + "\n")
    else:
        trying_report.show(found, url, tried, _out)
    if any(each.outcome is not None and is_unasked(each.outcome) for each in tried):
        raise typer.Exit(NOT_ASKED)


def _of_sessions(evaluators: list[Evaluator]) -> list[Evaluator]:
    found = [each for each in evaluators if each.target == "session"]
    if not found:
        what = "no rubric that is on judges sessions (`target: session`); name one: --rubric session-resolution"
        raise ConfigError([Problem("--session", what)])
    return found
