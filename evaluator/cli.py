"""The command line: each command opens the application, does one thing and closes it.

Commands import what they need when they run: help and mistakes in the arguments answer at once.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from typer.core import TyperGroup

from evaluator.commands.alert import alert
from evaluator.commands.anchors import anchors
from evaluator.commands.arguments import duration, percentage
from evaluator.commands.backfill import backfill
from evaluator.commands.calibrate import calibrate
from evaluator.commands.dead_letters import dead_letters
from evaluator.commands.importing import imports
from evaluator.commands.label import label
from evaluator.commands.rubric import rubric
from evaluator.commands.rules import rules
from evaluator.commands.status import status, top, why
from evaluator.commands.trying import try_it
from evaluator.errors import ConfigError, EvaluatorError
from evaluator.settings import Settings, load_settings
from evaluator.telemetry.logs import configure_logs, spelled_out, tell_of_threads, told

if TYPE_CHECKING:
    from evaluator.app import App
    from evaluator.definitions import Definitions
    from evaluator.discovery.sweep import Found
    from evaluator.reloading import Reload
    from evaluator.service import Swept
    from evaluator.state.hours import Funnel

_ORDER: Final = (
    *("demo", "sandbox", "init", "check", "plan", "try", "sweep", "run", "scheduler", "worker"),
    *("status", "top", "why", "dead-letters", "backfill"),
    *("rules", "rubric", "calibrate", "label", "anchors", "backtest", "alert", "digest", "report", "import", "schema"),
)
"""In which order commands are listed: as people meet them. One that is not here comes last."""


class _InOrder(TyperGroup):
    """Lists commands as people meet them, and not as modules were read."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


cli = typer.Typer(
    cls=_InOrder,
    name="evaluator",
    help="Online evaluation for LLM applications traced in Langfuse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (rubric, alert, dead_letters, imports):
    cli.add_typer(group)
for command in (anchors, backfill, calibrate, label, rules, status, top, why):
    cli.command()(command)
cli.command("try")(try_it)
_out = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)

_ENDS = frozenset({"scored", "skipped", "unscored", "failed", "gone"})

Threads = Annotated[int | None, typer.Option(help="worker threads; by default as many as the limits call for", min=1)]


def main() -> None:
    """Run the command line; a problem a person must solve is told in words, without a traceback."""
    configure_logs()
    tell_of_threads()
    try:
        cli()
    except ConfigError as error:
        for problem in error.problems:
            _errors.print(str(problem), markup=False, highlight=False)
        sys.exit(2)
    except EvaluatorError as error:
        _errors.print(f"evaluator: {error}", markup=False, highlight=False)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - a traceback of Python's would hold its words, and they content
        _errors.print(f"evaluator: a mistake of the service\n{told(error)}", markup=False, highlight=False)
        sys.exit(70)


@cli.command()
def demo(
    weeks: Annotated[int, typer.Option(help="weeks of traffic", min=6)] = 13,
    traces_per_week: Annotated[int, typer.Option(help="traces a week", min=50)] = 300,
) -> None:
    """Run the whole service against embedded stand-ins: no key, no account."""
    from evaluator.demo import run as run_demo

    configure_logs("pretty", level=30)
    run_demo(weeks, traces_per_week, Console())


@cli.command()
def run(threads: Threads = None) -> None:
    """Run scheduler and workers in one process, for ever."""
    _serve(schedule=True, work=True, threads=threads)


@cli.command()
def scheduler() -> None:
    """Run only the scheduler; any number may run, one leads."""
    _serve(schedule=True, work=False)


@cli.command()
def worker(threads: Threads = None) -> None:
    """Run only workers; as many processes on as many machines as you like, against one Redis."""
    _serve(schedule=False, work=True, threads=threads)


