"""Who does the work: the service, what people use today, and the least it can cost.

Sizes are such that most runs take four to seven seconds: start and last calls weigh alike in all of them.

Calls in flight were chosen by one run at each of these numbers, the fastest but for a tie; runs differ by a tenth:
model at once: service and floor 32, 64, 250; by hand 8 to 128; `run_batched_evaluation` 16 to 250, as documented 5 to
64; phoenix 20, 64, 200; deepeval 10, 20, 100. Model of 500 ms: service 500 to 1,500, floor the same; by hand 64 to 500;
`run_batched_evaluation` 250 to 1,000, as documented 64, 250; phoenix 200 to 1,000; deepeval 20 to 200. Service and
floor have one number each time, so that they can be compared; neither is at its own best. Phoenix has 500 although
1,000 was faster once: in whole runs 500 served it better, and with 1,000 refusals make it wait for minutes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.running import Contender

_PEERS: Final = str(Path(__file__).parents[1] / ".venv-bench" / "bin" / "python")
"""Made by `make bench` from requirements/bench.txt."""

SERVICE: Final = Contender(
    "the service",
    ("-m", "evaluator.cli", "sweep", "--since", "1h", "--drain", "--json"),
    (1000, 8000),
    at_once=64,
    at_once_slow=1000,
    queue=True,
)
FLOOR: Final = Contender(
    "floor: aiohttp and orjson, the requests alone",
    ("-m", "benchmarks.floor"),
    (1000, 8000),
    at_once=64,
    at_once_slow=1000,
)
BY_HAND: Final = Contender(
    "by hand: thread pool, openai, `create_score`",
    ("-m", "benchmarks.by_hand"),
    (300, 1500),
    at_once=16,
    at_once_slow=256,
)
DOCUMENTED: Final = Contender(
    "langfuse `run_batched_evaluation`, as documented",
    ("-m", "benchmarks.with_langfuse"),
    (300, 1200),
    at_once=16,
    at_once_slow=64,
)
TUNED: Final = Contender(
    "langfuse `run_batched_evaluation`, every trick",
    ("-m", "benchmarks.with_langfuse", "tuned"),
    (300, 1500),
    at_once=64,
    at_once_slow=250,
)
PHOENIX: Final = Contender(
    "arize-phoenix-evals",
    ("-m", "benchmarks.with_phoenix"),
    (100, 600),
    at_once=200,
    at_once_slow=500,
    python=_PEERS,
)
DEEPEVAL: Final = Contender(
    "deepeval, G-Eval",
    ("-m", "benchmarks.with_deepeval"),
    (50, 200),
    at_once=10,
    at_once_slow=200,
    python=_PEERS,
)

EVERYBODY: Final = (SERVICE, TUNED, BY_HAND, DOCUMENTED, PHOENIX, DEEPEVAL, FLOOR)
QUICK: Final = (SERVICE, TUNED, BY_HAND, FLOOR)
