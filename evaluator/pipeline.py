"""The second half of walk 1: a batch of traces becomes scores in Langfuse.

At-least-once delivery, exactly-once effect. Judge outcomes are remembered as each one ends, scores are written under
deterministic ids, and only what Langfuse accepted is settled; whatever is left goes back to the queue as a new message
before the old one is acknowledged. A crash anywhere repeats work at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from evaluator.clock import Clock
from evaluator.definitions import Definitions, Evaluator
from evaluator.errors import EvaluatorError, Unavailable
from evaluator.langfuse import Langfuse
from evaluator.model import CLOSED, UNFUNDED, Ended, ModelApi
from evaluator.money.budgets import budgets_of
from evaluator.sampling.conditions import NOTHING_FOUND, decided
from evaluator.sampling.jobs import Job, Lane
from evaluator.sampling.sampler import Sampled
from evaluator.sampling.targets import Item, of_observations, of_session, of_trace
from evaluator.scoring.batched import Batched, Left, Prepared, memory_of
from evaluator.scoring.calls import Asked, Calls
from evaluator.scoring.checking import Checks
from evaluator.scoring.endings import WORKER_ERROR, Again, Endings
from evaluator.scoring.first_outcomes import nothing_there
from evaluator.scoring.gathering import Gathered, Gathering
from evaluator.scoring.judge_traces import JudgeTraces
from evaluator.scoring.scores import Accepted, scores_of
from evaluator.scoring.work import CLOSED_DELAY, WAITS, Work, end, looks, note_failed, note_written, used_by
from evaluator.state.arrears import Arrears
from evaluator.state.counters import DECIDED
from evaluator.state.earlier import Earlier
from evaluator.state.fleet import State
from evaluator.state.ledger import NO_MONEY
from evaluator.telemetry.spans import NO_SPANS, Span, Spans, kind_of
from judges import Question
from traces import Failure, NotApplicable, Outcome, Score, Session, Trace, Unscored, Verdict

_REDIS_PAUSE_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


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
        told: Callable[[Accepted], None] | None = None,
        batched: Batched | None = None,
        earlier: Earlier | None = None,
        spans: Spans = NO_SPANS,
    ) -> None:
        """Evaluate by `definitions`.

        `evaluators` gives them by name as they stand now, where they may change; `told` hears of every score that
        Langfuse accepted; `batched` has the replies of batches, where rubrics use them; `earlier` what rules compare
        traces with; `spans` tells a collector what is done.
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
        self._spans = spans
        self._calls = Calls(model, judge_traces, spans)
        self._gathering = Gathering(definitions.service, langfuse, clock, earlier)
        self._patience = definitions.service.limits.patience.total_seconds()

    def evaluate(self, jobs: Sequence[Job], lane: Lane = Lane.LIVE) -> list[Again]:
        """Evaluate jobs, write their scores, and return what must be put back before they are acknowledged.

        On the live lane questions wait for their model no longer than `patience`, on others as long as it takes; those
        of old traces let all others go first.

        Raises:
            Unavailable: Redis cannot be reached; nothing was acknowledged, the message will come again.
        """
        endings = Endings(self._state, self._arrears, self._clock, lane)
        jobs = self._unsettled(jobs)
        if lane is not Lane.LIVE:
            jobs = self._open(jobs, endings)
        if jobs:
            pairs = self._read(jobs, endings)
            work = [item for pair in pairs for item in pair]
            # Asked once, and before anything is paid for: without it nothing can be written.
            project = self._langfuse.capabilities().project_id if work else ""
            self._judge(work, lane)
            self._write(work, project)
            end(pairs, endings)
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
                endings.put_back(job, CLOSED_DELAY)
            else:
                kept.append(job)
        return kept

    def give_up(self, job: Job, reason: str) -> None:
        """Bury a job whose evaluation keeps raising, and settle it as failed."""
        endings = Endings(self._state, self._arrears, self._clock)
        endings.give_up(job, job.samples, WORKER_ERROR, reason)
        endings.save()

    def questions(self, jobs: Sequence[Job]) -> list[Prepared]:
        """Return what judges would have to be asked about jobs now; asks and changes nothing."""
        gathered = self._gathering.gather(jobs, Endings(self._state, self._arrears, self._clock))
        pairs = self._pairs(jobs, gathered, Endings(self._state, self._arrears, self._clock))
        unasked = [item for pair in pairs for item in pair if item.outcome is None]
        firsts = zip(unasked, self._checks.first_outcomes(looks(unasked)), strict=True)
        return [
            Prepared(item.job.ref.id, item.evaluator.name, memory_of(item.evaluator, item.item), first)
            for item, first in firsts
            if isinstance(first, Question)
        ]

    # -- what is there to do -----------------------------------------------------------------------------------------

    def _unsettled(self, jobs: Sequence[Job]) -> list[Job]:
        done = self._state.settled(jobs)
        if not done:
            return list(jobs)
        left = [
            replace(job, samples=tuple(s for s in job.samples if (job.ref.id, s.evaluator) not in done)) for job in jobs
        ]
        return [job for job in left if job.samples]

    def _read(self, jobs: Sequence[Job], endings: Endings) -> list[list[Work]]:
        """Return the items of each pair that can be looked at now."""
        with self._spans.span("read") as span:
            gathered = self._gathering.gather(jobs, endings)
            span.note({"evaluator.traces": len(jobs), "evaluator.read": gathered.number})
        return list(self._pairs(jobs, gathered, endings))

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _pairs(self, jobs: Sequence[Job], gathered: Gathered, endings: Endings) -> Iterable[list[Work]]:
        """Give the items of each pair, with what is remembered of them."""
        ready = [job for job in jobs if job.ref.id in gathered.traces or job.ref.id in gathered.sessions]
        remembered = self._state.remembered([job.ref.id for job in ready])
        evaluators = self._evaluators()
        for job in ready:
            trace = gathered.traces.get(job.ref.id)
            whole = None if trace is None else (of_trace(trace), trace)
            for sampled in self._taken(job, trace, evaluators, endings):
                evaluator = evaluators.get(sampled.evaluator)
                if evaluator is None:
                    endings.settle(job, [sampled], "skipped", "evaluator no longer defined")
                    continue
                items = [whole] if whole and evaluator.target == "trace" else self._items(job, evaluator, gathered)
                if not items:
                    endings.settle(job, [sampled], "skipped", nothing_there(evaluator))
                    continue
                part = 1 / len(items)
                pair = [Work(job, sampled, item, evaluator, material, part) for item, material in items]
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

    def _items(
        self, job: Job, evaluator: Evaluator, gathered: Gathered
    ) -> Sequence[tuple[Item, Trace] | tuple[Item, Session]]:
        trace, known = gathered.traces.get(job.ref.id), gathered.sessions.get(job.ref.id)
        if trace is not None and evaluator.observe is not None:
            return of_observations(trace, evaluator.observe, self._definitions.service.sampling.salt)
        if known is not None and evaluator.target == "session":
            return [(of_session(known.session, known.written.get(evaluator.name)), known.session)]
        return []

    def _judge(self, work: Sequence[Work], lane: Lane) -> None:
        """Rules at once, then one `ask` with every question of every rubric of every trace."""
        with self._spans.span("rules") as span:
            asked, questions = self._first(work, span)
        self._count_decided(item for item in work if isinstance(item.outcome, Failure))
        left = [Left(place, question) for place, question in enumerate(questions)]
        if questions and self._batched is not None:
            left = self._batched.take(asked, questions)
            self._remember(asked, [(at, item.outcome) for at, item in enumerate(asked) if item.outcome is not None])
            self._state.counters.spend(used_by(asked))
        if left:
            self._ask([asked[each.place] for each in left], left, lane)

    def _first(self, work: Sequence[Work], span: Span) -> tuple[list[Work], list[Question]]:
        """Give items the outcome that needs no judge; return those that need one, with their questions."""
        asked: list[Work] = []
        questions: list[Question] = []
        compared: list[tuple[int, Outcome]] = []
        new = [place for place, item in enumerate(work) if item.outcome is None]
        firsts = self._checks.first_outcomes(looks(work))
        for place, first in zip(new, firsts, strict=True):
            item = work[place]
            if isinstance(first, Question) and self._model.is_unfunded([item.evaluator.name]):
                item.outcome = Failure(UNFUNDED, "no money is left for it today", retryable=True)
            elif isinstance(first, Question):
                asked.append(item)
                questions.append(first)
            else:
                item.outcome = first
                compared += [(place, first)] * item.evaluator.compares
                if isinstance(first, Failure) and self._spans.is_on:
                    span.tell("failed", item.about | {"error.type": first.kind})
        span.note({"evaluator.pairs": len(work), "evaluator.left_to_judges": len(questions)})
        if compared:
            self._remember(work, compared)  # a retry would compare with others
        return asked, questions

    def _ask(self, asked: Sequence[Work], left: Sequence[Left], lane: Lane) -> None:
        """Ask, remembering outcomes as they end: a killed batch pays for nothing twice."""
        wanted = [
            Asked(item.item.subject, item.evaluator.name, item.evaluator.version, each.question, each.spoilt)
            for item, each in zip(asked, left, strict=True)
        ]
        unkept: list[Ended] = []
        patience = self._patience if lane is Lane.LIVE else None
        for lot in self._calls.ask(wanted, patience, gives_way=lane is Lane.BACKFILL):
            for index, outcome in lot:
                asked[index].outcome = outcome
            self._count_decided([asked[index] for index, _ in lot])
            unkept = self._kept(asked, [*unkept, *lot])
        while unkept and not self._model.is_drained:
            # Without Redis nothing else can be done, and these are paid for.
            self._clock.sleep(_REDIS_PAUSE_SECONDS)
            unkept = self._kept(asked, unkept)
        self._state.counters.spend(used_by(asked))

    def _count_decided(self, items: Iterable[Work]) -> None:
        """Count those with an outcome as they get it, not when their batch ends: how fast a model is shows by it.

        Only what a judge was asked about counts, for most traces may have nothing that a rubric looks at; and all items
        of a pair as one, for what waits is known in pairs.

        What waits for money, or for a person to mend a key, does not wait for a model that is slow.
        """
        for item in items:
            outcome = item.outcome
            if item.evaluator.rubric is None or outcome is None:
                continue
            if not _comes_again(outcome) or (isinstance(outcome, Failure) and outcome.kind in {UNFUNDED, CLOSED}):
                self._state.counters.count(DECIDED, item.evaluator.name, by=item.part)

    def _kept(self, asked: Sequence[Work], lot: list[Ended]) -> list[Ended]:
        """Remember outcomes; return those that could not be, since Redis is away."""
        try:
            self._remember(asked, lot)
        except Unavailable as error:
            _log.warning("outcomes wait for Redis", reason=str(error), outcomes=len(lot))
            return lot
        return []

    def _remember(self, asked: Sequence[Work], lot: Sequence[Ended]) -> None:
        final = ((asked[index], outcome) for index, outcome in lot if not _comes_again(outcome))
        self._state.remember(
            (each.job.ref.id, memory_of(each.evaluator, each.item), outcome) for each, outcome in final
        )

    # -- scores ------------------------------------------------------------------------------------------------------

    def _write(self, work: Sequence[Work], project: str) -> None:
        """Write the scores, and note how each item ends."""
        scored: list[tuple[Work, tuple[Score, ...]]] = []
        for item in work:
            match item.outcome:
                case Verdict() as verdict:
                    scored.append((item, scores_of(verdict, item.item, item.evaluator, item.sampled, project)))
                case NotApplicable(reason):
                    item.state, item.reason = "skipped", reason
                case Unscored():
                    item.state, item.reason = "unscored", "judge could not tell"
                case Failure(kind) if kind == UNFUNDED:
                    item.state = WAITS if item.evaluator.name in self._catch_up else "skipped"
                    item.reason = NO_MONEY
                case Failure() as failure:
                    note_failed(item, failure)
                case None:
                    raise AssertionError(f"no outcome for {item.evaluator.name}")
        every = [score for _, scores in scored for score in scores]
        answers = iter(self._accepted(every) if every else [])
        for item, scores in scored:
            note_written(item, list(itertools.islice(answers, len(scores))))
        if self._told is not None:
            self._told([(item.job.ref, scores) for item, scores in scored if item.state == "scored"])

    def _accepted(self, scores: Sequence[Score]) -> Sequence[EvaluatorError | None]:
        """Write scores; return for each None when Langfuse accepted it, else why not."""
        with self._spans.span("write") as span:
            answers = self._langfuse.write(scores)
            refused = [answer for answer in answers if answer is not None]
            span.note({"evaluator.scores": len(answers), "evaluator.refused": len(refused)})
            if refused:
                span.fail(kind_of(refused[0]))
        return answers


def _comes_again(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.retryable
