"""A sweep over N finished roots: listed, sampled at 5 %, enqueued. Client CPU, memory, and what Valkey holds."""

from __future__ import annotations

import json
import time
from typing import Final

from benchmarks.load.measuring import bench, cpu_of, table
from benchmarks.load.outside import Setting

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
RATE: Final = 0.05
_DAY: Final = 86_400.0
_MARGIN: Final = 600.0
"""Seconds kept free at both ends of the day, so that no trace falls out of it while it is measured."""


def config(evaluators: int) -> dict[str, str]:
    """Return definitions with so many evaluators, each at 5 %; the first is a judge."""
    rules = "\n".join(
        f"- {{name: rule-{n}, rule: not_empty, sample: [{{rate: {RATE}}}]}}" for n in range(1, evaluators)
    )
    return {
        "evaluator.yaml": "discovery: {quiet_for: 90s}\n",
        "rules.yaml": rules + "\n",
        "rubrics/helpfulness.yaml": (
            f"name: helpfulness\nsample: [{{rate: {RATE}}}]\n"
            "inputs: {question: $.root.input.question, answer: $.root.output.answer}\n"
            "criteria: Does it help?\nscore: {type: numeric, min: 1, max: 5}\n"
        ),
    }


def measure(sizes: tuple[int, ...] = SIZES, evaluators: int = 1) -> str:
    """Sweep worlds of growing size and return a table.

    Raises:
        SystemExit: a trace was lost or counted twice.
    """
    rows: list[list[str]] = []
    for size in sizes:
        with bench(config(evaluators)) as made:
            made.outside.reset(_setting(size))
            empty = made.store.megabytes()
            ended = made.run("sweep", "--since", "24h", "--json")
            said = json.loads(ended.said)
            if said["traces"] != size:
                raise SystemExit(f"{said['traces']} traces found of {size}: a figure of unfinished work is none")
            states = said["evaluations"]
            rows.append(
                [
                    f"{size:,}",
                    f"{ended.cpu:.1f}",
                    f"{ended.seconds:.1f}",
                    f"{ended.megabytes:.0f}",
                    f"{made.store.megabytes() - empty:.1f}",
                    f"{cpu_of(made.store.process):.1f}",
                    f"{sum(made.outside.counts()['requests'].values()):,}",
                    f"{states['sampled'] / sum(states.values()):.2%}",
                ]
            )
            print(" ".join(rows[-1]), flush=True)
    head = ["roots", "CPU s", "wall s", "peak MB", "Valkey MB", "Valkey CPU s", "requests", "sampled"]
    return table(head, rows)


def _setting(size: int) -> Setting:
    now = time.time()
    span = _DAY - 2 * _MARGIN
    return Setting(first=now - _DAY + _MARGIN, step=span / size, count=size, doubled=200)
