"""People are told how the day's money does: when it will not last, at four fifths, and when it is spent.

Each once a day and budget. What was told is kept with the message, in one step, so a restart tells nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

import structlog

from evaluator.clock import Clock
from evaluator.messages.alert import notice
from evaluator.messages.blocks import Message, escaped
from evaluator.money.budgets import Budgets, whose
from evaluator.money.rations import Outlook
from evaluator.state.fleet import State
from evaluator.state.ledger import EVERYBODY

NEARLY: Final = 0.8

_ENOUGH_SPENT: Final = 0.1
"""Part of a budget before which nobody is told how the day may end."""

_PLACE: Final = ",budget"
"""The place of what was told, among the monitors; no score's name has a comma."""

_log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """How far a day's money is, in the order in which people are told."""

    PACE = "pace"
    NEARLY = "80"
    SPENT = "100"


def stage_of(outlook: Outlook) -> Stage | None:
    """Return what is to be told of a budget; None when there is nothing to tell."""
    if outlook.spent >= outlook.limit:
        return Stage.SPENT
    if outlook.spent >= NEARLY * outlook.limit:
        return Stage.NEARLY
    enough = outlook.spent + outlook.on_its_way >= _ENOUGH_SPENT * outlook.limit
    return Stage.PACE if enough and outlook.is_on_pace else None


class BudgetNotices:
    """Tells people, through the outbox."""

    def __init__(self, state: State, budgets: Budgets, clock: Clock, *, delivers: bool) -> None:
        """Without anybody who `delivers`, what there is to tell is only logged."""
        self._state = state
        self._budgets = budgets
        self._clock = clock
        self._delivers = delivers

    def tell(self, outlooks: Mapping[str, Outlook]) -> list[str]:
        """Put what is new into the outbox; return the keys of the messages."""
        stages = {payer: stage_of(outlook) for payer, outlook in outlooks.items()}
        if not any(stages.values()):
            return []
        now = self._clock.now()
        with self._state.monitor(_PLACE) as record:
            told = _told(record.state, now.date())
            new = {payer: stage for payer, stage in stages.items() if stage is not None and stage not in told[payer]}
            for payer, stage in new.items():
                # Who hears that it is spent need not hear as well that it nearly was.
                told[payer] = list(Stage)[: list(Stage).index(stage) + 1]
            if new:
                record.state = {"day": now.date().isoformat(), "told": {name: [*each] for name, each in told.items()}}
            keys = {payer: f"budget/{now:%Y-%m-%d}/{whose(payer)}/{stage}" for payer, stage in new.items()}
            for payer, stage in new.items():
                content = _message(payer, stage, outlooks[payer], now, later=self._catches_up(payer))
                if self._delivers:
                    record.outbox[keys[payer]] = {"message": content, "chart": None, "at": now.isoformat()}
                else:
                    _log.warning("no Slack is set up; this was not sent", text=content["text"])
        return list(keys.values())

    def _catches_up(self, payer: str) -> bool:
        return bool(self._budgets.catch_up) if payer == EVERYBODY else payer in self._budgets.catch_up


class _Told(dict[str, Sequence[Stage]]):
    def __missing__(self, payer: str) -> Sequence[Stage]:
        return ()


def _told(state: Mapping[str, Any] | None, today: date) -> _Told:
    if state is None or state.get("day") != today.isoformat():
        return _Told()
    return _Told({payer: [Stage(each) for each in stages] for payer, stages in state["told"].items()})


def _message(payer: str, stage: Stage, outlook: Outlook, now: datetime, *, later: bool) -> Message:
    name = whose(payer)
    of = "" if payer == EVERYBODY else f" of {name}"
    title = {
        Stage.PACE: f"The judges' budget{of} will not last today",
        Stage.NEARLY: f"{NEARLY:.0%} of today's judges' budget{of} are spent",
        Stage.SPENT: f"Today's judges' budget{of} is spent",
    }[stage]
    day = outlook.spent + outlook.on_its_way + outlook.wanted
    facts = [f"{outlook.spent:,.2f} of {outlook.limit:,.2f} USD spent by {now:%H:%M} UTC ({escaped(name)})."]
    if stage is Stage.SPENT:
        others = "rules go on" if payer == EVERYBODY else "rules and other rubrics go on"
        facts.append(f"{'Judges pause' if payer == EVERYBODY else 'It pauses'} until midnight UTC; {others}.")
        facts.append(
            "What is missed is judged when there is money again."
            if later
            else "What is missed is skipped and counted; with `catch_up: true` it would be judged later."
        )
    elif outlook.is_on_pace:
        facts.append(f"At the configured rates the whole day would cost about {day:,.2f} USD.")
        facts.append("The lines of `sample` with the lowest rates give way first, those with rate 1 last.")
    return notice(title, facts)
