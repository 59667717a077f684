"""`make bench`: the service and what people use today do the same work against the same stand-ins, in turn.

The work: finished traces of six observations, 1 to 3 KB of text each; five rules and one judge call of about 3 KB on
every trace; six scores written. No figure is shown before the stand-in has counted every score.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import tables
from benchmarks.ceiling import ceilings
from benchmarks.comparing import Row, compare, under_refusals
from benchmarks.contenders import EVERYBODY, FLOOR, QUICK, SERVICE
from benchmarks.machine import BUSY, facts, load
from benchmarks.outside import Behaviour
from benchmarks.running import SCORES_A_TRACE, Contender, environment, outside, valkey
from benchmarks.stand_ins import StandIns
from benchmarks.workers import fleet

_PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
_MEASURED: Final = re.compile(r"(<!-- measured.*?-->\n).*(<!-- /measured -->)", re.DOTALL)
_SLOW: Final = 0.5
"""Seconds a model takes that takes its time."""

_LIMITED, _FAILING = 0.05, 0.02
_FLEET: Final = (6000, 16_000)
"""Even the smaller one is so large that its last batches, which no two workers share alike, are a small part of it."""

_IN_FLIGHT: Final = 250


def main() -> int:
    """Run the cases asked for, print their tables, and with --write put them into the page."""
    options = _options()
    load_before = load()
    if load_before > BUSY:
        said = f"the machine is busy (load average {load_before:.1f}): CPU a trace holds, speed does not"
        print(said, file=sys.stderr)
        if options.write:
            raise SystemExit("nothing is written from a busy machine: wait until it is quiet")
    parts = []
    for case in options.cases:
        for part in _CASES[case](options):
            print(part + "\n", flush=True)
            parts.append(part)
    if options.write:
        command = " ".join(["python -m benchmarks", *(each for each in sys.argv[1:] if each != "--write")])
        text = "\n\n".join([facts(command, load_before), *parts])
        _PAGE.write_text(
            _MEASURED.sub(lambda found: f"{found[1]}{text}\n{found[2]}", _PAGE.read_text("utf-8")), "utf-8"
        )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, the contenders that matter most")
    parser.add_argument("--rounds", type=int, default=2, help="how often each contender runs; the best counts")
    parser.add_argument("--only", default="", metavar="TEXT", help="only contenders whose name holds this")
    parser.add_argument("--cases", nargs="+", choices=list(_CASES), default=list(_CASES), metavar="CASE")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    options.contenders = [each for each in (QUICK if options.quick else EVERYBODY) if options.only in each.name]
    return options


def _ceiling(options: argparse.Namespace) -> Iterator[str]:
    del options
    with outside(1000) as stand_ins:
        yield "What the stand-ins can do, so that none of what follows is theirs:\n\n" + tables.ceilings(
            ceilings(stand_ins)
        )


def _instant(options: argparse.Namespace) -> Iterator[str]:
    rows = _compared(options, Behaviour())
    yield "### CPU: the model answers at once, one core\n\n" + tables.comparison(rows, slow=False) + _beside(rows)


def _slow(options: argparse.Namespace) -> Iterator[str]:
    rows = _compared(options, Behaviour(latency=_SLOW))
    yield "### Speed: the model takes 500 ms, one core\n\n" + tables.comparison(rows, slow=True) + _beside(rows)


def _beside(rows: list[Row]) -> str:
    """Say what the Valkeys used on the other core: part of the price, and no part of the contender's CPU above."""
    used = [(row.contender.name, row.figures.valkey_cpu) for row in rows if row.figures and row.contender.queue]
    return "".join(f"\n\nBeside it Valkey uses {1000 * cpu:.2f} ms a trace for {name}." for name, cpu in used)


def _compared(options: argparse.Namespace, behaviour: Behaviour) -> list[Row]:
    with outside(_most(options.contenders)) as stand_ins:
        return compare(options.contenders, stand_ins, behaviour, rounds=options.rounds)


def _refusing(options: argparse.Namespace) -> Iterator[str]:
    behaviour = Behaviour(latency=_SLOW, limited=_LIMITED, failing=_FAILING)
    with outside(_most(options.contenders)) as stand_ins:
        # The floor would give up at the first refusal: it has nothing but the requests.
        found = under_refusals([each for each in options.contenders if each is not FLOOR], stand_ins, behaviour)
    yield "### Refusals: 5 % of the calls meet a 429 without Retry-After, 2 % a 500\n\n" + tables.refusals(found)


def _workers(options: argparse.Namespace) -> Iterator[str]:
    del options
    cases = {"model at once": (0.0, SERVICE.at_once), f"500 ms, {_IN_FLIGHT} in flight each": (_SLOW, _IN_FLIGHT)}
    with outside(_FLEET[1], core=None) as stand_ins:
        found = {
            name: [
                [fleet(number, stand_ins, Behaviour(traces=size, latency=latency), at_once) for size in _FLEET]
                for number in (1, 2)
            ]
            for name, (latency, at_once) in cases.items()
        }
    yield "### A second worker process, all cores\n\n" + tables.fleets(found)


def _breakdown(options: argparse.Namespace) -> Iterator[str]:
    """Keep books on sweeps of two sizes, for their difference; the CPU it is scaled to is measured without books."""
    with outside(SERVICE.sizes[1]) as stand_ins:
        row = compare([SERVICE], stand_ins, Behaviour(), rounds=options.rounds)[0]
        small, large = (_books(stand_ins, size) for size in SERVICE.sizes)
    if row.figures is None:
        raise SystemExit(row.reason)
    yield "### Where the service's CPU goes\n\n" + tables.breakdown(
        {line: used - small.get(line, 0.0) for line, used in large.items()}, row.figures.cpu
    )


def _books(stand_ins: StandIns, traces: int) -> dict[str, float]:
    stand_ins.reset(Behaviour(traces=traces))
    with tempfile.TemporaryDirectory() as name, valkey(Path(name) / "data", wanted=True) as store:
        given = environment(stand_ins.url, Path(name), SERVICE.at_once, store.url)
        command = [sys.executable, "-m", "benchmarks.breakdown"]
        said = subprocess.run(command, env=given, check=True, capture_output=True, text=True).stdout
    if stand_ins.counts()["pairs"] != SCORES_A_TRACE * traces:
        raise SystemExit("the watched sweep left scores unwritten")
    seconds: dict[str, float] = json.loads(said.splitlines()[-1])
    return seconds


def _most(contenders: list[Contender]) -> int:
    return max(max(each.sizes) for each in contenders)


_CASES: Final[dict[str, Callable[[argparse.Namespace], Iterator[str]]]] = {
    "ceiling": _ceiling,
    "instant": _instant,
    "slow": _slow,
    "refusing": _refusing,
    "workers": _workers,
    "breakdown": _breakdown,
}


if __name__ == "__main__":
    sys.exit(main())
