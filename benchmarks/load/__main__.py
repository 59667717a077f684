"""`python -m benchmarks.load`: measurements of load and growth, one a command; `--help` lists them."""

from __future__ import annotations

import argparse
import sys

from benchmarks.load import idle, sweep


def main() -> int:
    """Run one measurement and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    sweeping = commands.add_parser("sweep", help=sweep.__doc__)
    sweeping.add_argument("--sizes", type=int, nargs="+", default=list(sweep.SIZES), metavar="N")
    sweeping.add_argument("--evaluators", type=int, default=1, metavar="N")
    idling = commands.add_parser("idle", help=idle.__doc__)
    idling.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    if options.command == "sweep":
        print(sweep.measure(tuple(options.sizes), options.evaluators))
    if options.command == "idle":
        print(idle.measure(options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
