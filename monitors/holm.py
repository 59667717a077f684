"""One budget of false alerts for all scores together: who may fire at which level (Holm 1979, with weights)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Claim(NamedTuple):
    """What a look at a score found, as its own budget of false alerts sees it.

    `ratio` is its p over the level at which that budget lets it fire, infinite when it falls by too little;
    `budget` are the false alerts a year it may have by itself.
    """

    ratio: float
    budget: float


def shares(claims: Mapping[str, Claim], total: float) -> dict[str, float]:
    """Return by what each score's own level is multiplied, so that all together have `total` false alerts a year.

    The surest is held against its part of the total; when it fires, the others share the total among themselves, and
    so on. The chance that any of several calm scores fires is at most that of the total, however they move together.
    """
    left = sum(claim.budget for claim in claims.values())
    found: dict[str, float] = {}
    stopped = False
    for name in sorted(claims, key=lambda name: (claims[name].ratio, name)):
        found[name] = min(1.0, total / left)
        stopped = stopped or claims[name].ratio >= found[name]
        if not stopped:
            left -= claims[name].budget
    return found
