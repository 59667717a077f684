"""`python -m sandbox`: serve the stand-ins until SIGTERM or SIGINT.

Prints one JSON line with the URLs and keys once every port accepts connections.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from sandbox.langfuse import Behaviour, LangfuseStandIn
from sandbox.server import Sandbox


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--langfuse-port", type=int, default=0, metavar="N", help="0 takes a free port (default)")
    parser.add_argument("--model-port", type=int, default=0, metavar="N")
    parser.add_argument("--slack-port", type=int, default=0, metavar="N")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--langfuse-version", default=Behaviour().version, help="below 4.59: no batches of scores")
    parser.add_argument("--requests-per-minute", type=int, metavar="N", help="Langfuse's General API limit")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="recorded runs in OpenAI chat format to load")
    parser.add_argument("--traffic", type=int, default=0, metavar="WEEKS", help="weeks of sample traffic to play")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    options = arguments(given)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    behaviour = Behaviour(version=options.langfuse_version, requests_per_minute=options.requests_per_minute)
    sandbox = Sandbox(
        langfuse=LangfuseStandIn(behaviour),
        langfuse_port=options.langfuse_port,
        model_port=options.model_port,
        slack_port=options.slack_port,
        host=options.host,
    )
    with sandbox:
        fill(sandbox, replay=options.replay, weeks=options.traffic)
        print(json.dumps(sandbox.document()), flush=True)  # noqa: T201  the line a parent process waits for
        told.wait()
    return 0


def fill(sandbox: Sandbox, *, replay: Path | None, weeks: int) -> None:
    """Load recorded runs and play sample traffic into the running sandbox."""
    if replay is not None:
        importlib.import_module("sandbox.replay").replay(sandbox, replay)
    if weeks:
        importlib.import_module("sandbox.traffic").play(sandbox, weeks)


if __name__ == "__main__":
    sys.exit(main())
