"""`python -m tests.matrix`: play plans one after the other; ends with 1 when a promise was broken."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.matrix.faults import FAULTS
from tests.matrix.plan import Plan, drawn
from tests.matrix.playing import play
from tests.matrix.world import World


def main() -> int:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--runs", type=int, default=1, help="combinations, with seeds counted up from --seed")
    parser.add_argument("--only", choices=sorted(FAULTS), help="this fault alone")
    parser.add_argument("--each", action="store_true", help="every fault alone, before the combinations")
    parser.add_argument("--log", action="store_true", help="print the processes' log when a run fails")
    given = parser.parse_args()
    plans, broken = list(_plans(given)), 0
    while plans:
        # A world in which a promise was broken is no place for the next run.
        with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as world:
            while plans:
                plan = plans.pop(0)
                run = play(world, plan)
                sys.stdout.write(f"{'BROKEN' if run.problems else 'ok    '} {run}\n")
                sys.stdout.flush()
                if run.problems:
                    broken += 1
                    told = "\n".join(f"         {problem}" for problem in run.problems)
                    sys.stdout.write(f"{told}\n         again: {plan.command}\n")
                    if given.log:
                        sys.stdout.write(world.log())
                    break
    sys.stdout.write(f"{broken} runs broke a promise\n")
    return 1 if broken else 0


def _plans(given: argparse.Namespace) -> Iterator[Plan]:
    if given.each:
        yield from (drawn(given.seed, only=name) for name in FAULTS)
    yield from (drawn(seed, only=given.only or "") for seed in range(given.seed, given.seed + given.runs))


if __name__ == "__main__":
    sys.exit(main())
