"""Walk 2: scores of some weeks -> did this week fall -> who did it -> tell people once.

State and outgoing message are saved in one transaction (an outbox); delivery.py takes it from there. A crash in between
repeats the delivery, never the alert. Should Redis forget the state, the scores say when a fall was first to be seen,
and so which alert it is: one that Slack has already is not told again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

import structlog

from evaluator.alert_memory import Mark
from evaluator.blocks import Message
from evaluator.clock import Clock
from evaluator.delivery import Delivery
from evaluator.digest import Coverage, DigestLine, Totals, digest
from evaluator.errors import EvaluatorError
from evaluator.judged import Scores, judged
from evaluator.kept_weeks import Reading
from evaluator.langfuse import Capabilities, Window
from evaluator.message import Urls
from evaluator.saying import marks_of
from evaluator.service_config import Digests
from evaluator.state import Funnel, MonitorRecord
from evaluator.telling import LOOKED_BACK, alert_of, payload_of, sight_of
from evaluator.weekly_look import Look, analysed, baseline
from monitors import (
    LASTING,
    Alert,
    AlertState,
    DropTest,
    Event,
    Held,
    Marks,
    MonitorSpec,
    NotEnoughHistory,
    alert_id,
    attribute,
    foreseen,
    reopened,
    step,
)
from monitors.series import WEEK
from traces import Usage

_DIGEST: Final = ",digest"
"""The digest's place among the monitors; no score's name has a comma."""

SIGHT: Final = "sight"
"""Where a monitor's state says what can be seen of its score, for `evaluator check`."""

_REPLAYED: Final = timedelta(weeks=4)
"""How far back is looked for the beginning of a fall that nobody remembers; an older one is the new normal."""

_log = structlog.get_logger(__name__)


class ScoreStore(Scores, Protocol):
    """What the watch needs of Langfuse."""

    def capabilities(self) -> Capabilities:
        """Return the project."""

    def trace_url(self, trace_id: str) -> str:
        """Return where a person reads a trace."""

    def session_url(self, session_id: str) -> str:
        """Return where a person reads a session."""

    def prompt_url(self, name: str) -> str:
        """Return where a person reads a prompt."""

    def scores_url(self) -> str:
        """Return where a person reads all scores."""


class MonitorState(Protocol):
    """What the watch needs of the fleet's state."""

    def monitor(self, name: str) -> AbstractContextManager[MonitorRecord]:
        """Lock a monitor; state and outbox are saved together on a clean exit."""

    def funnel(self) -> Funnel:
        """Return how many (trace, evaluator) pairs reached each state, by (evaluator, state, reason)."""

    def spending(self) -> dict[str, Usage]:
        """Return what judge calls cost so far, by evaluator."""


class Saying(Protocol):
    """What people said of scores beforehand."""

    def marks(self) -> list[Mark]:
        """Return all of it."""


