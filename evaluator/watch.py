"""Walk 2: scores of some weeks -> did this week fall -> who did it -> tell people once.

State and outgoing message are saved in one transaction (an outbox); a message leaves the outbox only when Slack took
it. A crash in between repeats the delivery, never the alert.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from evaluator.clock import Clock
from evaluator.errors import EvaluatorError, Unavailable
from evaluator.evidence import evidence, is_ours
from evaluator.langfuse import Capabilities, SessionRoots, Window
from evaluator.message import DigestLine, Message, digest, message
from evaluator.state import MonitorRecord
from monitors import (
    Alert,
    AlertState,
    DropTest,
    Event,
    Judged,
    MonitorSpec,
    NotEnoughHistory,
    WeeklySeries,
    alert_id,
    alpha,
    attribute,
    chart,
    drop_test,
    expect,
    step,
    weekly,
)
from monitors.drop import Residuals
from monitors.series import WEEK, Span
from traces import RecordedScore, TraceRoot

_BEFORE: Final = timedelta(days=7)
"""How long before its score a trace may have started, when its segments are looked up (late user feedback)."""

_DIGEST: Final = ",digest"
"""The digest's place among the monitors; no score's name has a comma."""

_FIRST_WAIT: Final = 60.0
_LONGEST_WAIT: Final = 3600.0

_log = structlog.get_logger(__name__)


_About = tuple[str | None, str | None]
"""The trace of a score, or its session."""


class ScoreStore(Protocol):
    """What the watch needs of Langfuse."""

    def capabilities(self) -> Capabilities:
        """Return the project."""

    def scores(
        self, window: Window, *, names: Sequence[str] = (), trace_ids: Sequence[str] = ()
    ) -> Iterator[list[RecordedScore]]:
        """Return the scores of a window in pages, each once."""

    def roots(self, trace_ids: Sequence[str], window: Window) -> dict[str, TraceRoot]:
        """Return the roots of traces that started in a window."""

    def session_roots(self, since: Mapping[str, datetime], *, most: int) -> Mapping[str, SessionRoots]:
        """Return the newest roots of sessions, of those that started from the given time on."""

    def trace_url(self, trace_id: str) -> str:
        """Return where a person reads a trace."""

    def session_url(self, session_id: str) -> str:
        """Return where a person reads a session."""


class MonitorState(Protocol):
    """What the watch needs of the fleet's state."""

    def monitor(self, name: str) -> AbstractContextManager[MonitorRecord]:
        """Lock a monitor; state and outbox are saved together on a clean exit."""

    def outbox(self) -> dict[str, dict[str, Any]]:
        """Return messages whose delivery nobody has confirmed."""

    def sent(self, message: str) -> None:
        """Confirm a delivery."""


