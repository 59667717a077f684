"""`evaluator import langfuse`: what Langfuse evaluates itself, as rubrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs, spelled_out

imports = typer.Typer(
    name="import", help="Take over evaluators from elsewhere.", no_args_is_help=True, rich_markup_mode=None
)

_out = Console(soft_wrap=True)


@imports.callback()
def _group() -> None:
    """Keep the name of the only command."""


@imports.command("langfuse")
def from_langfuse(
    to: Annotated[Path, typer.Option("--to", help="folder for the rubrics", file_okay=False)] = Path("config/rubrics"),
    force: Annotated[bool, typer.Option("--force", help="overwrite files that exist")] = False,
) -> None:
    """Read Langfuse's evaluators and evaluation rules, write a rubric for each, say what is not as it was."""
    from evaluator.app import open_desk
    from evaluator.definitions import load
    from evaluator.rubrics.importing import imported

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    with open_desk(settings, load(settings.evaluator_config)) as desk:
        found = imported(desk.langfuse.native("evaluators"), desk.langfuse.native("evaluation-rules"))
    for each in found:
        path = to / f"{each.name}.yaml"
        if not each.text:
            said = "not imported"
        elif path.exists() and not force:
            said = f"kept what is there: {path}; --force overwrites it"
        else:
            _write(path, each.text)
            said = f"wrote {path}"
        _say(f"{each.evaluator}: {said}")
        for note in each.notes:
            _say(f"  {note}")
    _say("nothing to import: Langfuse has no evaluators" if not found else "now `evaluator check`")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem("--to", f"cannot be written: {path}: {error.strerror}")]) from None


def _say(text: str) -> None:
    _out.print(spelled_out(text), markup=False, highlight=False)
