"""Where the service's CPU goes: `python -m benchmarks.breakdown` sweeps in this process and keeps books on its threads.

Every public function and every coroutine of the modules in the table is wrapped. Whoever enters one is from then on
charged to its line, until it returns, waits or enters another line; the clock is the operating system's CPU time of the
thread, so that waiting costs nothing and calls into the kernel count for who made them. Nothing is sampled: in Python a
sampler gets to look mostly when the program lets others run, and sees what it does then. The books cost some CPU
themselves, so only the shares count.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pkgutil
import sys
import threading
import time
import types
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from typing import Any, Final

from evaluator import cli, service

LINES: Final = (
    ("evaluator.discovery.sweep", "sampling"),
    ("evaluator.sampling.sampler", "sampling"),
    ("evaluator.langfuse.client", "fetching and reading traces"),
    ("evaluator.langfuse.reading", "fetching and reading traces"),
    ("evaluator.langfuse.scanning", "fetching and reading traces"),
    ("rules", "rules"),
    ("judges.rubric", "rendering prompts"),
    ("evaluator.model", "asking the model"),
    ("judges.asking", "reading answers"),
    ("evaluator.scoring.scores", "scores"),
    ("evaluator.langfuse.writing", "scores"),
    ("evaluator.state.fleet", "Redis: claims, outcomes, done-marks"),
    ("evaluator.limits", "limits"),
    ("evaluator.scoring.judge_traces", "pipeline"),
    ("evaluator.pipeline", "pipeline"),
    ("evaluator.worker", "Dramatiq and its Redis"),
    ("dramatiq", "Dramatiq and its Redis"),
    ("aiohttp.client_proto", "HTTP answers coming in"),
)
"""Module, or package with all its modules -> the line its functions are charged to; the last one that fits holds."""

BY_THREAD: Final = (("io", "event loop and sockets"), ("MainThread", "command line"))
"""Name of a thread -> what it is charged to outside all of them."""

UNBOOKED: Final = "not in the books"
"""What threads used that never entered a line, or had not yet come back from one."""

OTHER_THREADS: Final = "Dramatiq and its Redis"

_OURS: Final = ("evaluator", "judges", "rules", "traces")


class Account:
    """The books of one thread."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.seconds: dict[str, float] = defaultdict(float)
        self.since = time.thread_time()

    def turn_to(self, line: str) -> str:
        """Charge what was used to the line so far, go on with another; return the line so far."""
        now = time.thread_time()
        before = self.line
        self.seconds[before] += now - self.since
        self.since = now
        self.line = line
        return before


class Ledger:
    """The books of all threads."""

    def __init__(self) -> None:
        self._here = threading.local()
        self._accounts: list[Account] = []
        self._lines = {module: line for package, line in LINES for module in _modules(package)}

    def seconds(self) -> dict[str, float]:
        """Return the CPU seconds by line, over all threads."""
        total: dict[str, float] = defaultdict(float)
        for account in self._accounts:
            for line, seconds in account.seconds.items():
                total[line] += seconds
        return dict(total)

    def open(self) -> None:
        """Wrap what the modules of the table define, wherever it is referred to."""
        wrapped = {id(function): wrapper for function, wrapper in self._functions()}
        ours = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in _OURS]
        for module in ours:
            for name, value in list(vars(module).items()):
                if inspect.isfunction(value) and id(value) in wrapped:
                    setattr(module, name, wrapped[id(value)])

    def _functions(self) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
        """Wrap the methods in place, and give each function of a module with its wrapper."""
        for name, line in self._lines.items():
            module = sys.modules[name]
            for part in list(vars(module).values()):
                if getattr(part, "__module__", "") != name:
                    continue
                if inspect.isclass(part):
                    for method, function in list(vars(part).items()):
                        if _is_entry(function):
                            setattr(part, method, self._wrapper(function, line))
                elif _is_entry(part):
                    yield part, self._wrapper(part, line)

    def _wrapper(self, function: Callable[..., Any], line: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def plain(*given: Any, **named: Any) -> Any:
            account = self._account()
            if account.line is line:
                return function(*given, **named)
            before = account.turn_to(line)
            try:
                return function(*given, **named)
            finally:
                account.turn_to(before)

        @functools.wraps(function)
        async def waiting(*given: Any, **named: Any) -> Any:
            return await self._steps(function(*given, **named), line)

        return waiting if inspect.iscoroutinefunction(function) else plain

    @types.coroutine
    def _steps(self, work: Coroutine[Any, Any, Any], line: str) -> Generator[Any, Any, Any]:
        """Run a coroutine step by step: between two steps its thread does something else."""
        account = self._account()
        go_on: Callable[[Any], Any] = work.send
        given: Any = None
        while True:
            before = account.turn_to(line)
            try:
                waited_for = go_on(given)
            except StopIteration as ended:
                return ended.value
            finally:
                account.turn_to(before)
            go_on, given = work.send, None
            try:
                given = yield waited_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's: a cancellation, for one
                go_on, given = work.throw, error

    def _account(self) -> Account:
        account: Account | None = getattr(self._here, "account", None)
        if account is None:
            name = threading.current_thread().name
            account = self._here.account = Account(dict(BY_THREAD).get(name, OTHER_THREADS))
            self._accounts.append(account)
        return account


def _modules(package: str) -> list[str]:
    module = importlib.import_module(package)
    inside = pkgutil.walk_packages(getattr(module, "__path__", ()), package + ".")
    names = [package]
    for each in inside:
        with suppress(ImportError):  # a library's module for something that is not installed
            importlib.import_module(each.name)
            names.append(each.name)
    return names


def _is_entry(part: object) -> bool:
    """Whether others come in here: public functions, and coroutines, which are handed around under any name."""
    if not inspect.isfunction(part) or inspect.isgeneratorfunction(part):
        return False
    return inspect.iscoroutinefunction(part) or not part.__name__.startswith("_")


def main() -> None:
    """Sweep as the command line does; print, as JSON, the CPU seconds of the sweep by line."""
    ledger = Ledger()
    ledger.open()
    used: dict[str, float] = {}
    sweep = service.sweep

    def watched(*given: Any, **named: Any) -> service.Swept:
        before, since = ledger.seconds(), time.process_time()
        try:
            return sweep(*given, **named)
        finally:
            whole = time.process_time() - since
            used.update({line: seconds - before.get(line, 0.0) for line, seconds in ledger.seconds().items()})
            used[UNBOOKED] = whole - sum(used.values())

    service.sweep = watched
    sys.argv[1:] = ["sweep", "--since", "1h", "--drain", "--json"]
    with suppress(SystemExit):
        cli.main()
    sys.stdout.write(json.dumps(used) + "\n")


if __name__ == "__main__":
    main()
