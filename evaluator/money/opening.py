"""All that has to do with what judging may cost, opened together."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import redis

from evaluator.clock import Clock
from evaluator.definitions import Definitions
from evaluator.money.batches import BatchMoney
from evaluator.money.budgets import budgets_of
from evaluator.money.catching_up import CatchingUp
from evaluator.money.notices import BudgetNotices
from evaluator.money.owing import Owing
from evaluator.money.purse import FleetPurse
from evaluator.money.rations import Rations
from evaluator.state.arrears import Arrears
from evaluator.state.fleet import State
from evaluator.state.ledger import Ledger
from evaluator.state.volumes import Volumes


@dataclass(frozen=True, slots=True)
class Money:
    """What is spent, what waits for money, and what follows from both.

    `purse` and `batches` are None when no budget limits anybody.
    """

    ledger: Ledger
    volumes: Volumes
    arrears: Arrears
    purse: FleetPurse | None
    batches: BatchMoney | None
    rations: Rations
    catching_up: CatchingUp
    owing: Owing
    notices: BudgetNotices

    def tell(self) -> None:
        """Tell people how the day's money does, as of the last look."""
        self.notices.tell(self.rations.outlook())


def open_money(
    definitions: Definitions,
    client: redis.Redis,
    namespace: str,
    state: State,
    clock: Clock,
    *,
    delivers: bool = False,
) -> Money:
    """Open it on the fleet's Redis; nothing is asked yet. `delivers` says whether messages reach anybody."""
    budgets = budgets_of(definitions)
    ledger, volumes, arrears = Ledger(client, namespace), Volumes(client, namespace), Arrears(client, namespace)
    return Money(
        ledger,
        volumes,
        arrears,
        FleetPurse(ledger, budgets.limits, clock, Random()) if budgets.are_set else None,
        BatchMoney(ledger, budgets.limits, clock) if budgets.are_set else None,
        Rations(definitions, state, ledger, volumes, clock),
        CatchingUp(arrears, ledger, budgets, clock),
        Owing(arrears, budgets.catch_up if budgets.are_set else ()),
        BudgetNotices(state, budgets, clock, delivers=delivers),
    )
