"""Judgements that are missing: the mean of those that are there may not stand for all, so people hear of it in a day.

A judgement is missing when its judge failed, could not tell, or its trace was gone; what a rubric does not apply to is
not. It is never counted as 0, and never left out in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import scipy

from evaluator.messages.alert import notice
from evaluator.messages.blocks import Message, escaped

MISSING: Final = ("unscored", "failed", "gone")
"""States of a (trace, evaluator) pair that ended without a judgement."""

MANY: Final = 0.05
"""A greater share of missing judgements is told."""

_FEWEST: Final = 20
"""Finished pairs that are waited for, so that one failure of three is no news."""

_CERTAIN: Final = 0.05


@dataclass(frozen=True, slots=True)
class Gap:
    """An evaluator that lacks many judgements, or (`closed`) lacked them: of `done` since it was last told of."""

    evaluator: str
    done: int
    lost: Mapping[str, int]
    closed: bool

    @property
    def share(self) -> float:
        """The share that is missing."""
        return sum(self.lost.values()) / self.done


def gaps(
    pairs: Mapping[tuple[str, str], int], evaluators: Iterable[str], before: Mapping[str, Any] | None
) -> tuple[list[Gap], dict[str, Any]]:
    """Return which gaps opened or closed, and what to remember until the next look.

    Args:
        pairs: how many (trace, evaluator) pairs reached each state from the beginning, by (evaluator, state).
        evaluators: whose judgements are watched.
        before: what was remembered at the last look; the first one only begins to count.
    """
    found: list[Gap] = []
    known: dict[str, Any] = {}
    for name in sorted(set(evaluators)):
        counts = {state: pairs.get((name, state), 0) for state in ("scored", *MISSING)}
        last = (before or {}).get(name)
        if last is None or any(counts[state] < last["counts"].get(state, 0) for state in counts):
            known[name] = {"counts": counts, "open": False}
            continue
        since = Counter({state: counts[state] - last["counts"].get(state, 0) for state in counts})
        if since.total() < _FEWEST:
            known[name] = last
            continue
        lost = {state: since[state] for state in MISSING if since[state]}
        opened = _is_open(sum(lost.values()), since.total(), was=last["open"])
        known[name] = {"counts": counts, "open": opened}
        if opened != last["open"]:
            found.append(Gap(name, since.total(), lost, closed=not opened))
    return found, known


def _is_open(lost: int, done: int, *, was: bool) -> bool:
    """Whether surely many are missing (Clopper and Pearson 1934), or still many where many were."""
    if was:
        return lost / done > MANY
    return lost > 0 and float(scipy.stats.beta.ppf(_CERTAIN, lost, done - lost + 1)) > MANY


def told(found: Sequence[Gap]) -> Message:
    """Return what people read of gaps."""
    facts = []
    for gap in found:
        if gap.closed:
            facts.append(f"{escaped(gap.evaluator)}: only {gap.share:.1%} of {gap.done:,} judgements are missing now.")
            continue
        why = ", ".join(f"{number:,} {state}" for state, number in gap.lost.items())
        facts.append(f"{escaped(gap.evaluator)}: {gap.share:.0%} of {gap.done:,} judgements are missing ({why}).")
    if any(not gap.closed for gap in found):
        facts.append("They count as nothing, not as 0: the mean may not stand for all. `evaluator status` says why.")
    return notice("Judgements are missing" if any(not gap.closed for gap in found) else "Judgements are back", facts)
