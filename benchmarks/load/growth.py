"""Growth tables: traces, worker processes, latency of the model."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.load.measuring import Bench, bench, cpu_of, table
from benchmarks.load.outside import Setting

TRACES: Final = (1_000, 10_000, 100_000, 1_000_000)
WORKERS: Final = (1, 2, 4, 8)
LATENCIES: Final = (0.05, 0.5, 5.0)
IN_FLIGHT: Final = 64
"""Judge calls at once in each process, as by default."""

_MOST_A_SECOND: Final = 3_000
"""More than this machine's cores manage: so much work waits at least."""

_CONFIG: Final = {
    "evaluator.yaml": f"discovery: {{quiet_for: 1s}}\nlimits: {{model_calls_in_flight: {IN_FLIGHT}}}\n",
    "rules.yaml": "- {name: answered, rule: not_empty}\n- {name: no-errors, rule: error_level}\n",
    "rubrics/helpfulness.yaml": (
        "name: helpfulness\nsample: [{rate: 1}]\ninputs: {question: $.root.input, answer: $.root.output}\n"
        "criteria: Does it help?\nscore: {type: numeric, min: 1, max: 5}\n"
    ),
}
_EVALUATORS: Final = 3


def by_traces(sizes: Sequence[int] = TRACES) -> str:
    """Evaluate worlds of growing size in one process, judge included, and return what each trace costs.

    Raises:
        SystemExit: a score is missing.
    """
    rows: list[list[str]] = []
    for number in sizes:
        with bench(_CONFIG) as made:
            _offer(made, number, 0.0)
            empty = made.store.megabytes()
            ended = made.run("sweep", "--since", "1h", "--drain", "--json")
            if (ids := made.outside.counts()["ids"]) != number * _EVALUATORS:
                raise SystemExit(f"{ids} scores of {number * _EVALUATORS}: a figure of unfinished work is none")
            requests = sum(n for kind, n in made.outside.counts()["requests"].items() if kind != "model")
            rows.append(
                [
                    f"{number:,}",
                    f"{ended.cpu * 1000 / number:.2f}",
                    f"{number / ended.seconds:,.0f}",
                    f"{ended.megabytes:.0f}",
                    f"{(made.store.megabytes() - empty) * 1e6 / number:,.0f}",
                    f"{cpu_of(made.store.process) * 1000 / number:.3f}",
                    f"{requests * 50 / number:.1f}",
                ]
            )
            print(" ".join(rows[-1]), flush=True)
    head = [
        "traces",
        "CPU ms each",
        "traces/s",
        "peak MB",
        "Valkey bytes each",
        "Valkey CPU ms each",
        "requests per 50",
    ]
    return table(head, rows)


def by_workers(workers: Sequence[int] = WORKERS, latencies: Sequence[float] = LATENCIES) -> str:
    """Let worker processes empty one queue at each latency of the model, and return their pace."""
    rows: list[list[str]] = []
    for latency in latencies:
        for number in workers:
            pace, cpu = _pace(number, latency)
            most = number * IN_FLIGHT / latency
            rows.append([f"{latency * 1000:.0f} ms", str(number), f"{pace:,.0f}", f"{most:,.0f}", f"{cpu * 1000:.2f}"])
            print(" ".join(rows[-1]), flush=True)
    return table(["model answers in", "workers", "traces/s", "calls in flight allow", "CPU ms each"], rows)


def _pace(workers: int, latency: float) -> tuple[float, float]:
    """Return traces a second, and CPU seconds a trace, once everything is under way."""
    warm, span = 2.0 + 2 * latency, 8.0 + 4 * latency
    number = int(min(_MOST_A_SECOND, 1.5 * workers * IN_FLIGHT / latency) * (warm + span + workers))
    with bench(_CONFIG) as made, contextlib.ExitStack() as stack:
        _offer(made, number, latency)
        made.run("sweep", "--since", "1h", "--json")
        processes = [stack.enter_context(made.running("worker")) for _ in range(workers)]
        made.wait_for("worker started", workers)
        time.sleep(warm)
        before, started, used = _done(made), time.perf_counter(), sum(cpu_of(each.pid) for each in processes)
        time.sleep(span)
        done, elapsed = _done(made) - before, time.perf_counter() - started
        if before + done >= 0.99 * number:
            raise SystemExit(json.dumps({"workers": workers, "latency": latency, "emptied": number}))
        return done / elapsed, (sum(cpu_of(each.pid) for each in processes) - used) / max(done, 1)


def _offer(made: Bench, number: int, latency: float) -> None:
    now = time.time()
    made.outside.reset(Setting(first=now - 3000, step=2400 / number, count=number, latency=latency))


def _done(made: Bench) -> int:
    return int(made.outside.counts()["scores"].get("helpfulness", 0))
