"""`make bench`: our whole path and a hand-written loop do the same work against the same stand-ins, in turn.

The work: N finished traces of three observations; one judge call and two rules each; three scores written. Each
contender runs in a process of its own, so that its CPU can be told apart from the stand-ins'. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CONFIG = {
    "evaluator.yaml": "discovery: {quiet_for: 1s, max_wait: 1m}\n",
    "rules.yaml": "- {name: answered, rule: not_empty}\n- {name: no-errors, rule: error_level}\n",
    "rubrics/helpfulness.yaml": (
        "name: helpfulness\nsample: [{rate: 1}]\ninputs: {question: $.root.input, answer: $.root.output}\n"
        "criteria: Does it help?\nscore: {type: numeric, min: 1, max: 5}\n"
    ),
}


def main() -> int:
    """Run both contenders in turn and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--traces", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for _ in range(options.rounds):
        for name in ("service", "by_hand"):
            rows.append((name, *_timed(name, options.traces)))
            print(f"{name:<10} {rows[-1][1]:8.2f} s {rows[-1][2] * 1000 / options.traces:8.2f} ms CPU a trace")
    best = {name: min(row[2] for row in rows if row[0] == name) for name in ("service", "by_hand")}
    print(f"CPU of the hand-written loop against the service's: {best['by_hand'] / best['service']:.1f} times")
    return 0


def _timed(name: str, traces: int) -> tuple[float, float]:
    """Return wall and CPU seconds of one contender against fresh stand-ins."""
    command = [sys.executable, "-m", "sandbox"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stand_ins, tempfile.TemporaryDirectory() as at:
        assert stand_ins.stdout is not None
        outside = json.loads(stand_ins.stdout.readline())
        try:
            _load(outside["langfuse_url"], traces)
            before, started = _cpu(), time.perf_counter()
            subprocess.run(_command(name), env=_environment(outside, Path(at)), check=True, stdout=subprocess.DEVNULL)
            used = _cpu() - before, time.perf_counter() - started
            _prove(outside["langfuse_url"], traces)
        finally:
            stand_ins.terminate()
    return used[1], used[0]


def _command(name: str) -> list[str]:
    if name == "by_hand":
        return [sys.executable, "-m", "benchmarks.by_hand"]
    return [sys.executable, "-m", "evaluator.cli", "sweep", "--since", "1h", "--drain", "--json"]


def _environment(outside: dict[str, str], at: Path) -> dict[str, str]:
    for name, text in CONFIG.items():
        path = at / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {
        **os.environ,
        "LANGFUSE_BASE_URL": outside["langfuse_url"],
        "LANGFUSE_PUBLIC_KEY": outside["public_key"],
        "LANGFUSE_SECRET_KEY": outside["secret_key"],
        "OPENAI_BASE_URL": outside["model_url"],
        "OPENAI_API_KEY": "sk-sandbox",
        "EVALUATOR_CONFIG": str(at / "config"),
        "EVALUATOR_DATA": str(at / "data"),
        "REDIS_URL": "",
    }


def _load(url: str, traces: int) -> None:
    lines = "\n".join(json.dumps(row) for number in range(traces) for row in _rows(number))
    request = urllib.request.Request(f"{url}/_sandbox/load", data=lines.encode(), method="POST")
    urllib.request.urlopen(request, timeout=120).close()


def _rows(number: int) -> list[dict[str, Any]]:
    end = datetime.now(UTC) - timedelta(minutes=5)
    start = end - timedelta(seconds=2)
    text = f"Order {number} can be returned within 30 days of delivery. " * 20
    shared = {"traceId": f"{number:032x}", "startTime": start.isoformat(), "endTime": end.isoformat()}
    root = {
        **shared,
        "id": f"r{number}",
        "name": "answer",
        "input": {"question": "How do I return it?"},
        "output": text,
    }
    parts = [
        {
            **shared,
            "id": f"{kind}{number}",
            "parentObservationId": f"r{number}",
            "type": kind,
            "name": kind,
            "output": text,
        }
        for kind in ("RETRIEVER", "GENERATION")
    ]
    return [root, *parts]


def _prove(url: str, traces: int) -> None:
    with urllib.request.urlopen(f"{url}/_sandbox/counts", timeout=60) as answer:
        counts = json.load(answer)
    if counts["pairs"] != 3 * traces:
        raise SystemExit(f"expected {3 * traces} scores, found {counts['pairs']}: a figure of unfinished work is none")


def _cpu() -> float:
    # Of children that have ended: the contender's, since the stand-ins still run.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
