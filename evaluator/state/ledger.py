"""What judging costs, day by day, for the whole fleet: reserved before a call, settled after it. Knows its Redis keys.

The keys stand in the package's table. Amounts are kept as whole billionths of a US dollar, so that sums are exact;
a day is a UTC day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, cast

import orjson
import redis

from evaluator.state.connection import reachable, scripts

EVERYBODY: Final = "*"
"""Who pays for all: every call counts here beside its own payers. No evaluator can have this name."""

NO_MONEY: Final = "no money left that day"
"""Why a pair is skipped that nobody could pay for and that is not caught up with."""

_BILLIONTHS: Final = 1_000_000_000
_SILENCE: Final = timedelta(minutes=2)


def billionths(usd: float) -> int:
    """Return an amount as it is kept, rounded up: what is small still counts."""
    return math.ceil(round(usd * _BILLIONTHS, 3))


Parts = tuple[tuple[str, int], ...]
"""Who pays how many billionths of a dollar."""


def parts_of(payers: Sequence[str], usd: float) -> Parts:
    """Return who pays what of so many USD: each payer an equal part, and `EVERYBODY` beside them all of it."""
    share = billionths(usd / len(payers)) if payers else 0
    return ((EVERYBODY, billionths(usd)), *((payer, share) for payer in payers))


@dataclass(frozen=True, slots=True)
class Settlement:
    """What was spent of what had been reserved, and the reservations it frees, in billionths by payer."""

    spent: Mapping[str, int] = field(default_factory=dict)
    freed: Mapping[str, int] = field(default_factory=dict)


class Ledger:
    """Named operations on what the fleet spends. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str, silence: timedelta = _SILENCE) -> None:
        """Use `client`; what a process reserved is free again when it was not heard of for `silence`."""
        self._redis = client
        self._namespace = namespace
        self._silence = max(1, int(silence.total_seconds() * 1000))
        bodies = scripts("ledger.lua")
        self._pay, self._release = (client.register_script(bodies[name]) for name in ("pay", "release"))

    @property
    def silence(self) -> timedelta:
        """For how long a process with reservations may be silent."""
        return self._silence * timedelta(milliseconds=1)

    def pay(
        self,
        day: date,
        process: str,
        limits: Mapping[str, int],
        settlement: Settlement,
        wanted: Sequence[Parts],
    ) -> list[str]:
        """Settle calls of a process, then reserve for others.

        Args:
            day: the day whose money it is.
            process: who reserves; its name has no slash.
            limits: billionths a day by payer; one without a limit is only counted.
            settlement: of calls that ended.
            wanted: what each call may cost at most.

        Returns:
            For each that is wanted `+` when it is reserved, `?payer` when it does not fit in beside what others have
            reserved, `!payer` when the payer's money is spent.
        """
        asked = {"spent": dict(settlement.spent), "freed": dict(settlement.freed), "wanted": wanted}
        return self._answers(day, process, {"limits": dict(limits), **asked})

    def hold(self, day: date, holder: str, limits: Mapping[str, int], wanted: Sequence[Parts]) -> list[str]:
        """Reserve as `pay` does, until it is released, however long nothing is heard of the `holder`."""
        asked = {"spent": {}, "freed": {}, "wanted": wanted}
        return self._answers(day, holder, {"limits": dict(limits), **asked, "lasts": True})

    def release(self, day: date, holder: str, spent: Mapping[str, int]) -> bool:
        """Free all that a holder has reserved of a day's money, and count what was `spent` instead.

        Returns:
            Whether anything was reserved; if not, nothing is counted: done again it changes nothing.
        """
        keys = [self._key(name, day) for name in ("spent", "held", "held:by")]
        with reachable():
            return bool(self._release(keys, [holder, orjson.dumps(dict(spent))]))

    def spent(self, day: date) -> dict[str, float]:
        """Return what was spent on a day, in USD by payer; `EVERYBODY` is all of it."""
        return self._amounts("spent", day)

    def held(self, day: date) -> dict[str, float]:
        """Return what is reserved just now of a day's money, in USD by payer."""
        return self._amounts("held", day)

    def _answers(self, day: date, process: str, asked: Mapping[str, Any]) -> list[str]:
        keys = [self._key(name, day) for name in ("spent", "held", "held:by", "payers")]
        with reachable():
            answers = cast("list[bytes]", self._pay(keys, [process, self._silence, orjson.dumps(asked)]))
        return [answer.decode() for answer in answers]

    def _amounts(self, name: str, day: date) -> dict[str, float]:
        with reachable():
            amounts = cast("dict[bytes, bytes]", self._redis.hgetall(self._key(name, day)))
        return {payer.decode(): int(amount) / _BILLIONTHS for payer, amount in amounts.items()}

    def _key(self, name: str, day: date) -> str:
        return f"{self._namespace}:{name}:{day:%Y%m%d}"
