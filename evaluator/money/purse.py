"""The fleet's money, as a process uses it: reserved before a call, settled after it, many calls in one go."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Final, NamedTuple, Protocol

import structlog

from evaluator.clock import Clock
from evaluator.errors import EvaluatorError, Unavailable
from evaluator.state.ledger import EVERYBODY, Ledger, Parts, Settlement, billionths, parts_of

_LOOKS_A_SECOND: Final = 50.0
"""How often those for whom there is no room just now look again, all of a process together."""

_SHORTEST_LOOK: Final = 0.2
_AGAIN_SECONDS: Final = 1.0
_CLOSING_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Spent(EvaluatorError):
    """There is no money left for a call today; `payer` is whose there is none of."""

    def __init__(self, payer: str) -> None:
        self.payer = payer
        whose = "the budget of all judges" if payer == EVERYBODY else f"the budget of {payer!r}"
        super().__init__(f"{whose} is spent for today")


@dataclass(frozen=True, slots=True)
class Bill:
    """A reservation: of which day's money, and how much of whose."""

    day: date
    parts: Parts


class Purse(Protocol):
    """Where the money for calls comes from. Belongs to one event loop, but for `is_spent`."""

    def is_spent(self, payers: Sequence[str]) -> bool:
        """Whether it is known that there is nothing left today for a call that these pay for; asks nobody."""

    async def room(self, payers: Sequence[str]) -> None:
        """Return when it is worth asking for a reservation; raises `Spent` when it is not today."""

    async def reserve(self, payers: Sequence[str], usd: float) -> Bill | None:
        """Reserve what a call may cost at most; None when it does not fit in now; raises `Spent`."""

    def settle(self, bill: Bill, usd: float | None) -> None:
        """Say what a call cost; None when nobody knows, so that all that was reserved counts."""

    async def close(self) -> None:
        """Write down what is settled."""


class _Wanted(NamedTuple):
    parts: Parts
    reserved: asyncio.Future[Bill | None]


