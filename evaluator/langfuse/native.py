"""Reading the evaluators and evaluation rules that Langfuse itself runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evaluator.langfuse.wire import Wire

_ROWS: Final = 100
"""Rows a page; the API has no more."""


async def rows_of(wire: Wire, kind: str) -> list[Mapping[str, Any]]:
    """Return every row of `v2/evaluators` or `v2/evaluation-rules`, as Langfuse tells it."""
    found: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    params = [("limit", str(_ROWS))]
    while True:
        answer = await wire.get(f"v2/{kind}", params)
        found += [row for row in answer.get("data") or () if isinstance(row, Mapping)]
        cursor = (answer.get("meta") or {}).get("cursor")
        if not isinstance(cursor, str) or cursor in seen:
            return found
        seen.add(cursor)
        params = [("limit", str(_ROWS)), ("cursor", cursor)]