class Notifier(Protocol):
    """Where messages go."""

    @property
    def takes_charts(self) -> bool:
        """Whether a chart can go with a message."""

    def post(self, content: Message, chart: bytes | None = None) -> None:
        """Deliver, or raise `Unavailable` or `Refused`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """One look at one score: the evidence, and what the test says of it."""

    at: datetime
    series: WeeklySeries
    expected: Residuals | NotEnoughHistory
    test: DropTest | NotEnoughHistory


class Watch:
    """Looks at every monitored score, and tells people."""

    def __init__(
        self,
        langfuse: ScoreStore,
        state: MonitorState,
        monitors: Sequence[MonitorSpec],
        notify: Notifier | None,
        clock: Clock,
    ) -> None:
        """Watch `monitors`; without `notify` alerts are only logged."""
        self._langfuse = langfuse
        self._state = state
        self._monitors = tuple(monitors)
        self._notify = notify
        self._clock = clock
        self._waits: dict[str, tuple[float, float]] = {}
        self._told: set[str] = set()

    def look(self) -> list[Alert]:
        """Look at every score, save and deliver; return what is new.

        Raises:
            EvaluatorError: the first score that could not be read; the others were looked at nevertheless.
        """
        alerts: list[Alert] = []
        failed: EvaluatorError | None = None
        for spec in self._monitors:
            try:
                alerts.extend(self._look(spec))
            except EvaluatorError as error:
                _log.warning("cannot look at a score", score=spec.key, reason=str(error))
                failed = failed or error
        self.deliver()
        if failed is not None:
            raise failed
        return alerts

    def digest(self) -> None:
        """Tell how every watched score does, with the alerts still open.

        Raises:
            EvaluatorError: Langfuse or the state cannot be read.
        """
        if not self._monitors:
            return
        now = self._clock.now()
        lines = [self._digest_line(spec) for spec in self._monitors]
        year, week, _ = now.isocalendar()
        with self._state.monitor(_DIGEST) as record:
            self._put(record, f"digest/{year}-W{week:02}", digest(lines, now), None)
        self.deliver()

    def deliver(self) -> None:
        """Send what waits in the outbox. What Slack does not take stays, and is tried again ever less often."""
        if self._notify is None:
            return
        for key, payload in self._state.outbox().items():
            due, _ = self._waits.get(key, (0.0, 0.0))
            if key in self._told:
                self._confirm(key)
            elif self._clock.monotonic() >= due:
                self._send(self._notify, key, payload)

    def _send(self, notify: Notifier, key: str, payload: Mapping[str, Any]) -> None:
        picture = payload.get("chart")
        try:
            notify.post(payload["message"], base64.b64decode(picture) if picture else None)
        except EvaluatorError as error:
            wait = self._postpone(key, error)
            _log.error("a message is not delivered yet", message=key, reason=str(error), again_in_seconds=wait)
            return
        self._told.add(key)
        self._waits.pop(key, None)
        self._confirm(key)

    def _confirm(self, key: str) -> None:
        """Take what was told out of the outbox; when Redis is away in this moment, the next time."""
        self._state.sent(key)
        self._told.discard(key)

    def _postpone(self, key: str, error: EvaluatorError) -> float:
        _, last = self._waits.get(key, (0.0, 0.0))
        asked = error.retry_after if isinstance(error, Unavailable) else None
        wait = max(asked or 0.0, min(max(_FIRST_WAIT, 2 * last), _LONGEST_WAIT))
        self._waits[key] = (self._clock.monotonic() + wait, wait)
        return wait

    def _look(self, spec: MonitorSpec) -> Iterator[Alert]:
        known = self._known(spec)
        before = AlertState.from_json(known)
        found = self._read(spec, before)
        project = self._langfuse.capabilities().project_id
        after, event = step(
            before,
            found.test,
            version=found.series.version if found.series.recent else None,
            at=found.at,
            project=project,
            monitor=spec.key,
        )
        alert = None if event is None else _alert(spec, found, event, before, after, project)
        with self._state.monitor(spec.key) as record:
            if record.state != known:
                # Another scheduler looked in the meantime; its finding counts, and the next look is tomorrow.
                return
            record.state = after.to_json()
            if alert is not None:
                picture = self._picture(alert)
                self._put(
                    record, alert.key, message(alert, self._langfuse.trace_url, self._langfuse.session_url), picture
                )
        if alert is not None:
            _log.warning("a watched score changed", score=spec.key, change=str(alert.event), message=alert.key)
            yield alert

    def _known(self, spec: MonitorSpec) -> dict[str, Any] | None:
        # Read and let go: reading weeks of scores takes longer than a lock should be held.
        with self._state.monitor(spec.key) as record:
            return record.state

    def _picture(self, alert: Alert) -> bytes | None:
        if self._notify is None or not self._notify.takes_charts or alert.event is not Event.FELL:
            return None
        return chart(alert.line, alert.score, percent=alert.binary)

    def _put(self, record: MonitorRecord, key: str, content: Message, picture: bytes | None) -> None:
        if self._notify is None:
            _log.warning("no Slack is set up; this was not sent", text=content["text"])
            return
        payload = {"message": content, "chart": base64.b64encode(picture).decode() if picture else None}
        record.outbox[key] = payload

    def _digest_line(self, spec: MonitorSpec) -> DigestLine:
        state = AlertState.from_json(self._known(spec))
        found = self._read(spec, state)
        return DigestLine(spec.key, found.series.binary, found.series.line(), found.test, state.opened)

    def _read(self, spec: MonitorSpec, state: AlertState) -> _Look:
        """Read a score's weeks and test the last one."""
        now = self._clock.now()
        end = state.baseline_end or now - WEEK
        excluded = (*spec.excluded, *state.fallen)
        weeks = spec.baseline_weeks + _replaced(excluded, end - spec.baseline_weeks * WEEK, end)
        spans = [Window(end - weeks * WEEK, end), Window(now - WEEK, now)]
        series = weekly(
            (judged for span in spans for judged in self._judged(spec, span)),
            now=now,
            weeks=weeks,
            segments=spec.segments,
            baseline_end=end,
            since=state.since,
            excluded=excluded,
        )
        expected = expect(series, most_weeks=spec.baseline_weeks)
        if isinstance(expected, NotEnoughHistory):
            return _Look(now, series, expected, expected)
        level = alpha(spec.false_alerts_per_year)
        test = drop_test(series, expected, alpha=level, smallest_drop=spec.smallest_drop, scale=spec.scale)
        return _Look(now, series, expected, test)

    def _judged(self, spec: MonitorSpec, window: Window) -> Iterator[Judged]:
        """Return a window's scores as evidence, with segments from their metadata or from their traces."""
        odd = 0
        for page in self._langfuse.scores(window, names=[spec.score]):
            wanted = [score for score in page if spec.environment is None or score.environment in spec.environment]
            numbers = [score for score in wanted if not isinstance(score.value, str) and math.isfinite(score.value)]
            odd += len(wanted) - len(numbers)
            roots = self._roots(numbers, window)
            yield from (evidence(score, roots.get(_about(score))) for score in numbers)
        if odd:
            _log.warning("scores that are no numbers cannot be watched", score=spec.score, count=odd)

    def _roots(self, scores: Iterable[RecordedScore], window: Window) -> Mapping[_About, TraceRoot]:
        """Return the roots that tell the segments of scores that are not ours: of a session its last one."""
        foreign = [score for score in scores if not is_ours(score)]
        since = window.start - _BEFORE
        traces = sorted({score.trace_id for score in foreign if score.trace_id})
        sessions = sorted({score.session_id for score in foreign if score.session_id})
        found: dict[_About, TraceRoot] = {}
        if traces:
            known = self._langfuse.roots(traces, Window(since, window.end))
            found.update(((trace_id, None), root) for trace_id, root in known.items())
        if sessions:
            last = self._langfuse.session_roots(dict.fromkeys(sessions, since), most=1)
            found.update(((None, session_id), its.roots[-1]) for session_id, its in last.items())
        return found


