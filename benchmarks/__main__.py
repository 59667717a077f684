"""`make bench`: the service and what people use today do the same work against the same stand-ins, in turn."""

from __future__ import annotations

import argparse
import sys

from benchmarks.outside import Behaviour
from benchmarks.running import Contender, outside, run

SWEEP = ("-m", "evaluator.cli", "sweep", "--since", "1h", "--drain", "--json")


def main() -> int:
    """Run the contenders in turn and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    contenders = [
        Contender("service", SWEEP, (1000, 4000), queue=True, at_once=64 if not options.latency else 700),
        Contender("floor", ("-m", "benchmarks.floor"), (1000, 4000), at_once=64 if not options.latency else 700),
    ]
    with outside(4000) as stand_ins:
        for contender in contenders:
            best = []
            for size in contender.sizes:
                runs = [
                    run(contender, stand_ins, Behaviour(traces=size, latency=options.latency))
                    for _ in range(options.rounds)
                ]
                best.append(min(runs, key=lambda r: r.cpu))
            small, large = best
            more = large.traces - small.traces
            print(
                f"{contender.name:<10} CPU {1000 * (large.cpu - small.cpu) / more:6.3f} ms a trace more, "
                f"{large.cpu:6.2f} s in all for {large.traces}; Valkey {1000 * (large.valkey_cpu - small.valkey_cpu) / more:.3f} ms; "
                f"{large.traces / large.seconds:6.0f} traces/s; {large.megabytes:.0f} MB"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
