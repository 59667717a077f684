"""What jobs are about, read from Langfuse; jobs whose subject cannot be read yet, or still moves, come again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar

import structlog

from evaluator.clock import Clock
from evaluator.definitions.service_config import DiscoveryConfig, ServiceConfig
from evaluator.errors import ConfigError, Overtaxed, Refused, Unavailable
from evaluator.langfuse import Langfuse, SessionRoots
from evaluator.sampling.jobs import Job
from evaluator.scoring.endings import FETCH_REFUSED, Endings, backoff, outage_delay
from evaluator.state.earlier import Earlier
from traces import Session, SessionRef, Subject, Trace, TraceRef, score_id

LOOKS: Final = 8
"""A trace that stays invisible is gone after this many looks, about half an hour; one too large to read is given up."""

WENT_ON: Final = "the session went on"
"""Why a session is not judged now: it is taken again when it is idle again."""

Read = TypeVar("Read")

_log = structlog.get_logger(__name__)


class KnownSession(NamedTuple):
    """A session, and when its scores were first written, by evaluator, as far as they were."""

    session: Session
    written: Mapping[str, datetime]


class Gathered(NamedTuple):
    """What jobs are about, by the id of their reference."""

    traces: Mapping[str, Trace]
    sessions: Mapping[str, KnownSession]

    @property
    def number(self) -> int:
        """How many traces and sessions could be read."""
        return len(self.traces) + len(self.sessions)


class Gathering:
    """Reads what jobs are about. Safe for many threads."""

    def __init__(
        self, service: ServiceConfig, langfuse: Langfuse, clock: Clock, earlier: Earlier | None = None
    ) -> None:
        """Read from `langfuse`; `earlier` knows what rules compare with, where any do."""
        self._earlier = earlier
        self._service = service
        self._langfuse = langfuse
        self._clock = clock

    def gather(self, jobs: Sequence[Job], endings: Endings) -> Gathered:
        """Return what the jobs are about, where it can be read and rests; the other jobs are in `endings`."""
        of_traces = [job for job in jobs if isinstance(job.ref, TraceRef)]
        of_sessions = [job for job in jobs if isinstance(job.ref, SessionRef)]
        traces = _patiently(self._traces, of_traces, endings)
        moving = {job.ref.id for job in of_traces if not self._rests(job, traces.get(job.ref.id), endings)}
        resting: Mapping[str, Trace] = {i: trace for i, trace in traces.items() if i not in moving}
        if self._earlier is not None:
            resting = self._earlier.beside(resting, of_traces)
        return Gathered(resting, _patiently(self._sessions, of_sessions, endings))

    # -- traces ------------------------------------------------------------------------------------------------------

    def _traces(self, jobs: Sequence[Job], endings: Endings) -> dict[str, Trace]:
        answers = self._langfuse.fetch_each([job.ref for job in jobs if isinstance(job.ref, TraceRef)])
        for job in jobs:
            answer = answers.get(job.ref.id)
            if answer is None:
                _is_invisible(job, endings)
            elif isinstance(answer, Refused):
                _is_refused(job, answer, endings)
        return {trace_id: answer for trace_id, answer in answers.items() if not isinstance(answer, Refused)}

    def _rests(self, job: Job, trace: Trace | None, endings: Endings) -> bool:
        if trace is None:
            return False
        wait = until_finished(trace, job.ref.ended, self._service.discovery, self._clock.now())
        if wait is not None:
            endings.put_back(job, wait)
        return wait is None

    # -- sessions ----------------------------------------------------------------------------------------------------

    def _sessions(self, jobs: Sequence[Job], endings: Endings) -> dict[str, KnownSession]:
        """Read sessions; nothing is noted in `endings` before the last request was answered."""
        roots = self._roots(jobs)
        ready = [job for job in jobs if _stands(job, roots.get(_session_id(job)))]
        traces = self._langfuse.fetch([root.ref for job in ready for root in roots[_session_id(job)].roots])
        written = self._langfuse.score_times([score for job in ready for score in self._score_ids(job).values()])
        known: dict[str, KnownSession] = {}
        for job in jobs:
            session_id = _session_id(job)
            found = roots.get(session_id)
            if found is not None and _ended(found) > job.ref.ended:
                endings.settle(job, job.samples, "skipped", WENT_ON)
                continue
            whole = [traces[root.ref.id] for root in found.roots if root.ref.id in traces] if found else []
            if job not in ready or found is None or not whole:
                _is_invisible(job, endings)
                continue
            times = {name: written[score] for name, score in self._score_ids(job).items() if score in written}
            known[job.ref.id] = KnownSession(Session(session_id, tuple(whole), found.more), times)
        return known

    def _roots(self, jobs: Sequence[Job]) -> dict[str, SessionRoots]:
        return self._langfuse.session_roots(
            {_session_id(job): job.ref.ended - self._service.sessions.longest for job in jobs},
            most=self._service.sessions.most_traces,
            exclude_environments=self._service.discovery.exclude_environments,
        )

    def _score_ids(self, job: Job) -> dict[str, str]:
        """Return the ids of a session's scores by evaluator."""
        project = self._langfuse.capabilities().project_id
        subject = Subject(session_id=_session_id(job))
        return {sampled.evaluator: score_id(project, subject, sampled.evaluator) for sampled in job.samples}