def _about(score: RecordedScore) -> _About:
    return score.trace_id, score.session_id


def _alert(spec: MonitorSpec, found: _Look, event: Event, before: AlertState, after: AlertState, project: str) -> Alert:
    expected = found.expected if event is Event.FELL else None
    return Alert(
        id=alert_id(project, spec.key, found.at) if event is Event.REMEASURED else after.id,
        event=event,
        score=spec.key,
        at=found.at,
        opened=after.opened or before.opened,
        binary=found.series.binary,
        line=found.series.line(),
        test=found.test if isinstance(found.test, DropTest) else None,
        attribution=attribute(found.series, expected) if isinstance(expected, Residuals) else None,
        note=_note(found, before, after) if event is Event.REMEASURED else "",
    )


def _note(found: _Look, before: AlertState, after: AlertState) -> str:
    """Return what to say of a changed ruler."""
    closed = " The open alert is closed." if before.opened is not None else ""
    why = f" ({found.test.reason})" if isinstance(found.test, NotEnoughHistory) else ""
    return (
        f"Its evaluator or judge model changed ({before.version or 'unknown'} → {after.version or 'unknown'}), so "
        f"earlier weeks cannot be compared.{closed} Falls are reported again when enough weeks are measured "
        f"alike{why}; a backfill of the earlier weeks shortens the wait."
    )


def _replaced(excluded: Iterable[Span], start: datetime, end: datetime) -> int:
    """Return how many more weeks to read so that excluded ones are made up for."""
    lengths = (span.end - span.start for span in excluded if span.start < end and span.end > start)
    return sum(-(-length // WEEK) + 1 for length in lengths)
