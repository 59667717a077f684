"""`python -m benchmarks.load`: measurements of load and growth, one a command; `--help` lists them."""

from __future__ import annotations

import argparse
import sys

from benchmarks.load import growth, hobby, idle, memory, rules, sweep


def main() -> int:
    """Run one measurement and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    sweeping = commands.add_parser("sweep", help=sweep.__doc__)
    sweeping.add_argument("--sizes", type=int, nargs="+", default=list(sweep.SIZES), metavar="N")
    sweeping.add_argument("--evaluators", type=int, default=1, metavar="N")
    ruling = commands.add_parser("rules", help=rules.__doc__)
    ruling.add_argument("--sizes", type=int, nargs=2, default=list(rules.SIZES), metavar="N")
    smallest = commands.add_parser("hobby", help=hobby.__doc__)
    smallest.add_argument("--traces-a-minute", type=int, default=300, metavar="N")
    smallest.add_argument("--minutes", type=float, default=60, metavar="N", help="simulated")
    smallest.add_argument("--evaluators", type=int, default=3, metavar="N")
    smallest.add_argument("--factor", type=float, default=hobby.FACTOR, metavar="N", help="how much time is compressed")
    soaking = commands.add_parser("soak", help="memory of a worker over many batches")
    soaking.add_argument("--batches", type=int, default=1000, metavar="N", help="of 50 traces")
    commands.add_parser("giants", help="memory of a worker that meets giants")
    growing = commands.add_parser("growth", help="1,000 to 100,000 traces")
    growing.add_argument("--sizes", type=int, nargs="+", default=list(growth.TRACES), metavar="N")
    working = commands.add_parser("workers", help="1 to 8 worker processes at 50 ms to 5 s")
    working.add_argument("--workers", type=int, nargs="+", default=list(growth.WORKERS), metavar="N")
    working.add_argument("--latencies", type=float, nargs="+", default=list(growth.LATENCIES), metavar="SECONDS")
    idling = commands.add_parser("idle", help=idle.__doc__)
    idling.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    if options.command == "sweep":
        print(sweep.measure(tuple(options.sizes), options.evaluators))
    if options.command == "rules":
        print(rules.measure(tuple(options.sizes)))
    if options.command == "hobby":
        given = (options.traces_a_minute, options.minutes, options.evaluators, options.factor)
        print(hobby.measure(*given))
    if options.command == "soak":
        print(memory.soak(options.batches))
    if options.command == "giants":
        print(memory.giants())
    if options.command == "growth":
        print(growth.by_traces(options.sizes))
    if options.command == "workers":
        print(growth.by_workers(options.workers, options.latencies))
    if options.command == "idle":
        print(idle.measure(options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
