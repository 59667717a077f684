"""The command line with minutes of another length: `python -m benchmarks.load.compressed FACTOR run`.

The gate's minute and a few waits are built into the service; they are divided by FACTOR here, all other times come
from the configuration. The stand-in's window is as short, so the two still meet as they do in an hour of real time.
"""

from __future__ import annotations

import re
import sys

from evaluator import cli, pulse, worker
from evaluator.model import slow
from evaluator.sampling.jobs import Lane
from evaluator.scoring import endings
from evaluator.state import connection, fleet

_LENGTHS = re.compile(r"\b(61000|120000)\b")


def main() -> None:
    """Run the command line in compressed time."""
    factor = float(sys.argv.pop(1))
    scripts = connection.scripts()
    if not any(_LENGTHS.search(body) for body in scripts.values()):
        raise SystemExit("the gate's minute is not where it was: fleet.lua has changed, and so must this")
    shorter = {name: _LENGTHS.sub(lambda found: f"{int(found[1]) / factor:g}", body) for name, body in scripts.items()}
    vars(fleet)["scripts"] = lambda: shorter  # there is no other way to a short minute, nor should there be
    vars(slow)["_SECONDS"] /= factor
    vars(worker)["_POLL_MILLISECONDS"] = {lane: round(1000 / factor) for lane in Lane}
    vars(pulse)["BEAT"] /= factor
    for name in ("_OUTAGE_DELAY", "_FIRST_DELAY", "_LONGEST_DELAY"):
        vars(endings)[name] /= factor
    cli.main()


if __name__ == "__main__":
    main()
