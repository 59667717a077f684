"""What there was no money for is taken up again when there is: by the leader, step by step, behind live traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple

import structlog

from evaluator.clock import Clock
from evaluator.money.budgets import Budgets
from evaluator.sampling.jobs import Job
from evaluator.state.arrears import Arrears, Span
from evaluator.state.ledger import Ledger

MOST_WAITING: Final = 20
"""Messages that may wait on the backfill lane before more is taken up: the rest waits where it takes no room."""

_STEP: Final = timedelta(minutes=10)
_MOST_STEPS: Final = 12
_DAY: Final = timedelta(days=1)


class MadeUp(NamedTuple):
    """What was handed out of a span of time: messages, and pairs of a trace and the rubric in them."""

    messages: int
    pairs: int


MakeUp = Callable[[str, Span], MadeUp]

_log = structlog.get_logger(__name__)


class CatchingUp:
    """Takes up what waits for money."""

    def __init__(self, arrears: Arrears, ledger: Ledger, budgets: Budgets, clock: Clock) -> None:
        self._arrears = arrears
        self._ledger = ledger
        self._budgets = budgets
        self._clock = clock

    def take_up(self, put: Callable[[Sequence[Job]], None], make_up: MakeUp, waiting: int) -> int:
        """Hand out what may be paid for now: what is parked, then what was left in Langfuse.

        Args:
            put: takes jobs as one message.
            make_up: reads what ended in a span of time and hands out what a rubric takes of it.
            waiting: messages that wait where both put them.

        Returns:
            How many pairs were handed out.
        """
        room, taken = MOST_WAITING - waiting, 0
        for evaluator in sorted(self._arrears.parked()):
            if room > 0 and self._has_money(evaluator):
                messages, pairs = self._unpark(evaluator, put, room)
                room, taken = room - messages, taken + pairs
        for evaluator in sorted(self._arrears.owed()):
            if room > 0 and self._has_money(evaluator):
                messages, pairs = self._read(evaluator, make_up, room)
                room, taken = room - messages, taken + pairs
        if taken:
            _log.info("judges catch up", pairs=taken)
        return taken

    def _unpark(self, evaluator: str, put: Callable[[Sequence[Job]], None], room: int) -> tuple[int, int]:
        taken = 0
        for messages in range(room):
            jobs = self._arrears.first_parked(evaluator)
            if not jobs:
                return messages, taken
            put(jobs)
            # A crash between the two hands these out twice; what one of them settled, the other leaves.
            self._arrears.unpark(evaluator, jobs)
            taken += len(jobs)
        return room, taken

    def _read(self, evaluator: str, make_up: MakeUp, room: int) -> tuple[int, int]:
        messages = pairs = 0
        for _ in range(_MOST_STEPS):
            spans = self._arrears.owed().get(evaluator)
            if not spans or messages >= room:
                break
            start, end = spans[0]
            until = min(start + _STEP, end)
            found = make_up(evaluator, Span(start, until))
            self._arrears.caught_up(evaluator, until)
            messages, pairs = messages + found.messages, pairs + found.pairs
        return messages, pairs

    def _has_money(self, evaluator: str) -> bool:
        """Whether less was spent today than the day so far may cost: the rest is for what is still to come."""
        now = self._clock.now()
        spent, passed = self._ledger.spent(now.date()), passed_of_day(now)
        return all(spent.get(payer, 0.0) <= usd * passed for payer, usd in self._budgets.holding(evaluator).items())


def passed_of_day(now: datetime) -> float:
    """Return which part of the UTC day has passed, from 0 to 1."""
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return (now - midnight) / _DAY
