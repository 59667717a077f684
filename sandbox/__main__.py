"""`python -m sandbox`: serve the stand-ins until SIGTERM or SIGINT.

Prints one JSON line with the URLs and keys once every port accepts connections.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sandbox.ingest import play
from sandbox.langfuse import Behaviour, LangfuseStandIn
from sandbox.replay import runs
from sandbox.server import Sandbox
from sandbox.traffic import traffic

TRACES_A_WEEK: Final = 300


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
    """Play recorded runs and sample traffic up to now into the running sandbox."""
    # Old enough that the service does not wait for late spans (max_wait in its configuration).
    until = datetime.now(UTC) - timedelta(minutes=35)
    plans = [] if replay is None else list(runs(replay, until))
    if weeks:
        plans += traffic(weeks, TRACES_A_WEEK, until)
    if plans:
        play(plans, base_url=sandbox.langfuse_url, public_key=sandbox.public_key, secret_key=sandbox.secret_key)


if __name__ == "__main__":
    sys.exit(main())
