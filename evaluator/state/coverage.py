"""Coverage is a promise: what was sampled is evaluated soon. Pure: from counts to what was kept of it.

A pair of trace and evaluator that live discovery handed over keeps the promise when it has its score, or a reason why
there is nothing to score, within `coverage.within` of that moment. What failed, what became `gone`, what there was no
money for and what is still pending by then misses it. Sweeps, backfills and what comes late are not promised, nor are
rubrics of `lane: batch`, whose provider may take a day.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from evaluator.state.hours import SLOT, Promises
from evaluator.state.ledger import NO_MONEY

_CHANCE: Final = 0.01

_ANSWERS: Final = frozenset({"scored", "skipped", "unscored"})


def is_kept(state: str, reason: str, waited: timedelta, within: timedelta) -> bool:
    """Whether a pair that ended in a state, so long after it was handed over, kept its promise."""
    return state in _ANSWERS and reason != NO_MONEY and waited <= within


@dataclass(frozen=True, slots=True)
class Kept:
    """What an evaluator kept of what was due in some span of time.

    Attributes:
        evaluator: its name.
        due: pairs whose time was up.
        kept: of those, evaluated in time.
        pending: of the others, still on their way; the rest failed or came late.
    """

    evaluator: str
    due: int
    kept: int
    pending: int

    @property
    def share(self) -> float:
        """Which part was kept; 1 where nothing was due."""
        return min(1.0, self.kept / self.due) if self.due else 1.0

    def misses(self, objective: float | None) -> bool:
        """Whether an objective is missed by more than chance: one that is met would look so once in a hundred times.

        By Hoeffding's bound on the tail of a binomial (1963, theorem 1), so that few traces page nobody.
        """
        if objective is None or self.share >= objective:
            return False
        allowed, missed = 1 - objective, 1 - self.share
        distance = missed * math.log(missed / allowed)
        if missed < 1:
            distance += (1 - missed) * math.log((1 - missed) / (1 - allowed))
        return math.exp(-self.due * distance) < _CHANCE


def kept(
    promises: Iterable[Promises], now: datetime, within: timedelta, back: timedelta, without: Collection[str] = ()
) -> list[Kept]:
    """Return what each evaluator kept of what fell due in the last `back`, by name.

    Args:
        promises: counts in slots of five minutes; a slot is due as a whole, when its last pair is.
        now: the time.
        within: how long a pair may take.
        back: the span of time in which pairs fell due.
        without: evaluators that promise nothing.
    """
    counts: dict[str, Counter[str]] = {}
    for each in promises:
        due = each.start + SLOT + within
        if each.evaluator not in without and now - back < due <= now:
            counts.setdefault(each.evaluator, Counter()).update(due=each.sampled, kept=each.kept, missed=each.missed)
    return [
        Kept(name, of["due"], of["kept"], max(0, of["due"] - of["kept"] - of["missed"]))
        for name, of in sorted(counts.items())
        if of["due"]
    ]


def oldest_pending(promises: Iterable[Promises], now: datetime) -> timedelta | None:
    """Return how long the oldest pair that has not ended waits at least; None when all have, within what is counted."""
    starts = [each.start + SLOT for each in promises if each.pending]
    return max(now - min(starts), timedelta()) if starts else None


def has_fallen_silent(promises: Iterable[Promises], now: datetime, silent_for: timedelta) -> bool:
    """Whether traces were handed over for so long, lately too, and nothing at all has ended."""
    counted = list(promises)
    first = [each for each in counted if each.start + SLOT <= now - silent_for and each.pending]
    lately = [each for each in counted if each.start > now - silent_for - SLOT]
    return bool(first) and any(each.sampled for each in lately) and not any(each.kept + each.missed for each in lately)
