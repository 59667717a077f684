"""Whose money is limited, and what becomes of what there was none for: as the definitions say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluator.definitions import Definitions
from evaluator.state.ledger import EVERYBODY


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits in USD a UTC day, by rubric and for all together; `catch_up` are the rubrics that judge later."""

    limits: Mapping[str, float]
    catch_up: frozenset[str]

    @property
    def are_set(self) -> bool:
        """Whether anybody's money is limited."""
        return bool(self.limits)

    def holding(self, rubric: str) -> Mapping[str, float]:
        """Return the limits that hold a rubric."""
        return {payer: usd for payer, usd in self.limits.items() if payer in {EVERYBODY, rubric}}


def whose(payer: str) -> str:
    """Return whose budget it is, in words."""
    return "all judges" if payer == EVERYBODY else payer


def budgets_of(definitions: Definitions) -> Budgets:
    """Return the budgets that definitions set."""
    of_all = definitions.service.budget
    specs = [each.rubric.spec for each in definitions.evaluators if each.rubric is not None]
    limits = {spec.name: spec.budget.usd_per_day for spec in specs}
    limits[EVERYBODY] = of_all.usd_per_day
    later = {spec.name: of_all.catch_up if spec.budget.catch_up is None else spec.budget.catch_up for spec in specs}
    return Budgets(
        {payer: usd for payer, usd in limits.items() if usd is not None},
        frozenset(name for name, catches_up in later.items() if catches_up),
    )
