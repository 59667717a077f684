"""`evaluator rubric ...`: commands about rubrics. Like all commands they import what they need when they run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from evaluator.commands.arguments import NOT_ASKED, duration
from evaluator.commands.tune import tune
from evaluator.errors import ConfigError, Problem, Unavailable
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from judges import Price, Rubric

rubric = typer.Typer(name="rubric", help="Test rubrics before they judge.", no_args_is_help=True, rich_markup_mode=None)
rubric.command("tune")(tune)

_out = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)


@rubric.command("test")
def run_tests(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="rubrics, switched off or not; without one, all that are on", metavar="[NAME]..."),
    ] = None,
    repeat: Annotated[int, typer.Option(help="how often each example is asked, to see what is flaky", min=1)] = 1,
    need: Annotated[float, typer.Option(help="share of the answers that must be as expected", min=0.01, max=1)] = 1.0,
    junit: Annotated[Path | None, typer.Option(help="write a JUnit XML report here", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the results as one JSON object")] = False,
) -> None:
    """Ask the judges of the rubrics' examples and compare: exit code 0 as expected, 1 not, 3 could not be asked.

    Needs the model API, and Langfuse only for rubrics whose prompt it keeps. Where the service runs, its status page
    shows what came of it.
    """
    from evaluator.app import keep_tests, open_judges, with_managed_prompts
    from evaluator.clock import SystemClock
    from evaluator.commands.progress import counting
    from evaluator.definitions import load
    from evaluator.rubrics import golden_report
    from evaluator.rubrics.golden import Result, run_examples, summaries

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config).with_on(names or []))
    chosen = _with_examples(definitions.rubrics(names or []), definitions.folder)
    clock = SystemClock()
    started, began = clock.now(), clock.monotonic()
    asked = repeat * sum(len(each.spec.examples) for each in chosen)
    with open_judges(settings, definitions) as model, counting("answers", asked, _errors, clock.monotonic) as more:
        tested = run_examples(model, chosen, repeat=repeat, need=need, now=clock.monotonic, progress=more)
    if junit is not None:
        taken = clock.monotonic() - began
        _write(junit, golden_report.junit(tested, seconds=taken, started=f"{started:%Y-%m-%dT%H:%M:%S}"))
    if as_json:
        sys.stdout.write(json.dumps(golden_report.as_json(tested), ensure_ascii=False) + "\n")
    else:
        golden_report.show(tested, _out)
    try:
        keep_tests(settings, summaries(tested, started))
    except Unavailable as error:
        _errors.print(f"note: the status page will not show this: {error}", markup=False, highlight=False)
    results = {each.result for each in tested}
    if results != {Result.PASSED}:
        raise typer.Exit(1 if Result.FAILED in results else NOT_ASKED)


@rubric.command("redteam")
def red_team(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="rubrics, switched off or not; without one, all that are on", metavar="[NAME]..."),
    ] = None,
    sample: Annotated[int, typer.Option(help="attacks on each rubric; there are 67", min=1, max=2000)] = 67,
    max_usd: Annotated[float | None, typer.Option(help="stop before it costs more", min=0)] = None,
    allowed: Annotated[
        float | None, typer.Option(help="exit code 1 when attacks raise more verdicts beyond noise", min=0, max=1)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as one JSON object")] = False,
) -> None:
    """Attack the judges: write instructions, fake messages and the like into golden examples, and see who believes it.

    Needs the model API, and Langfuse only for rubrics whose prompt it keeps. Writes no score.
    """
    from evaluator.app import open_judges, with_managed_prompts
    from evaluator.clock import SystemClock
    from evaluator.commands.progress import counting
    from evaluator.definitions import load
    from evaluator.rubrics import redteam, redteam_report

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config).with_on(names or []))
    chosen = _with_examples(definitions.rubrics(names or []), definitions.folder)
    if max_usd is not None:
        _must_be_priced(chosen, definitions.prices)
    shots = [shot for each in chosen for shot in redteam.shots_of(each, sample)]
    now = SystemClock().monotonic
    with open_judges(settings, definitions) as model, counting("answers", len(shots), _errors, now) as more:
        found = redteam.run(model, shots, most_usd=max_usd, progress=more)
    asked = sum(len(each.shots) for each in found)
    if as_json:
        sys.stdout.write(json.dumps(redteam_report.as_json(found, asked, len(shots)), ensure_ascii=False) + "\n")
    else:
        redteam_report.show(found, asked, len(shots), _out)
    if not asked:
        raise typer.Exit(NOT_ASKED)
    if allowed is not None and any(each.excess is not None and each.excess > allowed for each in found):
        raise typer.Exit(1)


@rubric.command("diff")
def diff_versions(
    name: Annotated[str, typer.Argument(help="the rubric")],
    against: Annotated[
        Path, typer.Option(help="where the version before is: a configuration folder, or a file", exists=True)
    ],
    sample: Annotated[int, typer.Option(help="how many traces, or sessions", min=2, max=2000)] = 50,
    last: Annotated[str, typer.Option(help="of which time: 24h, 7d")] = "7d",
    noise: Annotated[
        bool, typer.Option("--noise", help="ask the version before twice, to see what is chance; half as much again")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Judge a sample of real traces, or sessions, by two versions of a rubric, side by side. Writes no score."""
    back = duration(last, "--last")
    from evaluator.app import open_desk, with_managed_prompts
    from evaluator.commands.progress import counting
    from evaluator.definitions import load
    from evaluator.preview.parts import url_of
    from evaluator.rubrics import comparing, comparing_report
    from evaluator.rubrics.files import versions_in

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config).with_on([name]))
    (after,) = definitions.rubrics([name])
    old = with_managed_prompts(settings, versions_in(against, name))
    (before,) = old.rubrics()
    before = before.redacting(definitions.service.redact)  # whatever it was then: nothing leaves that must not now
    if before.version == after.version:
        _out.print(f"{name}: both are version {after.version}; nothing that could change a verdict is different")
        return
    evaluator = next(each for each in definitions.evaluators if each.rubric is after)
    with open_desk(settings, definitions.with_prices_of(old)) as desk:
        now = desk.clock.monotonic
        with counting("traces listed", None, _errors, now) as more:
            traces, skipped = comparing.sampled(desk, evaluator, before, last=back, most=sample, told=more)
        with counting("answers", len(traces) * (3 if noise else 2), _errors, now) as more:
            found = comparing.compare(desk.model, before, after, traces, skipped=skipped, noise=noise, progress=more)
        document = comparing_report.as_json(found, lambda part: url_of(part, desk.langfuse)) if as_json else None
    if document is None:
        comparing_report.show(found, _out)
    else:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    if found.pairs and not found.asked:
        raise typer.Exit(NOT_ASKED)


