"""Annotation queues and datasets: where people put what they want to look at, or to test with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from threading import Lock
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid4, uuid5

from sandbox.langfuse.answers import Refusal, bad_request, invalid, issue, not_found
from sandbox.langfuse.times import iso, now_ms

_KINDS: Final = ("TRACE", "OBSERVATION", "SESSION")
_MOST: Final = 100
_OF_ITEM: Final = ("input", "expectedOutput", "metadata", "sourceTraceId", "sourceObservationId")


class Reviews:
    """All queues and datasets of the project. Every method may be called from any thread."""

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id
        self._queues: dict[str, str] = {}
        self._configs: dict[str, list[str]] = {}
        self.most_queues = 1000
        """How many the plan allows."""

        self._items: dict[str, list[dict[str, Any]]] = {}
        self._datasets: dict[str, dict[str, dict[str, Any]]] = {}
        self._lock = Lock()

    def add_queue(self, name: str, configs: Sequence[str] = ()) -> str:
        """Make a queue for scores of these configs; return its id."""
        with self._lock:
            id_ = f"queue-{len(self._queues) + 1}"
            self._queues[id_] = name
            self._items[id_] = []
            self._configs[id_] = list(configs)
            return id_

    def create_queue(self, body: Any, known: Collection[str]) -> dict[str, Any]:
        """Answer POST /annotation-queues; `known` are the ids of the project's score configs.

        Raises:
            Refusal: 400, or 405 when the plan allows no more.
        """
        if not isinstance(body, Mapping) or not isinstance(body.get("name"), str) or not 1 <= len(body["name"]) <= 35:
            invalid([issue("String must contain 1 to 35 characters", "name")])
        configs = body.get("scoreConfigIds")
        if not isinstance(configs, list) or not configs or not set(configs) <= set(known):
            bad_request("At least one of the score config IDs cannot be found for the given project")
        with self._lock:
            if body["name"] in self._queues.values():
                bad_request(f"A queue with the name {body['name']} already exists")
            full = len(self._queues) >= self.most_queues
        if full:
            said = "Maximum number of annotation queues reached on your plan."
            raise Refusal(405, {"message": said, "error": "MethodNotAllowedError"})
        return self._document(self.add_queue(body["name"], configs))

    def _document(self, id_: str) -> dict[str, Any]:
        times = dict.fromkeys(("createdAt", "updatedAt"), iso(now_ms()))
        configs = self._configs[id_]
        return {"id": id_, "name": self._queues[id_], "description": None, "scoreConfigIds": configs, **times}

    def add_dataset(self, name: str) -> None:
        """Make a dataset."""
        with self._lock:
            self._datasets[name] = {}

    def queued(self, name: str) -> list[dict[str, Any]]:
        """Return the items of the queue of this name, oldest first."""
        with self._lock:
            return [item for id_, known in self._queues.items() if known == name for item in self._items[id_]]

    def dataset(self, name: str) -> list[dict[str, Any]]:
        """Return the items of a dataset, oldest first."""
        with self._lock:
            return list(self._datasets[name].values())

    def queues(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer GET /annotation-queues.

        Raises:
            Refusal: 400.
        """
        with self._lock:
            data = [self._document(id_) for id_ in self._queues]
        return _page(data, query)

    def queue_items(self, queue_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer GET /annotation-queues/ID/items.

        Raises:
            Refusal: 400, or 404 when there is no such queue.
        """
        with self._lock:
            return _page(list(self._queue(queue_id)), query)

    def enqueue(self, queue_id: str, body: Any) -> dict[str, Any]:
        """Answer POST /annotation-queues/ID/items: the same object may stand in a queue twice.

        Raises:
            Refusal: 400, or 404 when there is no such queue.
        """
        if not isinstance(body, Mapping) or not isinstance(body.get("objectId"), str):
            invalid([issue("Required", "objectId")])
        if body.get("objectType") not in _KINDS:
            invalid([issue("Invalid enum value", "objectType", code="invalid_enum_value")])
        now = iso(now_ms())
        with self._lock:
            item = {
                "id": str(uuid4()),
                "queueId": queue_id,
                "objectId": body["objectId"],
                "objectType": body["objectType"],
                "status": body.get("status") or "PENDING",
                "completedAt": None,
                "createdAt": now,
                "updatedAt": now,
            }
            self._queue(queue_id).append(item)
        return item

    def put_dataset(self, body: Any) -> dict[str, Any]:
        """Answer POST /v2/datasets: one of a known name stays, with what is in it.

        Raises:
            Refusal: 400.
        """
        if not isinstance(body, Mapping) or not isinstance(body.get("name"), str) or not body["name"]:
            invalid([issue("Required", "name")])
        with self._lock:
            self._datasets.setdefault(body["name"], {})
            told = {"description": body.get("description"), "metadata": body.get("metadata")}
            times = dict.fromkeys(("createdAt", "updatedAt"), iso(now_ms()))
            return {
                "id": _dataset_id(body["name"]),
                "name": body["name"],
                "projectId": self._project_id,
                **told,
                **times,
            }

    def put_item(self, body: Any) -> dict[str, Any]:
        """Answer POST /dataset-items: of an item with a known id what is given is replaced, the rest stays.

        Raises:
            Refusal: 400, or 404 when there is no such dataset, or another one has the item.
        """
        if not isinstance(body, Mapping) or not isinstance(body.get("datasetName"), str):
            invalid([issue("Required", "datasetName")])
        if body.get("status") not in (None, "ACTIVE", "ARCHIVED"):
            invalid([issue("Invalid enum value", "status", code="invalid_enum_value")])
        now, name = iso(now_ms()), body["datasetName"]
        with self._lock:
            dataset = self._datasets.get(name)
            if dataset is None:
                not_found("Dataset not found")
            id_ = body.get("id") or str(uuid4())
            if any(id_ in items for items in self._datasets.values() if items is not dataset):
                not_found(f"The dataset item with id {id_} already exists in a dataset other than {name}")
            known = dataset.get(id_) or {
                **dict.fromkeys(_OF_ITEM),
                "id": id_,
                "status": "ACTIVE",
                "datasetId": _dataset_id(name),
                "datasetName": name,
                "createdAt": now,
            }
            given = {field: body[field] for field in (*_OF_ITEM, "status") if body.get(field) is not None}
            dataset[id_] = {**known, **given, "updatedAt": now}
            return dataset[id_]

    def items(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer GET /dataset-items: the newest first, archived ones too.

        Raises:
            Refusal: 400, or 404 when there is no such dataset.
        """
        name = query.get("datasetName")
        with self._lock:
            if name is not None and name not in self._datasets:
                not_found("Dataset not found")
            held = [self._datasets[name]] if name is not None else list(self._datasets.values())
            found = [item for items in held for item in items.values()]
        source = query.get("sourceTraceId")
        kept = [item for item in found if source is None or item["sourceTraceId"] == source]
        return _page(sorted(kept, key=lambda item: str(item["createdAt"]), reverse=True), query)

    def _queue(self, queue_id: str) -> list[dict[str, Any]]:
        if queue_id not in self._items:
            not_found("Annotation queue not found")
        return self._items[queue_id]


def _dataset_id(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, name))


def _page(data: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    page, limit = _number(query, "page", 1), _number(query, "limit", 50)
    if limit > _MOST:
        invalid([issue(f"Number must be less than or equal to {_MOST}", "limit", code="too_big")])
    pages = -(-len(data) // limit)
    meta = {"page": page, "limit": limit, "totalItems": len(data), "totalPages": pages}
    return {"data": data[(page - 1) * limit : page * limit], "meta": meta}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        invalid([issue("Expected number", name, code="invalid_type")])
    return int(text)