@cli.command()
def sweep(
    since: Annotated[str, typer.Option(help="how far back: 90s, 15m, 24h, 7d")] = "24h",
    drain: Annotated[bool, typer.Option("--drain", help="wait until everything found is evaluated")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as one JSON object")] = False,
    work: Annotated[bool, typer.Option(help="evaluate in this process too")] = True,
    threads: Threads = None,
) -> None:
    """Find what finished in the given time, hand it to the workers, print a summary: for cron and tests."""
    back = duration(since, "--since")
    from evaluator.service import sweep as sweep_once
    from evaluator.service import until_told_to_stop

    with _opened() as app, until_told_to_stop() as told, _bar(shown=drain and _errors.is_terminal) as report:
        swept = sweep_once(app, back, drain=drain, work=work, threads=threads, progress=report, told=told)
    summary = swept.as_json()
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        _print_swept(swept, since)
    if swept.closed:
        raise typer.Exit(1)


def _print_swept(swept: Swept, since: str) -> None:
    summary = swept.as_json()
    _out.print(f"{summary['traces']} traces finished since {since} that were not known before")
    if summary["sessions"]:
        _out.print(f"{summary['sessions']} sessions had been idle for long enough")
    for state, count in summary["evaluations"].items():
        _out.print(f"  {count:>8,} {state.replace('_', ' ')}")
    for reason, count in summary["reasons"].items():
        _out.print(f"  {count:>8,} {spelled_out(reason)}", style="dim", markup=False, highlight=False)
    used = swept.used
    again = f" ({used.cached:,} answers used again)" if used.cached else ""
    _out.print(f"{used.calls:,} judge calls{again}, {used.usd:.4f} USD; {swept.left} messages left in the queue")
    for model, said in swept.closed.items():
        _out.print(f"not waited for: {model} takes no calls: {said}", style="red", markup=False, highlight=False)


@cli.command()
def check(
    offline: Annotated[bool, typer.Option("--offline", help="only the files; ask no service")] = False,
    traces: Annotated[bool, typer.Option("--traces", help="what real traffic lacks, and whom that blinds")] = False,
    since: Annotated[str, typer.Option(help="with --traces: how far back: 24h, 7d")] = "24h",
) -> None:
    """Validate the definitions, say what will be evaluated, and try every service."""
    back = duration(since, "--since")
    from evaluator.preview.check import check as check_everything

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    if not check_everything(settings, _out, offline=offline):
        raise typer.Exit(1)
    if traces:
        from evaluator.preview.instrumentation import tell

        tell(settings, back, since, _out)


@cli.command()
def plan(
    last: Annotated[str, typer.Option(help="the traffic to replay: 24h, 7d")] = "7d",
    content: Annotated[int, typer.Option(help="how many traces are read whole, to know tokens and cost", min=0)] = 200,
    against: Annotated[
        Path | None, typer.Option(help="another configuration folder: say what changes", file_okay=False, exists=True)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Replay the definitions over past traffic: volume, cost, limits. Calls no model, writes nothing."""
    back = duration(last, "--last")
    from evaluator.app import open_desk, with_managed_prompts
    from evaluator.commands.progress import counting
    from evaluator.definitions import load
    from evaluator.preview import planning, planning_report

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = with_managed_prompts(settings, load(settings.evaluator_config))
    other = with_managed_prompts(settings, load(against)) if against is not None else None
    with open_desk(settings, definitions) as desk:
        with counting("traces listed", None, _errors, desk.clock.monotonic) as more:
            found = planning.plan(desk, back, content=content, against=other, told=more)
        spent, batches = desk.state.spending(), desk.langfuse.capabilities().batch_scores
    if as_json:
        sys.stdout.write(json.dumps(planning_report.as_json(found, spent, batch_scores=batches)) + "\n")
    else:
        planning_report.show(found, spent, _out, batch_scores=batches)


@cli.command()
def backtest(
    scores: Annotated[list[str] | None, typer.Argument(help="monitors; without one, all", metavar="[SCORE]...")] = None,
    weeks: Annotated[int, typer.Option(help="how many past weeks to replay", min=1, max=104)] = 26,
    want: Annotated[str, typer.Option(help="a fall you want to see, such as 3%: which sampling rate shows it?")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False,
) -> None:
    """Replay past weeks through the monitors: what would have been told, how much is chance, what can be seen."""
    from evaluator.app import open_desk
    from evaluator.commands.progress import counting
    from evaluator.definitions import load
    from evaluator.preview import backtest_report
    from evaluator.preview.backtest import backtest as replayed

    wanted = percentage(want, "--want") if want else None
    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = load(settings.evaluator_config)
    chosen = definitions.watched(scores or [])
    with (
        open_desk(settings, definitions) as desk,
        counting("looks", len(chosen) * (7 * weeks + 1), _errors, desk.clock.monotonic) as more,
    ):
        now = desk.clock.now()
        found = [replayed(desk.langfuse, spec, now, weeks=weeks, wanted=wanted, looked=more) for spec in chosen]
    if as_json:
        sys.stdout.write(json.dumps(backtest_report.as_json(found)) + "\n")
    else:
        backtest_report.show(found, _out)


@cli.command()
def report(
    scores: Annotated[list[str] | None, typer.Argument(help="monitors; without one, all", metavar="[SCORE]...")] = None,
    weeks: Annotated[int, typer.Option(help="how many weeks, this one included", min=2, max=104)] = 12,
    to: Annotated[Path, typer.Option("--to", help="the file to write", dir_okay=False)] = Path("report.html"),
) -> None:
    """Write a page about some weeks of scores: charts, prompt versions compared, traces to read, coverage, cost."""
    from evaluator.app import open_desk
    from evaluator.commands.progress import counting
    from evaluator.definitions import load
    from evaluator.pages.report import gather
    from evaluator.pages.report_page import page

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    definitions = load(settings.evaluator_config)
    chosen = definitions.watched(scores or [])
    with (
        open_desk(settings, definitions) as desk,
        counting("scores", len(chosen), _errors, desk.clock.monotonic) as more,
    ):
        found = gather(desk, chosen, weeks, more)
    to.write_text(page(found), encoding="utf-8")
    _out.print(f"wrote {to}", highlight=False)


@cli.command()
def digest() -> None:
    """Print the weekly digest as it would be now; nothing is sent."""
    from evaluator.app import open_app
    from evaluator.messages.rendering import as_text

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    with open_app(settings) as app:
        _out.print(as_text(app.watch.overview()), markup=False, highlight=False, end="")


@cli.command()
def schema() -> None:
    """Write JSON Schemas for the YAML files, so that editors complete and check them."""
    from evaluator.definitions import schemas

    folder = load_settings().evaluator_config
    target = folder / "schema"
    target.mkdir(parents=True, exist_ok=True)
    for name, content in schemas(folder).items():
        path = target / name
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _out.print(f"wrote {path}", highlight=False)


@cli.command()
def init(folder: Annotated[Path, typer.Argument(help="where to write it")] = Path("config")) -> None:
    """Write a starter configuration; files that exist are kept."""
    from evaluator.starter import write_starter

    for path, written in write_starter(folder):
        _out.print(f"{'wrote' if written else 'kept '} {path}", highlight=False)


@cli.command()
def sandbox(
    replay: Annotated[Path | None, typer.Option(help="recorded runs in OpenAI chat format, .json or .json.gz")] = None,
    weeks: Annotated[int, typer.Option(help="weeks of generated traffic to play in", min=0)] = 0,
    port: Annotated[int, typer.Option(help="port of the Langfuse stand-in; model and Slack take the next two")] = 8100,
) -> None:
    """Serve stand-ins for Langfuse, the model API and Slack, for trying things out."""
    from evaluator.demo import serve_sandbox

    serve_sandbox(replay, weeks, port)


def _serve(*, schedule: bool, work: bool, threads: int | None = None) -> None:
    from evaluator.pulse import beating
    from evaluator.reloading import keep_serving
    from evaluator.service import serve, until_told_to_stop
    from evaluator.status.server import served_beside
    from evaluator.worker import thread_count

    settings = load_settings()
    if schedule != work and not settings.redis_url.get_secret_value():
        _errors.print("note: without REDIS_URL only processes with the same EVALUATOR_DATA folder find each other")
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    role = "run" if schedule and work else "scheduler" if schedule else "worker"
    with until_told_to_stop() as told:

        @contextlib.contextmanager
        def serving(definitions: Definitions, reload: Reload) -> Iterator[Callable[[], None]]:
            with (
                _opened(settings, definitions) as app,
                beating(app, role, (threads or thread_count(app)) if work else 0) as pulse,
                served_beside(app, pulse),
            ):
                yield lambda: serve(app, told, schedule=schedule, work=work, threads=threads, reloads=reload.is_due)

        keep_serving(settings, told, serving)


@contextlib.contextmanager
def _opened(settings: Settings | None = None, definitions: Definitions | None = None) -> Iterator[App]:
    from evaluator.app import open_app
    from evaluator.worker import calm_collector

    settings = settings or load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    with open_app(settings, definitions=definitions) as app:
        calm_collector()
        yield app


@contextlib.contextmanager
def _bar(*, shown: bool) -> Iterator[Callable[[Found, Funnel], None] | None]:
    if not shown:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_errors, transient=True) as bar:
        task = bar.add_task("evaluating", total=None)

        def report(found: Found, funnel: Funnel) -> None:
            done = sum(n for (_, state, _), n in funnel.items() if state in _ENDS)
            bar.update(task, total=found.sampled, completed=min(done, found.sampled))

        yield report


if __name__ == "__main__":
    main()
