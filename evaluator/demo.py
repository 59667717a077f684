"""`evaluator demo`: the real service, end to end, with stand-ins for the outside world and nothing to set up.

The stand-ins run in a process of their own and are reached over real sockets; what is counted at the end is counted
there, not by the service.
"""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from evaluator import starter
from evaluator.app import App, open_app
from evaluator.burdens import burden
from evaluator.calibration.agreement import Calibration, calibrate
from evaluator.calibration.report import heading, verdict_of
from evaluator.clock import SystemClock
from evaluator.definitions import Definitions, load
from evaluator.errors import Unavailable
from evaluator.langfuse import is_excluded
from evaluator.pages.calibration_page import page
from evaluator.scheduler import Scheduler
from evaluator.settings import Settings
from evaluator.state.hours import Funnel
from evaluator.worker import Queue, open_queue, working
from sandbox import ingest, traffic
from sandbox.slack import render
from traces import SampleRule

RATE: Final = 0.6
"""Sampling rate of the rubrics in the demo; the shipped 5 % would need more traffic than a minute allows."""

_HELD: Final = "faithfulness"
"""The rubric whose judge is held against what was found out later."""

_SETTLED: Final = frozenset({"scored", "skipped", "unscored", "failed", "gone"})
_APPLY_ALWAYS: Final = ("answered", "no-errors", "tool-calls", "has-user", "has-session")
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Outside:
    """The stand-ins: where they are, and what they saw."""

    langfuse_url: str
    model_url: str
    slack_url: str
    slack_api_url: str
    public_key: str
    secret_key: str

    def asked(self, url: str, what: str) -> Any:
        """Return what a stand-in says of itself under /_sandbox/."""
        base = url.split("/v1", maxsplit=1)[0].split("/services", maxsplit=1)[0]
        with urllib.request.urlopen(f"{base}/_sandbox/{what}", timeout=60) as answer:  # noqa: S310 - our own stand-in
            return json.load(answer)


def run(weeks: int, per_week: int, out: Console) -> None:
    """Play traffic into the stand-ins, evaluate all of it, look at the scores, and show what Slack received."""
    clock = SystemClock()
    started = clock.monotonic()
    out.print(Panel(_INTRODUCTION, title="evaluator demo", title_align="left"))
    definitions = _definitions()
    # Whatever ended lately would have to rest for a while first, as in real life; a demo has no time for that.
    until = clock.now() - definitions.service.discovery.max_wait - timedelta(minutes=1)
    with _stand_ins() as outside, tempfile.TemporaryDirectory(prefix="evaluator-demo-") as folder, _bars(out) as bars:
        sent = _play(outside, weeks, per_week, until, bars)
        with open_app(_settings(outside, Path(folder)), definitions=definitions) as app:
            _evaluate(app, until - timedelta(weeks=weeks, days=1), bars)
            app.watch.look()
            funnel, spent = app.state.funnel(), sum(used.usd for used in app.state.spending().values())
            held = _calibrated(app, until - timedelta(weeks=weeks, days=1))
        bars.stop()
        _show(outside, sent, funnel, spent, held, clock.monotonic() - started, out)


def serve_sandbox(replay: Path | None, weeks: int, port: int) -> None:
    """Serve the stand-ins until interrupted; print where they are."""
    options: list[str] = []
    for name, place in (("langfuse", port), ("model", port + 1), ("slack", port + 2)):
        options += [f"--{name}-port", str(place)]
    if replay is not None:
        options += ["--replay", str(replay)]
    if weeks:
        options += ["--traffic", str(weeks)]
    told = subprocess.PIPE if sys.stdout.isatty() else None  # a program reads the line of the stand-ins as it is
    with contextlib.suppress(KeyboardInterrupt), _running(options, stdout=told) as process:
        if process.stdout is not None and (line := process.stdout.readline()):
            sys.stdout.write(said_of(_outside(line)))
            sys.stdout.flush()
        sys.exit(process.wait())


