"""Reads the published judge outputs of ../shared/data; SOURCE.md beside each set says where they are from."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from judges.agreement import TIE


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Give the rows of a file of JSON lines, compressed or not."""
    content = path.read_bytes()
    for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines():
        yield json.loads(line)


def winner(given: dict[str, Any]) -> int:
    """Return what LLMBar published as the winner: 1, 2, or neither when nothing was found in the answer."""
    return int(given["winner"] or TIE)
