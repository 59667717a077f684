"""Langfuse Cloud's smallest plan, 29 requests a minute: traces a minute sustained for an hour, without one 429.

Time is compressed: the stand-in's window, the gate's minute and every duration of the configuration are shorter by one
factor, the traffic is denser by it. Requests to Langfuse and their limit meet as they do in real time.
"""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.load.measuring import bench, megabytes_of, table
from benchmarks.load.outside import Setting

FACTOR: Final = 10.0
PLAN: Final = 30
"""Of which N-1 pass, as on Cloud."""

_LOOKS: Final = 10
_RULES: Final = (
    "not_empty",
    "error_level",
    "max_latency, seconds: 20",
    "length, max: 4000",
    "max_tokens, tokens: 9000",
)


def measure(traces_a_minute: int = 300, minutes: float = 60, evaluators: int = 3, factor: float = FACTOR) -> str:
    """Run the service on the smallest plan and return how far it kept up."""
    with bench(_config(evaluators, factor)) as made:
        step = 60 / factor / traces_a_minute
        made.outside.reset(
            Setting(
                first=time.time(),
                step=step,
                count=None,
                shapes=[(6, 800)],
                requests_per_minute=PLAN,
                window_seconds=60 / factor,
                keep_ids=False,
            )
        )
        looks: list[list[str]] = []
        started = time.time()
        before: dict[str, Any] = {}
        with made.running(str(factor), "run", module="benchmarks.load.compressed") as service:
            for look in range(1, _LOOKS + 1):
                time.sleep(max(0.0, started + look * minutes * 60 / factor / _LOOKS - time.time()))
                counts = dict(made.outside.counts())
                looks.append(_look(look * minutes / _LOOKS, counts, before, minutes / _LOOKS, factor))
                looks[-1].append(f"{megabytes_of(service.pid):.0f}")
                print(" ".join(looks[-1]), flush=True)
                before = counts
    head = ["minute", "requests/min", "reads", "writes", "scores/min", "lag s", "worst lag s", "429", "MB"]
    return f"{traces_a_minute} traces a minute, {evaluators} scores each\n\n" + table(head, looks)


def _look(at: float, counts: dict[str, Any], before: dict[str, Any], minutes: float, factor: float) -> list[str]:
    def a_minute(kind: str) -> float:
        return float(counts["requests"].get(kind, 0) - before.get("requests", {}).get(kind, 0)) / minutes

    reads, writes = a_minute("GET v2/observations"), a_minute("POST scores")
    scores = sum(counts["scores"].values()) - sum(before.get("scores", {}).values())
    return [
        f"{at:.0f}",
        f"{reads + writes:.1f}",
        f"{reads:.1f}",
        f"{writes:.1f}",
        f"{scores / minutes:.0f}",
        f"{counts['lag'] * factor:.0f}",
        f"{counts['worst_lag'] * factor:.0f}",
        f"{counts['refused']}",
    ]


def _config(evaluators: int, factor: float) -> dict[str, str]:
    def short(seconds: float) -> str:
        return f"{seconds * 1000 / factor:.0f}ms"

    times = f"every: {short(30)}, quiet_for: {short(90)}, max_wait: {short(1800)}, overlap: {short(900)}"
    names = (f"- {{name: rule-{n}, rule: {kind}}}" for n, kind in enumerate(_RULES[: evaluators - 1]))
    return {
        "evaluator.yaml": f"discovery: {{{times}}}\nlimits: {{langfuse_requests_per_minute: {PLAN - 1}}}\n",
        "rules.yaml": "\n".join(names) + "\n",
        "rubrics/helpfulness.yaml": (
            "name: helpfulness\nsample: [{rate: 1}]\ninputs: {question: $.root.input, answer: $.root.output}\n"
            "criteria: Does it help?\nscore: {type: numeric, min: 1, max: 5}\n"
        ),
    }
