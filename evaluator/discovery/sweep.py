"""The first half of walk 1: newly finished traces are found, sampled, handed to the queue and marked as claimed.

Langfuse has no completion signal and pages newest first, so: a window of end times is read whole, again and again with
an overlap for late arrivals; a trace is enqueued before it is claimed (a crash repeats, never loses); and the watermark
moves only when the whole window was read (a crash in mid-scan leaves the old end unread).
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from evaluator.clock import Clock
from evaluator.definitions import Definitions
from evaluator.discovery.filter_scores import late_claim, with_scores
from evaluator.discovery.idle_sessions import SESSIONS_A_MESSAGE, Deciding, IdleSessions
from evaluator.langfuse import Langfuse, Window
from evaluator.limits import going_first
from evaluator.money.owing import Owing
from evaluator.money.rations import Rations
from evaluator.sampling.jobs import NOTHING_WAITS, Burden, Enqueue, Job
from evaluator.sampling.overload import JudgePaces, Load, Pace
from evaluator.sampling.sampler import Choice, NotTaken, Sampled, Sampler
from evaluator.state.fleet import State
from evaluator.telemetry.spans import EVALUATOR, NO_SPANS, Span, Spans
from traces import TraceRef, TraceRoot

LONGEST_WINDOW: Final = timedelta(hours=6)
"""Catching up after a long pause goes in steps of this size, so that a crash repeats little."""

_KINDS: Final = 10_000
"""Traces differ in what all evaluators together decide about them, but not in more ways than these, as a rule."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a sweep found.

    New finished traces, those of them handed to workers, pairs with an evaluator that were sampled, idle sessions.
    """

    traces: int = 0
    enqueued: int = 0
    sampled: int = 0
    sessions: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(
            self.traces + other.traces,
            self.enqueued + other.enqueued,
            self.sampled + other.sampled,
            self.sessions + other.sessions,
        )


class Discovery:
    """Finds finished traces and hands them to the queue."""

    def __init__(
        self,
        definitions: Definitions,
        langfuse: Langfuse,
        state: State,
        sessions: IdleSessions,
        rations: Rations,
        clock: Clock,
        enqueue: Enqueue,
        owing: Owing | None = None,
        spans: Spans = NO_SPANS,
    ) -> None:
        self._spans = spans
        self._definitions = definitions
        self._langfuse = langfuse
        self._state = state
        self._sessions = sessions
        self._rations = rations
        self._clock = clock
        self._enqueue = enqueue
        self._owing = owing
        self._traced = [each for each in definitions.evaluators if each.target != "session"]
        self._stopped = threading.Event()
        rubrics = ((each.name, each.rubric) for each in definitions.evaluators)
        self._pace = Pace()
        # What goes through batches waits for hours as it should.
        self._paces = JudgePaces(name for name, rubric in rubrics if rubric and rubric.spec.judge.lane != "batch")
        self._sample({})
        self._reached_back: dict[int, float] = {}

    def stop(self) -> None:
        """Let a running sweep end at its next page; what it did not read is read again by the next one."""
        self._stopped.set()

    def catch_up(self, burden: Burden = NOTHING_WAITS) -> Found:
        """Read from the watermark to now and move it; the first call ever only sets it.

        Args:
            burden: what waits for workers and models; it may lower the sampling rates.

        Raises:
            Unavailable, Refused: Langfuse or Redis; the watermark stays where the last whole window ended.
        """
        # Behind the reads and writes of all that waits it would learn too late that too much does.
        with going_first(), self._spans.span("sweep", {"evaluator.sweep": "live"}) as span:
            return _told(span, self._catch_up(burden))

    def _catch_up(self, burden: Burden) -> Found:
        self._rations.look()
        until = self._clock.now() - self._definitions.service.discovery.quiet_for
        mark = self._state.watermark()
        if mark is None:
            self._state.advance(until)
            return Found()
        self._sample(self._shed(burden))
        # A mark in the future is of a clock that was wrong: to wait for it would leave out what finishes until then.
        mark = min(mark, until)
        if self._owing is not None:
            self._owing.begin(self._rations.spent(), mark, until)
        found = Found()
        for window in _steps(mark - self._reach(), until):
            found += self.sweep(window)
            if self._stopped.is_set():
                break
            self._state.advance(max(mark, window.end))
        return found + self._idle(until)

    def since(self, start: datetime) -> Found:
        """Read from `start` to now, leaving the watermark alone; what was claimed before is not taken again."""
        self._rations.look()
        self._sample({}, live=False)
        until = self._clock.now() - self._definitions.service.discovery.quiet_for
        with self._spans.span("sweep", {"evaluator.sweep": "since"}) as span:
            found = sum((self.sweep(window) for window in _steps(start, until)), Found()) + self._idle(until)
            return _told(span, found)

    def make_up(self, evaluator: str, window: Window) -> Found:
        """Let one evaluator decide about what ended in `window`, of which it had decided nothing yet.

        What was claimed is noted for this evaluator alone: a crash in between repeats one batch.
        """
        with self._spans.span("sweep", {"evaluator.sweep": "make up", EVALUATOR: evaluator}) as span:
            return _told(span, self._make_up(evaluator, window))

    def _make_up(self, evaluator: str, window: Window) -> Found:
        asked = [each for each in self._traced if each.name == evaluator]
        found = Found()
        for page in self._pages(window):
            own = {root.ref.id: replace(root.ref, id=f"{root.ref.id}/{evaluator}") for root in page}
            fresh = self._state.unclaimed(list(own.values()))
            unseen = [root for root in page if own[root.ref.id].id in fresh]
            sampler = self._rations.sampler(asked, {}, len(unseen), live=False)
            roots = with_scores(unseen, self._definitions, self._langfuse, self._clock.now())
            choices = (tuple(each for each in sampler.choose(root) if each.is_about) for root in roots)
            found += self._decide(zip((own[root.ref.id] for root in roots), roots, choices, strict=True), None)
            self._rations.count(live=False)
        return found

    def revisit(
        self,
        window: Window,
        sampler: Callable[[int], Sampler],
        missing: Callable[[Sequence[Job]], Sequence[Job]],
        *,
        counts: bool,
        seen: Callable[[Sequence[TraceRoot]], None] = lambda _: None,
    ) -> Found:
        """Decide about everything that ended in `window` anew, whoever has claimed it.

        Args:
            window: of end times.
            sampler: gives who takes what, told how many traces are about to be decided.
            missing: returns what of some jobs is to be handed over.
            counts: whether what is taken comes out of the budgets of lines of `sample`.
            seen: told of all roots, as they are read.
        """
        with self._spans.span("sweep", {"evaluator.sweep": "backfill"}) as span:
            return _told(span, self._revisit(window, sampler, missing, counts=counts, seen=seen))

    def revisit_sessions(
        self,
        session_ids: Iterable[str],
        window: Window,
        decide: Deciding,
        missing: Callable[[Sequence[Job]], Sequence[Job]],
        *,
        counts: bool,
    ) -> Found:
        """Decide anew about sessions whose last trace ended in `window`, as `revisit` does about traces.

        One that still goes on, or may, is left to live discovery.
        """
        mark = self._state.watermark() or self._clock.now() - self._definitions.service.discovery.quiet_for
        found = Found()
        with self._spans.span("sweep", {"evaluator.sweep": "backfill of sessions"}) as span:
            jobs = self._sessions.ended_in(session_ids, window, mark, decide, counts=counts)
            while lot := list(itertools.islice(jobs, self._definitions.service.batch_size)):
                left = missing(lot)
                for start in range(0, len(left), SESSIONS_A_MESSAGE):
                    self._enqueue(left[start : start + SESSIONS_A_MESSAGE])
                found += Found(sampled=sum(len(job.samples) for job in left), sessions=len(left))
            return _told(span, found)

    def _revisit(
        self,
        window: Window,
        sampler: Callable[[int], Sampler],
        missing: Callable[[Sequence[Job]], Sequence[Job]],
        *,
        counts: bool,
        seen: Callable[[Sequence[TraceRoot]], None],
    ) -> Found:
        found, size = Found(), self._definitions.service.batch_size
        for page in self._pages(window):
            seen(page)
            roots = with_scores(page, self._definitions, self._langfuse, self._clock.now())
            decide = sampler(len(roots))
            jobs: list[Job] = []
            for root in roots:
                choices = decide.choose(root)
                if counts and self._rations.are_needed:
                    self._rations.note(choices)
                if samples := _decided(choices)[0]:
                    jobs.append(Job(root.ref, samples))
            left = missing(jobs)
            for start in range(0, len(left), size):
                self._enqueue(left[start : start + size])
            self._rations.count(live=False)
            found += Found(len(roots), len(left), sum(len(job.samples) for job in left))
        return found

    def sweep(self, window: Window) -> Found:
        """Hand over every unclaimed trace whose root ended in `window`."""
        found = sum((self._take(page) for page in self._pages(window)), Found())
        if found.traces:
            _log.info("traces found", traces=found.traces, enqueued=found.enqueued, until=window.end.isoformat())
        return found

    def _pages(self, window: Window) -> Iterator[list[TraceRoot]]:
        discovery = self._definitions.service.discovery
        pages = self._langfuse.finished_roots(
            window, longest=discovery.longest_trace, exclude_environments=discovery.exclude_environments
        )
        return itertools.takewhile(lambda _: not self._stopped.is_set(), pages)

    def _shed(self, burden: Burden) -> dict[str, float]:
        """Return which share of its sampling rates each evaluator takes so that workers and models can keep up."""
        overload, before, now = self._definitions.service.overload, self._state.load(), self._clock.monotonic()
        lag, lags = self._pace.lag(burden.jobs, burden.ended, now), self._paces.lags(burden, now)
        if overload.order == "oldest_first":
            lag = max(lag, burden.oldest)
        share, shares = 1.0, dict[str, float]()
        if (max_lag := overload.max_lag) is not None:
            share = self._pace.share_after(before.share, lag, before.live_lag, max_lag)
            shares = self._paces.shares(before.shares, lags, max_lag)
        load = Load(max(lag, *lags.values()) if lags else lag, share, shares, lag)
        if (share, shares) != (before.share, before.shares):
            told = {"lag": str(load.lag), "max_lag": str(max_lag), "share": round(share, 3)}
            held_up = {name: round(each, 3) for name, each in shares.items()}
            _log.warning("sampling follows the load", **told, held_up=held_up)
        self._state.set_load(load)
        return {each.name: load.of(each.name) for each in self._definitions.evaluators}

    def _reach(self) -> timedelta:
        """Return how far to reach back for traces that came late.

        Most come late by seconds, few by minutes, and rows read again cost requests: the whole overlap is read seldom,
        a quarter of it more often. Each reaches further back than it promises by the time until it is read again.
        """
        overlap, now = self._definitions.service.discovery.overlap, self._clock.monotonic()
        for part in (1, 4):
            again = overlap / (2 * part)
            last = self._reached_back.get(part)
            if last is None or now - last >= again.total_seconds():
                self._reached_back |= {p: now for p in (1, 4) if p >= part}
                return overlap / part + again
        return overlap / 16

    def _take(self, page: Sequence[TraceRoot]) -> Found:
        fresh = self._state.unclaimed([root.ref for root in page])
        unseen = [root for root in page if root.ref.id in fresh]
        roots = with_scores(unseen, self._definitions, self._langfuse, self._clock.now())
        # Noted before they are claimed: a crash in between notes them again.
        self._sessions.touch(roots)
        if self._rations.are_needed:
            self._sample(self._shares, coming=len(roots), live=self._live)
        found = self._decide(((root.ref, root, self._choices(root)) for root in roots), self._handed())
        self._rations.count(live=self._live)
        self._state.counters.count("traces_seen", by=found.traces)
        return found

    def _choices(self, root: TraceRoot) -> tuple[Choice, ...]:
        choices = self._sampler.choose(root)
        return self._owing.left(choices, root.ref.ended) if self._live and self._owing is not None else choices

    def _handed(self) -> datetime | None:
        """Return when that is which is handed over now; None of what is old, which is not promised soon."""
        return self._clock.now() if self._live else None

    def _decide(
        self, decisions: Iterable[tuple[TraceRef, TraceRoot, tuple[Choice, ...]]], handed: datetime | None
    ) -> Found:
        """Hand over traces in batches; each comes with what it is claimed as, and what was decided about it."""
        jobs: list[Job] = []
        decided: dict[TraceRef, tuple[str, ...]] = {}
        found = Found()
        number = 0
        for claim, root, choices in decisions:
            number += 1
            samples, decided[claim] = self._decided(choices)
            if self._rations.are_needed:
                self._rations.note(choices)
            if samples:
                jobs.append(Job(root.ref, samples, handed=handed))
            if root.scores:
                # Who took it with them in sight need not be told of them again.
                decided |= {late_claim(root.ref, sample.evaluator): () for sample in samples}
            if len(jobs) == self._definitions.service.batch_size:
                found += self._hand_over(jobs, decided, handed)
                jobs, decided = [], {}
        return found + self._hand_over(jobs, decided, handed) + Found(traces=number)

    def _hand_over(
        self, jobs: Sequence[Job], decided: Mapping[TraceRef, tuple[str, ...]], handed: datetime | None
    ) -> Found:
        """Enqueue one batch, then claim what was decided up to it: a crash in between repeats no more than this."""
        if jobs:
            self._enqueue(jobs)
        self._state.claim(decided, handed)
        return Found(enqueued=len(jobs), sampled=sum(len({sample.evaluator for sample in job.samples}) for job in jobs))

    def _idle(self, until: datetime) -> Found:
        """Take the sessions in which nothing happened for long enough, when all that ended until then is known."""
        if self._stopped.is_set():
            return Found()
        taken = self._sessions.take(until, self._shares, self._enqueue, self._handed())
        return Found(sampled=taken.sampled, sessions=taken.sessions)

    def _sample(self, shares: Mapping[str, float], coming: int = 0, *, live: bool = True) -> None:
        """Take these shares of the sampling rates from now on; `coming` traces are about to be decided."""
        self._shares, self._live = shares, live
        self._sampler = self._rations.sampler(self._traced, shares, coming, live=live)
        self._decided = functools.lru_cache(maxsize=_KINDS)(_decided)


def _told(span: Span, found: Found) -> Found:
    numbers = {"traces": found.traces, "enqueued": found.enqueued, "pairs": found.sampled, "sessions": found.sessions}
    span.note({f"evaluator.{name}": number for name, number in numbers.items()})
    return found


def _steps(start: datetime, end: datetime) -> Iterator[Window]:
    while start < end:
        until = min(start + LONGEST_WINDOW, end)
        yield Window(start, until)
        start = until


def _decided(choices: tuple[Choice, ...]) -> tuple[tuple[Sampled, ...], tuple[str, ...]]:
    """Return who takes a trace, and how all the decisions are counted."""
    samples = tuple(sample for choice in choices for sample in choice.samples)
    told = (choice for choice in choices if choice.decision is not NotTaken.OWED)
    return samples, tuple(f"{choice.evaluator}/{choice.state}/" for choice in told)
