"""The pages of the status page, as text: from what was looked at. Pure but for its templates; every text is escaped."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evaluator.calibration.trust import Agreement
from evaluator.definitions import Definitions
from evaluator.messages.figures import day, dimension, dollars, value
from evaluator.messages.words import rates, shortened
from evaluator.pages.drawing import HourBar, hourly_chart, limits, spark_chart, weekly_chart
from evaluator.pages.report import Breakdown, SegmentRow
from evaluator.state.dead_letters import DeadLetter
from evaluator.state.hours import Funnel
from evaluator.status.overview import Status, span_text
from evaluator.status.story import Story
from evaluator.status.verdict import health_of
from monitors import WeekMean
from traces import TraceRef, Usage

PAGES: Final = (
    ("/", "Overview"),
    ("/evaluators", "Evaluators"),
    ("/trace", "Trace"),
    ("/scores", "Scores"),
    ("/alerts", "Alerts"),
    ("/dead", "Dead letters"),
)

_MOST_REASONS: Final = 12
MOST_LETTERS: Final = 100
"""So many dead letters are shown by themselves."""

_SHOWN: Final = ("sampled", "scored", "pending", "skipped", "unscored", "failed", "gone")
_WITHOUT_SCORE: Final = ("skipped", "unscored", "failed", "gone")


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every page."""

    project: str
    now: datetime


@dataclass(frozen=True, slots=True)
class ScoreWeeks:
    """A watched score: its weeks, and those of its segments."""

    monitor: str
    binary: bool
    opened: datetime | None
    sight: str
    line: Sequence[WeekMean]
    breakdowns: Sequence[Breakdown] = ()

    @property
    def number(self) -> int:
        """How many scores there are."""
        return sum(week.n for week in self.line)

    @property
    def has_means(self) -> bool:
        """Whether any week has enough of them for a mean."""
        return any(week.mean is not None for week in self.line)


@dataclass(frozen=True, slots=True)
class MonitorRow:
    """A watched score on the page of alerts."""

    monitor: str
    opened: datetime | None
    sight: str
    said: str


@dataclass(frozen=True, slots=True)
class Told:
    """A message that went out, and when it was put on its way."""

    at: datetime | None
    text: str


def overview(frame: Frame, status: Status, definitions: Definitions, spending: Mapping[str, Usage]) -> str:
    """Return the first page."""
    service = definitions.service
    bars = [_bar(start, funnel) for start, funnel in status.hours.items()]
    waiting = [known for known in status.lanes.values() if known.messages]
    reasons = Counter(
        {reason: number for reason, number in status.reasons.items() if reason.startswith(_WITHOUT_SCORE)}
    )
    return _page(
        "overview",
        frame,
        "Overview",
        "/",
        live=True,
        status=status,
        health=health_of(status, service, frame.now),
        waiting=sum(known.messages for known in waiting),
        oldest=max((known.oldest for known in waiting), default=timedelta()),
        pending=sum(states["pending"] for states in status.counts.values()),
        spent=sum(used.usd for used in spending.values()),
        hourly=bars if any(bar.sampled for bar in bars) else [],
        chart=hourly_chart(bars),
        within=service.coverage.within,
        objective=service.coverage.objective,
        quiet_for=service.discovery.quiet_for,
        reasons=reasons.most_common(_MOST_REASONS),
    )


