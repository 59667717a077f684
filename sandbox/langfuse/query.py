"""GET /api/public/v2/observations: parameters, newest-first pages with a cursor, and the fields of each answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
from multidict import MultiMapping

from sandbox.langfuse.answers import bad_request, invalid, issue, narrow
from sandbox.langfuse.behaviour import Behaviour
from sandbox.langfuse.filters import Condition, Predicate, parse, predicate
from sandbox.langfuse.rows import Row
from sandbox.langfuse.store import Observations
from sandbox.langfuse.timeline import Key
from sandbox.langfuse.times import iso, milliseconds
from sandbox.langfuse.xxhash import trace_hash

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "core": ("id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type"),
    "basic": (
        "name", "level", "statusMessage", "version", "environment", "bookmarked", "public", "userId", "sessionId",
        "isRootObservation",
    ),
    "time": ("completionStartTime", "createdAt", "updatedAt"),
    "io": ("input", "output"),
    "metadata": ("metadata",),
    "model": ("model", "internalModelId", "modelParameters"),
    "usage": ("usageDetails", "costDetails", "totalCost", "usagePricingTierName"),
    "prompt": ("promptId", "promptName", "promptVersion"),
    "metrics": ("latency", "timeToFirstToken"),
    "trace_context": ("tags", "release", "traceName"),
}  # fmt: skip
_ENRICHED: Final = ("modelId", "inputPrice", "outputPrice", "totalPrice")
_SIMPLE: Final = ("traceId", "name", "type", "level", "userId", "sessionId", "version")
_TIMES: Final = (("fromStartTime", ">="), ("toStartTime", "<"))
_METADATA_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Query:
    """A validated request. `before` is the cursor: only rows with a smaller key follow."""

    groups: frozenset[str]
    limit: int
    before: Key | None
    conditions: tuple[Condition, ...]
    expand: frozenset[str]


def read_query(params: MultiMapping[str]) -> Query:
    """Return the request that the query string makes; unknown parameters are ignored.

    Raises:
        Refusal: 400 for anything the real server refuses.
    """
    if params.get("parseIoAsJson") == "true":
        bad_request("parseIoAsJson=true is no longer supported. Input and output are returned as raw strings.")
    return Query(
        groups=frozenset({"core", *params.get("fields", "core,basic").split(",")}) & frozenset(GROUPS),
        limit=_limit(params.get("limit", "50")),
        before=_cursor(params["cursor"]) if params.get("cursor") else None,
        conditions=_conditions(params),
        expand=frozenset(params.get("expandMetadata", "").split(",")),
    )


def _limit(text: str) -> int:
    try:
        limit = int(text)
    except ValueError:
        invalid([issue("Expected number, received nan", "limit", code="invalid_type")])
    if not 0 <= limit <= 1000:
        invalid([issue("Number must be between 0 and 1000", "limit", code="too_big" if limit > 0 else "too_small")])
    return limit


def _cursor(text: str) -> Key:
    try:
        content = orjson.loads(base64.b64decode(text, validate=True))
        return milliseconds(content["lastStartTimeTo"]), trace_hash(content["lastTraceId"]), str(content["lastId"])
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        bad_request("Invalid cursor format")


def cursor_after(row: Row) -> str:
    """Return the cursor that continues behind `row`."""
    content = {"lastStartTimeTo": iso(row.start), "lastTraceId": row.trace_id, "lastId": row.id}
    return base64.b64encode(orjson.dumps(content)).decode()


def _conditions(params: MultiMapping[str]) -> tuple[Condition, ...]:
    from_json = parse(params["filter"]) if params.get("filter") else []
    # The trap of the real server: a condition in `filter` drops the plain parameters on the same column,
    # so one startTime condition silently removes both ends of the plain time range.
    taken = {condition.column for condition in from_json}
    return (*from_json, *(plain for plain in _plain_conditions(params) if plain.column not in taken))


def _plain_conditions(params: MultiMapping[str]) -> Iterator[Condition]:
    for name in _SIMPLE:
        if params.get(name):
            yield Condition("string", name, "=", params[name])
    if "parentObservationId" in params:
        parent = params["parentObservationId"]
        kind, operator = ("string", "=") if parent else ("null", "is null")
        yield Condition(kind, "parentObservationId", operator, parent)
    if params.getall("environment", None):
        yield Condition("stringOptions", "environment", "any of", frozenset(params.getall("environment")))
    if "isRootObservation" in params:
        if params["isRootObservation"] not in {"true", "false"}:
            invalid([issue("Invalid enum value. Expected 'true' | 'false'", "isRootObservation")])
        yield Condition("boolean", "isRootObservation", "=", params["isRootObservation"] == "true")
    for name, operator in _TIMES:
        if params.get(name):
            yield Condition("datetime", "startTime", operator, _moment(params[name], name))


def _moment(text: str, name: str) -> int:
    try:
        return milliseconds(text)
    except ValueError as error:
        invalid([issue(str(error), name, code="invalid_string")])


def answer_query(query: Query, table: Observations, behaviour: Behaviour, now: int) -> dict[str, Any]:
    """Return the page that `query` asks for, with what is visible at `now` (ms).

    Raises:
        Refusal: 422 when more rows would be scanned than `behaviour.most_rows`.
    """
    tests = [predicate(condition) for condition in query.conditions]
    page: list[Row] = []
    more = False
    for row in _candidates(query, table, behaviour.most_rows):
        if row.visible_at <= now and _passes(row, tests):
            if len(page) == query.limit:
                more = True
                break
            page.append(row)
    data = [shown(row, query, behaviour.model_key) for row in page]
    return {"data": data, "meta": {"cursor": cursor_after(page[-1])} if more and page else {}}


def _passes(row: Row, tests: list[Predicate]) -> bool:
    return all(test(row) for test in tests)


def _candidates(query: Query, table: Observations, most_rows: int | None) -> Iterator[Row]:
    """Yield a superset of the matching rows, newest first, from the narrowest index."""
    since, until = _start_range(query.conditions)
    before = min((key for key in (until, query.before) if key is not None), default=None)
    timeline = table.roots if _wants_roots(query.conditions) else table.all
    # Scanned is what lies in the time range, page or not; ids narrow nothing, as in a table sorted by time.
    if most_rows is not None and table.all.count(since, until) > most_rows:
        narrow()
    few = _by_ids(query.conditions, table)
    if few is None:
        return timeline.newest_first(since, before)
    inside = [row for row in few if (since is None or row.order >= since) and (before is None or row.order < before)]
    return iter(sorted(inside, key=lambda row: row.order, reverse=True))


def _by_ids(conditions: tuple[Condition, ...], table: Observations) -> Iterator[Row] | None:
    for column, find in (("id", table.of_ids), ("traceId", table.of_traces)):
        for condition in conditions:
            if condition.column == column and condition.operator in {"=", "any of"}:
                return find(condition.value if condition.type == "stringOptions" else (condition.value,))
    return None


def _wants_roots(conditions: tuple[Condition, ...]) -> bool:
    return any(c.column == "isRootObservation" and c.operator == "=" and c.value is True for c in conditions)


def _start_range(conditions: tuple[Condition, ...]) -> tuple[Key | None, Key | None]:
    since: Key | None = None
    until: Key | None = None
    for condition in conditions:
        if condition.column != "startTime" or condition.type != "datetime":
            continue
        edge: Key = (condition.value + (condition.operator in {">", "<="}),)
        if condition.operator in {">", ">="}:
            since = edge if since is None else max(since, edge)
        else:
            until = edge if until is None else min(until, edge)
    return since, until


def shown(row: Row, query: Query, model_key: str) -> dict[str, Any]:
    """Return the fields of `row` that were asked for; the four enrichment keys are always there."""
    body = row.body
    document = {name: body[name] for name in _names(query.groups)}
    if "model" in query.groups:
        document[model_key] = document.pop("model")
        document |= {name: body[name] for name in _ENRICHED}
    else:
        document |= dict.fromkeys(_ENRICHED)
    if "metadata" in query.groups and "io" not in query.groups:
        document["metadata"] = {name: _cut(name, value, query.expand) for name, value in body["metadata"].items()}
    return document


@lru_cache(maxsize=256)
def _names(groups: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for group, names in GROUPS.items() if group in groups for name in names)


def _cut(name: str, value: Any, expand: frozenset[str]) -> Any:
    if name in expand:
        return value
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text[:_METADATA_CHARACTERS] if len(text) > _METADATA_CHARACTERS else value
