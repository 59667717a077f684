"""Money for questions in the provider's batches: reserved when one is sent, settled when its replies are read.

A batch takes a day and outlives the process that sent it: its reservation lasts until it is released, and is of the
day it was sent, whenever the replies come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from evaluator.clock import Clock
from evaluator.state.ledger import Ledger, Parts, billionths, parts_of

_SHARE: Final = 0.5
"""A batch reserves at most this part of what is left: calls that cannot wait for a day need the rest."""

RESERVED: Final = "+"
NO_ROOM: Final = "?"
SPENT: Final = "!"


class Wanted(NamedTuple):
    """What a question may cost at most, in USD, and who pays."""

    payers: tuple[str, ...]
    usd: float


class BatchMoney:
    """The day's money as batches use it. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, ledger: Ledger, limits: Mapping[str, float], clock: Clock) -> None:
        """Keep within `limits`, in USD a UTC day by payer; a payer without one is only counted."""
        self._ledger = ledger
        self._limits = dict(limits)
        self._clock = clock

    def spent(self) -> frozenset[str]:
        """Return those who have no money left today."""
        spent = self._ledger.spent(self._clock.now().date())
        return frozenset(payer for payer, limit in self._limits.items() if spent.get(payer, 0.0) >= limit)

    def reserve(self, label: str, at: datetime, wanted: Sequence[Wanted]) -> list[str]:
        """Reserve for the questions of a batch that is sent under `label` at a time; each whole or not at all.

        Returns:
            For each `RESERVED`, `NO_ROOM` when it does not fit in now, or `SPENT` when there is nothing left that day.
        """
        day = at.date()
        parts = [parts_of(each.payers, each.usd) for each in wanted]
        places = first_that_fit(parts, self._room(day))
        limits = {payer: billionths(usd) for payer, usd in self._limits.items()}
        asked = [parts[place] for place in places]
        answers = self._ledger.hold(day, _name(label), limits, asked)
        found = dict(zip(places, (answer[0] for answer in answers), strict=True))
        spent = {answer[1:] for answer in answers if answer[0] == SPENT}
        return [
            found.get(place, NO_ROOM if spent.isdisjoint(payer for payer, _ in each) else SPENT)
            for place, each in enumerate(parts)
        ]

    def settle(self, label: str, at: datetime, paid: Iterable[tuple[str, float]]) -> None:
        """Release what a batch has reserved, and count what its replies cost: by payer, in USD. Twice counts once."""
        spent: Counter[str] = Counter()
        for payer, usd in paid:
            spent.update(dict(parts_of((payer,), usd)))
        self._ledger.release(at.date(), _name(label), spent)

    def _room(self, day: date) -> dict[str, int]:
        """Return what one batch may reserve at most, in billionths of a USD by payer."""
        spent, held = self._ledger.spent(day), self._ledger.held(day)
        left = {payer: usd - spent.get(payer, 0.0) - held.get(payer, 0.0) for payer, usd in self._limits.items()}
        return {payer: billionths(max(usd, 0.0) * _SHARE) for payer, usd in left.items()}


def first_that_fit(wanted: Sequence[Parts], room: Mapping[str, int]) -> list[int]:
    """Return the places of those that fit into `room` together, in billionths by payer; the first is among them."""
    taken: Counter[str] = Counter()
    places: list[int] = []
    for place, parts in enumerate(wanted):
        if all(
            not taken[payer] or taken[payer] + most <= room.get(payer, most + taken[payer]) for payer, most in parts
        ):
            taken.update(dict(parts))
            places.append(place)
    return places


def _name(label: str) -> str:
    return f"batch:{label}"