def evaluators(frame: Frame, status: Status, definitions: Definitions, spending: Mapping[str, Usage]) -> str:
    """Return the page about evaluators."""
    reasons: dict[str, Counter[str]] = {}
    for (name, state, reason), number in status.funnel.items():
        if reason and state in _WITHOUT_SCORE:
            reasons.setdefault(name, Counter())[f"{state}: {reason}"] += number
    rows = []
    for evaluator in definitions.evaluators:
        counts, used = status.counts.get(evaluator.name, Counter[str]()), spending.get(evaluator.name)
        rows.append(
            {
                "name": evaluator.name,
                "kind": evaluator.kind,
                "version": evaluator.version,
                "rate": rates(evaluator),
                "matched": counts["sampled"] + counts["sampled_out"] + counts["shed"],
                "counts": counts,
                "usd_a_score": used.usd / counts["scored"] if used is not None and counts["scored"] else None,
                "reasons": reasons.get(evaluator.name, Counter[str]()).most_common(_MOST_REASONS),
            }
        )
    said = {state for counts in status.counts.values() for state, number in counts.items() if number}
    states = [state for state in _SHOWN if state in said or state in {"sampled", "scored"}]
    judges = [(name, trust, _trend(trust.agreement)) for name, trust in status.trust.items()]
    off = [evaluator.name for evaluator in definitions.off]
    return _page("evaluators", frame, "Evaluators", "/evaluators", rows=rows, states=states, judges=judges, off=off)


def trace(frame: Frame, asked: str, story: Story | None = None, error: str = "") -> str:
    """Return the page about one trace: its story, or why there is none."""
    return _page("trace", frame, "Why has this trace no score?", "/trace", asked=asked, story=story, error=error)


def scores(frame: Frame, found: Sequence[ScoreWeeks], weeks: int, error: str = "") -> str:
    """Return the page about watched scores."""
    return _page("scores", frame, "Scores", "/scores", scores=found, weeks=weeks, error=error)


def alerts(
    frame: Frame,
    monitors: Sequence[MonitorRow],
    told: Sequence[Told],
    not_taken: Mapping[tuple[str, str], str],
    *,
    delivers: bool,
) -> str:
    """Return the page about alerts."""
    rows: dict[str, Any] = {"monitors": monitors, "told": told, "not_taken": not_taken}
    return _page("alerts", frame, "Alerts", "/alerts", delivers=delivers, **rows)


def dead_letters(frame: Frame, letters: Sequence[DeadLetter], kinds: Counter[str]) -> str:
    """Return the page about work that was given up: the newest letters, and how many there are of each kind."""
    rows = [_letter(letter) for letter in letters]
    more = max(0, kinds.total() - len(rows))
    return _page("dead", frame, "Dead letters", "/dead", letters=rows, kinds=kinds.most_common(), more=more)


def unavailable(frame: Frame, what: str, again: str) -> str:
    """Return the page for when something that is needed does not answer."""
    return _page("error", frame, "Not now", again, what=what, again=again)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    ref = letter.job.ref
    return {
        "at": letter.at,
        "evaluator": letter.evaluator,
        "ref": ref.id,
        "is_trace": isinstance(ref, TraceRef),
        "reason": letter.reason,
        "quoted": shlex.quote(letter.id),
    }


def _trend(agreement: Agreement | None) -> Markup | str:
    """Return the weeks of a judge's agreement as a small line; nothing before there are two."""
    weeks = () if agreement is None else agreement.weeks
    return spark_chart(weeks, *limits(weeks)) if len(weeks) > 1 else ""


def _bar(start: datetime, funnel: Funnel) -> HourBar:
    states: Counter[str] = Counter()
    for (_, state, _), number in funnel.items():
        states[state] += number
    return HourBar(
        start,
        states["sampled"],
        states["scored"],
        states["skipped"] + states["unscored"],
        states["failed"] + states["gone"],
    )


def _line_limits(rows: Sequence[SegmentRow], binary: bool) -> tuple[float, float]:
    return limits(*(row.line for row in rows), binary=binary)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("evaluator.status", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        pages=PAGES,
        span=span_text,
        day=day,
        dimension=dimension,
        value=value,
        shortened=shortened,
        dollars=dollars,
        weekly_chart=weekly_chart,
        spark_chart=spark_chart,
        line_limits=_line_limits,
    )
    return made


def _page(template: str, frame: Frame, title: str, here: str, *, live: bool = False, **values: Any) -> str:
    return (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(project=frame.project, now=frame.now, title=title, here=here, live=live, **values)
    )