def _patiently(
    read: Callable[[Sequence[Job], Endings], dict[str, Read]], jobs: Sequence[Job], endings: Endings
) -> dict[str, Read]:
    """Read what jobs are about; what Langfuse does not give now comes again, what it refuses is given up alone."""
    if not jobs:
        return {}
    try:
        return read(jobs, endings)
    except (Unavailable, ConfigError) as error:
        # Keys that are refused are for a person to mend: until then the work waits, it is not given up.
        _log.warning("Langfuse gives no traces, the batch comes again", reason=str(error), traces=len(jobs))
        asked = error.retry_after if isinstance(error, Unavailable) else None
        for job in jobs:
            endings.put_back(job, outage_delay(asked))
        return {}
    except Refused as error:
        if len(jobs) == 1:
            _is_refused(jobs[0], error, endings)
            return {}
        # One trace that Langfuse will not give must not take the others with it.
        middle = len(jobs) // 2
        first = _patiently(read, jobs[:middle], endings)
        return {**first, **_patiently(read, jobs[middle:], endings)}


def _stands(job: Job, found: SessionRoots | None) -> bool:
    """Whether a session is as far as the job says; one that shows less (an old copy, a deletion) gets more looks."""
    return found is not None and (_ended(found) == job.ref.ended or (_ended(found) < job.ref.ended and _is_last(job)))


def _ended(found: SessionRoots) -> datetime:
    return max(root.ref.ended for root in found.roots)


def _session_id(job: Job) -> str:
    if not isinstance(job.ref, SessionRef):
        msg = f"{job.ref.id} is no session"
        raise TypeError(msg)
    return job.ref.session_id


def _is_invisible(job: Job, endings: Endings) -> None:
    if _is_last(job):
        endings.settle(job, job.samples, "gone", "not visible in Langfuse")
    else:
        endings.put_back(job.again(), backoff(job.attempt))


def _is_refused(job: Job, error: Refused, endings: Endings) -> None:
    """Note that Langfuse does not give a trace or session asked for alone; what it has no resources for comes again."""
    if isinstance(error, Overtaxed) and not _is_last(job):
        _log.warning("Langfuse has no resources for a trace, it comes again", **job.about, reason=str(error))
        endings.put_back(job.again(), backoff(job.attempt))
    else:
        endings.give_up(job, job.samples, FETCH_REFUSED, str(error))


def _is_last(job: Job) -> bool:
    return job.attempt >= LOOKS


def until_finished(trace: Trace, ended: datetime, discovery: DiscoveryConfig, now: datetime) -> timedelta | None:
    """Return when to look again at a trace that is not finished; None when it is, or has been waited for enough.

    `ended` is when its root did.
    """
    if now >= ended + discovery.max_wait:
        return None
    quiet = now - _last_change(trace)
    if not trace.is_open and quiet >= discovery.quiet_for:
        return None
    # A change in the future is of another clock, or ours is wrong: it is looked at again all the same.
    left = min(discovery.quiet_for - quiet, discovery.quiet_for)
    return max(left, discovery.quiet_for / 4)


def _last_change(trace: Trace) -> datetime:
    """When anything in the trace last moved, as far as its clock and Langfuse's tell."""
    return max(trace.last_moment, *(o.updated for o in trace.observations if o.updated is not None), trace.root.start)
