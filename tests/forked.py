"""Real processes of the service that start at once: forked from one that has imported everything.

Importing the service costs seconds of CPU, and the tests start it some two hundred times. A nursery process of each
test process imports it once; what it forks has a process id, an environment, signals and an exit code of its own,
like `python -m MODULE ARGUMENTS`, which runs in it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[1]
RUN: Final = {"evaluator.cli", "tests.matrix.quick"}
"""What runs as `__main__`, and so must not be imported before."""

ALSO: Final = (
    "matplotlib.figure", "scipy.stats", "jinja2", "rich.progress", "rich.live",
    "openai", "langfuse", "slack_sdk", "opentelemetry.sdk.trace",
)  # fmt: skip
"""What the service imports late."""


class Forked:
    """A process forked in the nursery; the part of `subprocess.Popen` that tests use."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self.pid = int(self._line())
        self.returncode: int | None = None

    def __del__(self) -> None:
        self._answers.close()  # nobody waits any more; the process is ended

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; return the exit code, negative for a signal."""
        if self.returncode is None:
            if timeout is not None and not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.returncode = int(self._line())
            self._answers.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """End it with SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = self._answers.recv(1)
            if not byte:
                raise RuntimeError("the nursery of processes has died")
            line += byte
        return line


def start(
    module: str, arguments: Sequence[str], *, env: Mapping[str, str], out: IO[bytes], err: IO[bytes], cwd: Path = ROOT
) -> Forked:
    """Run `python -m MODULE ARGUMENTS` in a process of its own."""
    request = json.dumps([module, [*arguments], {**env}, str(cwd)]).encode()
    ours, its = socket.socketpair()
    with its, _asking:
        nursery = _nursery()
        socket.send_fds(nursery, [len(request).to_bytes(4)], [its.fileno(), out.fileno(), err.fileno()])
        nursery.sendall(request)
    return Forked(ours)


def run(
    module: str, arguments: Sequence[str], *, env: Mapping[str, str], timeout: float, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGUMENTS` to its end, and return its exit code and what it wrote."""
    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        process = start(module, arguments, env=env, out=out, err=err, cwd=cwd)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess([module, *arguments], code, *said)


_asking = threading.Lock()
_running: list[socket.socket] = []


def _nursery() -> socket.socket:
    if not _running:
        ours, its = socket.socketpair()
        with its:
            command = [sys.executable, "-m", "tests.forked", str(its.fileno())]
            process = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()], start_new_session=True)
        atexit.register(_end, ours, process)
        _running.append(ours)
    return _running[0]


def _end(requests: socket.socket, nursery: subprocess.Popen[bytes]) -> None:
    requests.close()
    nursery.kill()  # it may still be importing; what it forked goes on
    nursery.wait()


# -- in the nursery ----------------------------------------------------------------------------------------------------


def _serve(requests: socket.socket) -> None:
    """Fork what is asked for, until whoever asks is gone."""
    for path in sorted((ROOT / "evaluator").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name not in RUN:
            importlib.import_module(name)
    for name in ALSO:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each process would go through all that was imported when it ends, and copy the memory it lies in
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        size, files, _, _ = socket.recv_fds(requests, 4, 3)
        if not size:
            return
        request = requests.recv(int.from_bytes(size), socket.MSG_WAITALL)
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _attend(request, *files)
            os._exit(0)
        for file in files:
            os.close(file)


def _attend(request: bytes, answers: int, out: int, err: int) -> None:
    """Fork the process, tell its id and, when it has ended, its exit code."""
    pid = os.fork()
    if pid:
        os.close(out)
        os.close(err)
        os.write(answers, b"%d\n" % pid)
        code = _ended(pid, answers)
        with contextlib.suppress(OSError):  # nobody wants to know any more
            os.write(answers, b"%d\n" % code)
        return
    os.close(answers)
    for file, place in ((out, 1), (err, 2)):
        os.dup2(file, place)
        os.close(file)
    os.setsid()
    module, arguments, environment, folder = json.loads(request)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()


def _ended(pid: int, answers: int) -> int:
    """Wait until a process has ended, or end it when nobody waits for it any more; return its exit code."""
    if sys.platform == "linux":
        ending = os.pidfd_open(pid)
        if ending not in select.select([ending, answers], [], [])[0]:
            os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
