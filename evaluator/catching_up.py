"""What there was no money for is taken up again when there is: by the leader, step by step, behind live traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

import structlog

from evaluator.arrears import Arrears
from evaluator.batch import Job
from evaluator.budgets import Budgets
from evaluator.clock import Clock
from evaluator.ledger import Ledger

MOST_WAITING: Final = 20
"""Messages that may wait on the backfill lane before more is taken up: the rest waits where it takes no room."""

_DAY: Final = timedelta(days=1)

_log = structlog.get_logger(__name__)


class CatchingUp:
    """Takes up what waits for money."""

    def __init__(self, arrears: Arrears, ledger: Ledger, budgets: Budgets, clock: Clock) -> None:
        self._arrears = arrears
        self._ledger = ledger
        self._budgets = budgets
        self._clock = clock

    def take_up(self, put: Callable[[Sequence[Job]], None], waiting: int) -> int:
        """Hand out what may be paid for now.

        Args:
            put: takes jobs as one message.
            waiting: messages that wait where `put` puts them.

        Returns:
            How many pairs were handed out.
        """
        taken = 0
        for evaluator, number in sorted(self._arrears.parked().items()):
            if self._has_money(evaluator):
                taken += self._unpark(evaluator, put, MOST_WAITING - waiting)
                if taken:
                    _log.info("judges catch up", rubric=evaluator, pairs=taken, waiting=number - taken)
        return taken

    def _unpark(self, evaluator: str, put: Callable[[Sequence[Job]], None], room: int) -> int:
        taken = 0
        for _ in range(room):
            jobs = self._arrears.first_parked(evaluator)
            if not jobs:
                break
            put(jobs)
            # A crash between the two hands these out twice; what one of them settled, the other leaves.
            self._arrears.unpark(evaluator, jobs)
            taken += len(jobs)
        return taken

    def _has_money(self, evaluator: str) -> bool:
        """Whether less was spent today than the day so far may cost: the rest is for what is still to come."""
        now = self._clock.now()
        spent, passed = self._ledger.spent(now.date()), passed_of_day(now)
        return all(spent.get(payer, 0.0) <= usd * passed for payer, usd in self._budgets.holding(evaluator).items())


def passed_of_day(now: datetime) -> float:
    """Return which part of the UTC day has passed, from 0 to 1."""
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return (now - midnight) / _DAY
