"""Memory of a worker over a day of traffic, and of one that meets giants."""

from __future__ import annotations

import json
import time
from typing import Final

from benchmarks.load.measuring import Bench, bench, megabytes_of, table
from benchmarks.load.outside import Setting

_LOOKS: Final = 20
_BATCH: Final = 50
_LONGEST: Final = 900.0
"""Seconds after which a run has failed."""

_CONFIG: Final = {
    "evaluator.yaml": "discovery: {quiet_for: 1s}\n",
    "rules.yaml": (
        "- {name: answered, rule: not_empty}\n- {name: no-errors, rule: error_level}\n"
        "- {name: no-tool-loop, rule: repeated_tool_calls, limit: 2}\n"
    ),
    "rubrics/helpfulness.yaml": (
        "name: helpfulness\nsample: [{rate: 1}]\ninputs: {question: $.root.input, answer: $.root.output}\n"
        "criteria: Does it help?\nscore: {type: numeric, min: 1, max: 5}\n"
    ),
    "rubrics/trajectory.yaml": (
        "name: trajectory\nsample: [{rate: 1}]\ninputs: {everything: transcript}\n"
        "criteria: Was the way right?\nscore: {type: numeric, min: 1, max: 5}\n"
    ),
}
_EVALUATORS: Final = 5

GIANTS: Final = {
    "10 MB in 6 observations": (6, 1_700_000),
    "10 MB in 100 observations": (100, 100_000),
    "5,000 observations": (5_000, 400),
    "agent of 1,000 tool calls": (2_500, 3_000),
}
"""Observations, and characters in each; two of five are tool calls."""


def soak(batches: int = 1000) -> str:
    """Send batches through one worker process and return what its memory did.

    Raises:
        SystemExit: scores are missing.
    """
    traces = batches * _BATCH
    with bench(_CONFIG) as made:
        _offer(made, traces, (6, 800))
        made.run("sweep", "--since", "1h")
        looks: list[tuple[int, float]] = []
        with made.running("worker") as worker:
            until = time.monotonic() + _LONGEST
            while (done := _traces(made)) < traces and time.monotonic() < until:
                if done >= (len(looks) + 1) * traces / _LOOKS:
                    looks.append((done, megabytes_of(worker.pid)))
                    print(f"{done:,} {looks[-1][1]:.0f} MB", flush=True)
                time.sleep(0.1)
        _prove(made, traces)
        kept = made.store.megabytes() * 1e6 / traces
    later = looks[len(looks) // 2 :]
    slope = (later[-1][1] - later[0][1]) / (later[-1][0] - later[0][0]) * 1000
    rows = [[f"{done:,}", f"{megabytes:.0f}"] for done, megabytes in looks[:: _LOOKS // 5]]
    said = f"{slope:+.3f} MB per 1,000 traces in the second half; Valkey holds {kept:,.0f} bytes a trace\n\n"
    return said + table(["traces", "MB"], rows)


def giants() -> str:
    """Evaluate one giant of each kind among small traces and return what it took."""
    rows: list[list[str]] = []
    for name, shape in GIANTS.items():
        with bench(_CONFIG) as made:
            _offer(made, 2 * _BATCH, (6, 800), giant=shape)
            ended = made.run("sweep", "--since", "1h", "--drain", "--json")
            said = json.loads(ended.said)
            requests = made.outside.counts()["requests"]
            states = " ".join(f"{count} {state}" for state, count in said["evaluations"].items() if state != "sampled")
            reads, refused = requests["GET v2/observations"], made.outside.counts()["too_large"]
            rows.append([name, f"{ended.megabytes:.0f}", f"{ended.cpu:.1f}", f"{reads} ({refused})", states])
            print(" | ".join(rows[-1]), json.dumps(said["reasons"]), flush=True)
    return table(["one of 100 traces has", "peak MB", "CPU s", "reads (too large)", "evaluations"], rows)


def _offer(made: Bench, traces: int, shape: tuple[int, int], giant: tuple[int, int] | None = None) -> None:
    shapes = [shape] if giant is None else [giant, *[shape] * (traces - 1)]
    made.outside.reset(Setting(first=time.time() - 3000, step=2400 / traces, count=traces, shapes=shapes))


def _traces(made: Bench) -> int:
    scores = made.outside.counts()["scores"]
    return min(scores.values()) if len(scores) == _EVALUATORS else 0


def _prove(made: Bench, traces: int) -> None:
    if (ids := made.outside.counts()["ids"]) != traces * _EVALUATORS:
        raise SystemExit(f"{ids} scores of {traces * _EVALUATORS}: a figure of unfinished work is none")
