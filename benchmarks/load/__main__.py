"""`python -m benchmarks.load NAME`: one measurement of load and growth; without a name all, in about 40 minutes.

With `--write` the results go into docs/scaling.md, between their markers.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

from benchmarks.load import growth, hobby, idle, memory, overload, planning, rules, sweep

PAGE: Final = Path(__file__).parents[2] / "docs" / "scaling.md"
Measure = Callable[[argparse.Namespace], str]
MEASURES: Final[dict[str, Measure]] = {
    "sweep": lambda given: sweep.measure(tuple(given.sizes), given.evaluators),
    "rules": lambda given: rules.measure(tuple(given.sizes)),
    "idle": lambda given: idle.measure(given.seconds),
    "hobby": lambda given: hobby.measure(given.traces_a_minute, given.minutes, given.evaluators, given.factor),
    "overload": lambda given: overload.measure(given.factor),
    "soak": lambda given: memory.soak(given.batches),
    "giants": lambda _: memory.giants(),
    "growth": lambda given: growth.by_traces(given.sizes),
    "workers": lambda given: growth.by_workers(given.workers, given.latencies),
    "plan": lambda _: planning.plan(),
}


def main() -> int:
    """Run measurements and print, or write, what they come to."""
    parser = _parser()
    given = parser.parse_args()
    names = [given.command] if given.command else list(MEASURES)
    for name in names:
        options = given if given.command else parser.parse_args([name])
        found = MEASURES[name](options)
        print(f"\n{name}\n\n{found}\n")
        if given.write:
            write(name, found)
    return 0


def write(name: str, found: str) -> None:
    """Put a result between its markers."""
    text = PAGE.read_text(encoding="utf-8")
    between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not between.search(text):
        raise SystemExit(f"{PAGE.name} has no place for {name}: <!-- {name} --> and <!-- /{name} -->")
    PAGE.write_text(between.sub(lambda at: f"{at[1]}{found}\n{at[2]}", text), encoding="utf-8")


def _told(module: ModuleType) -> str:
    """Return what a measurement says of itself; to argparse a percent sign means something."""
    return (module.__doc__ or "").replace("%", "%%")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the results into docs/scaling.md")
    commands = parser.add_subparsers(dest="command")
    made = commands.add_parser("sweep", help=_told(sweep))
    made.add_argument("--sizes", type=int, nargs="+", default=list(sweep.SIZES), metavar="N")
    made.add_argument("--evaluators", type=int, default=1, metavar="N")
    made = commands.add_parser("rules", help=_told(rules))
    made.add_argument("--sizes", type=int, nargs=2, default=list(rules.SIZES), metavar="N")
    made = commands.add_parser("idle", help=_told(idle))
    made.add_argument("--seconds", type=float, default=120.0)
    made = commands.add_parser("hobby", help=_told(hobby))
    made.add_argument("--traces-a-minute", type=int, default=300, metavar="N")
    made.add_argument("--minutes", type=float, default=60, metavar="N", help="simulated")
    made.add_argument("--evaluators", type=int, default=5, metavar="N")
    made.add_argument("--factor", type=float, default=hobby.FACTOR, metavar="N", help="how much time is compressed")
    made = commands.add_parser("overload", help="an hour of ten times the traffic that can be judged")
    made.add_argument("--factor", type=float, default=overload.FACTOR, metavar="N", help="how much time is compressed")
    made = commands.add_parser("soak", help="memory of a worker over many batches")
    made.add_argument("--batches", type=int, default=1000, metavar="N", help="of 50 traces")
    commands.add_parser("giants", help="memory of a worker that meets giants")
    made = commands.add_parser("growth", help="what a trace costs, from 1,000 to 1,000,000 of them")
    made.add_argument("--sizes", type=int, nargs="+", default=list(growth.TRACES), metavar="N")
    made = commands.add_parser("workers", help="pace of 1 to 8 worker processes with a model of 50 ms to 5 s")
    made.add_argument("--workers", type=int, nargs="+", default=list(growth.WORKERS), metavar="N")
    made.add_argument("--latencies", type=float, nargs="+", default=list(growth.LATENCIES), metavar="SECONDS")
    commands.add_parser("plan", help="what so many traces a day need, on paper")
    return parser


if __name__ == "__main__":
    sys.exit(main())
