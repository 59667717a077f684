"""One budget of false alerts for all watched scores: those that may fire wait until all were looked at."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Generic, Protocol, TypeVar

from evaluator.alerts.weekly_look import Look
from monitors import Claim, MonitorSpec, shares


class Held(Protocol):
    """A look that waits."""

    @property
    def spec(self) -> MonitorSpec:
        """At what."""

    @property
    def found(self) -> Look:
        """What was found."""


OfAScore = TypeVar("OfAScore", bound=Held)


class Budget(Generic[OfAScore]):
    """Shares `total` false alerts a year among scores without an open alert; None: each has its own."""

    def __init__(self, closed: Iterable[MonitorSpec], total: float | None) -> None:
        self._total = total
        self._claims = {spec.key: Claim(inf, spec.false_alerts_per_year) for spec in closed}
        self.held: list[OfAScore] = []

    def may_fire(self, spec: MonitorSpec, found: Look) -> bool:
        """Whether a look depends on those at other scores: it would fire with the whole budget."""
        return spec.key in self._claims and found.claim < 1

    def hold(self, seen: OfAScore) -> None:
        """Keep a look until all scores were looked at."""
        self._claims[seen.spec.key] = Claim(seen.found.claim, seen.spec.false_alerts_per_year)
        self.held.append(seen)

    def share(self, spec: MonitorSpec) -> float:
        """Return by what a score's own level is multiplied, as far as scores were looked at."""
        if self._total is None:
            return 1.0
        found = shares(self._claims, self._total)
        # Of one whose alert is open nothing new is claimed: it stays at the level of all.
        return found.get(spec.key, min(found.values(), default=1.0))
