"""Which scored traces become anchors: a stratified draw that is the same whoever makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple


class Candidate(NamedTuple):
    """A scored trace that may become an anchor: its `level` of the scale, its `segment`, and its place in a draw."""

    id: str
    level: int
    segment: str
    session: str
    weight: float
    place: float


PER_SESSION: Final = 2
"""Anchors of one session, at most: traces of one are alike."""


def chosen(candidates: Iterable[Candidate], size: int, there: Mapping[str, int] | None = None) -> dict[str, float]:
    """Return the ids of anchors, with the share of the traffic that has the level of each.

    Half of them stand for the traffic as it is, half are spread equally over the levels that occur, so that a judge is
    seen to move where few traces are too. Within a level segments take turns.

    Args:
        candidates: all there are.
        size: how many at most.
        there: how many anchors each session has already.
    """
    by_level: dict[int, list[Candidate]] = {}
    held = dict(there or {})
    weights: dict[int, float] = {}
    for each in sorted(candidates, key=lambda candidate: (candidate.place, candidate.id)):
        weights[each.level] = weights.get(each.level, 0.0) + each.weight
        held[each.session] = held.get(each.session, 0) + 1
        if held[each.session] <= PER_SESSION:
            by_level.setdefault(each.level, []).append(each)
    total = sum(weights.values())
    shares = {level: weight / total for level, weight in weights.items()}
    if not by_level:
        return {}
    wanted = {level: size * (shares[level] + 1 / len(by_level)) / 2 for level in by_level}
    taken = _allotted(wanted, {level: len(known) for level, known in by_level.items()}, size)
    return {each.id: shares[level] for level, known in by_level.items() for each in _in_turn(known)[: taken[level]]}


def _allotted(wanted: Mapping[int, float], there: Mapping[int, int], size: int) -> dict[int, int]:
    """Return how many are taken of each level: one after the other goes to whom most is missing."""
    taken = dict.fromkeys(wanted, 0)
    for _ in range(min(size, sum(there.values()))):
        free = [level for level in sorted(wanted) if taken[level] < there[level]]
        taken[max(free, key=lambda level: wanted[level] - taken[level])] += 1
    return taken


def _in_turn(candidates: Sequence[Candidate]) -> list[Candidate]:
    turns: dict[str, int] = {}
    ranked = []
    for each in candidates:
        turns[each.segment] = turns.get(each.segment, 0) + 1
        ranked.append((turns[each.segment], each.place, each.id, each))
    return [each for *_, each in sorted(ranked)]
