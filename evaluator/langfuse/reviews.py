"""Annotation queues, the score configs people answer by, and datasets with their items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import orjson

from evaluator.errors import Refused
from evaluator.langfuse.wire import Wire
from traces import Subject

_ROWS: Final = 100
"""Rows a page; the API has no more."""

_ITEMS: Final = 10
"""Items a page: each may hold a whole trace, and an answer of more than 5 MB is refused."""


class DatasetItem(NamedTuple):
    """An item of a dataset: what was shown, as JSON, and what is known of it."""

    id: str
    input: Any
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QueueItem:
    """What stands in an annotation queue: the kind of object and its id, since when, and whether it is done."""

    kind: str
    id: str
    since: datetime
    is_done: bool


async def queue_ids(wire: Wire) -> dict[str, str]:
    """Return the id of each annotation queue, by its name and by the id itself."""
    found: dict[str, str] = {}
    async for row in _rows(wire, "annotation-queues"):
        if isinstance(id_ := row.get("id"), str):
            found |= {id_: id_, str(row.get("name")): id_}
    return found


async def is_queued(wire: Wire, queue_id: str, subject: Subject) -> bool:
    """Whether a queue has the subject, done or not."""
    kind, id_ = object_of(subject)
    async for row in _rows(wire, _path(queue_id)):
        if row.get("objectId") == id_ and row.get("objectType") == kind:
            return True
    return False


async def queue_items(wire: Wire, queue_id: str) -> list[QueueItem]:
    """Return all that stands in a queue, done or not."""
    return [
        QueueItem(
            str(row.get("objectType")),
            str(row.get("objectId")),
            datetime.fromisoformat(str(row.get("createdAt"))),
            row.get("status") == "COMPLETED",
        )
        async for row in _rows(wire, _path(queue_id))
    ]


async def make_queue(wire: Wire, name: str, description: str, config: Mapping[str, Any]) -> str:
    """Make a queue in which people give the score of a config, which is made too where none has its name.

    Args:
        wire: to the project.
        name: of the queue.
        description: shown to who labels.
        config: a score config as the API takes it.

    Raises:
        Refused: this Langfuse makes none (the plan has its own number of queues), or another one is called so.
    """
    configs = [row async for row in _rows(wire, "score-configs") if row.get("name") == config["name"]]
    known = next((str(row["id"]) for row in configs if not row.get("isArchived")), None)
    config_id = known or await _made(wire, "score-configs", config)
    asked = {"name": name, "description": description, "scoreConfigIds": [config_id]}
    return await _made(wire, "annotation-queues", asked)


async def _made(wire: Wire, path: str, body: Mapping[str, Any]) -> str:
    answer = await wire.post_once(path, orjson.dumps(body))
    if not isinstance(answer.get("id"), str):
        raise Refused(f"Langfuse answered POST {path} without an id")
    return str(answer["id"])


async def enqueue(wire: Wire, queue_id: str, subject: Subject) -> None:
    """Put a subject into a queue; a queue takes the same one twice."""
    kind, id_ = object_of(subject)
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
        "status": "ACTIVE",
        "sourceTraceId": subject.trace_id,
        "sourceObservationId": subject.observation_id,
    }
    await wire.post("dataset-items", orjson.dumps(body))


async def put_dataset(wire: Wire, name: str, description: str) -> None:
    """Make a dataset; one of that name stays, with what is in it."""
    await wire.post("v2/datasets", orjson.dumps({"name": name, "description": description}))


async def archive_item(wire: Wire, dataset: str, item_id: str) -> None:
    """Archive an item of a dataset: it stays to be read, and counts no more."""
    await wire.post("dataset-items", orjson.dumps({"id": item_id, "datasetName": dataset, "status": "ARCHIVED"}))


async def dataset_items(wire: Wire, dataset: str) -> list[DatasetItem]:
    """Return the items of a dataset that are not archived, each once."""
    found: dict[str, DatasetItem] = {}
    async for row in _rows(wire, "dataset-items", [("datasetName", dataset)], _ITEMS):
        if row.get("status") == "ACTIVE" and isinstance(id_ := row.get("id"), str):
            metadata = row.get("metadata")
            found[id_] = DatasetItem(id_, row.get("input"), metadata if isinstance(metadata, Mapping) else {})
    return list(found.values())


def _path(queue_id: str) -> str:
    return f"annotation-queues/{quote(queue_id, safe='')}/items"


def object_of(subject: Subject) -> tuple[str, str]:
    """Return what a subject is called in a queue: the kind of object, and its id."""
    if subject.observation_id is not None:
        return "OBSERVATION", subject.observation_id
    return ("TRACE", subject.trace_id) if subject.trace_id is not None else ("SESSION", subject.session_id or "")


async def _rows(
    wire: Wire, path: str, query: Sequence[tuple[str, str]] = (), a_page: int = _ROWS
) -> AsyncIterator[Mapping[str, Any]]:
    page = last = 1
    while page <= last:
        answer = await wire.get(path, [*query, ("page", str(page)), ("limit", str(a_page))])
        rows = [row for row in answer.get("data") or () if isinstance(row, Mapping)]
        for row in rows:
            yield row
        # The page after a full one is asked for whatever the count of pages says: it may grow meanwhile.
        last = page + (len(rows) == a_page)
        page += 1
