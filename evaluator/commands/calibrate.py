"""`evaluator calibrate`: is a judge right? Like all commands it imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from evaluator.commands.arguments import duration
from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from judges import Calibrate, Rubric

_out = Console(soft_wrap=True)


def calibrate(
    name: Annotated[str, typer.Argument(help="the rubric", metavar="RUBRIC")],
    against: Annotated[
        str, typer.Option(help="name of the score that people give; by default as the rubric's `calibrate` says")
    ] = "",
    since: Annotated[str, typer.Option(help="how old labels may be: 30d, 90d")] = "",
    floor: Annotated[
        float | None, typer.Option(help="exit code 1 when its kappa is surely below", min=0.01, max=0.99)
    ] = None,
    pass_at: Annotated[
        float | None, typer.Option(help="where people say yes or no: from where on a number of the judge passes")
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="what people labelled was drawn at random: this week's labels correct it")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="write a page here", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Hold a judge against what people said of the same traces: agreement with intervals, and where they differ.

    Reads scores, asks no judge, writes nothing to Langfuse. The figures are kept: the page shows them over the weeks.
    """
    import numpy as np

    from evaluator.app import open_desk
    from evaluator.calibration import report as calibration_report
    from evaluator.calibration.agreement import calibrate as held
    from evaluator.calibration.label_queue import queue_name, read_queue
    from evaluator.calibration.weekly import SURE, Kept, keep, place_of
    from evaluator.definitions import load
    from evaluator.pages.calibration_page import page

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = load(settings.evaluator_config).with_on([name])
    (rubric,) = definitions.rubrics([name])
    said = {"against": against or None, "since": since or None, "random": random or None}
    wanted = _wanted(rubric, {**said, "floor": floor, "pass_at": pass_at})
    with open_desk(settings, definitions) as desk:
        now, url = desk.clock.now(), desk.langfuse.score_url
        rng = np.random.default_rng(0)  # the same labels, the same figures
        queue = read_queue(desk.langfuse, queue_name(rubric), definitions.service.sampling.salt)
        ways: dict[str, Any] = {"pass_at": wanted.pass_at, "random": wanted.random, "queue": queue}
        found = held(desk.langfuse, rubric, wanted.against, since=now - wanted.since, now=now, rng=rng, **ways)
        keep(desk.state, found)
        place = place_of(name, wanted.against)
        history = Kept.from_json(desk.alerts.states([place])[place]).history
        if html is not None:
            _write(html, page(found, history, url, wanted.floor))
        if as_json:
            document = calibration_report.as_json(found, url, wanted.floor)
            sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        else:
            calibration_report.show(found, url, _out, wanted.floor)
            if html is not None:
                _out.print(f"\nwrote {html}", markup=False, highlight=False)
    if floor is not None and found.is_enough and found.found and (found.found.below(floor) or 0.0) >= SURE:
        raise typer.Exit(1)


def _wanted(rubric: Rubric, asked: Mapping[str, Any]) -> Calibrate:
    """Return what is compared: as the rubric's file says where the labels are the same, and above that as was asked."""
    from judges import Calibrate

    said = {key: value for key, value in asked.items() if value is not None}
    own = rubric.spec.calibrate
    label = said.get("against") or (own.against if own else "")
    if not label:
        what = "say which labels: --against SCORE, or calibrate: {against: SCORE} in its file"
        raise ConfigError([Problem(rubric.name, what)])
    known = own if own is not None and own.against == label else Calibrate(against=label)
    more = {"since": duration(said["since"], "--since")} if "since" in said else {}
    return known.model_copy(update={**said, "against": label, **more})


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem("--html", f"cannot be written: {path}: {error.strerror}")]) from None
