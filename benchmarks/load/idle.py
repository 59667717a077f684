"""A deployment without traffic: requests to Langfuse a minute, and the CPU of service, Valkey and keeper."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from benchmarks.load.measuring import bench, cpu_of, family, megabytes_of, name_of, table
from benchmarks.load.outside import Setting

_WARM_SECONDS: Final = 15.0
"""The start is no part of it."""

CONFIG: Final = {
    "rules.yaml": "- {name: answered, rule: not_empty}\n- {name: no-errors, rule: error_level}\n",
    "rubrics/helpfulness.yaml": (
        "name: helpfulness\nsample: [{rate: 1}]\ninputs: {question: $.root.input, answer: $.root.output}\n"
        "criteria: Does it help?\nscore: {type: numeric, min: 1, max: 5}\n"
    ),
    "monitors.yaml": "- {score: helpfulness, smallest_drop: 2%}\n",
}


def measure(seconds: float = 120.0) -> str:
    """Run the service for a while without traffic and return a table.

    Raises:
        SystemExit: it ended by itself.
    """
    with bench(CONFIG) as made:
        made.outside.reset(Setting())
        # Its own embedded Valkey, as where nothing is set up.
        with made.running("run", REDIS_URL="") as service:
            time.sleep(_WARM_SECONDS)
            before, asked, started = _used(service.pid), _asked(made.outside.counts()), time.perf_counter()
            time.sleep(seconds)
            if service.poll() is not None:
                raise SystemExit("the service ended by itself; see its log")
            after, elapsed = _used(service.pid), time.perf_counter() - started
            requests = (_asked(made.outside.counts()) - asked) * 60 / elapsed
            memory = {name_of(process): megabytes_of(process) for process in family(service.pid)}
    rows = [[n, f"{(after[n] - before[n]) / elapsed:.2%}", f"{memory[n]:.0f}"] for n in sorted(after)]
    share = (sum(after.values()) - sum(before.values())) / elapsed
    rows.append(["all", f"{share:.2%}", f"{sum(memory.values()):.0f}"])
    return f"{requests:.1f} requests to Langfuse a minute\n\n" + table(["process", "CPU of one core", "MB"], rows)


def _used(process: int) -> Counter[str]:
    used: Counter[str] = Counter()
    for each in family(process):
        used[name_of(each)] += cpu_of(each)  # type: ignore[assignment] # seconds are no whole numbers
    return used


def _asked(counts: object) -> int:
    assert isinstance(counts, dict)
    return sum(n for name, n in counts["requests"].items() if name != "model")
