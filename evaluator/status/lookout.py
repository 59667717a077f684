"""What the status page looks at, and for how long it is used again: many who look ask no more than one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from evaluator.alerts.saying import marks_of
from evaluator.app import App
from evaluator.langfuse import Window
from evaluator.pages.report import breakdowns
from evaluator.status import page
from evaluator.status.metrics import Seen
from evaluator.status.overview import Status, look
from evaluator.status.story import Story
from evaluator.status.story_facts import desk_of, story_of
from evaluator.watch import SIGHT
from evaluator.worker import open_queue
from monitors import AlertState, Held, MonitorSpec
from monitors.series import WEEK

WEEKS: Final = 12
"""So many weeks of a score are drawn, this one included."""

TRACES_SINCE: Final = timedelta(days=30)

_STATUS_SECONDS: Final = 3.0
_SCORES_SECONDS: Final = 600.0

T = TypeVar("T")


class _Fresh(Generic[T]):
    """A value that is made anew when it is too old; those who come meanwhile wait for it."""

    def __init__(self, make: Callable[[], T], seconds: float, monotonic: Callable[[], float]) -> None:
        self._make = make
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._held: tuple[float, T] | None = None

    def __call__(self) -> T:
        with self._lock:
            now = self._monotonic()
            if self._held is None or now - self._held[0] > self._seconds:
                self._held = (now, self._make())
            return self._held[1]


class Lookout:
    """Looks, for pages and metrics. Every method raises an `EvaluatorError` when what it needs does not answer."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._queue = open_queue(app)
        self._desk = desk_of(app)
        monotonic = app.clock.monotonic
        self.seen: Callable[[], Seen] = _Fresh(self._seen, _STATUS_SECONDS, monotonic)
        self.scores: Callable[[], Sequence[page.ScoreWeeks]] = _Fresh(self._scores, _SCORES_SECONDS, monotonic)

    @property
    def frame(self) -> page.Frame:
        """What stands around every page; Langfuse is not asked for it."""
        return page.Frame(self._app.langfuse.project_name, self._app.clock.now())

    def story(self, asked: str) -> Story:
        """Tell the story of a trace."""
        return story_of(self._desk, asked, TRACES_SINCE)

    def monitors(self) -> list[page.MonitorRow]:
        """Return what is watched, with its alert and what people said of it."""
        app, now = self._app, self._app.clock.now()
        states = app.alerts.states(spec.key for spec in app.definitions.monitors)
        said = app.alerts.marks()
        rows = []
        for spec in app.definitions.monitors:
            state, given = states[spec.key], marks_of(spec, said, now)
            sight = "not looked at yet" if state is None else str(state.get(SIGHT, ""))
            words = "" if given.snoozed is None else f"snoozed until {given.snoozed:%d %b %H:%M} UTC"
            rows.append(page.MonitorRow(spec.key, AlertState.from_json(state).opened, sight, words))
        return rows

    def _seen(self) -> Seen:
        app, now = self._app, self._app.clock.now()
        status: Status = look(app, self._queue, now)
        return Seen(status, app.state.counters.read(), app.state.spending(), now)

    def _scores(self) -> list[page.ScoreWeeks]:
        now = self._app.clock.now()
        known = self._app.alerts.states(spec.key for spec in self._app.definitions.monitors)
        return [self._weeks(spec, known[spec.key], now) for spec in self._app.definitions.monitors]

    def _weeks(self, spec: MonitorSpec, state: dict[str, object] | None, now: datetime) -> page.ScoreWeeks:
        window = Window(now - WEEKS * WEEK, now)
        held = Held.of(self._app.watch.scores(spec, window), now=now, segments=spec.segments)
        series = held.weekly(weeks=WEEKS - 1)
        opened = AlertState.from_json(state).opened
        sight = "" if state is None else f"{state.get(SIGHT, '')}"
        parts = tuple(breakdowns(series)) if series.values.size else ()
        return page.ScoreWeeks(spec.key, series.binary, opened, sight[:1].upper() + sight[1:], series.line(), parts)
