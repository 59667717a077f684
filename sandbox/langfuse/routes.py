"""The stand-in's HTTP routes: who may call them, which limit they count against, how they answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from sandbox.faults import CONTROL, Fault, FaultKind, Handler, controlling, injecting
from sandbox.langfuse.answers import (
    LEGACY_OFF,
    V4_OFF,
    Refusal,
    answer,
    bad_request,
    invalid,
    issue,
    not_found,
    server_error,
)
from sandbox.langfuse.control import add_control
from sandbox.langfuse.limits import Bucket, too_many
from sandbox.langfuse.scores import score_config
from sandbox.langfuse.stand_in import LangfuseStandIn
from sandbox.langfuse.times import iso, now_ms

_API: Final = "/api/public"
_LEGACY: Final = (
    "traces",
    "traces/{id}",
    "observations",
    "observations/{id}",
    "sessions",
    "scores",
    "v2/scores",
    "v2/scores/{id}",
)
_LARGEST_BODY: Final = 64 * 1024 * 1024
_LARGEST_SCORES: Final = 1024 * 1024
_LARGEST_BATCH: Final = 4_500_000
_NEWEST_INGESTION_VERSION: Final = 4

Work = Callable[[LangfuseStandIn, web.Request], Awaitable[web.Response]]


def application(langfuse: LangfuseStandIn) -> web.Application:
    """Return the application that serves `langfuse`."""
    middlewares = [_counting(langfuse), injecting(langfuse.faults, _planted), _answering_errors]
    app = web.Application(client_max_size=_LARGEST_BODY, middlewares=middlewares)
    add = app.router.add_route
    add("GET", f"{_API}/health", _open(langfuse, _health))
    for method, path, work, bucket in _ROUTES:
        add(method, f"{_API}/{path}", _guarded(langfuse, work, bucket))
    for path in _LEGACY:
        add("GET", f"{_API}/{path}", _open(langfuse, _legacy))
    add("GET", "/storage/media/{id}", _open(langfuse, _download))
    add("POST", f"{CONTROL}faults", controlling(langfuse.faults))
    add_control(app, langfuse)
    return app


def _open(langfuse: LangfuseStandIn, work: Work) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await work(langfuse, request)

    return handle


def _guarded(langfuse: LangfuseStandIn, work: Work, bucket: Bucket) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        langfuse.authorise(request.headers.get("Authorization"), writes_scores=work is _create_scores)
        langfuse.take(bucket)
        return await work(langfuse, request)

    return handle


def _planted(fault: Fault) -> web.StreamResponse:
    if fault.kind is FaultKind.ERROR:
        return server_error(fault.status)
    now = now_ms()
    try:
        too_many(30, now + round(fault.seconds * 1000), now)
    except Refusal as refusal:
        return answer(refusal.body, refusal.status, refusal.headers)


def _counting(langfuse: LangfuseStandIn) -> Any:
    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = f"{request.method} {resource.canonical if resource is not None else 'unknown'}"
        response = await handler(request)
        if not request.path.startswith(CONTROL):
            langfuse.note_request(route, "reset" if response.status == 499 else str(response.status))
        return response

    return count


@web.middleware
async def _answering_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return answer(refusal.body, refusal.status, refusal.headers)
    except web.HTTPMethodNotAllowed:
        return answer({"message": "Method not allowed", "error": "MethodNotAllowedError"}, 405)
    except web.HTTPNotFound:
        return answer({"message": f"Not found: {request.path}"}, 404)
    except web.HTTPRequestEntityTooLarge:
        return answer({"message": "Body exceeded the limit"}, 413)


async def _health(langfuse: LangfuseStandIn, _request: web.Request) -> web.Response:
    return answer({"status": "OK", "version": langfuse.behaviour.version})


async def _legacy(_langfuse: LangfuseStandIn, _request: web.Request) -> web.Response:
    return answer({"message": LEGACY_OFF}, 404)


async def _projects(langfuse: LangfuseStandIn, _request: web.Request) -> web.Response:
    organisation = {"id": "sandbox-organisation", "name": "Sandbox organisation"}
    project = {"id": langfuse.project_id, "name": langfuse.project_name, "organization": organisation, "metadata": {}}
    return answer({"data": [project]})


async def _observations(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    if not langfuse.behaviour.has_v4_reads:
        not_found(V4_OFF)
    return answer(langfuse.observations(request.query))


async def _create_scores(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    body = await _json_body(request, _LARGEST_SCORES)
    if not isinstance(body, list):
        return answer({"id": langfuse.put_score(body)})
    if not langfuse.behaviour.batches_scores:
        invalid([issue("Expected object, received array", code="invalid_type")])
    if not body:
        invalid([issue("Array must contain at least 1 element(s)", code="too_small")])
    errors: list[dict[str, str]] = []
    for item in body:
        try:
            langfuse.put_score(item)
        except Refusal as refusal:
            # No id and no place: the caller cannot tell which one it was. So does the real server.
            errors.append({"message": "; ".join(found["message"] for found in refusal.body["error"])})
    if errors:
        return answer({"accepted": len(body) - len(errors), "rejected": len(errors), "errors": errors}, 207)
    return answer({"message": "Accepted"}, 202)


async def _json_body(request: web.Request, largest: int) -> Any:
    body = await request.read()
    if len(body) > largest:
        raise Refusal(413, {"message": "Body exceeded the limit"})
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        bad_request("Invalid JSON")


async def _read_scores(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.scores(request.query))


async def _metrics(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    if not langfuse.behaviour.has_v4_reads:
        not_found(V4_OFF)
    return answer(langfuse.metrics(request.query.get("query")))


async def _delete_score(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    langfuse.delete_score(request.match_info["id"])
    return answer({"message": "Score deletion queued successfully"}, 202)


async def _delete_trace(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    langfuse.delete_traces([request.match_info["id"]])
    return answer({"message": "Trace deleted successfully"})


async def _delete_traces(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    body = await _json_body(request, _LARGEST_SCORES)
    ids = body.get("traceIds") if isinstance(body, dict) else None
    if not isinstance(ids, list) or not 1 <= len(ids) <= 1000:
        invalid([issue("Array must contain 1 to 1000 elements", "traceIds")])
    langfuse.delete_traces(ids)
    return answer({"message": "Traces deleted successfully"})


async def _configs(langfuse: LangfuseStandIn, _request: web.Request) -> web.Response:
    now = iso(now_ms())
    data = [config.document(langfuse.project_id, now) for config in langfuse.configs.values()]
    return answer({"data": data, "meta": {"page": 1, "limit": 50, "totalItems": len(data), "totalPages": 1}})


async def _config(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    config = langfuse.configs.get(request.match_info["id"])
    if config is None:
        not_found("Score config not found within authorized project")
    return answer(config.document(langfuse.project_id, iso(now_ms())))


async def _prompt(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.prompts.get(request.match_info["name"], request.query))


async def _prompts(langfuse: LangfuseStandIn, _request: web.Request) -> web.Response:
    return answer(langfuse.prompts.listed())


async def _create_prompt(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.prompts.create(await _json_body(request, _LARGEST_SCORES)), 201)


async def _evaluators(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.native.evaluators(request.query))


async def _evaluation_rules(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.native.rules(request.query))


async def _create_config(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    config = score_config(await _json_body(request, _LARGEST_SCORES))
    langfuse.configs[config.id] = config
    return answer(config.document(langfuse.project_id, iso(now_ms())))


async def _create_queue(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.reviews.create_queue(await _json_body(request, _LARGEST_SCORES), langfuse.configs))


async def _queues(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.reviews.queues(request.query))


async def _queue_items(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.reviews.queue_items(request.match_info["id"], request.query))


async def _enqueue(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.reviews.enqueue(request.match_info["id"], await _json_body(request, _LARGEST_SCORES)))


async def _items(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.reviews.items(request.query))


async def _put_dataset(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.reviews.put_dataset(await _json_body(request, _LARGEST_SCORES)))


async def _put_item(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.reviews.put_item(await _json_body(request, _LARGEST_BATCH)))


async def _media(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return answer(langfuse.media.record(request.match_info["id"], str(request.url.origin())))


async def _download(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    return langfuse.media.download(request)


async def _spans(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    version = request.headers.get("x-langfuse-ingestion-version", "0")
    if not version.isdecimal() or int(version) > _NEWEST_INGESTION_VERSION:
        bad_request(f"Unsupported ingestion version {version}")
    langfuse.ingest(await request.read(), request.content_type)
    return answer({})


async def _ingestion(langfuse: LangfuseStandIn, request: web.Request) -> web.Response:
    body = await _json_body(request, _LARGEST_BATCH)
    events = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        invalid([issue("Expected array", "batch", code="invalid_type")])
    successes: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for event in events:
        try:
            _take_event(langfuse, event)
            successes.append({"id": event.get("id"), "status": 201})
        except Refusal as refusal:
            failed = {"id": event.get("id"), "status": refusal.status}
            errors.append(failed | {"message": "Invalid request data", "error": str(refusal.body.get("error"))})
    return answer({"successes": successes, "errors": errors}, 207)


def _take_event(langfuse: LangfuseStandIn, event: dict[str, Any]) -> None:
    if event.get("type") != "score-create":
        bad_request("Only score-create is accepted in v4 events_only mode")
    body = event.get("body")
    if isinstance(body, dict) and not body.get("id"):
        langfuse.drop_score()  # accepted and never stored: a score without an id has no place in the queue
        return
    langfuse.put_score(body, timestamp=event.get("timestamp"))


_ROUTES: Final[tuple[tuple[str, str, Work, Bucket], ...]] = (
    ("GET", "projects", _projects, Bucket.NONE),
    ("GET", "v2/observations", _observations, Bucket.GENERAL),
    ("POST", "scores", _create_scores, Bucket.GENERAL),
    ("DELETE", "scores/{id}", _delete_score, Bucket.NONE),
    ("GET", "v3/scores", _read_scores, Bucket.GENERAL),
    ("GET", "v2/metrics", _metrics, Bucket.METRICS),
    ("GET", "score-configs", _configs, Bucket.GENERAL),
    ("GET", "score-configs/{id}", _config, Bucket.GENERAL),
    ("POST", "score-configs", _create_config, Bucket.GENERAL),
    ("GET", "v2/prompts", _prompts, Bucket.NONE),
    ("POST", "v2/prompts", _create_prompt, Bucket.NONE),
    ("GET", "v2/prompts/{name}", _prompt, Bucket.NONE),
    ("GET", "v2/evaluators", _evaluators, Bucket.GENERAL),
    ("GET", "v2/evaluation-rules", _evaluation_rules, Bucket.GENERAL),
    ("GET", "media/{id}", _media, Bucket.GENERAL),
    ("GET", "annotation-queues", _queues, Bucket.REVIEWS),
    ("POST", "annotation-queues", _create_queue, Bucket.REVIEWS),
    ("GET", "annotation-queues/{id}/items", _queue_items, Bucket.REVIEWS),
    ("POST", "annotation-queues/{id}/items", _enqueue, Bucket.REVIEWS),
    ("GET", "dataset-items", _items, Bucket.REVIEWS),
    ("POST", "dataset-items", _put_item, Bucket.REVIEWS),
    ("POST", "v2/datasets", _put_dataset, Bucket.REVIEWS),
    ("DELETE", "traces", _delete_traces, Bucket.NONE),
    ("DELETE", "traces/{id}", _delete_trace, Bucket.NONE),
    ("POST", "otel/v1/traces", _spans, Bucket.INGESTION),
    ("POST", "ingestion", _ingestion, Bucket.INGESTION),
)
