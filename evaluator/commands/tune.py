"""`evaluator rubric tune`: better words for a rubric? Like all commands it imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from evaluator.commands.arguments import NOT_ASKED, duration
from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluator.app import Desk
    from evaluator.definitions import Evaluator
    from evaluator.rubrics.rivals import LabelledTrace
    from evaluator.rubrics.tuning_report import Tuned
    from judges import Rubric

_out = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)


def tune(
    name: Annotated[str, typer.Argument(help="the rubric", metavar="RUBRIC")],
    against: Annotated[
        str, typer.Option(help="name of the score that people give; by default as the rubric's `calibrate` says")
    ] = "",
    model: Annotated[str, typer.Option(help="who writes the proposal; by default the rubric's own judge")] = "",
    sample: Annotated[int, typer.Option(help="how many labelled traces, half of them for the test", min=4)] = 200,
    since: Annotated[str, typer.Option(help="how old labels may be: 30d, 90d")] = "90d",
    pass_at: Annotated[
        float | None, typer.Option(help="from where on a number passes, where one says yes or no")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="write the proposal to this new file", dir_okay=False, metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Propose better words for a rubric from where its judge and people differ, and try them on other labels.

    Prints a diff of its file and whether the proposal is better on labels it was not made from. Changes nothing.
    """
    back = duration(since, "--since")
    from evaluator.app import open_desk
    from evaluator.commands.label import label_of
    from evaluator.definitions import load
    from evaluator.preview.parts import url_of
    from evaluator.rubrics import rivals, tuning_report

    if write is not None and write.exists():
        raise ConfigError(
            [Problem("--write", f"{write} is there already, and nothing is overwritten: name a new file")]
        )
    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = load(settings.evaluator_config).with_on([name])
    (rubric,) = definitions.rubrics([name])
    label = label_of(rubric, against)
    evaluator = next(each for each in definitions.evaluators if each.rubric is rubric)
    _must_be_tunable(evaluator, rubric)
    with open_desk(settings, definitions) as desk:
        traces = rivals.labelled_traces(desk, evaluator, label, back, sample)
        found, proposed = _tuned(desk, rubric, traces, model or rubric.spec.judge.model, pass_at)
        document = tuning_report.as_json(found, lambda part: url_of(part, desk.langfuse)) if as_json else None
    if document is None:
        tuning_report.show(found, _out)
    else:
        sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
    if write is not None and proposed:
        _write(write, proposed)
    if traces and not found.lessons.judged:
        raise typer.Exit(NOT_ASKED)


def _tuned(
    desk: Desk, rubric: Rubric, traces: Sequence[LabelledTrace], by: str, pass_at: float | None
) -> tuple[Tuned, str]:
    """Learn from one half of the labels, test on the other; return what came of it, and the proposed file."""
    from evaluator.commands.progress import counting
    from evaluator.messages.words import usage_of
    from evaluator.rubrics import tuning
    from evaluator.rubrics.editing import difference, edited, file_of
    from evaluator.rubrics.rivals import contest
    from evaluator.rubrics.tuning_report import Tuned
    from traces import Verdict

    definitions, now = desk.definitions, desk.clock.monotonic
    redaction, path = definitions.service.redact, file_of(definitions.folder, rubric.name)
    learned, kept = tuning.parted(traces, definitions.service.sampling.salt)
    with counting("answers on labels to learn from", len(learned), _errors, now) as more:
        lessons = tuning.lessons_of(desk.model, rubric, learned, redaction, pass_at=pass_at, progress=more)
    nothing = Tuned(rubric.name, lessons, len(kept), None, None, "", None, lessons.used)
    if not lessons.chosen:
        return nothing, ""
    outcome = tuning.ask(desk.model, rubric, lessons, by)
    used = lessons.used + usage_of(outcome)
    change = tuning.change_of(outcome, rubric, lessons, redaction) if isinstance(outcome, Verdict) else None
    if change is None or not (change.anchors or change.precedents):
        return Tuned(rubric.name, lessons, len(kept), outcome, None, "", None, used), ""
    before = path.read_text(encoding="utf-8")
    after = edited(before, change.anchors, change.precedents, change.examples)
    candidate = _read(after, rubric.name).redacting(redaction)
    with counting("answers on labels kept for the test", 2 * len(kept), _errors, now) as more:
        found = contest(desk.model, rubric, candidate, kept, pass_at=pass_at, progress=more)
    diff = difference(before, after, path)
    return Tuned(rubric.name, lessons, len(kept), outcome, change, diff, found, used), after


def _read(text: str, name: str) -> Rubric:
    """Return the rubric that a proposal says.

    Raises:
        ConfigError: it says none; places are those in the proposal, whose lines are shown: nobody has a file of it.
    """
    from evaluator.rubrics.files import versions_in

    with tempfile.TemporaryDirectory(prefix="evaluator-") as folder:
        path = Path(folder) / "proposed.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            (rubric,) = versions_in(path, name).rubrics()
        except ConfigError as error:
            raise ConfigError([_in_proposal(each, path, name, text) for each in error.problems]) from None
    return rubric


def _in_proposal(problem: Problem, path: Path, name: str, text: str) -> Problem:
    where = problem.where.removeprefix(str(path))
    line = where.split(":")[1] if where.startswith(":") else ""
    lines = text.splitlines()
    shown = f"\n  {lines[int(line) - 1].strip()}" if line.isdigit() and 0 < int(line) <= len(lines) else ""
    what = problem.what.replace(str(path), "it")
    return Problem(f"the proposal for {name}{where}", f"{what} (nothing was changed; propose again){shown}")


def _must_be_tunable(evaluator: Evaluator, rubric: Rubric) -> None:
    if evaluator.target == "session":
        raise ConfigError([Problem(rubric.name, "judges sessions; this learns from labelled traces and observations")])
    if rubric.spec.prompt is not None:
        what = "its criteria are a prompt of Langfuse's; this proposes changes of a file"
        raise ConfigError([Problem(rubric.name, what)])


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem("--write", f"cannot be written: {path}: {error.strerror}")]) from None
    _errors.print(f"wrote {path}", markup=False, highlight=False)
