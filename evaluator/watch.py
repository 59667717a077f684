"""Walk 2: scores of some weeks -> did this week fall -> who did it -> tell people once.

State and outgoing message are saved in one transaction (an outbox); delivery.py takes it from there. A crash in between
repeats the delivery, never the alert. Should Redis forget the state, the scores say when a fall was first to be seen,
and so which alert it is: one that Slack has already is not told again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog

from evaluator.alerts.budget import Budget
from evaluator.alerts.judged import judged
from evaluator.alerts.kept_weeks import Reading
from evaluator.alerts.people import by_people
from evaluator.alerts.ports import Judges, MonitorState, Saying, ScoreStore
from evaluator.alerts.saying import marks_of
from evaluator.alerts.telling import LOOKED_BACK, alert_of, payload_of, sight_of, unwatched
from evaluator.alerts.weekly_look import Look, analysed, baseline
from evaluator.clock import Clock
from evaluator.definitions.service_config import Digests
from evaluator.errors import EvaluatorError
from evaluator.langfuse import Window
from evaluator.messages.alert import Urls
from evaluator.messages.blame import remeasured
from evaluator.messages.blocks import Message
from evaluator.messages.delivery import Delivery
from evaluator.messages.digest import Coverage, DigestLine, Totals, digest
from evaluator.messages.missing import gaps, told
from evaluator.state.alert_memory import Mark
from evaluator.state.monitor_records import MonitorRecord
from monitors import (
    LASTING,
    Alert,
    AlertState,
    DropTest,
    Event,
    Held,
    Judged,
    Marks,
    MonitorSpec,
    NotEnoughHistory,
    alert_id,
    attribute,
    foreseen,
    reopened,
    step,
    without_judge,
)
from monitors.drift import Anchored
from monitors.series import WEEK

_DIGEST: Final = ",digest"
"""The digest's place among the monitors; no score's name has a comma."""

_WATCHED: Final = ",watched"
"""Where it is remembered what was watched at the last look."""

_GAPS: Final = ",missing"
"""Where it is remembered how many judgements were missing at the last look."""

SIGHT: Final = "sight"
"""Where a monitor's state says what can be seen of its score, for `evaluator check`."""