def said_of(outside: Outside) -> str:
    """Return what a person types in another terminal to use the stand-ins."""
    return (
        "The stand-ins are up; Ctrl-C ends them. In another terminal:\n\n"
        f"export LANGFUSE_BASE_URL={outside.langfuse_url}\n"
        f"export LANGFUSE_PUBLIC_KEY={outside.public_key} LANGFUSE_SECRET_KEY={outside.secret_key}\n"
        f"export OPENAI_BASE_URL={outside.model_url} OPENAI_API_KEY=sk-sandbox\n"
        f"export SLACK_WEBHOOK_URL={outside.slack_url}\n\n"
        "then: evaluator init, evaluator check, evaluator sweep --since 24h --drain\n"
    )


def _outside(line: str) -> Outside:
    said = json.loads(line)
    return Outside(**{field.name: said[field.name] for field in fields(Outside)})


@contextlib.contextmanager
def _stand_ins() -> Iterator[Outside]:
    with _running(stdout=subprocess.PIPE, start_new_session=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise Unavailable("the stand-ins do not start: try `python -m sandbox`")
        yield _outside(line)


@contextlib.contextmanager
def _running(
    options: Sequence[str] = (), *, stdout: int | None, start_new_session: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run the stand-ins in a process that ends with the block, also when SIGTERM ends this one."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    command = [sys.executable, "-m", "sandbox", *options]
    try:
        with subprocess.Popen(command, stdout=stdout, text=True, start_new_session=start_new_session) as process:  # noqa: S603 - our own interpreter and module
            try:
                yield process
            finally:
                process.terminate()
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _bars(out: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True) if not out.is_terminal else out) as bars:
        yield bars


def _play(outside: Outside, weeks: int, per_week: int, until: datetime, bars: Progress) -> set[str]:
    """Send the traffic; return the ids of the traces that are to be evaluated."""
    plans = list(traffic.traffic(weeks, per_week, until))
    task = bars.add_task("sending traffic to Langfuse", total=len(plans))
    ingest.play(
        plans,
        base_url=outside.langfuse_url,
        public_key=outside.public_key,
        secret_key=outside.secret_key,
        progress=lambda number: bars.update(task, completed=number),
    )
    return {plan.id for plan in plans if not is_excluded(plan.environment)}


def _settings(outside: Outside, folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "langfuse_base_url": outside.langfuse_url,
            "langfuse_public_key": outside.public_key,
            "langfuse_secret_key": outside.secret_key,
            "openai_base_url": outside.model_url,
            "openai_api_key": "sk-sandbox",
            "slack_webhook_url": outside.slack_url,
            "slack_bot_token": "",
            "redis_url": "",
            "otel_exporter_otlp_endpoint": "",
            "otel_exporter_otlp_logs_endpoint": "",
            "otel_exporter_otlp_traces_endpoint": "",
            "evaluator_data": folder,
        }
    )


def _definitions() -> Definitions:
    """The shipped definitions; only the rubrics' sampling rate is raised, so that a small demo has enough to test."""
    shipped = load(starter.folder())
    evaluators = (replace(e, sample=(SampleRule(rate=RATE),)) if e.kind == "rubric" else e for e in shipped.evaluators)
    return replace(shipped, evaluators=tuple(evaluators))


def _evaluate(app: App, since: datetime, bars: Progress) -> None:
    """Let scheduler and workers catch up from `since`, as they would after a long pause."""
    app.state.advance(since)
    queue = open_queue(app)
    task = bars.add_task("evaluating", total=None)
    with (
        working(app, queue),
        Scheduler(app, app.discovery(queue.put), functools.partial(burden, app, queue)).running(),
    ):
        while not _is_done(app, queue, bars, task):
            app.clock.sleep(_POLL_SECONDS)


def _is_done(app: App, queue: Queue, bars: Progress, task: TaskID) -> bool:
    caught_up = (mark := app.state.watermark()) is not None and app.clock.now() - mark < timedelta(minutes=10)
    funnel = app.state.funnel()
    sampled, settled = _count(funnel, ["sampled"]), _count(funnel, _SETTLED)
    bars.update(task, total=sampled or None, completed=settled)
    return caught_up and sampled > 0 and settled >= sampled and queue.size() == 0


