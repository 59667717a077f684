"""Sessions: noted when a trace of them is found, handed to the queue when they have been idle for long enough.

A session is taken once for each growth of it: it is enqueued, then claimed under its last end and its number of traces,
then waits no longer. A crash in between repeats, never loses. What decides about it is read from Langfuse when it is
due, so Redis holds no more than ids and times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from evaluator.clock import Clock
from evaluator.definitions import Definitions, Evaluator
from evaluator.discovery.filter_scores import with_session_scores
from evaluator.langfuse import Langfuse, SessionRoots, Window
from evaluator.money.rations import Rations
from evaluator.sampling.jobs import Enqueue, Job
from evaluator.sampling.sampler import Choice, Sampled, Sampler
from evaluator.state.fleet import State
from evaluator.state.sessions import SessionState, Waiting
from traces import SessionRef, TraceRoot, duration_text, well_formed

SESSIONS_A_MESSAGE: Final = 5
"""Each may be dozens of traces."""

_AT_ONCE: Final = 200

_log = structlog.get_logger(__name__)


Deciding = Mapping[timedelta, Callable[[int], Sampler]]
"""By idle time what gives who takes which sessions, told how many are about to be decided."""


class Taken(NamedTuple):
    """How many sessions were handed over, and how many (session, evaluator) pairs."""

    sessions: int = 0
    sampled: int = 0


class IdleSessions:
    """Notes sessions and takes those that are idle. Costs nothing while no evaluator looks at sessions."""

    def __init__(
        self,
        definitions: Definitions,
        langfuse: Langfuse,
        state: State,
        sessions: SessionState,
        rations: Rations,
        clock: Clock,
    ) -> None:
        self._definitions = definitions
        self._service = definitions.service
        self._langfuse = langfuse
        self._state = state
        self._sessions = sessions
        self._rations = rations
        self._clock = clock
        self._evaluators: dict[timedelta, list[Evaluator]] = {}
        for evaluator in definitions.evaluators:
            if evaluator.idle is not None:
                self._evaluators.setdefault(evaluator.idle, []).append(evaluator)

    def touch(self, roots: Iterable[TraceRoot]) -> None:
        """Note the sessions of traces that were found."""
        if not self._evaluators:
            return
        ended: dict[str, datetime] = {}
        for root in roots:
            session_id = root.session_id
            if session_id and well_formed(session_id) == session_id:
                ended[session_id] = max(root.ref.ended, ended.get(session_id, root.ref.ended))
        self._sessions.touch(ended, self._evaluators)

    def take(
        self, until: datetime, shares: Mapping[str, float], enqueue: Enqueue, handed: datetime | None = None
    ) -> Taken:
        """Hand over the sessions in which nothing ended since `until` less their idle time.

        Args:
            until: everything that ended before is known.
            shares: of the sampling rates of each evaluator, under overload.
            enqueue: where jobs go.
            handed: the time, when what is handed over is live.
        """
        if not self._evaluators:
            return Taken()
        found, skipped = Taken(), 0
        while lot := self._sessions.due(until, _AT_ONCE, skipped):
            now, later = self._take(lot, until, shares, enqueue, handed)
            found = Taken(found.sessions + now.sessions, found.sampled + now.sampled)
            skipped += later
        if found.sessions:
            _log.info("idle sessions taken", sessions=found.sessions, sampled=found.sampled)
        return found

    def ended_in(
        self, session_ids: Iterable[str], window: Window, until: datetime, decide: Deciding, *, counts: bool
    ) -> Iterator[Job]:
        """Give the jobs of sessions whose last trace ended in `window`, as they are now, whoever has claimed them.

        Args:
            session_ids: of traces that ended in it; the sessions of others did not end there.
            window: of end times.
            until: everything that ended before is known; a session must have been idle for long enough by then.
            decide: gives by idle time who takes what, told how many sessions are about to be decided.
            counts: whether what is taken comes out of the budgets of lines of `sample`.
        """
        for lot in _lots(session_ids):
            found = self._read(dict.fromkeys(lot, window.end - self._service.sessions.longest))
            ended = {i: known for i, known in found.items() if window.start <= _ended(known) < window.end}
            for idle, sampler_of in decide.items():
                rested = {i: known for i, known in ended.items() if _ended(known) + idle <= until}
                sampler = sampler_of(len(rested))
                for session_id, known in rested.items():
                    choices = sampler.choose_session(session_id, known.roots)
                    if counts and self._rations.are_needed:
                        self._rations.note(choices)
                    if samples := _taken(choices):
                        yield Job(ref_of(session_id, known, idle), samples)
            self._rations.count(live=False)

    def _take(
        self,
        lot: Sequence[Waiting],
        until: datetime,
        shares: Mapping[str, float],
        enqueue: Enqueue,
        handed: datetime | None,
    ) -> tuple[Taken, int]:
        """Take some; return what was taken, and how many must wait for a newer copy of Langfuse's rows."""
        roots = self._roots(lot)
        ready = [each for each in lot if self._is_shown(each, roots.get(each.session_id), until)]
        jobs: list[Job] = []
        decided: dict[SessionRef, tuple[str, ...]] = {}
        for idle, waiting in _by_idle(ready).items():
            evaluators = self._evaluators.get(idle)
            if evaluators is None:
                # The rubrics have another idle time now.
                self._sessions.touch({each.session_id: each.ended for each in waiting}, self._evaluators)
                continue
            known = {each.session_id: roots[each.session_id] for each in waiting if each.session_id in roots}
            going_on = {i: _ended(found) for i, found in known.items() if _ended(found) + idle > until}
            self._sessions.touch(going_on, [idle])
            known = {i: found for i, found in known.items() if i not in going_on}
            sampler = self._rations.sampler(evaluators, shares, coming=len(known))
            jobs += (replace(job, handed=handed) for job in self._decide(known, idle, sampler, decided))
        for start in range(0, len(jobs), SESSIONS_A_MESSAGE):
            enqueue(jobs[start : start + SESSIONS_A_MESSAGE])
        self._state.claim(decided, handed)
        self._sessions.taken(ready)
        self._rations.count()
        return Taken(len(decided), sum(len(job.samples) for job in jobs)), len(lot) - len(ready)

    def _decide(
        self,
        known: Mapping[str, SessionRoots],
        idle: timedelta,
        sampler: Sampler,
        decided: dict[SessionRef, tuple[str, ...]],
    ) -> Iterator[Job]:
        """Give the jobs of those sessions that were not taken as they are now, and note what was decided of each."""
        refs = {session_id: ref_of(session_id, found, idle) for session_id, found in known.items()}
        fresh = self._state.unclaimed(list(refs.values()))
        for session_id, ref in refs.items():
            if ref.id not in fresh:
                continue
            choices = sampler.choose_session(session_id, known[session_id].roots)
            if self._rations.are_needed:
                self._rations.note(choices)
            decided[ref] = tuple(f"{choice.evaluator}/{choice.state}/" for choice in choices)
            if samples := _taken(choices):
                yield Job(ref, samples)

    def _is_shown(self, waiting: Waiting, found: SessionRoots | None, until: datetime) -> bool:
        """Whether the last known trace can be seen; what cannot for long was deleted, and is not waited for."""
        ended = None if found is None else _ended(found)
        if ended is not None and ended >= waiting.ended:
            return True
        return until - waiting.ended - waiting.idle > self._service.discovery.max_wait

    def _roots(self, lot: Sequence[Waiting]) -> dict[str, SessionRoots]:
        return self._read({each.session_id: each.ended - self._service.sessions.longest for each in lot})

    def _read(self, since: Mapping[str, datetime]) -> dict[str, SessionRoots]:
        """Return sessions as they are now, of each the traces that started from a time on, with their scores."""
        found = self._langfuse.session_roots(
            since,
            most=self._service.sessions.most_traces,
            exclude_environments=self._service.discovery.exclude_environments,
        )
        roots = [root for known in found.values() for root in known.roots]
        every = with_session_scores(roots, self._definitions, self._langfuse, self._clock.now())
        by_id = {root.ref.id: root for root in every}
        return {i: known._replace(roots=tuple(by_id[r.ref.id] for r in known.roots)) for i, known in found.items()}


