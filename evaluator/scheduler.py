"""When things happen: APScheduler jobs behind a leader lease, so that any number of schedulers may run."""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from evaluator.alerts.coverage_notices import CoverageNotices
from evaluator.app import App
from evaluator.clock import SystemClock
from evaluator.discovery.sweep import Discovery
from evaluator.errors import EvaluatorError
from evaluator.sampling.jobs import Burden

LEASE: Final = timedelta(seconds=45)
"""Another scheduler takes over when the leader is silent for so long."""

_RENEW: Final = timedelta(seconds=10)
_BATCHES: Final = timedelta(seconds=30)
_ANCHORS: Final = timedelta(minutes=1)
_DUE: Final = timedelta(seconds=20)
_FIRST_WAIT, _LONGEST_WAIT = 60.0, 3600.0
"""Seconds until a look or digest that failed is tried again, twice as long each time: each reads weeks of scores."""

_log = structlog.get_logger(__name__)


class Scheduler:
    """Runs discovery, the daily look and the weekly digest, as long as it leads."""

    def __init__(
        self,
        app: App,
        discovery: Discovery,
        burden: Callable[[datetime], Burden],
        batches: Callable[[], object] = lambda: None,
        take_up: Callable[[], object] = lambda: None,
        late_scores: Callable[[], object] = lambda: None,
    ) -> None:
        """Run `discovery`.

        `burden` tells what waits for workers at a time, `batches` moves the provider's on, `take_up` takes up what
        waits for money, `late_scores` the traces that somebody takes because of a score that came late.
        """
        self._app = app
        self._discovery = discovery
        self._burden = burden
        self._batches = batches
        self._take_up = take_up
        self._late_scores = late_scores
        self._coverage = CoverageNotices(app.state, app.definitions, app.clock, delivers=bool(app.destinations))
        self._owner = f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}"
        self._leads = False
        self._waits: dict[str, tuple[float, float]] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the jobs in the background; on leaving, a running one finishes and the lease is given back."""
        jobs = BackgroundScheduler(timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1})
        discovery = self._app.definitions.service.discovery
        self.renew()
        self._app.anchoring.start()
        now = SystemClock().now()  # APScheduler goes by the machine's clock: by one that is ahead it would wait for it
        own = ((self.renew, _RENEW), (self.due, _DUE), (self.move_batches, _BATCHES), (self.ask_anchors, _ANCHORS))
        reads = ((self.discover, discovery.every), (self.read_scores, discovery.scores_every))
        for job, interval in (*reads, *own):
            jobs.add_job(job, "interval", seconds=interval.total_seconds(), next_run_time=now, misfire_grace_time=None)
        jobs.start()
        try:
            yield
        finally:
            self._discovery.stop()
            self._app.anchoring.stop()
            jobs.shutdown(wait=True)
            with contextlib.suppress(EvaluatorError):
                self._app.state.release("scheduler", self._owner)

    def renew(self) -> None:
        """Take or keep the lead."""
        try:
            leads = self._app.state.lease("scheduler", self._owner, LEASE)
        except EvaluatorError as error:
            _log.warning("cannot renew the lead", reason=str(error))
            leads = False
        if leads != self._leads:
            _log.info("leading" if leads else "following another scheduler", owner=self._owner)
        self._leads = leads

    def discover(self) -> None:
        """Hand newly finished traces to the queue."""
        self._run("discovery", lambda: self._discovery.catch_up(self._burden(self._app.clock.now())))
        self._run("catching up", self._take_up)

    def read_scores(self) -> None:
        """Hand over what is taken because of scores that came late, and give people what scored low."""
        self._run("late scores", self._take_late)
        self._run("low scores", self._app.low.hand_over)

    def _take_late(self) -> None:
        with self._app.spans.span("late scores"):
            self._late_scores()

    def move_batches(self) -> None:
        """Send and collect what goes through the provider's batch API."""
        self._run("batches", self._batches)

    def ask_anchors(self) -> None:
        """Ask the judges about their anchors that are to be asked: behind nothing else, since that takes minutes."""
        self._run("anchors", self._app.anchoring.due)

    def due(self) -> None:
        """Run what has come due since it last ran: a look or digest missed while nobody led is made up for."""
        schedule = self._app.definitions.service.watch
        at = schedule.daily_at
        daily = CronTrigger(hour=at.hour, minute=at.minute, timezone="UTC")
        weekly_at = schedule.weekly_at
        weekly = CronTrigger(
            day_of_week=schedule.weekly_on[:3], hour=weekly_at.hour, minute=weekly_at.minute, timezone="UTC"
        )
        self._run("budget", self._app.money.tell)
        self._run("coverage", self._coverage.tell)
        self._run("delivery", self._app.watch.deliver)
        self._run_due("look", daily, self._app.watch.look)
        self._run_due("calibration", weekly, self._app.calibrating().week)
        self._run_due("digest", weekly, self._app.watch.digest)

    def _run_due(self, name: str, trigger: BaseTrigger, job: Callable[[], object]) -> None:
        def run() -> None:
            now = self._app.clock.now()
            last = self._app.state.last_run(name)
            if last is None or last > now:
                # A first start waits for its time: there is nothing to look at yet. What ran in the future ran by a
                # clock that was wrong: to wait until then would leave out every time before.
                self._app.state.ran(name, now)
            elif (due := trigger.get_next_fire_time(None, last)) is not None and due <= now and self._may_try(name):
                with self._app.spans.span(name):
                    job()
                self._app.state.ran(name, now)
                self._waits.pop(name, None)

        self._run(name, run)

    def _may_try(self, name: str) -> bool:
        """Whether a job that failed may be tried again; each try puts off the next one."""
        at = self._app.clock.monotonic()
        due, last = self._waits.get(name, (at, 0.0))
        if at < due:
            return False
        wait = min(max(_FIRST_WAIT, 2 * last), _LONGEST_WAIT)
        self._waits[name] = (at + wait, wait)
        return True

    def _run(self, name: str, job: Callable[[], object]) -> None:
        if not self._leads:
            return
        try:
            job()
        except EvaluatorError as error:
            _log.warning("job failed, it runs again", job=name, reason=str(error))
