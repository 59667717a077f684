"""`make bench`: the service and what people use today do the same work against the same stand-ins, in turn.

The work: finished traces of six observations, 1 to 3 KB of text each; five rules and one judge call of about 3 KB on
every trace; six scores written. Before a figure is printed, the stand-in has counted every score.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.comparing import compare
from benchmarks.contenders import EVERYBODY, QUICK
from benchmarks.outside import Behaviour
from benchmarks.running import outside
from benchmarks.tables import comparison


def main() -> int:
    """Run what was asked for and print its tables."""
    options = _options()
    contenders = [each for each in (QUICK if options.quick else EVERYBODY) if options.only in each.name]
    most = max(max(each.sizes) for each in contenders)
    with outside(most) as stand_ins:
        for latency in options.latency:
            rows = compare(
                contenders, stand_ins, Behaviour(latency=latency), rounds=1 if options.quick else options.rounds
            )
            print(comparison(rows))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, the contenders that matter most")
    parser.add_argument("--rounds", type=int, default=2, help="how often each contender runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="contenders whose name holds this")
    parser.add_argument("--latency", type=float, nargs="*", default=[0.0, 0.5], help="seconds the model takes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