def _calibrated(app: App, since: datetime) -> tuple[Calibration, Path]:
    """Hold a judge against what was found out later; return what came of it, and where the page of it is."""
    (rubric,) = app.definitions.rubrics([_HELD])
    rng, now = np.random.default_rng(0), app.clock.now()
    # Chance decides of which traces the traffic tells how they ended: they stand for the others.
    found = calibrate(app.langfuse, rubric, traffic.GROUND_TRUTH, since=since, now=now, rng=rng, random=True)
    # A folder that stays: whoever ran the demo wants to read it afterwards.
    target = Path(tempfile.mkdtemp(prefix="evaluator-demo-page-")) / "calibration.html"
    target.write_text(page(found, [], app.langfuse.score_url), encoding="utf-8")
    return found, target


def _count(funnel: Funnel, states: Collection[str]) -> int:
    return sum(count for (_, state, _), count in funnel.items() if state in states)


def _show(
    outside: Outside,
    sent: set[str],
    funnel: Funnel,
    usd: float,
    held: tuple[Calibration, Path],
    seconds: float,
    out: Console,
) -> None:
    judged = outside.asked(outside.model_url, "counts")
    messages = outside.asked(outside.slack_url, "messages")
    scores = outside.asked(outside.langfuse_url, "scores")
    ours = [score for score in scores if "evaluator_version" in (score.get("metadata") or {})]
    for message in messages:
        out.print(Panel(Text(render(message)), title="what Slack received", title_align="left", border_style="red"))
    summary = {
        "traces": len({s["traceId"] for s in ours}),
        "sampled": len({s["traceId"] for s in ours if "judge_model" in s["metadata"]}),
        "judge_calls": judged["calls"],
        "scores": len(ours),
        "duplicates": outside.asked(outside.langfuse_url, "counts")["duplicates"],
        "lost": _lost(sent, ours),
        "alerts": len(messages),
        "kappa": None if held[0].headline is None else round(held[0].headline.value, 3),
    }
    findings = Counter(s["name"] for s in ours if s["dataType"] == "BOOLEAN" and not s["value"])
    skipped = _count(funnel, ["skipped"])
    tokens = f"{judged['input_tokens']:,} tokens in and {judged['output_tokens']:,} out"
    lines = [
        f"[bold]{summary['traces']:,}[/bold] finished traces, {summary['sampled']:,} judged; {seconds:.0f} s in all",
        f"[bold]{summary['scores']:,}[/bold] scores written, {summary['duplicates']} twice, {summary['lost']} lost",
        f"[bold]{judged['calls']:,}[/bold] judge calls, {usd:.2f} USD for {tokens}",
        "findings: " + ", ".join(f"{name} {number}" for name, number in findings.most_common()),
        f"{skipped:,} evaluations had nothing to look at, such as documents in a trace without any",
        f"is the judge right? {escape(heading(held[0]))}: {escape(verdict_of(held[0], None))}",
    ]
    out.print("\n".join(lines), highlight=False)
    out.print(
        f"where it differs from what was found out later: {held[1]}", markup=False, highlight=False, soft_wrap=True
    )
    out.print(_NEXT, highlight=False)
    out.file.flush()
    sys.stdout.write(json.dumps(summary) + "\n")


def _lost(sent: set[str], ours: Iterable[dict[str, Any]]) -> int:
    """Count what was sent and lacks a score of a rule that applies to every trace and takes all of them."""
    written = {(score["traceId"], score["name"]) for score in ours}
    return sum((trace_id, name) not in written for trace_id in sent for name in _APPLY_ALWAYS)


_INTRODUCTION: Final = """\
Scheduler, queue, workers, rules, monitors and the Slack message are the real service. Langfuse, the model API and \
Slack are stand-ins on this machine: [bold]the judge is simulated[/bold], its verdicts follow from simple cues in the \
text. In the last week a bad version of a prompt is rolled out."""
_NEXT: Final = """
For the real services set LANGFUSE_BASE_URL, LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, OPENAI_API_KEY \
(OPENAI_BASE_URL for another provider) and SLACK_WEBHOOK_URL, then run `evaluator check` and `evaluator run`. \
What is evaluated stands in config/; README.md leads through the first five minutes."""
