"""`evaluator report`: what some weeks of scores say, gathered for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from evaluator.alerts.judged import Scores, judged
from evaluator.alerts.people import by_people, places
from evaluator.alerts.weekly_look import Look, analysed
from evaluator.app import Desk
from evaluator.langfuse import Window
from evaluator.messages.alert import Urls
from evaluator.messages.blame import in_words
from evaluator.messages.figures import label
from evaluator.state.anchor_rounds import known_judges
from evaluator.state.hours import Funnel
from monitors import (
    AlertState,
    Comparison,
    Held,
    Judged,
    MonitorSpec,
    WeeklySeries,
    WeekMean,
    compare,
    newest,
    segment_line,
)
from monitors.drift import Anchored
from monitors.means import Estimate, hajek, interval
from monitors.series import WEEK, Dimension
from traces import Usage

_MOST_SEGMENTS: Final = 8
_FEWEST_SEGMENTS: Final = 2
_MOST_COMPARED: Final = 3
_MOST_LEVELS: Final = 11
_BINS: Final = 10
_READ: Final = 5
_PER_SESSION: Final = 2


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment over the whole period; `share` is of the weighted traffic."""

    name: str
    n: int
    share: float
    mean: float
    low: float | None
    high: float | None
    line: tuple[WeekMean, ...]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A dimension: its largest segments, how many smaller ones there are, and neighbours in time compared."""

    dimension: str
    rows: tuple[SegmentRow, ...]
    others: int
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One level, or a span of values: its share of this week's weighted traffic, and of that of the weeks before."""

    label: str
    now: float
    before: float


@dataclass(frozen=True, slots=True)
class Chapter:
    """One score.

    Attributes:
        monitor: its key.
        binary: whether it is a pass rate.
        look: this week against those before.
        opened: when its open alert fired.
        line: every week of the period, oldest first.
        whole: the mean of the period, None without scores.
        left_out: scores of the period that another version measured.
        breakdowns: by dimension.
        bars: how scores are spread.
        worst: of this week, lowest first.
        best: of this week, highest first.
        by_people: what people would have made of the last week; empty where nobody can tell.
        judge: whether its judge moved; empty where no anchors know.
    """

    monitor: str
    binary: bool
    look: Look
    opened: datetime | None
    line: tuple[WeekMean, ...]
    whole: Estimate | None
    left_out: int
    breakdowns: tuple[Breakdown, ...]
    bars: tuple[Bar, ...]
    worst: tuple[Judged, ...]
    best: tuple[Judged, ...]
    by_people: str = ""
    judge: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything on the page; `funnel` and `spending` are what was counted since the service began."""

    project: str
    start: datetime
    now: datetime
    chapters: tuple[Chapter, ...]
    funnel: Funnel
    spending: Mapping[str, Usage]
    urls: Urls


def chapter(
    langfuse: Scores, spec: MonitorSpec, now: datetime, weeks: int, state: AlertState, judge: Anchored | None = None
) -> Chapter:
    """Gather one score.

    Args:
        langfuse: where the scores are.
        spec: its monitor.
        now: until when.
        weeks: how many, this one included.
        state: what is known of its alert.
        judge: what anchors know of who gave it.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    start = now - max(weeks, 2 * spec.baseline_weeks) * WEEK
    held = Held.of(judged(langfuse, spec, Window(start, now)), now=now, segments=spec.segments)
    look = analysed(spec, state, now, held, judge)
    series = held.weekly(weeks=weeks - 1)
    return Chapter(
        monitor=spec.key,
        binary=series.binary,
        look=look,
        opened=state.opened,
        line=series.line(),
        whole=hajek(series.values, series.weights, series.session) if series.values.size else None,
        left_out=series.left_out,
        breakdowns=tuple(breakdowns(series)),
        bars=_bars(series),
        worst=_read(series.recent.values(), 1),
        best=_read(series.recent.values(), -1),
    )


