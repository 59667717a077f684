"""Where a batch of jobs meets the provider's batches: replies that came are read, questions without one wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from evaluator.definitions import Evaluator
from evaluator.model import UNFUNDED
from evaluator.money.batches import BatchMoney
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled
from evaluator.sampling.targets import Item
from evaluator.scoring.judge_traces import JudgeTraces, Spoilt
from evaluator.state.batch_room import BatchRoom
from evaluator.state.ledger import EVERYBODY
from judges import Prompt, Question, Reply
from traces import Failure, Outcome, Verdict

BATCHED: Final = "in_batch"
"""Kind of failure of a question that waits for a batch: its job comes again by itself, with the reply."""

_WAITS: Final = Failure(BATCHED, "waits for the provider's batch", retryable=True)
_UNFUNDED: Final = Failure(UNFUNDED, "no money is left for it today", retryable=True)


class Work(Protocol):
    """An item on its way through the pipeline."""

    job: Job
    sampled: Sampled
    item: Item
    evaluator: Evaluator
    outcome: Outcome | None


class Prepared(NamedTuple):
    """A question that a judge would be asked: of which job and evaluator, and where its outcome is remembered."""

    ref_id: str
    evaluator: str
    memory: str
    question: Question


class Left(NamedTuple):
    """What is to be asked now: the place of the work, the question, and the reply that it repairs, if any."""

    place: int
    question: Question
    spoilt: Spoilt | None = None


def memory_of(evaluator: Evaluator, item: Item) -> str:
    """Return the place of an outcome among those of its job; another version of the evaluator judges anew."""
    step = item.subject.observation_id
    return f"{evaluator.name}@{evaluator.version}" + (f"#{step}" if step is not None else "")


def fits_a_batch(question: Question) -> bool:
    """Whether a question is one prompt of words: parts are read one after the other, images are fetched when asked."""
    return type(question) is Question and not question.prompt.media


class Batched:
    """Reads what batches answered, and lets the rest wait for one. Safe for many threads."""

    def __init__(
        self,
        room: BatchRoom,
        judge_traces: JudgeTraces,
        now: Callable[[], datetime],
        money: BatchMoney | None = None,
    ) -> None:
        self._room = room
        self._money = money
        self._judge_traces = judge_traces
        self._now = now

    def take(self, work: Sequence[Work], questions: Sequence[Question]) -> list[Left]:
        """Give those of a batch rubric their outcome; return the places of the others, with what to ask now.

        A reply that cannot be read is repaired at once, at full price.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        slow = {
            place
            for place, (each, question) in enumerate(zip(work, questions, strict=True))
            if _is_batched(each.evaluator) and fits_a_batch(question)
        }
        if not slow:
            return [Left(place, question) for place, question in enumerate(questions)]
        replies = self._room.answers({work[place].job.ref.id for place in slow})
        spent = frozenset[str]() if self._money is None else self._money.spent()
        left: list[Left] = []
        waiting: list[Job] = []
        for place, (each, question) in enumerate(zip(work, questions, strict=True)):
            key = (each.job.ref.id, memory_of(each.evaluator, each.item))
            if place not in slow:
                left.append(Left(place, question))
            elif key not in replies and not spent.isdisjoint((EVERYBODY, each.evaluator.name)):
                each.outcome = _UNFUNDED
            elif key not in replies:
                each.outcome = _WAITS
                waiting.append(Job(each.job.ref, (each.sampled,), each.job.attempt, origin=each.job.origin))
            else:
                again = self._read(each, place, question, replies[key])
                left += [] if again is None else [again]
        self._room.wait(waiting, self._now())
        return left

    def _read(self, each: Work, place: int, question: Question, reply: Reply | None) -> Left | None:
        """Read a reply; return what to ask now when it is of no use, or there is none."""
        if reply is None:
            return Left(place, question)
        outcome = question.read(reply)
        if isinstance(outcome, Prompt):
            return Left(place, question.again(outcome), Spoilt(question.prompt, reply))
        seen = self._judge_traces.begin(each.item.subject, {each.evaluator.name: each.evaluator.version}, question)
        self._judge_traces.heard(seen, reply)
        trace_id = self._judge_traces.end(seen, outcome)
        if isinstance(outcome, Verdict):
            told = {"lane": "batch"} if trace_id is None else {"lane": "batch", "judge_trace_id": trace_id}
            outcome = replace(outcome, details={**outcome.details, **told})
        each.outcome = outcome
        return None


def _is_batched(evaluator: Evaluator) -> bool:
    return evaluator.rubric is not None and evaluator.rubric.spec.judge.lane == "batch"
