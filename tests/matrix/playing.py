"""One run: traffic comes, faults come and go, everything settles, and the books must balance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from tests.matrix.checking import Books, check, is_settled
from tests.matrix.plan import Plan
from tests.matrix.world import World, eventually

_SETTLES_SECONDS = 90.0
_EMPTIES_SECONDS = 5.0


@dataclass(slots=True)
class Run:
    """What a run came to: `problems` is empty when every promise was kept."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    wasted: int = 0
    seconds: float = 0.0
    settled_in: float = 0.0
    states: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = ", ".join(f"{number} {state}" for state, number in sorted(self.states.items()))
        return f"{self.plan}: {told}; {self.wasted} calls wasted; {self.seconds:.1f} s, settled {self.settled_in:.1f} s"


def play(world: World, plan: Plan) -> Run:
    """Play a plan in a healthy world, and leave it healthy."""
    started = time.monotonic()
    run = Run(plan)
    world.begin()
    ids: list[str] = []
    try:
        for at, act in sorted(_events(world, plan, ids), key=lambda event: event[0]):
            time.sleep(max(0.0, started + at - time.monotonic()))
            act()
        world.heal()
    except AssertionError as error:
        run.problems.append(str(error))
    books = Books(world, plan, tuple(ids))
    healed = time.monotonic()
    if not eventually(lambda: is_settled(books), _SETTLES_SECONDS):
        run.problems.append(f"not settled {_SETTLES_SECONDS:.0f} s after the last fault ended")
    # Who was frozen may still hold what others have done meanwhile.
    eventually(lambda: not books.waiting(), _EMPTIES_SECONDS)
    run.settled_in = time.monotonic() - healed
    run.problems += check(books)
    run.wasted, run.states = books.wasted(), books.states()
    run.seconds = time.monotonic() - started
    if plan.wipes and plan.alerts:
        world.forget_alerts()
    return run


def _events(world: World, plan: Plan, ids: list[str]) -> Iterator[tuple[float, Callable[[], object]]]:
    for strike in plan.strikes:
        yield strike.at, partial(strike.fault.begin, world)
        yield strike.at + strike.seconds, partial(strike.fault.end, world)
    for at, number in plan.waves:
        yield at, partial(_arrive, world, number, ids)
    if plan.alerts:
        yield 0.0, world.fall


def _arrive(world: World, number: int, ids: list[str]) -> None:
    ids += world.arrive(number)
