"""`evaluator label`: which traces should people label? Like all commands it imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from evaluator.commands.arguments import duration
from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from evaluator.definitions import Definitions
    from judges import Rubric

_out = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)


def label(
    name: Annotated[str, typer.Argument(help="the rubric", metavar="RUBRIC")],
    against: Annotated[
        str, typer.Option(help="name of the score that people give; by default as the rubric's `calibrate` says")
    ] = "",
    size: Annotated[int, typer.Option(help="how many labels to ask for", min=1, max=1000)] = 50,
    random_share: Annotated[
        float, typer.Option(help="the part that is drawn at random: figures rest on it", min=0, max=1)
    ] = 0.5,
    queue: Annotated[str, typer.Option(help="the annotation queue; by default named after the rubric")] = "",
    last: Annotated[str, typer.Option(help="of which time: 24h, 7d")] = "7d",
    pass_at: Annotated[
        float | None, typer.Option(help="where people say yes or no: from where on a number of the judge passes")
    ] = None,
    width: Annotated[float, typer.Option(help="how wide the interval of kappa may be", min=0.01, max=1)] = 0.2,
    status: Annotated[bool, typer.Option("--status", help="only say how far the labels have come")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show whom it would ask about, and write nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Ask people for the labels that teach most: put traces into an annotation queue, and say how far they have come.

    Some are drawn at random, and stand for all; the others are those of which the judge was unsure, and kinds of
    traces of which few labels are known.
    """
    back = duration(last, "--last")
    from evaluator.app import open_desk
    from evaluator.calibration import labelling_report
    from evaluator.calibration.label_queue import queue_name
    from evaluator.calibration.labelling import Labelling
    from evaluator.commands.progress import counting
    from evaluator.definitions import load

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = load(settings.evaluator_config).with_on([name])
    (rubric,) = definitions.rubrics([name])
    wanted, place = label_of(rubric, against), queue or queue_name(rubric)
    _must_be_its_own(definitions, place)
    with open_desk(settings, definitions) as desk:
        salt, now = definitions.service.sampling.salt, desk.clock.now()
        labelling = Labelling(desk.langfuse, rubric, wanted, queue=place, salt=salt, now=now)
        wish, passing = 0 if status else size, _passing(rubric, pass_at)
        with counting("scores read", None, _errors, desk.clock.monotonic) as more:
            board = labelling.board(last=back, size=wish, random_share=random_share, pass_at=passing, progress=more)
        if as_json:
            document = labelling_report.as_json(board, width, desk.langfuse.score_url)
            sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        else:
            labelling_report.show(board, width, _out, proposals=not status)
        if status or dry_run or not board.proposals:
            return
        with counting("put into the queue", len(board.proposals), _errors, desk.clock.monotonic) as more:
            made = labelling.ask(board, more)
        _tell(f"put {len(board.proposals):,} into the queue: {desk.langfuse.queue_url(made.id)}")
    if place != queue_name(rubric):
        _tell(f"note: calibrate: {{queue: {place}}} in the rubric's file lets every calibration know this queue")


def _passing(rubric: Rubric, asked: float | None) -> float | None:
    return asked if asked is not None or rubric.spec.calibrate is None else rubric.spec.calibrate.pass_at


def _tell(said: str) -> None:
    _errors.print(said, markup=False, highlight=False)


def label_of(rubric: Rubric, against: str) -> str:
    """Return the name of the score that people give.

    Raises:
        ConfigError: neither the command nor the rubric's file says it.
    """
    said = against or (rubric.spec.calibrate.against if rubric.spec.calibrate else "")
    if not said:
        what = "say which labels: --against SCORE, or calibrate: {against: SCORE} in its file"
        raise ConfigError([Problem(rubric.name, what)])
    return said


def _must_be_its_own(definitions: Definitions, place: str) -> None:
    """Refuse a queue that low scores go into: what stands in it would pass for a random draw."""
    if any(spec.on_low is not None and spec.on_low.queue == place for spec in definitions.monitors):
        what = "monitors put low scores into this queue (on_low), which are no random draw: name another with --queue"
        raise ConfigError([Problem(place, what)])
