"""The second half of walk 1: a batch of traces becomes scores in Langfuse.

At-least-once delivery, exactly-once effect. Judge outcomes are remembered as each one ends, scores are written under
deterministic ids, and only what Langfuse accepted is settled; whatever is left goes back to the queue as a new message
before the old one is acknowledged. A crash anywhere repeats work at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from evaluator.batch import Job, Lane
from evaluator.calls import Asked, Calls
from evaluator.clock import Clock
from evaluator.definitions import Definitions, Evaluator
from evaluator.errors import ConfigError, EvaluatorError, Refused, Unavailable
from evaluator.judge_traces import JudgeTraces
from evaluator.langfuse import Langfuse
from evaluator.model import INTERRUPTED, POSTPONED, Ended, ModelApi
from evaluator.sampling import Sampled
from evaluator.scoring import scores_of
from evaluator.service_config import DiscoveryConfig
from evaluator.state import DeadLetter, Settled, State
from judges import Question
from traces import Failure, NotApplicable, Outcome, Score, Trace, TraceRef, Unscored, Usage, Verdict

ATTEMPTS: Final = 8
"""A judge that keeps failing on a trace is given up after this many tries, about half an hour."""

LOOKS: Final = 8
"""A trace that stays invisible is gone after this many looks, about half an hour."""

PROMPT_MISSING: Final = "prompt_missing"
"""Kind of failure of a rubric whose criteria Langfuse holds and has never given; they may come."""

_FIRST_DELAY: Final = timedelta(seconds=10)
_LONGEST_DELAY: Final = timedelta(minutes=10)
_OUTAGE_DELAY: Final = timedelta(seconds=15)
_REDIS_PAUSE_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Again:
    """Jobs to put back on a lane, not before `delay` from now."""

    jobs: tuple[Job, ...]
    delay: timedelta
    lane: Lane


@dataclass(slots=True)
class _Work:
    """One (trace, evaluator) pair on its way through a batch."""

    job: Job
    sampled: Sampled
    trace: Trace
    evaluator: Evaluator
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Result:
    """What a batch comes to: terminal states, and what must come back, when and on which lane."""

    lane: Lane = Lane.LIVE
    settled: list[Settled] = field(default_factory=list)
    back: list[tuple[Job, timedelta, Lane]] = field(default_factory=list)

    def put_back(self, job: Job, delay: timedelta, lane: Lane | None = None) -> None:
        """Let a job come again, by default on the lane it came on."""
        self.back.append((job, delay, lane or self.lane))

    def settle(self, job: Job, samples: Iterable[Sampled], state: str, reason: str = "") -> None:
        self.settled.extend(Settled(job.ref, sampled.evaluator, state, reason) for sampled in samples)

    def again(self) -> list[Again]:
        """Return what comes back: one job a trace and attempt, one message a lane and delay."""
        messages: dict[tuple[timedelta, Lane], dict[tuple[str, int], Job]] = {}
        for job, delay, lane in self.back:
            jobs = messages.setdefault((delay, lane), {})
            known = jobs.get((job.ref.id, job.attempt))
            jobs[job.ref.id, job.attempt] = replace(job, samples=known.samples + job.samples) if known else job
        return [Again(tuple(jobs.values()), delay, lane) for (delay, lane), jobs in messages.items()]


class Evaluation:
    """Evaluates batches of jobs. Safe for many threads."""

    def __init__(
        self,
        definitions: Definitions,
        langfuse: Langfuse,
        model: ModelApi,
        state: State,
        clock: Clock,
        judge_traces: JudgeTraces,
        evaluators: Callable[[], Mapping[str, Evaluator]] | None = None,
        told: Callable[[Sequence[Score], TraceRef], None] | None = None,
    ) -> None:
        """Evaluate by `definitions`.

        `evaluators` gives them by name as they stand now, where they may change; `told` hears of every score that
        Langfuse accepted.
        """
        self._definitions = definitions
        defined = {evaluator.name: evaluator for evaluator in definitions.evaluators}
        self._evaluators = evaluators or (lambda: defined)
        self._langfuse = langfuse
        self._model = model
        self._state = state
        self._clock = clock
        self._told = told
        self._calls = Calls(model, judge_traces)
        self._patience = definitions.service.limits.patience.total_seconds()

    def evaluate(self, jobs: Sequence[Job], lane: Lane = Lane.LIVE) -> list[Again]:
        """Evaluate jobs, write their scores, and return what must be put back before they are acknowledged.

        On the patient lane questions wait for their model as long as it takes, on others no longer than `patience`.

        Raises:
            Unavailable: Redis cannot be reached; nothing was acknowledged, the message will come again.
        """
        result = _Result(lane)
        jobs = self._unsettled(jobs)
        if jobs:
            traces = self._fetch(jobs, result)
            ready = [job for job in jobs if job.ref.id in traces and self._is_finished(job, traces[job.ref.id], result)]
            work = list(self._work(ready, traces, result))
            self._judge(work, None if lane is Lane.PATIENT else self._patience)
            self._write(work, result)
        self._state.settle(result.settled)
        self._state.forget({s.ref.id for s in result.settled} - {job.ref.id for job, _, _ in result.back})
        return result.again()

    def give_up(self, job: Job, reason: str) -> None:
        """Bury a job whose evaluation keeps raising, and settle it as failed."""
        result = _Result()
        self._give_up(job, job.samples, "worker_error", reason, result)
        self._state.settle(result.settled)

    # -- what is there to do -----------------------------------------------------------------------------------------

    def _unsettled(self, jobs: Sequence[Job]) -> list[Job]:
        done = self._state.settled(jobs)
        left = [
            Job(job.ref, tuple(s for s in job.samples if (job.ref.id, s.evaluator) not in done), job.attempt)
            for job in jobs
        ]
        return [job for job in left if job.samples]

    def _fetch(self, jobs: Sequence[Job], result: _Result) -> Mapping[str, Trace]:
        try:
            traces = self._langfuse.fetch([job.ref for job in jobs])
        except (Unavailable, ConfigError) as error:
            # Keys that are refused are for a person to mend: until then the work waits, it is not given up.
            _log.warning("Langfuse gives no traces, the batch comes again", reason=str(error), traces=len(jobs))
            asked = error.retry_after if isinstance(error, Unavailable) else None
            delay = timedelta(seconds=asked) if asked else _OUTAGE_DELAY
            for job in jobs:
                result.put_back(job, delay)
            return {}
        except Refused as error:
            return self._fetch_apart(jobs, error, result)
        for job in jobs:
            if job.ref.id not in traces:
                self._is_invisible(job, result)
        return traces

    def _fetch_apart(self, jobs: Sequence[Job], error: Refused, result: _Result) -> Mapping[str, Trace]:
        """One trace that Langfuse will not give must not take the others with it."""
        if len(jobs) == 1:
            self._give_up(jobs[0], jobs[0].samples, "fetch_refused", str(error), result)
            return {}
        middle = len(jobs) // 2
        return {**self._fetch(jobs[:middle], result), **self._fetch(jobs[middle:], result)}

    def _is_invisible(self, job: Job, result: _Result) -> None:
        if job.attempt >= LOOKS:
            result.settle(job, job.samples, "gone", "not visible in Langfuse")
        else:
            result.put_back(job.again(), _backoff(job.attempt))

    def _is_finished(self, job: Job, trace: Trace, result: _Result) -> bool:
        wait = until_finished(trace, job.ref.ended, self._definitions.service.discovery, self._clock.now())
        if wait is not None:
            result.put_back(job, wait)
        return wait is None

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _work(self, jobs: Sequence[Job], traces: Mapping[str, Trace], result: _Result) -> Iterable[_Work]:
        remembered = self._state.remembered([job.ref.id for job in jobs])
        evaluators = self._evaluators()
        for job in jobs:
            for sampled in job.samples:
                evaluator = evaluators.get(sampled.evaluator)
                if evaluator is None:
                    result.settle(job, [sampled], "skipped", "evaluator no longer defined")
                    continue
                known = remembered.get((job.ref.id, _memory(evaluator)))
                yield _Work(job, sampled, traces[job.ref.id], evaluator, known)

    def _judge(self, work: Sequence[_Work], patience: float | None) -> None:
        """Rules at once, then one `ask` with every question of every rubric of every trace."""
        asked: list[_Work] = []
        questions: list[Question] = []
        for item in work:
            if item.outcome is not None:
                continue
            first = first_outcome(item.evaluator, item.trace)
            if isinstance(first, Question):
                asked.append(item)
                questions.append(first)
            else:
                item.outcome = first
        if questions:
            self._ask(asked, questions, patience)

    def _ask(self, asked: Sequence[_Work], questions: Sequence[Question], patience: float | None) -> None:
        """Ask, remembering outcomes as they end: a killed batch pays for nothing twice."""
        wanted = [
            Asked(item.trace, item.trace.id, item.evaluator.name, item.evaluator.version, question)
            for item, question in zip(asked, questions, strict=True)
        ]
        unkept: list[Ended] = []
        for lot in self._calls.ask(wanted, patience):
            for index, outcome in lot:
                asked[index].outcome = outcome
            unkept = self._kept(asked, [*unkept, *lot])
        while unkept and not self._model.is_drained:
            # Without Redis nothing else can be done, and these are paid for.
            self._clock.sleep(_REDIS_PAUSE_SECONDS)
            unkept = self._kept(asked, unkept)
        self._state.spend(_used(asked))

    def _kept(self, asked: Sequence[_Work], lot: list[Ended]) -> list[Ended]:
        """Remember outcomes; return those that could not be, since Redis is away."""
        try:
            self._remember(asked, lot)
        except Unavailable as error:
            _log.warning("outcomes wait for Redis", reason=str(error), outcomes=len(lot))
            return lot
        return []

    def _remember(self, asked: Sequence[_Work], lot: Sequence[Ended]) -> None:
        final = (
            (asked[index], outcome)
            for index, outcome in lot
            if not isinstance(outcome, Failure) or not outcome.retryable
        )
        self._state.remember((item.trace.id, _memory(item.evaluator), outcome) for item, outcome in final)

    # -- scores ------------------------------------------------------------------------------------------------------

    def _write(self, work: Sequence[_Work], result: _Result) -> None:
        scored: list[tuple[_Work, tuple[Score, ...]]] = []
        project = self._langfuse.capabilities().project_id if work else ""
        for item in work:
            match item.outcome:
                case Verdict() as verdict:
                    scores = scores_of(verdict, item.trace, item.evaluator, item.sampled, project)
                    scored.append((item, scores))
                case NotApplicable(reason):
                    result.settle(item.job, [item.sampled], "skipped", reason)
                case Unscored():
                    result.settle(item.job, [item.sampled], "unscored", "judge could not tell")
                case Failure() as failure:
                    self._has_failed(item, failure, result)
                case None:
                    msg = f"no outcome for {item.evaluator.name}"
                    raise AssertionError(msg)
        every = [score for _, scores in scored for score in scores]
        answers = iter(self._langfuse.write(every) if every else [])
        for item, scores in scored:
            self._is_written(item, scores, list(itertools.islice(answers, len(scores))), result)

    def _is_written(
        self, item: _Work, scores: Sequence[Score], answers: Sequence[EvaluatorError | None], result: _Result
    ) -> None:
        """Settle a pair when all of its scores were accepted; else all are written again, which changes none."""
        passing = next((answer for answer in answers if isinstance(answer, Unavailable | ConfigError)), None)
        answer = passing or next(filter(None, answers), None)
        if answer is None:
            result.settle(item.job, [item.sampled], "scored")
            if self._told is not None:
                self._told(scores, item.job.ref)
        elif isinstance(answer, Unavailable | ConfigError):
            result.put_back(Job(item.job.ref, (item.sampled,), item.job.attempt), _OUTAGE_DELAY)
        else:
            self._give_up(item.job, [item.sampled], "score_refused", str(answer), result)

    def _has_failed(self, item: _Work, failure: Failure, result: _Result) -> None:
        job = Job(item.job.ref, (item.sampled,), item.job.attempt)
        if failure.kind == INTERRUPTED:
            result.put_back(job, timedelta())
        elif failure.kind == POSTPONED:
            result.put_back(job, timedelta(), Lane.PATIENT)
        elif failure.retryable and job.attempt < ATTEMPTS:
            result.put_back(job.again(), _backoff(job.attempt), Lane.PATIENT)
        else:
            self._give_up(job, job.samples, failure.kind, failure.reason, result)

    def _give_up(self, job: Job, samples: Sequence[Sampled], kind: str, reason: str, result: _Result) -> None:
        now = self._clock.now()
        for sampled in samples:
            _log.warning("evaluation failed", trace_id=job.ref.id, evaluator=sampled.evaluator, kind=kind, why=reason)
            letter = DeadLetter(Job(job.ref, (sampled,), job.attempt), f"{kind}: {reason}", now)
            result.settled.append(Settled(job.ref, sampled.evaluator, "failed", kind, letter))


def _memory(evaluator: Evaluator) -> str:
    return f"{evaluator.name}@{evaluator.version}"


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


def first_outcome(evaluator: Evaluator, trace: Trace) -> Outcome | Question:
    """Return what an evaluator says of a trace, or what its judge must be asked first."""
    try:
        if evaluator.rubric is not None and evaluator.rubric.spec.awaits_prompt:
            return Failure(PROMPT_MISSING, f"Langfuse has not given {evaluator.rubric.spec.prompt} yet", retryable=True)
        if evaluator.rubric is not None:
            return evaluator.rubric.question(trace)
        if evaluator.rule is not None:
            return evaluator.rule.check(trace)
    except Exception as error:  # noqa: BLE001 - a team's own rule may raise anything; it must not stop the others
        return Failure("rule_error", f"{type(error).__name__} in {evaluator.name}")
    return NotApplicable("evaluator without rule or rubric")


def _used(work: Iterable[_Work]) -> dict[str, Usage]:
    used: dict[str, Usage] = {}
    for item in work:
        if isinstance(item.outcome, Verdict | Unscored | Failure) and item.outcome.usage != Usage():
            name = item.evaluator.name
            used[name] = used.get(name, Usage()) + item.outcome.usage
    return used


def _last_change(trace: Trace) -> datetime:
    """When anything in the trace last moved, as far as its clock and Langfuse's tell."""
    return max(trace.last_moment, *(o.updated for o in trace.observations if o.updated is not None), trace.root.start)


def _backoff(attempt: int) -> timedelta:
    return min(_FIRST_DELAY * float(2**attempt), _LONGEST_DELAY)
