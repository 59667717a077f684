"""Writing to annotation queues and datasets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from evaluator.langfuse.wire import Wire
from traces import Subject

_ROWS: Final = 100
"""Rows a page; the API has no more."""


async def queue_ids(wire: Wire) -> dict[str, str]:
    """Return the id of each annotation queue, by its name and by the id itself."""
    found: dict[str, str] = {}
    async for row in _rows(wire, "annotation-queues"):
        if isinstance(id_ := row.get("id"), str):
            found |= {id_: id_, str(row.get("name")): id_}
    return found


async def is_queued(wire: Wire, queue_id: str, subject: Subject) -> bool:
    """Whether a queue has the subject, done or not."""
    id_, kind = _named(subject)
    async for row in _rows(wire, _path(queue_id)):
        if row.get("objectId") == id_ and row.get("objectType") == kind:
            return True
    return False


async def enqueue(wire: Wire, queue_id: str, subject: Subject) -> None:
    """Put a subject into a queue; a queue takes the same one twice."""
    id_, kind = _named(subject)
    await wire.post_once(_path(queue_id), orjson.dumps({"objectId": id_, "objectType": kind}))


async def put_item(
    wire: Wire, dataset: str, item_id: str, subject: Subject, shown: Any, metadata: Mapping[str, Any]
) -> None:
    """Put what was shown to the application into a dataset; the same `item_id` again replaces the item."""
    body = {
        "id": item_id,
        "datasetName": dataset,
        "input": shown,
        "metadata": metadata,
        "sourceTraceId": subject.trace_id,
        "sourceObservationId": subject.observation_id,
    }
    await wire.post("dataset-items", orjson.dumps(body))


def _path(queue_id: str) -> str:
    return f"annotation-queues/{quote(queue_id, safe='')}/items"


def _named(subject: Subject) -> tuple[str, str]:
    if subject.observation_id is not None:
        return subject.observation_id, "OBSERVATION"
    return (subject.trace_id, "TRACE") if subject.trace_id is not None else (subject.session_id or "", "SESSION")


async def _rows(wire: Wire, path: str) -> AsyncIterator[Mapping[str, Any]]:
    page = last = 1
    while page <= last:
        answer = await wire.get(path, [("page", str(page)), ("limit", str(_ROWS))])
        rows = [row for row in answer.get("data") or () if isinstance(row, Mapping)]
        for row in rows:
            yield row
        # The page after a full one is asked for whatever the count of pages says: it may grow meanwhile.
        last = page + (len(rows) == _ROWS)
        page += 1
