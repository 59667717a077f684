"""What a rule costs: microseconds of CPU a trace, kind by kind, slowest first.

Each kind runs its own example over the recorded runs of an agent and over generated traffic, in one thread. Traces are
built and their documents made before, once, as in a worker, where all rules share them. The root's metadata gets what
some kinds compare with. A kind that has nothing to say of any trace is marked: its figure is that of finding this out.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import machine
from benchmarks.tables import table
from rules import Rule, collect
from rules.collect import RESERVED
from sandbox import replay
from sandbox.plans import SpanPlan, TracePlan
from sandbox.traffic import traffic
from traces import NotApplicable, Observation, Trace

_RUNS: Final = Path(__file__).parents[2] / "shared" / "data" / "tau_bench_airline" / "gpt-4o-airline.json.gz"
_PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
_MEASURED: Final = re.compile(r"(<!-- rules:.*?-->\n).*(<!-- /rules -->)", re.DOTALL)
_END: Final = datetime(2026, 11, 23, tzinfo=UTC)
_WEEKS: Final = 10
_WARM: Final = 20
"""Traces that a kind sees before it is measured: models are loaded and patterns compiled then."""


class Cost(NamedTuple):
    """Microseconds of CPU that a kind takes a trace on average, and at most; whether it said anything of any."""

    mean: float
    worst: float
    said: bool


def main() -> int:
    """Print the table; with --write put it into docs/performance.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--traces", type=int, default=10_000, help="generated traces")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    busy = machine.load()
    worlds = {
        "recorded": built(replay.runs(_RUNS, _END)) if _RUNS.exists() else [],
        "generated": built(islice(traffic(_WEEKS, -(-options.traces // _WEEKS), _END), options.traces)),
    }
    text = f"{machine.facts('python -m benchmarks.rules', busy)}\n\n{told(worlds)}"
    print(text)
    if options.write:
        page = _PAGE.read_text("utf-8")
        _PAGE.write_text(_MEASURED.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page), "utf-8")
    return 0


def built(plans: Iterable[TracePlan]) -> list[Trace]:
    """Return plans as the traces that a worker would read, their documents made."""
    traces = [_trace(plan) for plan in plans]
    for trace in traces:
        trace.document()
    return traces


def told(worlds: Mapping[str, Sequence[Trace]]) -> str:
    """Measure every kind on each world; return the table, the slowest on average first."""
    costs = {
        kind: {name: measured(kind, traces) for name, traces in worlds.items() if traces} for kind in collect().values()
    }
    order = sorted(costs.items(), key=lambda item: -max(cost.mean for cost in item[1].values()))
    head = ["rule"]
    for name, traces in worlds.items():
        head += [f"{name} ({len(traces):,}), µs a trace", "slowest trace, µs"]
    lines = [[f"`{kind.kind}`", *(cell for name in worlds for cell in _cells(by.get(name)))] for kind, by in order]
    sums = [sum(by[name].mean for _, by in order if name in by) for name in worlds]
    total = [cell for each in sums for cell in (f"{each:,.0f}", "")]
    return table(head, [*lines, [f"all {len(order)}", *total]])


def measured(kind: type[Rule], traces: Sequence[Trace]) -> Cost:
    """Return what a kind's example costs."""
    rule = kind.model_validate({key: value for key, value in kind.example.items() if key not in RESERVED})
    for trace in traces[:_WARM]:
        rule.check(trace)
    took: list[int] = []
    said = False
    for trace in traces:
        before = time.thread_time_ns()
        outcome = rule.check(trace)
        took.append(time.thread_time_ns() - before)
        said = said or not isinstance(outcome, NotApplicable)
    return Cost(sum(took) / len(took) / 1000, max(took) / 1000, said)


def _cells(cost: Cost | None) -> tuple[str, str]:
    if cost is None:
        return "", ""
    return f"{cost.mean:,.1f}" if cost.said else f"{cost.mean:,.1f} (nothing to say)", f"{cost.worst:,.0f}"


def _trace(plan: TracePlan) -> Trace:
    root, *others = plan.spans
    found = [span for span in plan.spans if span.type == "RETRIEVER"]
    known = {"expected": root.output, "relevant_ids": [span.id for span in found]}
    first = _observation(plan.id, root, {**root.metadata, **known})
    rest = [_observation(plan.id, span, span.metadata) for span in others]
    return Trace(
        id=plan.id,
        root=first,
        observations=(first, *rest),
        name=plan.name,
        environment=plan.environment,
        session_id=plan.session_id,
        user_id=plan.user_id,
        tags=plan.tags,
        release=plan.release,
    )


def _observation(trace_id: str, span: SpanPlan, metadata: Mapping[str, object]) -> Observation:
    return Observation(
        id=span.id,
        trace_id=trace_id,
        type=span.type,
        name=span.name,
        start=span.start,
        end=span.end,
        parent_id=span.parent_id,
        is_root=span.parent_id is None,
        input=span.input,
        output=span.output,
        level=span.level,
        status_message=span.status_message,
        metadata=metadata,
        model=span.model,
        usage={name: float(count) for name, count in span.usage.items()},
        cost=span.cost,
        prompt_name=span.prompt_name,
        prompt_version=span.prompt_version,
    )


if __name__ == "__main__":
    raise SystemExit(main())
