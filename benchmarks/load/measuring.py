"""The service as a process of its own, its Valkey and its stand-ins, and what the operating system says of them."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.running import pin
from benchmarks.stand_ins import StandIns, standing_in
from evaluator.state.embedded import embedded_redis

ROOT: Final = Path(__file__).parents[2]
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = resource.getpagesize()
_LONGEST_START: Final = 60.0
_NAMES: Final = {"evaluator.keeper": "keeper", "valkey-server": "Valkey", "evaluator.cli": "service"}


@dataclass(frozen=True, slots=True)
class Store:
    """A Valkey of our own."""

    url: str
    process: int

    def megabytes(self) -> float:
        """Return how much memory its data takes."""
        with redis.Redis.from_url(self.url) as client:
            info: Any = client.info("memory")
        return float(info["used_memory"]) / 1e6

    def commands(self) -> int:
        """Return how many commands it has run."""
        with redis.Redis.from_url(self.url) as client:
            info: Any = client.info("stats")
        return int(info["total_commands_processed"])


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended.

    Attributes:
        said: its standard output.
        cpu: seconds of processor time, its start included.
        seconds: by the clock.
        megabytes: the largest its memory got.
    """

    said: str
    cpu: float
    seconds: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything a measurement needs: stand-ins, a Valkey, a configuration."""

    outside: StandIns
    store: Store
    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the service."""
        return {
            **os.environ,
            "LANGFUSE_BASE_URL": self.outside.url,
            "LANGFUSE_PUBLIC_KEY": "pk-lf-load",
            "LANGFUSE_SECRET_KEY": "sk-lf-load",
            "OPENAI_BASE_URL": f"{self.outside.url}/v1",
            "OPENAI_API_KEY": "sk-load",
            "EVALUATOR_CONFIG": str(self.folder / "config"),
            "EVALUATOR_DATA": str(self.folder / "data"),
            "EVALUATOR_LOG": "json",
            "REDIS_URL": self.store.url,
            "PYTHONPATH": str(ROOT),
            "no_proxy": "*",
            **more,
        }

    def configure(self, files: Mapping[str, str]) -> None:
        """Write the definitions."""
        for name, text in files.items():
            path = self.folder / "config" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run(self, *arguments: str, core: int | None = None, **more: str) -> Ended:
        """Run a command of the service to its end, on one core unless that is None.

        Raises:
            SystemExit: it failed; a figure of unfinished work is none.
        """
        command = [sys.executable, "-m", "evaluator.cli", *arguments]
        started = time.perf_counter()
        with (self.folder / "out").open("w+") as out, (self.folder / "log").open("w+") as log:
            process = subprocess.Popen(command, env=self.environment(**more), cwd=self.folder, stdout=out, stderr=log)
            pin(process.pid, core)
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            log.seek(0)
            if process.returncode:
                raise SystemExit(f"{' '.join(arguments)} failed: {log.read()[-2000:]}")
            return Ended(out.read(), used.ru_utime + used.ru_stime, seconds, used.ru_maxrss / 1024)

    def wait_for(self, words: str, processes: int) -> None:
        """Wait until so many running commands have said something in their logs."""
        until = time.monotonic() + _LONGEST_START
        while sum(words in log.read_text(encoding="utf-8") for log in self.folder.glob("log-*")) < processes:
            if time.monotonic() > until:
                raise SystemExit(f"nobody said {words!r}")
            time.sleep(0.1)

    @contextlib.contextmanager
    def running(self, *arguments: str, module: str = "evaluator.cli", **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Keep a command of the service running."""
        command = [sys.executable, "-m", module, *arguments]
        with (self.folder / f"log-{time.monotonic_ns()}").open("w+b") as log:
            process = subprocess.Popen(command, env=self.environment(**more), cwd=self.folder, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.terminate()
                process.wait(60)


@contextlib.contextmanager
def bench(files: Mapping[str, str]) -> Iterator[Bench]:
    """Start stand-ins and a Valkey, with a configuration beside them."""
    with (
        tempfile.TemporaryDirectory() as name,
        standing_in("benchmarks.load.outside") as outside,
        _valkey(Path(name) / "valkey") as store,
    ):
        made = Bench(outside, store, Path(name))
        made.configure(files)
        yield made


@contextlib.contextmanager
def _valkey(folder: Path) -> Iterator[Store]:
    with embedded_redis(folder) as url:
        with redis.Redis.from_url(url) as client:
            info: Any = client.info("server")
        yield Store(url, info["process_id"])


def cpu_of(process: int) -> float:
    """Return the seconds of processor time a running process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def megabytes_of(process: int) -> float:
    """Return how much memory a running process holds."""
    return int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE / 1e6


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def family(process: int) -> list[int]:
    """Return a running process and all its descendants."""
    found = [process]
    for task in Path(f"/proc/{process}/task").iterdir():
        children = (task / "children").read_text(encoding="utf-8").split()
        found += [each for child in children for each in family(int(child))]
    return found


def name_of(process: int) -> str:
    """Return what a running process is."""
    words = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return next((name for mark, name in _NAMES.items() if mark in words), words[:40])