@rubric.command("compare")
def compare_with_people(
    name: Annotated[str, typer.Argument(help="the rubric")],
    other: Annotated[
        Path | None, typer.Argument(help="where another version is: a configuration folder, or a file", exists=True)
    ] = None,
    model: Annotated[str, typer.Option(help="let this model judge by the other version, or by the same one")] = "",
    against: Annotated[
        str, typer.Option(help="name of the score that people give; by default as the rubric's `calibrate` says")
    ] = "",
    sample: Annotated[int, typer.Option(help="how many labelled traces, or sessions", min=2, max=2000)] = 100,
    since: Annotated[str, typer.Option(help="how old labels may be: 30d, 90d")] = "90d",
    pass_at: Annotated[
        float | None, typer.Option(help="from where on a number passes, where one says yes or no")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Judge what people labelled by two versions, or by two models: which agrees better with them, at what cost.

    Writes no score.
    """
    back = duration(since, "--since")
    from evaluator.app import open_desk, with_managed_prompts
    from evaluator.commands.progress import counting
    from evaluator.definitions import load
    from evaluator.preview.parts import url_of
    from evaluator.rubrics import rivals, rivals_report
    from evaluator.rubrics.files import versions_in

    if other is None and not model:
        raise ConfigError([Problem(name, "say what to compare it with: another version (folder or file), or --model")])
    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config).with_on([name]))
    (first,) = definitions.rubrics([name])
    label = against or (first.spec.calibrate.against if first.spec.calibrate else "")
    if not label:
        what = "say which labels: --against SCORE, or calibrate: {against: SCORE} in its file"
        raise ConfigError([Problem(name, what)])
    old = definitions if other is None else with_managed_prompts(settings, versions_in(other, name))
    (second,) = old.rubrics([name] if other is None else [])
    second = rivals.judged_by(second, model).redacting(definitions.service.redact)
    evaluator = next(each for each in definitions.evaluators if each.rubric is first)
    names = rivals.names_of(first, second)
    with open_desk(settings, definitions.with_prices_of(old)) as desk:
        traces = rivals.labelled_traces(desk, evaluator, label, back, sample)
        with counting("answers", 2 * len(traces), _errors, desk.clock.monotonic) as more:
            found = rivals.contest(desk.model, first, second, traces, pass_at=pass_at, progress=more)
        document = rivals_report.as_json(found, names, lambda part: url_of(part, desk.langfuse)) if as_json else None
    if document is None:
        rivals_report.show(found, names, _out)
    else:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    if found.comparison.pairs and not found.comparison.asked:
        raise typer.Exit(NOT_ASKED)


def _must_be_priced(rubrics: Iterable[Rubric], prices: Mapping[str, Price]) -> None:
    unpriced = sorted({model for each in rubrics for model in each.spec.judge.models if model not in prices})
    if unpriced:
        what = f"nobody knows what {', '.join(unpriced)} costs: say it under models.prices in evaluator.yaml"
        raise ConfigError([Problem("--max-usd", what)])


def _with_examples(rubrics: Iterable[Rubric], folder: Path) -> list[Rubric]:
    """Return the rubrics that have examples, and say which have none."""
    found = []
    for each in rubrics:
        if each.spec.examples:
            found.append(each)
        else:
            _errors.print(f"note: {each.name} has no examples", markup=False, highlight=False)
    if not found:
        what = "there is nothing to test: give a rubric examples, each with inputs and what to expect"
        raise ConfigError([Problem(str(folder / "rubrics"), what)])
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem("--junit", f"cannot be written: {path}: {error.strerror}")]) from None