def gather(desk: Desk, chosen: Sequence[MonitorSpec], weeks: int, read: Callable[[int], None]) -> Report:
    """Gather everything; `read` is told how many more scores are done.

    Raises:
        Unavailable, Refused: Langfuse or Redis.
    """
    now, at = desk.clock.now(), desk.langfuse
    known = desk.alerts.states(spec.key for spec in chosen)
    held, judges = places(desk.definitions.rubrics()), known_judges(desk.definitions.rubrics(), desk.alerts.states)
    chapters = []
    for spec in chosen:
        judge = judges.get(spec.score) if spec.labels is None else None
        anchored = None if judge is None else judge.anchored()
        found = chapter(at, spec, now, weeks, AlertState.from_json(known[spec.key]), anchored)
        place = held.get(spec.score)
        said = "" if place is None else by_people(spec, desk.alerts.states([place])[place], now)
        stands = "" if judge is None or judge.shift is None else in_words(judge.state, judge.shift, found.binary)
        chapters.append(replace(found, by_people=said, judge=stands))
        read(1)
    return Report(
        project=at.capabilities().project_name,
        start=now - weeks * WEEK,
        now=now,
        chapters=tuple(chapters),
        funnel=desk.state.funnel(),
        spending=desk.state.spending(),
        urls=Urls(at.trace_url, at.session_url, at.prompt_url, at.scores_url()),
    )


def breakdowns(series: WeeklySeries) -> Iterable[Breakdown]:
    """Give each dimension with its largest segments, and its neighbours in time compared."""
    for name, dimension in series.dimensions.items():
        rows = [_row(series, name, dimension, code) for code in range(len(dimension.names))]
        known = sorted((row for row in rows if row is not None), key=lambda row: (-row.share, row.name))
        if len(known) < _FEWEST_SEGMENTS:
            continue
        found = tuple(_compared(series, name)) if name == "prompt_version" else ()
        yield Breakdown(name, tuple(known[:_MOST_SEGMENTS]), max(0, len(known) - _MOST_SEGMENTS), found)


def _compared(series: WeeklySeries, name: str) -> Iterator[Comparison]:
    """Give each version of a prompt against the one that came before it, the newest first."""
    prompts: dict[str, list[str]] = {}
    for value in newest(series, name):
        prompts.setdefault(value.rpartition(":")[0], []).append(value)
    for versions in prompts.values():
        for new, old in list(pairwise(versions))[:_MOST_COMPARED]:
            if (found := compare(series, name, new, old)) is not None:
                yield found


def _row(series: WeeklySeries, name: str, dimension: Dimension, code: int) -> SegmentRow | None:
    rows = dimension.rows[dimension.codes == code]
    if not rows.size:
        return None
    found = hajek(series.values[rows], series.weights[rows], series.session[rows])
    low, high = interval(found, binary=series.binary)
    share = float(series.weights[rows].sum() / series.weights.sum())
    value = dimension.names[code]
    return SegmentRow(value, found.n, share, found.mean, low, high, segment_line(series, name, value))


def _bars(series: WeeklySeries) -> tuple[Bar, ...]:
    """Return how this week's scores are spread, and those before: by value where there are few, else in ten bins."""
    levels = np.unique(series.values)
    if not levels.size:
        return ()
    now = series.week == 0
    if levels.size <= _MOST_LEVELS:
        place, labels = np.searchsorted(levels, series.values), [label(level, series.binary) for level in levels]
    else:
        edges = np.linspace(levels[0], levels[-1], _BINS + 1)
        place = np.minimum(np.searchsorted(edges, series.values, side="right") - 1, _BINS - 1)
        labels = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    shares = []
    for rows in (now, ~now):
        total = series.weights[rows].sum()
        counted = np.bincount(place[rows], series.weights[rows], len(labels))
        shares.append(counted / total if total else counted)
    return tuple(Bar(label, float(a), float(b)) for label, a, b in zip(labels, *shares, strict=True))


def _read(scores: Iterable[Judged], direction: int) -> tuple[Judged, ...]:
    """Return what to read, lowest first (or highest): at most two a session, each trace once."""
    chosen: list[Judged] = []
    sessions: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for score in sorted(scores, key=partial(_order, direction)):
        about = score.trace_id, score.session_id
        session = score.session or score.trace_id
        if about in seen or not any(about) or sessions[session] >= _PER_SESSION:
            continue
        seen.add(about)
        sessions[session] += 1
        chosen.append(score)
        if len(chosen) == _READ:
            break
    return tuple(chosen)


def _order(direction: int, score: Judged) -> tuple[float, float, str, str]:
    """Return by what scores are put in order: value, then what the judge was surest of."""
    return direction * score.value, -score.confidence, score.trace_id, score.session_id


def spread(chapters: Sequence[Chapter]) -> int:
    """Return how many scores a report rests on."""
    return sum(0 if each.whole is None else each.whole.n for each in chapters)
