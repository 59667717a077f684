"""The items of a batch on their way, and how each pair of them ends: settled, given up, or back to the queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

from evaluator.definitions.evaluators import Evaluator
from evaluator.errors import ConfigError, EvaluatorError, Unavailable
from evaluator.model import CLOSED, INTERRUPTED, POSTPONED
from evaluator.sampling.jobs import Job, Lane
from evaluator.sampling.sampler import Sampled
from evaluator.sampling.targets import Item
from evaluator.scoring.batched import BATCHED
from evaluator.scoring.endings import Endings, backoff, outage_delay
from evaluator.telemetry.spans import Attribute, about
from traces import Failure, Outcome, Session, Trace, Unscored, Usage, Verdict

ATTEMPTS: Final = 8
"""A judge that keeps failing on a trace is given up after this many tries, about half an hour."""

CLOSED_DELAY: Final = timedelta(minutes=1)
"""Work whose models take no calls looks again so often; then Redis is asked, and nobody else."""

WAITS: Final = "waits"
"""An item that nobody can pay for today; its pair is caught up with."""

_STATES: Final = ("failed", "scored", "unscored", "skipped")
"""Of a pair whose items ended differently the first of these is its state: a failure is never hidden."""

_SIMPLE: Final = frozenset(_STATES) - {"failed"}


@dataclass(slots=True, eq=False)
class Work:
    """One item of a (subject, evaluator) pair on its way through a batch.

    It has the `material` it is about until somebody has looked at it, and does not know the others of its pair: a cycle
    would hold whole traces until garbage is looked for; only which `part` of it this is. It ends in a `state` with a
    reason, or `comes_again` later. A reason of `failed` is kind and story.
    """

    job: Job
    sampled: Sampled
    item: Item
    evaluator: Evaluator
    material: Trace | Session | None
    part: float = 1.0
    outcome: Outcome | None = None
    state: str = ""
    reason: str = ""
    story: str = ""
    comes_again: ComesAgain | None = None

    @property
    def about(self) -> dict[str, Attribute]:
        """What a span says of it."""
        return about(self.item.subject, [self.evaluator.name])


class ComesAgain(NamedTuple):
    """How a pair comes again; of several ways the greatest counts: that of a failure, which counts as an attempt."""

    failed: bool
    delay: timedelta
    patient: bool


def looks(work: Iterable[Work]) -> Iterator[tuple[Job, Evaluator, Trace | Session]]:
    """Give what is still to be looked at, each once: thousands of traces must not wait in memory for their judges."""
    for item in work:
        material, item.material = item.material, None
        if item.outcome is None and material is not None:
            yield item.job, item.evaluator, material


def end(pairs: Iterable[Sequence[Work]], endings: Endings) -> None:
    """Settle each pair of which every item has ended; the others come again, and pay only for what is missing."""
    for pair in pairs:
        first = pair[0]
        if len(pair) == 1 and first.state in _SIMPLE:
            endings.settle_one(first.job, first.sampled, first.state, first.reason)
        else:
            _end_pair(pair, endings)


def note_written(item: Work, answers: Sequence[EvaluatorError | None]) -> None:
    """Note how writing went: all scores of an item were accepted, or all are written again, which changes none."""
    if not any(answers):
        item.state = "scored"
        if item.evaluator.severity is not None and isinstance(item.outcome, Verdict) and item.outcome.value is False:
            item.reason = f"failed, {item.evaluator.severity}"
        return
    passing = next((answer for answer in answers if isinstance(answer, Unavailable | ConfigError)), None)
    if passing is not None:
        item.comes_again = ComesAgain(failed=False, delay=outage_delay(), patient=False)
    else:
        item.state, item.reason = "failed", "score_refused"
        item.story = str(next(filter(None, answers)))


def note_failed(item: Work, failure: Failure) -> None:
    """Note that an item has no verdict: it comes again, or has failed for good."""
    if failure.kind == BATCHED:
        return  # it comes again by itself, with the reply
    if failure.kind == INTERRUPTED:
        item.comes_again = ComesAgain(failed=False, delay=timedelta(), patient=False)
    elif failure.kind == CLOSED:
        item.comes_again = ComesAgain(failed=False, delay=CLOSED_DELAY, patient=True)
    elif failure.kind == POSTPONED:
        item.comes_again = ComesAgain(failed=False, delay=timedelta(), patient=True)
    elif failure.retryable and item.job.attempt < ATTEMPTS:
        item.comes_again = ComesAgain(failed=True, delay=backoff(item.job.attempt), patient=True)
    else:
        item.state, item.reason, item.story = "failed", failure.kind, failure.reason


def _end_pair(pair: Sequence[Work], endings: Endings) -> None:
    job, sampled = pair[0].job, pair[0].sampled
    again = max((item.comes_again for item in pair if item.comes_again is not None), default=None)
    if again is not None:
        job = job.again([sampled]) if again.failed else replace(job, samples=(sampled,))
        endings.put_back(job, again.delay, Lane.PATIENT if again.patient and endings.lane is Lane.LIVE else None)
        return
    if not all(item.state for item in pair):
        return
    if any(item.state == WAITS for item in pair):
        endings.wait_for_money(replace(job, samples=(sampled,)))
        return
    state = next(state for state in _STATES if any(item.state == state for item in pair))
    those = [item for item in pair if item.state == state]
    if state == "failed":
        endings.give_up(job, [sampled], those[0].reason, _story(those))
    else:
        endings.settle(job, [sampled], state, those[0].reason)


def _story(failed: Sequence[Work]) -> str:
    """Return what failed; of observations, which."""
    story, which = failed[0].story, failed[0].item.subject.observation_id
    others = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{story} (observation {which}{others})" if which is not None else story


def used_by(work: Iterable[Work]) -> dict[str, Usage]:
    """Return what judging items cost, by evaluator."""
    used: dict[str, Usage] = {}
    for item in work:
        if isinstance(item.outcome, Verdict | Unscored | Failure) and item.outcome.usage != Usage():
            name = item.evaluator.name
            used[name] = used.get(name, Usage()) + item.outcome.usage
    return used
