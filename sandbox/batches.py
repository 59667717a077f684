"""OpenAI's files and batches: a file of requests is answered later, in a file, in no order, not always whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import orjson
from aiohttp import web

Refuse = Callable[[int, str, str], web.Response]

_WINDOW_SECONDS: Final = 24 * 3600
_NO_FILE: Final = "No such File object: "


@dataclass(slots=True)
class BatchFaults:
    """How batches misbehave; every field may be changed while serving.

    Attributes:
        seconds: How long a batch takes.
        expired: Share of batches that expire; `answered` is the share of their requests that were answered before.
        answered: See `expired`.
        failed: Share of batches that are refused as a whole, after they were taken.
        line_errors: Share of requests that are answered with an error of their own.
        lost_lines: Share of requests of which nothing is ever heard.
        code: What a refused batch says; `token_limit_exceeded` passes with time.
        unsupported: Answer 404, as servers without batches do.
    """

    seconds: float = 0.0
    expired: float = 0.0
    answered: float = 0.5
    failed: float = 0.0
    code: str = "invalid_request"
    line_errors: float = 0.0
    lost_lines: float = 0.0
    unsupported: bool = False


@dataclass(slots=True)
class _Batch:
    id: str
    input_file: str
    metadata: dict[str, str]
    created: float
    total: int = 0
    status: str = "in_progress"
    output_file: str | None = None
    error_file: str | None = None
    errors: list[dict[str, str]] = field(default_factory=list)


class BatchDesk:
    """Takes files and batches.

    Attributes:
        faults: How batches misbehave.
        answers: Requests answered so far, by custom id.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], dict[str, Any]],
        problem: Callable[[dict[str, Any]], str | None],
        refuse: Refuse,
        seed: int = 0,
    ) -> None:
        """Answer the body of a request without a `problem`; `refuse` with status, message and code."""
        self.faults = BatchFaults()
        self.answers: list[str] = []
        self._answer = answer
        self._problem = problem
        self._refuse = refuse
        self._random = Random(seed)
        self._files: dict[str, bytes] = {}
        self._filings = 0
        self._batches: dict[str, _Batch] = {}

    def add_routes(self, app: web.Application) -> None:
        """Add the routes of files and batches to `app`."""
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_delete("/v1/files/{id}", self._delete)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._look)

    def counts(self) -> dict[str, int]:
        """Return how many batches there were, requests answered in them, and files that are still there."""
        return {"batches": len(self._batches), "batched": len(self.answers), "files": len(self._files)}

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if self.faults.unsupported:
            return self._refuse(404, "Not found", "not_found")
        given = await request.post()
        uploaded = given.get("file")
        if given.get("purpose") != "batch" or not isinstance(uploaded, web.FileField):
            return self._refuse(400, "'purpose' is a required property", "invalid_request_error")
        return web.json_response(self._filed(uploaded.file.read(), str(uploaded.filename)))

    def _filed(self, content: bytes, name: str) -> dict[str, Any]:
        self._filings += 1
        file_id = f"file-{self._filings}"
        self._files[file_id] = content
        return {"id": file_id, "object": "file", "bytes": len(content), "filename": name, "purpose": "batch"}

    async def _content(self, request: web.Request) -> web.StreamResponse:
        content = self._files.get(request.match_info["id"])
        if content is None:
            return self._refuse(404, _NO_FILE + request.match_info["id"], "not_found")
        return web.Response(body=content, content_type="application/octet-stream")

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        if self._files.pop(file_id, None) is None:
            return self._refuse(404, _NO_FILE + file_id, "not_found")
        return web.json_response({"id": file_id, "object": "file", "deleted": True})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        given = orjson.loads(await request.read())
        if given.get("input_file_id") not in self._files:
            return self._refuse(400, _NO_FILE + str(given.get("input_file_id")), "invalid_request_error")
        if given.get("endpoint") != "/v1/chat/completions" or given.get("completion_window") != "24h":
            return self._refuse(400, "Invalid endpoint or completion window", "invalid_request_error")
        batch = _Batch(
            f"batch_{len(self._batches) + 1}", given["input_file_id"], given.get("metadata") or {}, time.time()
        )
        self._batches[batch.id] = batch
        batch.total = len(self._files[batch.input_file].splitlines())
        return web.json_response(_document(batch))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        newest = list(reversed(self._batches.values()))
        after = request.query.get("after")
        start = next((n + 1 for n, batch in enumerate(newest) if batch.id == after), 0)
        page = newest[start : start + int(request.query.get("limit", 20))]
        has_more = start + len(page) < len(newest)
        data = [_document(batch) for batch in page]
        return web.json_response({"object": "list", "data": data, "has_more": has_more})

    async def _look(self, request: web.Request) -> web.StreamResponse:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return self._refuse(404, f"No batch found with id '{request.match_info['id']}'.", "not_found")
        if batch.status == "in_progress" and time.time() - batch.created >= self.faults.seconds:
            self._finish(batch)
        return web.json_response(_document(batch))

    def _finish(self, batch: _Batch) -> None:
        lines = self._files[batch.input_file].splitlines()
        if len({orjson.loads(line)["body"].get("model") for line in lines}) > 1:
            message = "All requests of a batch must be for the same model."
            batch.status, batch.errors = "failed", [{"code": "mismatched_model", "message": message}]
            return
        draw = self._random.random()
        if draw < self.faults.failed:
            batch.status, batch.errors = "failed", [{"code": self.faults.code, "message": "Not begun."}]
            return
        expired = draw < self.faults.failed + self.faults.expired
        batch.status = "expired" if expired else "completed"
        out, errors = self._worked_through(lines, expired)
        self._random.shuffle(out)
        batch.output_file = self._filed(b"\n".join(out), "output.jsonl")["id"] if out else None
        batch.error_file = self._filed(b"\n".join(errors), "errors.jsonl")["id"] if errors else None

    def _worked_through(self, lines: list[bytes], expired: bool) -> tuple[list[bytes], list[bytes]]:
        out: list[bytes] = []
        errors: list[bytes] = []
        for line in lines:
            asked = orjson.loads(line)
            if expired and self._random.random() >= self.faults.answered:
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                errors.append(_line(asked, None, error))
            elif (draw := self._random.random()) < self.faults.line_errors:
                errors.append(_line(asked, {"status_code": 500, "request_id": "", "body": {"error": {}}}, None))
            elif (problem := self._problem(asked["body"])) is not None:
                body = {"error": {"message": problem, "type": "invalid_request_error", "param": None, "code": None}}
                errors.append(_line(asked, {"status_code": 400, "request_id": "", "body": body}, None))
            elif draw >= self.faults.line_errors + self.faults.lost_lines:
                self.answers.append(str(asked["custom_id"]))
                body = self._answer(asked["body"])
                out.append(_line(asked, {"status_code": 200, "request_id": "", "body": body}, None))
        return out, errors


def _line(asked: dict[str, Any], response: dict[str, Any] | None, error: dict[str, str] | None) -> bytes:
    return orjson.dumps({"id": "batch_req", "custom_id": asked["custom_id"], "response": response, "error": error})


def _document(batch: _Batch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": int(batch.created),
        "expires_at": int(batch.created) + _WINDOW_SECONDS,
        "request_counts": {"total": batch.total},
        "metadata": batch.metadata,
    }
