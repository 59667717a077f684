"""Reading roots and writing scores with the langfuse SDK, as every contender but the service and the floor does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from langfuse import Langfuse

from benchmarks.work import JUDGED, rules, texts


def roots(langfuse: Langfuse) -> list[Any]:
    """Return the roots of the last hour with their texts."""
    rows: list[Any] = []
    cursor: str | None = None
    since = datetime.now(UTC) - timedelta(hours=1)
    while True:
        page = langfuse.api.observations.get_many(
            fields="core,basic,io", is_root_observation=True, from_start_time=since, limit=1000, cursor=cursor
        )
        rows += page.data
        cursor = page.meta.cursor
        if not cursor:
            return rows


def write(langfuse: Langfuse, root: Any, judged: float) -> None:
    """Write the judge's score of a root and the five of the rules; the SDK sends them in its own time."""
    _, answer = texts(root.input, root.output)
    found = {JUDGED: judged, **rules(answer, root.level, root.start_time, root.end_time)}
    for name, value in found.items():
        langfuse.create_score(trace_id=root.trace_id, name=name, value=value)
