"""The facts a figure needs beside it: which machine, which versions, when."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_OURS: Final = ("aiohttp", "dramatiq", "langfuse", "openai", "orjson", "redis")
_PEERS: Final = ("arize-phoenix-evals", "deepeval")
BUSY: Final = 0.5
"""Load average from which speed is no measurement: CPU hardly changes then, but who waits for a core looks slow."""

_LOCK: Final = Path(__file__).parents[1] / "requirements" / "bench.txt"


def load() -> float:
    """Return how many processes want a core, as the mean of the last minute; what was there before is not ours."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def facts(command: str, load_before: float) -> str:
    """Return one paragraph of facts about a run of `command`, and how busy the machine was before it."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _OURS]
    locked = _LOCK.read_text(encoding="utf-8")
    versions += [
        f"{name} {version}" for name, version in re.findall(r"^(\S+)==(\S+)", locked, re.MULTILINE) if name in _PEERS
    ]
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `{command}`: {_processor()}, {os.cpu_count()} cores, "
        f"{platform.system()}, Python {platform.python_version()}; {', '.join(versions)}. "
        f"Load average before it: {load_before:.1f}."
    )


def _processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