def _taken(choices: Iterable[Choice]) -> tuple[Sampled, ...]:
    return tuple(choice.decision for choice in choices if isinstance(choice.decision, Sampled))


def _lots(session_ids: Iterable[str]) -> Iterator[list[str]]:
    """Give ids as Langfuse takes them, some hundreds at a time; those that no Redis or Langfuse could hold are none."""
    known = [each for each in dict.fromkeys(session_ids) if well_formed(each) == each]
    for start in range(0, len(known), _AT_ONCE):
        yield known[start : start + _AT_ONCE]


def ref_of(session_id: str, found: SessionRoots, idle: timedelta) -> SessionRef:
    """Return a reference to a session as far as it has grown; rubrics with another idle time have one of their own."""
    last, ended = found.roots[-1].ref, _ended(found)
    growth = f"{ended.isoformat(timespec='milliseconds')}/{len(found.roots)}/{duration_text(idle)}"
    return SessionRef(f"session/{growth}/{session_id}", session_id, last.environment, found.roots[0].ref.started, ended)


def _ended(found: SessionRoots) -> datetime:
    return max(root.ref.ended for root in found.roots)


def _by_idle(lot: Iterable[Waiting]) -> dict[timedelta, list[Waiting]]:
    groups: dict[timedelta, list[Waiting]] = {}
    for each in lot:
        groups.setdefault(each.idle, []).append(each)
    return groups