class FleetPurse:
    """A purse all workers share through Redis, which is asked for all who wait in one go, and off the event loop."""

    def __init__(self, ledger: Ledger, limits: Mapping[str, float], clock: Clock, random: Random) -> None:
        """Keep within `limits`, in USD a day by payer; a payer without one is only counted."""
        self._ledger = ledger
        self._limits = {payer: billionths(usd) for payer, usd in limits.items()}
        self._clock = clock
        self._random = random
        self._name = uuid.uuid4().hex
        self._spent: dict[str, date] = {}
        self._full: dict[str, float] = {}
        self._looking: deque[asyncio.Future[None]] = deque()
        self._just_settled = 0
        self._wanted: deque[_Wanted] = deque()
        self._settled: dict[date, tuple[Counter[str], Counter[str]]] = {}
        self._open_bills = 0
        self._working: asyncio.Task[None] | None = None
        self._sign_of_life: asyncio.TimerHandle | None = None

    def is_spent(self, payers: Sequence[str]) -> bool:
        """Whether it is known that there is nothing left today for a call that these pay for; asks nobody."""
        return self._who_is_spent(payers) is not None

    async def room(self, payers: Sequence[str]) -> None:
        """Return when it is worth asking for a reservation.

        Raises:
            Spent: not today.
        """
        self._raise_spent(payers)
        if self._full and max(self._full.get(payer, 0.0) for payer in (*payers, EVERYBODY)) > self._loop_time():
            await self._wait_for_room()
            self._raise_spent(payers)

    async def reserve(self, payers: Sequence[str], usd: float) -> Bill | None:
        """Reserve what a call may cost at most; None when it does not fit in beside what others have reserved.

        Raises:
            Spent: there is nothing left today.
            Unavailable: Redis cannot be asked.
        """
        wanted = _Wanted(parts_of(payers, usd), asyncio.get_running_loop().create_future())
        self._wanted.append(wanted)
        self._work()
        return await wanted.reserved

    def settle(self, bill: Bill, usd: float | None) -> None:
        """Say what a call cost; None when nobody knows, so that all that was reserved counts."""
        spent, freed = self._settled.setdefault(bill.day, (Counter(), Counter()))
        for payer, reserved in bill.parts:
            among = 1 if payer == EVERYBODY else len(bill.parts) - 1
            spent[payer] += reserved if usd is None else billionths(usd / among)
            freed[payer] += reserved
        self._open_bills -= 1
        self._just_settled += 1
        self._work()

    async def close(self) -> None:
        """Write down what is settled; what Redis does not take in time is missing in the day's sum."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                while self._working is not None:
                    await asyncio.wait([self._working])
        if self._settled:
            _log.error("what the last calls cost could not be written down", days=[str(day) for day in self._settled])
        if self._sign_of_life is not None:
            self._sign_of_life.cancel()

    async def _wait_for_room(self) -> None:
        """Wait until a reservation of this process was settled, or for a while: others have reservations too."""
        loop = asyncio.get_running_loop()
        freed: asyncio.Future[None] = loop.create_future()
        self._looking.append(freed)
        pause = max(_SHORTEST_LOOK, len(self._looking) / _LOOKS_A_SECOND) * (0.5 + self._random.random())
        timer = loop.call_later(pause, _wake, freed)
        try:
            await freed
        finally:
            timer.cancel()

    def _let_look(self, number: int) -> None:
        while self._looking and number > 0:
            freed = self._looking.popleft()
            number -= not freed.done()
            _wake(freed)

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()

    def _raise_spent(self, payers: Sequence[str]) -> None:
        if (payer := self._who_is_spent(payers)) is not None:
            raise Spent(payer)

    def _today(self) -> date:
        return self._clock.now().date()

    def _who_is_spent(self, payers: Sequence[str]) -> str | None:
        if not self._spent:
            return None
        today = self._today()
        return next((payer for payer in (EVERYBODY, *payers) if self._spent.get(payer) == today), None)

    def _work(self) -> None:
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            while self._wanted or self._settled:
                try:
                    await self._ask_once()
                except Exception as error:  # noqa: BLE001 - whoever waits is told
                    self._fail(error)
                    if not isinstance(error, Unavailable):
                        _log.error("money cannot be counted", why=type(error).__name__)
                    await asyncio.sleep(_AGAIN_SECONDS)  # what was paid must be written down
        finally:
            self._working = None
            self._keep_alive()

    async def _ask_once(self) -> None:
        today = self._today()
        self._wanted = deque(each for each in self._wanted if not each.reserved.done())
        wanted = list(self._wanted)
        day = today if wanted else next(iter(self._settled), today)
        spent, freed = self._settled.pop(day, (Counter[str](), Counter[str]()))
        settlement = Settlement(spent, freed)
        try:
            answers = await asyncio.to_thread(
                self._ledger.pay, day, self._name, self._limits, settlement, [each.parts for each in wanted]
            )
        except BaseException:
            again = self._settled.setdefault(day, (Counter(), Counter()))
            again[0].update(spent)
            again[1].update(freed)
            raise
        self._let_look(2 * self._just_settled)
        self._just_settled = 0
        for each, answer in zip(wanted, answers, strict=True):
            self._wanted.popleft()
            self._answer(each, answer, day)

    def _answer(self, wanted: _Wanted, answer: str, day: date) -> None:
        verdict, payer = answer[0], answer[1:]
        if verdict == "+":
            self._open_bills += 1
            bill = Bill(day, wanted.parts)
            if wanted.reserved.done():  # whoever asked has gone
                self.settle(bill, 0.0)
            else:
                wanted.reserved.set_result(bill)
            return
        if verdict == "!" and self._spent.get(payer) != day:
            self._spent[payer] = day
            _log.warning("judges pause: today's budget is spent", budget=payer)
        if verdict == "?":
            self._full[payer] = self._loop_time() + _SHORTEST_LOOK
        if wanted.reserved.done():
            return
        if verdict == "!":
            wanted.reserved.set_exception(Spent(payer))
        else:
            wanted.reserved.set_result(None)

    def _fail(self, error: Exception) -> None:
        while self._wanted:
            each = self._wanted.popleft()
            if not each.reserved.done():
                each.reserved.set_exception(error)

    def _keep_alive(self) -> None:
        """While calls are in the air, say now and then that somebody will settle them."""
        if self._sign_of_life is not None:
            self._sign_of_life.cancel()
            self._sign_of_life = None
        if self._open_bills > 0:
            loop = asyncio.get_running_loop()
            self._sign_of_life = loop.call_later(self._ledger.silence.total_seconds() / 4, self._say_so)

    def _say_so(self) -> None:
        self._settled.setdefault(self._today(), (Counter(), Counter()))
        self._work()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
