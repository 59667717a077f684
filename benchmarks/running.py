"""Running a contender as a process of its own and measuring it from outside.

CPU is the operating system's figure for that process, from its start to its end. Two runs of different sizes tell the
work from the start: their difference, divided by the difference of their traces, is what one more trace costs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.outside import Behaviour
from benchmarks.stand_ins import StandIns, standing_in
from evaluator.state.embedded import embedded_redis

SCORES_A_TRACE: Final = 6
STOPPED: Final = "stopped by the benchmark"
_LONGEST: Final = 180.0
"""Seconds after which a contender is not waited for any longer."""

_ROOT: Final = Path(__file__).parents[1]
_CONFIG: Final = {
    "evaluator.yaml": (
        "discovery: {{quiet_for: 1s, max_wait: 1m}}\nlimits: {{model_calls_in_flight: {at_once}}}\n"
        "models: {{prices: {{gpt-5.4-mini: {{input: 0.25, output: 2.0}}}}}}\n"
    ),
    "rules.yaml": (
        "- {name: answered, rule: not_empty}\n- {name: answer-length, rule: length, max: 4000}\n"
        "- {name: no-boilerplate, rule: forbids, phrases: [as an AI language model, I cannot assist with that]}\n"
        "- {name: no-errors, rule: error_level}\n- {name: fast-enough, rule: max_latency, seconds: 20}\n"
    ),
    "rubrics/helpfulness.yaml": (
        "name: helpfulness\nsample: [{{rate: 1}}]\ninputs:\n  question: $.root.input.question\n"
        "  documents: $.observations[?@.type == 'RETRIEVER'].output\n  answer: $.root.output.answer\n"
        "criteria: {criteria}\nscore: {{type: numeric, min: 1, max: 5}}\n"
    ),
}


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that does the work.

    Attributes:
        name: what the tables call it.
        arguments: what its Python is given.
        sizes: traces of its two runs; slow ones get fewer.
        at_once: model calls in flight when the model answers at once; `at_once_slow` when it takes its time.
        python: the interpreter of its virtual environment.
        queue: whether it needs a Valkey.
    """

    name: str
    arguments: tuple[str, ...]
    sizes: tuple[int, int]
    at_once: int = 64
    at_once_slow: int = 64
    python: str = sys.executable
    queue: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        traces: how many there were.
        cpu: seconds of the contender, start included; `valkey_cpu` those of its Valkey.
        seconds: from its first request to its last score.
        megabytes: the largest its memory got.
        calls: model calls made, repeated ones included.
        lost: scores that did not arrive.
        failed: when it failed, its exit code and the last line it said; or that it took too long for us.
    """

    traces: int
    cpu: float
    valkey_cpu: float
    seconds: float
    megabytes: float
    calls: int
    lost: int
    failed: str


@contextlib.contextmanager
def outside(traces: int, core: int | None = 1) -> Iterator[StandIns]:
    """Start the stand-ins with so many traces in store."""
    with standing_in("benchmarks.outside", "--traces", str(traces)) as stand_ins:
        pin(stand_ins.process, core)
        yield stand_ins


def pin(process: int, core: int | None) -> None:
    """Keep a process on one core, where that can be done: contender and stand-ins then do not share a core's time."""
    if core is not None and hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(process, {core})


def run(contender: Contender, stand_ins: StandIns, behaviour: Behaviour, *, core: int | None = 0) -> Run:
    """Run a contender once, on one core unless that is None."""
    stand_ins.reset(behaviour)
    at_once = contender.at_once_slow if behaviour.latency else contender.at_once
    with tempfile.TemporaryDirectory() as name, valkey(Path(name) / "data", wanted=contender.queue) as store:
        given = environment(stand_ins.url, Path(name), at_once, store.url)
        before = store.cpu()
        with (Path(name) / "log").open("w+b") as log:
            cpu, megabytes, failed = _timed([contender.python, *contender.arguments], given, log.fileno(), core)
            log.seek(0)
            last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
        used = store.cpu() - before
    counts = stand_ins.counts()
    lost = SCORES_A_TRACE * behaviour.traces - counts["pairs"]
    why = f"{failed}: {last}" if failed and not failed.startswith(STOPPED) else failed
    return Run(behaviour.traces, cpu, used, counts["seconds"], megabytes, counts["calls"], lost, why)


def environment(url: str, folder: Path, at_once: int, redis_url: str) -> dict[str, str]:
    """Write a configuration into `folder` and return the environment every contender gets."""
    from benchmarks.work import CRITERIA  # noqa: PLC0415 - it reads the environment of a contender

    (folder / "data").mkdir(exist_ok=True)  # where a contender may leave files
    for name, text in _CONFIG.items():
        path = folder / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(at_once=at_once, criteria=json.dumps(CRITERIA)) if "{{" in text else text)
    return {
        **os.environ,
        "LANGFUSE_BASE_URL": url,
        "LANGFUSE_PUBLIC_KEY": "pk-lf-bench",
        "LANGFUSE_SECRET_KEY": "sk-lf-bench",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "sk-bench",
        "EVALUATOR_CONFIG": str(folder / "config"),
        "EVALUATOR_DATA": str(folder / "data"),
        "REDIS_URL": redis_url,
        "BENCH_AT_ONCE": str(at_once),
        "PYTHONPATH": str(_ROOT),
        "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
        "no_proxy": "*",
    }


@dataclass(frozen=True, slots=True)
class Store:
    """A Valkey of our own, or none."""

    url: str = ""

    def cpu(self) -> float:
        """Return the CPU seconds it has used."""
        if not self.url:
            return 0.0
        with redis.Redis.from_url(self.url) as client:
            info: Any = client.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])


@contextlib.contextmanager
def valkey(folder: Path, *, wanted: bool, core: int | None = 1) -> Iterator[Store]:
    """Start the embedded Valkey outside the contender, so that its CPU can be told apart."""
    if not wanted:
        yield Store()
        return
    with embedded_redis(folder) as url:
        with redis.Redis.from_url(url) as client:
            info: Any = client.info("server")
        pin(info["process_id"], core)
        yield Store(url)


def _timed(command: list[str], given: Mapping[str, str], log: int, core: int | None) -> tuple[float, float, str]:
    """Run a command; return its CPU seconds, its largest memory in MB, and how it failed, if it did."""
    process = subprocess.Popen(command, env=given, cwd=given["EVALUATOR_DATA"], stdout=log, stderr=log)
    pin(process.pid, core)
    until = time.monotonic() + _LONGEST
    killed = False
    while True:
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > until:
            killed = True  # by us: nothing is known of what it would have done
            process.kill()
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    failed = f"exit code {process.returncode}" if process.returncode else ""
    if killed:
        failed = f"{STOPPED} after {_LONGEST:.0f} s"
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, failed
