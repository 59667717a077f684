"""Traces that end while a rubric has no money: what it would say of them is left to later, and they stay in Langfuse.

Only the span of time is noted. Whether the rubric takes a trace is not decided yet: that happens when the span is read
again, at the rates of then, so the probability on each score is exact, and nothing must be remembered of any trace.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from evaluator.sampling.sampler import Choice, NotTaken, Tier
from evaluator.state.arrears import Arrears, Span


class Owing:
    """Leaves to later what there is no money for. Without rubrics that catch up it does and costs nothing."""

    def __init__(self, arrears: Arrears, catch_up: Collection[str]) -> None:
        """Leave to later what concerns the rubrics in `catch_up`."""
        self._arrears = arrears
        self._catch_up = frozenset(catch_up)
        self._spans: dict[str, list[Span]] = {}
        self._later: dict[Tier, Choice] = {}

    def begin(self, spent: Collection[str], start: datetime, end: datetime) -> None:
        """Begin a sweep over what ended between two times; `spent` are the rubrics without money."""
        if not self._catch_up:
            return
        for name in self._catch_up & set(spent):
            self._arrears.owe(name, Span(start, end))
        self._spans = self._arrears.owed()

    def left(self, choices: tuple[Choice, ...], ended: datetime) -> tuple[Choice, ...]:
        """Return choices about a trace, those left out that are for later."""
        if not self._spans:
            return choices
        return tuple([self._for_later(each, ended) for each in choices])

    def _for_later(self, choice: Choice, ended: datetime) -> Choice:
        spans = self._spans.get(choice.evaluator)
        if not spans or choice.tier is None or not any(span.start <= ended < span.end for span in spans):
            return choice
        later = self._later.get(choice.tier)
        if later is None:
            later = self._later[choice.tier] = Choice(choice.evaluator, NotTaken.OWED, choice.tier)
        return later
