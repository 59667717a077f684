"""Who answers a question: one model or several, and others in the place of those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from evaluator.model.breaker import Breaker
from evaluator.model.completion import ACCESS_REFUSED, KEY_REFUSED, MODEL_REFUSED, QUOTA_EXHAUSTED, TOO_LONG
from evaluator.model.endpoint import Served, fallbacks_of
from evaluator.model.journal import begin_opinion
from evaluator.model.reuse import Reuse
from evaluator.model.waits import Waits
from judges import CACHED, DEFAULT_CONTEXT, PANEL, Question, combined, escalated, unsure
from traces import Failure, Outcome, Unscored, Usage, Verdict

UNAVAILABLE: Final = "model_unavailable"
"""Kind of failure of a question whose model did not answer, whatever was tried."""

CLOSED: Final = "model_closed"
"""Kind of failure of a question whose model takes no calls until a person mends its key or its quota.

It waits, and costs no attempt.
"""

UNFUNDED: Final = "budget_spent"
"""Kind of failure of a question that was not asked because there is no money left today; it costs no attempt."""

_LASTING: Final = frozenset({CLOSED, UNFUNDED})
"""What may last for days and costs no attempt: nobody is paid again and again to find out whether it has passed."""

_PASSED_ON: Final = frozenset(
    {UNAVAILABLE, CLOSED, KEY_REFUSED, ACCESS_REFUSED, QUOTA_EXHAUSTED, MODEL_REFUSED, TOO_LONG}
)
"""What another model may answer in the place of the one that failed so: what is too long, one that reads more."""

AskOne = Callable[[Question, Waits], Awaitable[Outcome]]
"""Asks one model one question: with all repairs and repetitions, but nobody else."""

Heard = Callable[[str, Outcome], None]
"""Is told what came of an opinion, by the model it was asked of."""


class Panel:
    """Asks the models of a question, and those in their place. Belongs to one event loop."""

    def __init__(
        self, ask: AskOne, entries: Mapping[str, Served], breaker: Breaker, reuse: Reuse | None = None
    ) -> None:
        """Ask by `ask`; `entries` name fallbacks, `breaker` knows which models take no calls, `reuse` kept verdicts."""
        self._ask = ask
        self._entries = entries
        self._breaker = breaker
        self._reuse = reuse

    async def outcome(self, question: Question, waits: Waits, heard: Heard) -> Outcome:
        """Ask once, or as many as the question wants to hear, whose opinions become one outcome."""
        outcome = await self._together(question, waits, heard)
        stronger = question.stronger
        if stronger is not None and question.escalate is not None and unsure(outcome, question.escalate.below):
            outcome = _escalated(outcome, await self._heard(stronger, len(question.asks), waits, heard))
        return _of_panel(outcome, question)

    def too_few(self, asks: Sequence[str], keeps_off: Callable[[str], object]) -> bool:
        """Whether nothing can come of asking these models: more than half of them, and their deputies, are kept off."""
        closed = sum(all(map(keeps_off, (model, *fallbacks_of(self._entries, model)))) for model in asks)
        return 2 * (len(asks) - closed) < len(asks)

    async def _together(self, question: Question, waits: Waits, heard: Heard) -> Outcome:
        asked = question.opinions()
        if len(asked) == 1:
            return await self._heard(asked[0], 0, waits, heard)
        if self.too_few(question.asks, self._breaker.keeps_off):
            # Those of the jury that do answer would be paid for nothing, again and again.
            why = next(filter(None, map(self._breaker.keeps_off, question.asks)), "")
            return Failure(CLOSED, why, retryable=True)
        opinions = (self._heard(each, place, waits, heard) for place, each in enumerate(asked))
        return combined(await asyncio.gather(*opinions), question.scale, question.asks)

    async def _heard(self, question: Question, opinion: int, waits: Waits, heard: Heard) -> Outcome:
        begin_opinion(opinion)
        outcome = await self._answered(question, opinion, waits)
        heard(question.prompt.model, outcome)
        return outcome

    async def _answered(self, question: Question, opinion: int, waits: Waits) -> Outcome:
        """Ask a model, then each that answers in its place; of failures the first that may pass is the outcome."""
        wanted = question.prompt.model
        failed: dict[str, Failure] = {}
        for model in (wanted, *fallbacks_of(self._entries, wanted)):
            if failed and self._context(model) <= self._too_short(failed):
                continue
            asked = question if model == wanted else question.of(model)
            if self._reuse is None:
                outcome = await self._asked(asked, waits)
            else:
                outcome = await self._reuse.outcome(asked, opinion, waits, partial(self._asked, asked, waits))
            if not isinstance(outcome, Failure) or outcome.kind not in _PASSED_ON or waits.ended_by:
                return _told(outcome, failed) if failed else outcome
            failed[model] = outcome
        failures = list(failed.values())
        first = next((failure for failure in failures if failure.retryable), failures[0])
        return first if len(failures) == 1 else replace(first, usage=_used(failures))

    def _context(self, model: str) -> int:
        """Return how many tokens a model reads and writes at once, as far as anybody told."""
        told = self._entries[model].context if model in self._entries else None
        return told or DEFAULT_CONTEXT

    def _too_short(self, failed: Mapping[str, Failure]) -> int:
        """Return the longest context that was too short for a question; 0 where none was."""
        return max((self._context(model) for model, failure in failed.items() if failure.kind == TOO_LONG), default=0)

    async def _asked(self, question: Question, waits: Waits) -> Outcome:
        model = question.prompt.model
        trial = self._breaker.tries(model)
        why = None if trial else self._breaker.keeps_off(model)
        if why is not None:
            return Failure(CLOSED, why, retryable=True)
        outcome = await self._ask(question, waits)
        is_open = await self._breaker.learn(model, outcome, trial=trial)
        if not isinstance(outcome, Failure) or not self._breaker.is_shared:
            return outcome
        if is_open:
            return replace(outcome, kind=CLOSED, retryable=True)
        # Somebody's firewall may dislike this prompt, or everything is forbidden: the next ones tell.
        return replace(outcome, retryable=True) if outcome.kind == ACCESS_REFUSED else outcome


def _escalated(first: Outcome, second: Outcome) -> Outcome:
    lasts = isinstance(second, Failure) and second.kind in _LASTING
    outcome = escalated(first, second, may_wait=not lasts)
    if isinstance(outcome, Failure) and outcome.kind == CLOSED:
        # The first had no answer either. It would be asked again each time, so each time is an attempt.
        return replace(outcome, kind=UNAVAILABLE)
    return outcome


def _told(outcome: Outcome, failed: Mapping[str, Failure]) -> Outcome:
    """Return an outcome that says whose place was taken; what the others cost was paid too."""
    used = _used(failed.values())
    match outcome:
        case Verdict():
            told = {"fallback_from": [*failed], "fallback_because": next(iter(failed.values())).kind}
            return replace(outcome, usage=used + outcome.usage, details={**outcome.details, **told})
        case Unscored() | Failure():
            return replace(outcome, usage=used + outcome.usage)
    return outcome


def _used(failures: Iterable[Failure]) -> Usage:
    return sum((failure.usage for failure in failures), Usage())


def _of_panel(outcome: Outcome, question: Question) -> Outcome:
    """Return a verdict that says which models make up its ruler, and whether somebody was called for it."""
    models = question.may_ask
    if not isinstance(outcome, Verdict) or (len(models) < 2 and not outcome.usage.cached):
        return outcome
    told: dict[str, Any] = {} if len(models) < 2 else {PANEL: " + ".join(sorted(models))}
    if outcome.usage.cached:
        told |= {"cached_opinions": outcome.usage.cached} if outcome.usage.calls else {CACHED: True}
    return replace(outcome, details={**outcome.details, **told})
