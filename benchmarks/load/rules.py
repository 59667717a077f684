"""Rules at rate 1, no judge: traces a second of one core through the whole path, from the sweep to accepted scores.

The service has a core to itself; the stand-ins and Valkey have the other.
"""

from __future__ import annotations

import json
import time
from operator import itemgetter
from typing import Final

from benchmarks.load.measuring import Bench, bench, cpu_of, table
from benchmarks.load.outside import Setting
from benchmarks.running import pin

SIZES: Final = (2_000, 22_000)
"""Two sizes, so that the start can be told apart from the work."""

_ROUNDS: Final = 3
"""The best of them counts: whatever else the machine does only ever adds."""

_RULES: Final = (
    "- {name: answered, rule: not_empty}",
    "- {name: no-errors, rule: error_level}",
    "- {name: fast-enough, rule: max_latency, seconds: 20}",
    "- {name: answer-length, rule: length, max: 4000}",
    "- {name: no-boilerplate, rule: forbids, phrases: [as an AI language model, I cannot assist with that]}",
)


def measure(sizes: tuple[int, ...] = SIZES, rules: int = 5) -> str:
    """Evaluate two worlds by rules alone and return what one more trace costs."""
    files = {"rules.yaml": "\n".join(_RULES[:rules]) + "\n", "evaluator.yaml": "discovery: {quiet_for: 1s}\n"}
    with bench(files) as made:
        for beside in (made.outside.process, made.store.process):
            pin(beside, 1)
        runs = [min((_run(made, number, rules, at) for at in range(_ROUNDS)), key=itemgetter(1)) for number in sizes]
    rows = [[f"{n:,}", f"{cpu:.1f}", f"{store:.1f}", f"{wall:.1f}", f"{mb:.0f}"] for n, cpu, store, wall, mb in runs]
    (few, least, *_), (many, most, *_) = runs[0], runs[-1]
    each = (most - least) / (many - few)
    said = f"{each * 1000:.3f} ms CPU a trace, {rules} rules: {1 / each:,.0f} traces/s a core\n\n"
    return said + table(["traces", "CPU s", "Valkey CPU s", "wall s", "peak MB"], rows)


def _run(made: Bench, number: int, rules: int, at: int) -> tuple[int, float, float, float, float]:
    now = time.time()
    made.outside.reset(Setting(first=now - 3000, step=2400 / number, count=number))
    before = cpu_of(made.store.process)
    ended = made.run("sweep", "--since", "1h", "--drain", "--json", core=0, EVALUATOR_NAMESPACE=f"rules-{number}-{at}")
    counts = made.outside.counts()
    if counts["ids"] != number * rules:
        raise SystemExit(f"{counts['ids']} scores of {number * rules}: {ended.said}")
    print(json.dumps(counts["requests"]), flush=True)
    return number, ended.cpu, cpu_of(made.store.process) - before, ended.seconds, ended.megabytes