class Watch:
    """Looks at every monitored score, and tells people."""

    def __init__(
        self,
        langfuse: ScoreStore,
        state: MonitorState,
        monitors: Sequence[MonitorSpec],
        delivery: Delivery,
        saying: Saying,
        clock: Clock,
        digests: Digests = "changes",
        read: Reading | None = None,
    ) -> None:
        """Watch `monitors`; where a `delivery` has nobody to tell, alerts are only logged.

        `digests` says whether the weekly overview is sent always, when there is something to say, or never; `read`
        gives the scores that are watched, by default straight from Langfuse.
        """
        self._langfuse = langfuse
        self._state = state
        self._monitors = tuple(monitors)
        self._delivery = delivery
        self._saying = saying
        self._clock = clock
        self._digests = digests
        self._judged: Reading = read or partial(judged, langfuse)

    def look(self) -> list[Alert]:
        """Look at every score, save and deliver; return what is new.

        Raises:
            EvaluatorError: the first score that could not be read; the others were looked at nevertheless.
        """
        alerts: list[Alert] = []
        failed: EvaluatorError | None = None
        said = self._saying.marks() if self._monitors else []
        for spec in self._monitors:
            try:
                alerts.extend(self._look(spec, said))
            except EvaluatorError as error:
                _log.warning("cannot look at a score", score=spec.key, reason=str(error))
                failed = failed or error
        self.deliver()
        if failed is not None:
            raise failed
        return alerts

    def digest(self) -> None:
        """Send how every watched score does, what was evaluated since the last digest, and the alerts still open.

        Unless told `always`, it is not sent when there is nothing to say: no alert was open then or is now, no score
        moved by more than chance, none fell silent, and few judgements are missing. The first is sent in any case.

        Raises:
            EvaluatorError: Langfuse or the state cannot be read.
        """
        if not self._monitors or self._digests == "off":
            return
        before = self._known(_DIGEST)
        now, totals = self._clock.now(), self._totals()
        lines, coverage = self._overview(totals, before)
        opened = [line.score for line in lines if line.opened is not None]
        news = before is None or before.get("open") != opened or any(line.is_news for line in lines)
        year, week, _ = now.isocalendar()
        with self._state.monitor(_DIGEST) as record:
            record.state = {**totals.to_json(), "open": opened}
            if news or self._digests == "always":
                self._put(record, f"digest/{year}-W{week:02}", {"message": digest(lines, coverage, now)})
            else:
                _log.info("nothing to say in this week's digest", scores=len(lines))
        self.deliver()

    def overview(self) -> Message:
        """Return the digest as it would be sent now; nothing is sent or remembered.

        Raises:
            EvaluatorError: Langfuse or the state cannot be read.
        """
        lines, coverage = self._overview(self._totals(), self._known(_DIGEST))
        return digest(lines, coverage, self._clock.now())

    def deliver(self) -> None:
        """Send what waits in the outbox."""
        self._delivery.deliver()

    def _look(self, spec: MonitorSpec, said: Sequence[Mark]) -> Iterator[Alert]:
        known = self._known(spec.key)
        now = self._clock.now()
        given = marks_of(spec, said, now)
        before = AlertState.from_json(known)
        start, event = foreseen(before, given.expected)
        found = self._read(spec, start, now)
        after = start
        if event is None:
            after, event = self._step(spec, start, found, given, blank=known is None)
        alert = None if event is None else alert_of(spec.key, found, event, before, after, given, self._project)
        with self._state.monitor(spec.key) as record:
            if record.state != known:
                # Another scheduler looked in the meantime; its finding counts, and the next look is tomorrow.
                return
            record.state = {**after.to_json(), SIGHT: sight_of(found)}
            if alert is not None:
                self._put(
                    record, alert.key, payload_of(alert, before, found, self._urls, charts=self._delivery.takes_charts)
                )
        if alert is not None:
            _log.warning("a watched score changed", score=spec.key, change=str(alert.event), message=alert.key)
            yield alert

    def _step(
        self, spec: MonitorSpec, state: AlertState, found: Look, given: Marks, *, blank: bool
    ) -> tuple[AlertState, Event | None]:
        since = self._first_seen(spec, state, found.at) if blank and not found.is_calm else found.at
        known = since < found.at and self._is_told(alert_id(self._project, spec.key, since), since)
        if known and isinstance(found.fell, DropTest):
            state = reopened(state, found.fell, found.at, since, alert_id(self._project, spec.key, since))
        return step(
            state,
            found.test,
            lasting=found.lasting,
            version=found.series.version if found.series.recent else None,
            at=found.at,
            project=self._project,
            monitor=spec.key,
            snoozed=given.snoozed is not None,
            since=since,
        )

    @property
    def _project(self) -> str:
        return self._langfuse.capabilities().project_id

    @property
    def _urls(self) -> Urls:
        at = self._langfuse
        return Urls(at.trace_url, at.session_url, at.prompt_url, at.scores_url())

    def _is_told(self, alert: str, since: datetime) -> bool:
        return self._delivery.recall(f"{alert}/{Event.FELL}", alert, since - LOOKED_BACK)

    def _first_seen(self, spec: MonitorSpec, state: AlertState, now: datetime) -> datetime:
        """Return when a fall that nobody remembers was first to be seen, by looking again at the days before."""
        weeks = spec.baseline_weeks + len(spec.excluded) + LASTING
        window = Window(now - _REPLAYED - weeks * WEEK, now)
        held = Held.of(self._judged(spec, window), now=now, segments=spec.segments)
        first = now
        for day in range(1, _REPLAYED.days):
            found = analysed(spec, state, now - timedelta(days=day), held)
            if found.is_calm:
                break
            first = found.at if found.fires else first
        return first

    def _known(self, monitor: str) -> dict[str, Any] | None:
        # Read and let go: reading weeks of scores takes longer than a lock should be held.
        with self._state.monitor(monitor) as record:
            return record.state

    def _put(self, record: MonitorRecord, key: str, payload: Mapping[str, Any]) -> None:
        if not self._delivery:
            _log.warning("nobody is set up to be told; this was not sent", text=payload["message"]["text"])
            return
        record.outbox[key] = {**payload, "at": self._clock.now().isoformat()}

    def _overview(self, totals: Totals, before: Mapping[str, Any] | None) -> tuple[list[DigestLine], Coverage]:
        coverage = totals.since(Totals.from_json(before))
        return [self._digest_line(spec, coverage) for spec in self._monitors], coverage

    def _totals(self) -> Totals:
        pairs: Counter[tuple[str, str]] = Counter()
        for (evaluator, state, _), number in self._state.funnel().items():
            pairs[evaluator, state] += number
        return Totals(self._clock.now(), pairs, sum(used.usd for used in self._state.spending().values()))

    def _digest_line(self, spec: MonitorSpec, coverage: Coverage) -> DigestLine:
        state = AlertState.from_json(self._known(spec.key))
        found = self._read(spec, state, self._clock.now())
        missing = coverage.missing(spec.score)
        line = DigestLine(spec.key, found.series.binary, found.series.line(), found.test, state.opened, None, missing)
        if line.moved >= 0 or isinstance(found.expected, NotEnoughHistory):
            return line
        rows = attribute(found.series, found.expected).rows
        return replace(line, who=rows[0] if rows else None)

    def _read(self, spec: MonitorSpec, state: AlertState, now: datetime) -> Look:
        """Read a score's weeks and test the last one, and the last ones together."""
        end, weeks = baseline(spec, state, now)
        start = min(end - weeks * WEEK, now - (weeks + LASTING) * WEEK)
        held = Held.of(self._judged(spec, Window(start, now)), now=now, segments=spec.segments)
        return analysed(spec, state, now, held)
