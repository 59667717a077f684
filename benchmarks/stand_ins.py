"""The stand-ins of a measurement, in a process of their own: their world is set over HTTP, and so is what they saw."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class StandIns:
    """Running stand-ins: their address and their process."""

    url: str
    process: int

    def reset(self, world: DataclassInstance) -> None:
        """Start a new world."""
        self._ask("/_reset", json.dumps(asdict(world)).encode())

    def counts(self) -> Mapping[str, Any]:
        """Return what arrived since then."""
        answer: Mapping[str, Any] = json.loads(self._ask("/_counts", None))
        return answer

    def _ask(self, path: str, body: bytes | None) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=body), timeout=60) as answer:
            content: bytes = answer.read()
        return content


@contextlib.contextmanager
def standing_in(module: str, *arguments: str) -> Iterator[StandIns]:
    """Run a module that prints the address it serves as the first thing it says."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield StandIns(json.loads(process.stdout.readline())["url"], process.pid)
        finally:
            process.terminate()
