"""`evaluator anchors`: has a judge moved? Like all commands it imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evaluator.commands.arguments import NOT_ASKED
from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from evaluator.definitions import Definitions
    from evaluator.state.anchor_rounds import Known
    from judges import Rubric

_out = Console(soft_wrap=True)
_ROUNDS = 8


def anchors(
    names: Annotated[
        list[str] | None, typer.Argument(help="rubrics; without one, all that have anchors", metavar="[RUBRIC]...")
    ] = None,
    judge: Annotated[
        bool, typer.Option("--judge", help="make what is missing of the anchors, and ask the judge about them now")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="archive the anchors, choose others, and ask the judge about them now")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Show whether judges moved: their rounds on frozen traces. Exit code 3 when there are too few to ask about.

    Alone it reads what is kept and asks nobody. The scheduler makes anchors and asks about them by itself.
    """
    from evaluator.app import open_app
    from evaluator.definitions import load

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = load(settings.evaluator_config)
    rubrics = _chosen(definitions, names or [])
    short: list[str] = []
    with open_app(settings, definitions=definitions) as app:
        for each in rubrics if judge or anew else ():
            if anew:
                app.anchoring.make(each.name, anew=True)
            if app.anchoring.judge(each.name) is None:
                short.append(each.name)
        known = {each.name: app.anchoring.known(each.name) for each in rubrics}
    if as_json:
        document = {each.name: _as_json(each, known[each.name]) for each in rubrics}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    else:
        for each in rubrics:
            _show(each, known[each.name], short)
    if short:
        raise typer.Exit(NOT_ASKED)


def _chosen(definitions: Definitions, names: list[str]) -> list[Rubric]:
    found = [each for each in definitions.rubrics(names) if each.spec.anchors is not None]
    without = sorted(set(names) - {each.name for each in found})
    if without or not found:
        where = definitions.folder / "rubrics" / (f"{without[0]}.yaml" if without else "")
        raise ConfigError([Problem(str(where), "has no anchors; add `anchors: {}` to the rubric's file")])
    return found


def _show(rubric: Rubric, known: Known, short: Collection[str]) -> None:
    from evaluator.calibration.anchors import FROM, is_pass_rate
    from evaluator.messages.blame import in_words
    from monitors.drift import FEWEST

    binary = is_pass_rate(rubric)
    _out.print(f"{rubric.name}: {in_words(known.state, known.shift, binary)}", markup=False, highlight=False)
    if rubric.name in short:
        needed = f"{FEWEST} of the last {FROM.days} days are needed, at most two a session"
        _out.print(f"  not asked: too few scored traces; {needed}", markup=False, highlight=False)
    elif not known.judgings:
        _out.print("  not asked yet: the scheduler does, or --judge", markup=False, highlight=False)
    if not known.judgings:
        return
    table = Table("round, UTC", "anchors", "mean", "version", "judges", box=None, pad_edge=False)
    for each in known.judgings[-_ROUNDS:]:
        mean = known.mean(each)
        failed = f" ({sum(each.failed.values())} failed)" if each.failed else ""
        shown = f"{100 * mean:.1f} %" if binary else f"{mean:.3f}"
        table.add_row(
            f"{each.round.at:%Y-%m-%d %H:%M}",
            f"{len(each.round.values)}{failed}",
            shown + (" moved" if each.round.apart else ""),
            each.version,
            ", ".join(each.judges),
        )
    _out.print(table, markup=False, highlight=False)


def _as_json(rubric: Rubric, known: Known) -> dict[str, Any]:
    from evaluator.calibration.anchors import dataset_of

    told = known.to_json()
    rounds = [
        {key: value for key, value in each.items() if key != "values"} | {"mean": known.mean(kept)}
        for each, kept in zip(told["judgings"], known.judgings, strict=True)
    ]
    return {
        "dataset": dataset_of(rubric.name),
        "anchors": len(known.anchors),
        "moved_since": told["opened"],
        "moves": told["moves"],
        "shift": told["shift"],
        "rounds": rounds,
    }
