"""A smoke of the fault matrix: twenty random combinations. `make nightly` plays each fault alone and hundreds more."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests import forked
from tests.matrix.faults import FAULTS
from tests.matrix.plan import drawn
from tests.matrix.playing import Run, play
from tests.matrix.world import World

SMOKE = range(1, 21)


class Worlds:
    """One world for all runs of a test process, as long as no promise is broken in it."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._stack = contextlib.ExitStack()
        self._world: World | None = None

    def play(self, seed: int) -> Run:
        if self._world is None:
            self._world = self._stack.enter_context(World(self._factory.mktemp("world")))
        run = play(self._world, drawn(seed))
        if run.problems:
            sys.stdout.write(self._world.log())
            self.close()
        return run

    def close(self) -> None:
        self._world = None
        self._stack.close()


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    made = Worlds(tmp_path_factory)
    yield made
    made.close()


@pytest.mark.parametrize("seed", SMOKE)
def test_every_promise_is_kept(worlds: Worlds, seed: int) -> None:
    run = worlds.play(seed)
    assert not run.problems, f"{run.plan}; play it again with: {run.plan.command} --log"


def test_a_seed_is_a_plan() -> None:
    assert [drawn(seed) for seed in range(50)] == [drawn(seed) for seed in range(50)]
    assert all(first != second for first, second in pairwise(drawn(seed) for seed in range(50)))


def test_two_hundred_seeds_meet_every_fault_in_many_combinations() -> None:
    plans = [drawn(seed) for seed in range(1, 201)]
    together = {frozenset(strike.fault.name for strike in plan.strikes) for plan in plans}
    assert set().union(*together) == set(FAULTS)
    assert len(together) > 150


def test_the_command_line_names_every_fault() -> None:
    told = forked.run("tests.matrix", ["--help"], env=os.environ, timeout=60).stdout
    assert all(name in told.replace("\n", "").replace(" ", "") for name in FAULTS)
