"""`evaluator dead-letters ...`: what was given up, by reason and age; taken up again, or dropped."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evaluator.commands.arguments import duration
from evaluator.settings import load_settings
from evaluator.telemetry.logs import configure_logs, spelled_out

if TYPE_CHECKING:
    from evaluator.app import App
    from evaluator.state.dead_letters import DeadLetter

dead_letters = typer.Typer(
    name="dead-letters",
    help="What was given up: list, show, replay, drop. Kept for 30 days.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_out = Console(soft_wrap=True)

Ids = Annotated[list[str] | None, typer.Argument(help="letters, or traces", metavar="[ID]...")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="kind of failure; may be repeated")]
Evaluators = Annotated[list[str] | None, typer.Option("--evaluator", help="who gave up; may be repeated")]
OlderThan = Annotated[str, typer.Option(help="given up at least so long ago: 90m, 24h, 7d")]
AsJson = Annotated[bool, typer.Option("--json", help="print it as JSON")]
All = Annotated[bool, typer.Option("--all", help="every one")]


@dead_letters.command("list")
def show_all(
    reason: Reasons = None,
    evaluator: Evaluators = None,
    older_than: OlderThan = "",
    most: Annotated[int, typer.Option("--limit", help="how many letters are listed one by one", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """Say what was given up: how much for which reason, since when, and the newest ones by themselves."""
    with _opened() as app:
        now = app.clock.now()
        letters = _chosen(app, [], reason, evaluator, older_than)
        counts = app.state.dead.counts()
    if as_json:
        sys.stdout.write(json.dumps([_as_json(letter) for letter in letters], ensure_ascii=False) + "\n")
        return
    if letters:
        _out.print(_by_reason(letters, now))
        for letter in letters[::-1][:most]:
            _out.print(f"{_age(now - letter.at):>4}  {_line(letter)}", markup=False, highlight=False)
        if len(letters) > most:
            _out.print(f"      and {len(letters) - most:,} older ones; --json has all", highlight=False)
        _out.print(
            "evaluator dead-letters replay --reason KIND puts them back; docs/runbook.md explains each kind",
            style="dim",
        )
    else:
        _out.print("nothing was given up" + (" that fits" if reason or evaluator or older_than else ""))
    if counts:
        _out.print(f"so far {counts['replayed']:,} replayed, {counts['dropped']:,} dropped", highlight=False)


@dead_letters.command()
def show(
    letter: Annotated[str, typer.Argument(help="its id, or the id of its trace", metavar="ID")],
    as_json: AsJson = False,
) -> None:
    """Tell all about a letter, or about those of one trace."""
    with _opened() as app:
        found = _named(app, letter)
        urls = [app.langfuse.trace_url(each.job.ref.id) for each in found]
    if as_json:
        rows = [{**_as_json(each), "url": url} for each, url in zip(found, urls, strict=True)]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    for each, url in zip(found, urls, strict=True):
        for name, value in {**_as_json(each), "url": url}.items():
            _out.print(f"{name:<22} {spelled_out(str(value))}", markup=False, highlight=False)
        _out.print(f"why again:             evaluator try {each.job.ref.id}", markup=False, highlight=False)
        _out.print(f"once more:             evaluator dead-letters replay '{each.id}'\n", markup=False, highlight=False)


@dead_letters.command()
def replay(
    ids: Ids = None,
    reason: Reasons = None,
    evaluator: Evaluators = None,
    older_than: OlderThan = "",
    every: All = False,
    as_json: AsJson = False,
) -> None:
    """Put letters back on the queue, behind live traffic; each pair gets one score, however often this is done."""
    _must_say_which(ids, reason, evaluator, older_than, every=every)
    from evaluator.sampling.jobs import Lane
    from evaluator.worker import open_queue

    with _opened() as app:
        letters, queue = _chosen(app, ids or [], reason, evaluator, older_than), open_queue(app)
        size = app.definitions.service.batch_size
        done = app.state.dead.replay(letters, lambda jobs: queue.put(jobs, lane=Lane.BACKFILL), size)
    if as_json:
        sys.stdout.write(json.dumps({"replayed": done.put, "gone": done.gone}) + "\n")
        return
    _out.print(f"{done.put:,} put back on the queue, behind live traffic" if letters else "no letter fits")
    if done.gone:
        _out.print(f"{done.gone:,} were gone already, or their pair has ended otherwise since", highlight=False)


@dead_letters.command()
def drop(
    ids: Ids = None,
    reason: Reasons = None,
    evaluator: Evaluators = None,
    older_than: OlderThan = "",
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Forget letters for good; their pairs stay failed."""
    _must_say_which(ids, reason, evaluator, older_than, every=every)
    with _opened() as app:
        letters = _chosen(app, ids or [], reason, evaluator, older_than)
        if letters and not yes:
            typer.confirm(f"forget {len(letters):,} letters for good?", abort=True, err=True)
        number = app.state.dead.drop(letters)
    _out.print(f"{number:,} dropped" if letters else "no letter fits", highlight=False)


def _must_say_which(
    ids: list[str] | None, reason: list[str] | None, evaluator: list[str] | None, older_than: str, *, every: bool
) -> None:
    if not (ids or reason or evaluator or older_than or every):
        raise typer.BadParameter("say which: ids, --reason, --evaluator, --older-than, or --all")


def _chosen(
    app: App, ids: list[str], reason: list[str] | None, evaluator: list[str] | None, older_than: str
) -> list[DeadLetter]:
    from evaluator.state.dead_letters import Wanted

    age = duration(older_than, "--older-than") if older_than else timedelta()
    wanted = Wanted(frozenset(ids), frozenset(reason or []), frozenset(evaluator or []), age)
    return wanted.chosen(app.state.dead_letters(), app.clock.now())


def _named(app: App, letter: str) -> list[DeadLetter]:
    found = _chosen(app, [letter], None, None, "")
    if not found:
        raise typer.BadParameter(f"no letter has the id {letter!r}; `evaluator dead-letters list` shows them")
    return found


@contextlib.contextmanager
def _opened() -> Iterator[App]:
    from evaluator.app import open_app

    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    with open_app(settings) as app:
        yield app


def _by_reason(letters: list[DeadLetter], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("letters", "oldest", "newest"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("reason")
    table.add_column("evaluator")
    groups: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault((letter.kind, letter.evaluator), []).append(letter)
    for (kind, evaluator), those in sorted(groups.items(), key=lambda group: -len(group[1])):
        ages = (_age(now - those[0].at), _age(now - those[-1].at))
        table.add_row(f"{len(those):,}", *ages, spelled_out(kind), evaluator)
    return table


def _age(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes}m" if minutes < 120 else f"{minutes // 60}h" if minutes < 2880 else f"{minutes // 1440}d"


def _line(letter: DeadLetter) -> str:
    begun = " (its replay began and did not end: replay it again)" if letter.begun else ""
    return spelled_out(f"{letter.id}  {letter.reason}{begun}")


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    sampled, ref = letter.job.samples[0], letter.job.ref
    return {
        "id": letter.id,
        "evaluator": letter.evaluator,
        "kind": letter.kind,
        "reason": letter.reason,
        "at": letter.at.isoformat(timespec="seconds"),
        "trace_id": ref.id,
        "environment": ref.environment,
        "ended": ref.ended.isoformat(timespec="seconds"),
        "attempts": letter.job.attempt + 1,
        "inclusion_probability": sampled.probability,
        "replay_begun": letter.begun,
    }
