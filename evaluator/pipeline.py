"""The second half of walk 1: a batch of traces becomes scores in Langfuse.

At-least-once delivery, exactly-once effect. Judge outcomes are remembered as each one ends, scores are written under
deterministic ids, and only what Langfuse accepted is settled; whatever is left goes back to the queue as a new message
before the old one is acknowledged. A crash anywhere repeats work at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

import structlog
from structlog.contextvars import bound_contextvars

from evaluator.arrears import Arrears
from evaluator.batch import Job, Lane
from evaluator.batched import BATCHED, Batched, Prepared, memory_of
from evaluator.budgets import NO_MONEY, budgets_of
from evaluator.calls import Asked, Calls
from evaluator.checking import Checks
from evaluator.clock import Clock
from evaluator.conditions import NOTHING_FOUND, decided
from evaluator.definitions import Definitions, Evaluator
from evaluator.earlier import Earlier
from evaluator.endings import Again, Endings, backoff, outage_delay
from evaluator.errors import ConfigError, EvaluatorError, Unavailable
from evaluator.first_outcomes import nothing_there
from evaluator.gathering import Gathered, Gathering
from evaluator.judge_traces import JudgeTraces
from evaluator.langfuse import Langfuse
from evaluator.model import CLOSED, INTERRUPTED, POSTPONED, UNFUNDED, Ended, ModelApi
from evaluator.sampling import Sampled
from evaluator.scoring import scores_of
from evaluator.state import State
from evaluator.targets import Item, of_observations, of_session, of_trace
from judges import Question
from traces import Failure, NotApplicable, Outcome, Ref, Score, Trace, Unscored, Usage, Verdict

ATTEMPTS: Final = 8
"""A judge that keeps failing on a trace is given up after this many tries, about half an hour."""

_REDIS_PAUSE_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Work:
    """One item of a (subject, evaluator) pair on its way through a batch.

    It does not know the others of its pair: a cycle would hold whole traces until garbage is looked for. It ends in a
    `state` with a reason, or `comes_again` later. A reason of `failed` is kind and story.
    """

    job: Job
    sampled: Sampled
    item: Item
    evaluator: Evaluator
    outcome: Outcome | None = None
    state: str = ""
    reason: str = ""
    story: str = ""
    comes_again: _Again | None = None


class _Again(NamedTuple):
    """How a pair comes again; of several ways the greatest counts: that of a failure, which counts as an attempt."""

    failed: bool
    delay: timedelta
    patient: bool


_WAITS: Final = "waits"
"""An item that nobody can pay for today; its pair is caught up with."""

_STATES: Final = ("failed", "scored", "unscored", "skipped")
"""Of a pair whose items ended differently the first of these is its state: a failure is never hidden."""

_CLOSED_DELAY: Final = timedelta(minutes=1)
"""Work whose models take no calls looks again so often; then Redis is asked, and nobody else."""

_SIMPLE: Final = frozenset(_STATES) - {"failed"}


class Evaluation:
    """Evaluates batches of jobs. Safe for many threads."""

    def __init__(
        self,
        definitions: Definitions,
        langfuse: Langfuse,
        model: ModelApi,
        state: State,
        arrears: Arrears,
        clock: Clock,
        judge_traces: JudgeTraces,
        evaluators: Callable[[], Mapping[str, Evaluator]] | None = None,
        told: Callable[[Sequence[Score], Ref], None] | None = None,
        batched: Batched | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        """Evaluate by `definitions`.

        `evaluators` gives them by name as they stand now, where they may change; `told` hears of every score that
        Langfuse accepted; `batched` has the replies of batches, where rubrics use them; `earlier` what rules compare
        traces with.
        """
        self._definitions = definitions
        defined = {evaluator.name: evaluator for evaluator in definitions.evaluators}
        self._evaluators = evaluators or (lambda: defined)
        self._langfuse = langfuse
        self._model = model
        self._state = state
        self._arrears = arrears
        self._catch_up = budgets_of(definitions).catch_up
        self._clock = clock
        self._told = told
        self._checks = Checks(clock)
        self._batched = batched
        self._calls = Calls(model, judge_traces)
        self._gathering = Gathering(definitions.service, langfuse, clock, earlier)
        self._patience = definitions.service.limits.patience.total_seconds()

    def evaluate(self, jobs: Sequence[Job], lane: Lane = Lane.LIVE) -> list[Again]:
        """Evaluate jobs, write their scores, and return what must be put back before they are acknowledged.

        On the patient lane questions wait for their model as long as it takes, on others no longer than `patience`.

        Raises:
            Unavailable: Redis cannot be reached; nothing was acknowledged, the message will come again.
        """
        endings = Endings(self._state, self._arrears, self._clock, lane)
        jobs = self._unsettled(jobs)
        if lane is Lane.PATIENT:
            jobs = self._open(jobs, endings)
        if jobs:
            gathered = self._gathering.gather(jobs, endings)
            pairs = list(self._pairs(jobs, gathered, endings))
            work = [item for pair in pairs for item in pair]
            self._judge(work, None if lane is Lane.PATIENT else self._patience)
            self._write(work)
            _end(pairs, endings)
        endings.save()
        return endings.again()

    def _open(self, jobs: Sequence[Job], endings: Endings) -> list[Job]:
        """Return the jobs that some model may answer; the others wait, without their traces being read for nothing."""
        evaluators = self._evaluators()
        judges = {name: each.rubric.spec.judge for name, each in evaluators.items() if each.rubric is not None}
        alone = {name: judge.models for name, judge in judges.items() if judge.lane != "batch"}
        closed = {name for name, models in alone.items() if self._model.is_closed(models)}
        kept: list[Job] = []
        for job in jobs:
            if closed.issuperset(sampled.evaluator for sampled in job.samples):
                endings.put_back(job, _CLOSED_DELAY)
            else:
                kept.append(job)
        return kept

    def give_up(self, job: Job, reason: str) -> None:
        """Bury a job whose evaluation keeps raising, and settle it as failed."""
        endings = Endings(self._state, self._arrears, self._clock)
        endings.give_up(job, job.samples, "worker_error", reason)
        endings.save()

    def questions(self, jobs: Sequence[Job]) -> list[Prepared]:
        """Return what judges would have to be asked about jobs now; asks and changes nothing."""
        gathered = self._gathering.gather(jobs, Endings(self._state, self._arrears, self._clock))
        pairs = self._pairs(jobs, gathered, Endings(self._state, self._arrears, self._clock))
        unasked = (item for pair in pairs for item in pair if item.outcome is None)
        firsts = ((item, self._checks.first_outcome(item.evaluator, item.item.material)) for item in unasked)
        return [
            Prepared(item.job.ref.id, item.evaluator.name, memory_of(item.evaluator, item.item), first)
            for item, first in firsts
            if isinstance(first, Question)
        ]

    # -- what is there to do -----------------------------------------------------------------------------------------

    def _unsettled(self, jobs: Sequence[Job]) -> list[Job]:
        done = self._state.settled(jobs)
        left = [
            replace(job, samples=tuple(s for s in job.samples if (job.ref.id, s.evaluator) not in done)) for job in jobs
        ]
        return [job for job in left if job.samples]

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _pairs(self, jobs: Sequence[Job], gathered: Gathered, endings: Endings) -> Iterable[list[_Work]]:
        """Give the items of each pair, with what is remembered of them."""
        ready = [job for job in jobs if job.ref.id in gathered.traces or job.ref.id in gathered.sessions]
        remembered = self._state.remembered([job.ref.id for job in ready])
        evaluators = self._evaluators()
        for job in ready:
            trace = gathered.traces.get(job.ref.id)
            whole = None if trace is None else of_trace(trace)
            for sampled in self._taken(job, trace, evaluators, endings):
                evaluator = evaluators.get(sampled.evaluator)
                if evaluator is None:
                    endings.settle(job, [sampled], "skipped", "evaluator no longer defined")
                    continue
                items = [whole] if whole and evaluator.target == "trace" else self._items(job, evaluator, gathered)
                if not items:
                    endings.settle(job, [sampled], "skipped", nothing_there(evaluator))
                    continue
                pair = [_Work(job, sampled, item, evaluator) for item in items]
                for each in pair if remembered else ():
                    each.outcome = remembered.get((job.ref.id, memory_of(evaluator, each.item)))
                yield pair

    def _taken(
        self, job: Job, trace: Trace | None, evaluators: Mapping[str, Evaluator], endings: Endings
    ) -> Sequence[Sampled]:
        """Return by what evaluators take a job, now that rules can be asked about its trace."""
        if trace is None:
            return job.samples
        taken, left = decided(job, trace, evaluators, self._checks.rule_outcome)
        endings.settle(job, left, "skipped", NOTHING_FOUND)
        return taken

    def _items(self, job: Job, evaluator: Evaluator, gathered: Gathered) -> list[Item]:
        trace, known = gathered.traces.get(job.ref.id), gathered.sessions.get(job.ref.id)
        if trace is not None and evaluator.observe is not None:
            return of_observations(trace, evaluator.observe, self._definitions.service.sampling.salt)
        if known is not None and evaluator.target == "session":
            return [of_session(known.session, known.written.get(evaluator.name))]
        return []

    def _judge(self, work: Sequence[_Work], patience: float | None) -> None:
        """Rules at once, then one `ask` with every question of every rubric of every trace."""
        asked: list[_Work] = []
        questions: list[Question] = []
        compared: list[tuple[int, Outcome]] = []
        for place, item in enumerate(work):
            if item.outcome is not None:
                continue
            with bound_contextvars(**item.job.about, evaluator=item.evaluator.name):
                first = self._checks.first_outcome(item.evaluator, item.item.material)
            if isinstance(first, Question) and self._model.is_unfunded([item.evaluator.name]):
                item.outcome = Failure(UNFUNDED, "no money is left for it today", retryable=True)
            elif isinstance(first, Question):
                asked.append(item)
                questions.append(first)
            else:
                item.outcome = first
                compared += [(place, first)] * item.evaluator.compares
        if compared:
            self._remember(work, compared)  # a retry would compare with others
        if questions and self._batched is not None:
            left = self._batched.take(asked, questions)
            self._remember(asked, [(at, item.outcome) for at, item in enumerate(asked) if item.outcome is not None])
            self._state.counters.spend(_used(asked))
            asked, questions = [asked[place] for place, _ in left], [question for _, question in left]
        if questions:
            self._ask(asked, questions, patience)

    def _ask(self, asked: Sequence[_Work], questions: Sequence[Question], patience: float | None) -> None:
        """Ask, remembering outcomes as they end: a killed batch pays for nothing twice."""
        wanted = [
            Asked(item.item.subject, item.evaluator.name, item.evaluator.version, question)
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
        self._state.counters.spend(_used(asked))

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
        self._state.remember(
            (each.job.ref.id, memory_of(each.evaluator, each.item), outcome) for each, outcome in final
        )

    # -- scores ------------------------------------------------------------------------------------------------------

    def _write(self, work: Sequence[_Work]) -> None:
        """Write the scores, and note how each item ends."""
        scored: list[tuple[_Work, tuple[Score, ...]]] = []
        project = self._langfuse.capabilities().project_id if work else ""
        for item in work:
            match item.outcome:
                case Verdict() as verdict:
                    scored.append((item, scores_of(verdict, item.item, item.evaluator, item.sampled, project)))
                case NotApplicable(reason):
                    item.state, item.reason = "skipped", reason
                case Unscored():
                    item.state, item.reason = "unscored", "judge could not tell"
                case Failure(kind) if kind == UNFUNDED:
                    item.state = _WAITS if item.evaluator.name in self._catch_up else "skipped"
                    item.reason = NO_MONEY
                case Failure() as failure:
                    _has_failed(item, failure)
                case None:
                    raise AssertionError(f"no outcome for {item.evaluator.name}")
        every = [score for _, scores in scored for score in scores]
        answers = iter(self._langfuse.write(every) if every else [])
        for item, scores in scored:
            _is_written(item, list(itertools.islice(answers, len(scores))))
            if item.state == "scored" and self._told is not None:
                self._told(scores, item.job.ref)


def _end(pairs: Iterable[Sequence[_Work]], endings: Endings) -> None:
    """Settle each pair of which every item has ended; the others come again, and pay only for what is missing."""
    for pair in pairs:
        first = pair[0]
        if len(pair) == 1 and first.state in _SIMPLE:
            endings.settle_one(first.job, first.sampled, first.state, first.reason)
        else:
            _end_pair(pair, endings)


def _is_written(item: _Work, answers: Sequence[EvaluatorError | None]) -> None:
    """An item is scored when all of its scores were accepted; else all are written again, which changes none."""
    if not any(answers):
        item.state = "scored"
        if item.evaluator.severity is not None and isinstance(item.outcome, Verdict) and item.outcome.value is False:
            item.reason = f"failed, {item.evaluator.severity}"
        return
    passing = next((answer for answer in answers if isinstance(answer, Unavailable | ConfigError)), None)
    if passing is not None:
        item.comes_again = _Again(failed=False, delay=outage_delay(), patient=False)
    else:
        item.state, item.reason = "failed", "score_refused"
        item.story = str(next(filter(None, answers)))


def _has_failed(item: _Work, failure: Failure) -> None:
    if failure.kind == BATCHED:
        return  # it comes again by itself, with the reply
    if failure.kind == INTERRUPTED:
        item.comes_again = _Again(failed=False, delay=timedelta(), patient=False)
    elif failure.kind == CLOSED:
        item.comes_again = _Again(failed=False, delay=_CLOSED_DELAY, patient=True)
    elif failure.kind == POSTPONED:
        item.comes_again = _Again(failed=False, delay=timedelta(), patient=True)
    elif failure.retryable and item.job.attempt < ATTEMPTS:
        item.comes_again = _Again(failed=True, delay=backoff(item.job.attempt), patient=True)
    else:
        item.state, item.reason, item.story = "failed", failure.kind, failure.reason


def _end_pair(pair: Sequence[_Work], endings: Endings) -> None:
    job, sampled = pair[0].job, pair[0].sampled
    again = max((item.comes_again for item in pair if item.comes_again is not None), default=None)
    if again is not None:
        job = job.again([sampled]) if again.failed else replace(job, samples=(sampled,))
        endings.put_back(job, again.delay, Lane.PATIENT if again.patient else None)
        return
    if not all(item.state for item in pair):
        return
    if any(item.state == _WAITS for item in pair):
        endings.wait_for_money(replace(job, samples=(sampled,)))
        return
    state = next(state for state in _STATES if any(item.state == state for item in pair))
    those = [item for item in pair if item.state == state]
    if state == "failed":
        endings.give_up(job, [sampled], those[0].reason, _story(those))
    else:
        endings.settle(job, [sampled], state, those[0].reason)


def _story(failed: Sequence[_Work]) -> str:
    """Return what failed; of observations, which."""
    story, which = failed[0].story, failed[0].item.subject.observation_id
    others = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{story} (observation {which}{others})" if which is not None else story


def _used(work: Iterable[_Work]) -> dict[str, Usage]:
    used: dict[str, Usage] = {}
    for item in work:
        if isinstance(item.outcome, Verdict | Unscored | Failure) and item.outcome.usage != Usage():
            name = item.evaluator.name
            used[name] = used.get(name, Usage()) + item.outcome.usage
    return used