_REPLAYED: Final = timedelta(weeks=4)
"""How far back is looked for the beginning of a fall that nobody remembers; an older one is the new normal."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A look at a score, before it is known what follows from it; `start` and `event` heed a change that was meant."""

    spec: MonitorSpec
    known: dict[str, Any] | None
    given: Marks
    before: AlertState
    start: AlertState
    event: Event | None
    found: Look


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
        false_alerts_per_year: float | None = None,
        held: Mapping[str, str] | None = None,
        judges: Judges | None = None,
    ) -> None:
        """Watch `monitors`; where a `delivery` has nobody to tell, alerts are only logged.

        `digests` says whether the weekly overview is sent always, when there is something to say, or never; `read`
        gives the scores that are watched, by default straight from Langfuse. All of them together may have
        `false_alerts_per_year`, by default each those of its own. `held` says where the calibration of a score is kept,
        `judges` what anchors know of who gave it.
        """
        self._langfuse = langfuse
        self._state = state
        self._monitors = tuple(monitors)
        self._delivery = delivery
        self._saying = saying
        self._clock = clock
        self._digests = digests
        self._total = false_alerts_per_year
        self._held = dict(held or {})
        self._judges = judges
        self._judged: Reading = read or partial(judged, langfuse)

    def look(self) -> list[Alert]:
        """Look at every score, save and deliver; return what is new.

        Raises:
            EvaluatorError: the first score that could not be read; the others were looked at nevertheless.
        """
        alerts: list[Alert] = []
        failed: EvaluatorError | None = None
        said = self._saying.marks() if self._monitors else []
        budget = self._budget()
        for spec in self._monitors:
            try:
                seen = self._seen(spec, said)
                if not budget.may_fire(spec, seen.found):
                    alerts.extend(self._settled(seen, budget.share(spec)))
                    continue
            except EvaluatorError as error:
                _log.warning("cannot look at a score", score=spec.key, reason=str(error))
                failed = failed or error
            else:
                budget.hold(seen)
        for seen in budget.held:
            alerts.extend(self._settled(seen, budget.share(seen.spec)))
        alerts.extend(self._let_go())
        self._look_for_gaps()
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

    def scores(self, spec: MonitorSpec, window: Window) -> Iterable[Judged]:
        """Give a window's scores that a monitor watches, finished weeks from where they are kept.

        Raises:
            EvaluatorError: Langfuse cannot be read.
        """
        return self._judged(spec, window)

    def deliver(self) -> None:
        """Send what waits in the outbox."""
        self._delivery.deliver()

    def _look_for_gaps(self) -> None:
        """Tell when many judgements of a watched score are missing since the last look, and when they are back."""
        watched = [spec.score for spec in self._monitors]
        if not watched:
            return
        pairs = self._totals().pairs
        with self._state.monitor(_GAPS) as record:
            found, record.state = gaps(pairs, watched, record.state)
            if found:
                self._put(record, f"missing/{self._clock.now():%Y-%m-%dT%H:%M}", {"message": told(found)})

    def _let_go(self) -> list[Alert]:
        """Close the alerts of scores that are watched no longer: nobody else would ever end them."""
        keys = sorted(spec.key for spec in self._monitors)
        with self._state.monitor(_WATCHED) as record:
            before = [] if record.state is None else record.state["monitors"]
            gone = [key for key in before if key not in keys]
            # Forgotten when their alerts are closed, not before: a crash in between repeats nothing, and loses nothing.
            if not gone:
                record.state = {"monitors": keys}
        closed = [alert for key in gone for alert in self._closed(key)]
        if gone:
            with self._state.monitor(_WATCHED) as record:
                record.state = {"monitors": keys}
        return closed

    def _closed(self, key: str) -> Iterator[Alert]:
        with self._state.monitor(key) as record:
            before = AlertState.from_json(record.state)
            if before.opened is None:
                return
            record.state = replace(before, opened=None, since=before.opened).to_json()
            if before.muted:
                return
            alert = unwatched(key, before, self._clock.now())
            self._put(record, alert.key, payload_of(alert, before, None, self._urls, charts=False))
        yield alert

    def _budget(self) -> Budget[Seen]:
        if self._total is None:
            return Budget((), None)
        closed = [spec for spec in self._monitors if AlertState.from_json(self._known(spec.key)).opened is None]
        return Budget(closed, self._total)

    def _seen(self, spec: MonitorSpec, said: Sequence[Mark]) -> Seen:
        known = self._known(spec.key)
        now = self._clock.now()
        given = marks_of(spec, said, now)
        before = AlertState.from_json(known)
        start, event = foreseen(before, given.expected)
        found = self._read(spec, start, now)
        if found.fires and start.opened is None and self._judges is not None and self._judges.again(spec.score):
            # Nobody is told that a score fell before its judge was asked whether that is its own doing.
            found = self._read(spec, start, self._clock.now())
        return Seen(spec, known, given, before, start, event, found)

    def _settled(self, seen: Seen, share: float) -> Iterator[Alert]:
        spec, before, found = seen.spec, seen.before, seen.found.sharing(share)
        after, event = seen.start, seen.event
        if event is None:
            after, event = self._step(seen, found, share)
        alert = None if event is None else alert_of(spec.key, found, event, before, after, seen.given, self._project)
        if alert is not None:
            alert = replace(alert, by_people=self._by_people(spec))
        if alert is not None and event is Event.REMEASURED:
            said = remeasured(self._judge(spec), before.version, after.version, found.series.binary, found.bridge)
            alert = replace(alert, note=alert.note + said)
        with self._state.monitor(spec.key) as record:
            if record.state != seen.known:
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

    def _step(self, seen: Seen, found: Look, share: float) -> tuple[AlertState, Event | None]:
        spec, state = seen.spec, seen.start
        blank = seen.known is None and not found.is_calm
        since = self._first_seen(spec, state, found.at, share) if blank else found.at
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
            snoozed=seen.given.snoozed is not None,
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

    def _first_seen(self, spec: MonitorSpec, state: AlertState, now: datetime, share: float) -> datetime:
        """Return when a fall that nobody remembers was first to be seen, by looking again at the days before."""
        weeks = spec.baseline_weeks + len(spec.excluded) + LASTING
        window = Window(now - _REPLAYED - weeks * WEEK, now)
        held = Held.of(self._judged(spec, window), now=now, segments=spec.segments)
        first, judge = now, self._judge(spec)
        for day in range(1, _REPLAYED.days):
            found = analysed(spec, state, now - timedelta(days=day), held, judge).sharing(share)
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
        line = replace(line, by_people=self._by_people(spec))
        if line.moved >= 0 or isinstance(found.expected, NotEnoughHistory):
            return line
        rows = attribute(found.series, without_judge(found.series, found.expected, found.test)).rows
        return replace(line, who=rows[0] if rows else None)

    def _by_people(self, spec: MonitorSpec) -> str:
        """Return what people would have made of the last week, as the last calibration found it."""
        place = self._held.get(spec.score)
        return "" if place is None else by_people(spec, self._known(place), self._clock.now())

    def _read(self, spec: MonitorSpec, state: AlertState, now: datetime) -> Look:
        """Read a score's weeks and test the last one, and the last ones together."""
        end, weeks = baseline(spec, state, now)
        start = min(end - weeks * WEEK, now - (weeks + LASTING) * WEEK)
        held = Held.of(self._judged(spec, Window(start, now)), now=now, segments=spec.segments)
        return analysed(spec, state, now, held, self._judge(spec))

    def _judge(self, spec: MonitorSpec) -> Anchored | None:
        return None if self._judges is None or spec.labels is not None else self._judges.anchored(spec.score)
