"""GET /api/public/v3/scores: strict parameters, newest first, pages of at most 100."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from multidict import MultiMapping

from sandbox.langfuse.answers import bad_request, invalid, issue
from sandbox.langfuse.score_store import ScoreRow, Scores
from sandbox.langfuse.scores import DATA_TYPES
from sandbox.langfuse.timeline import Key
from sandbox.langfuse.times import iso, milliseconds

Test = Callable[[ScoreRow], bool]
GROUPS: Final = frozenset({"details", "subject", "annotation"})
_OTHERS: Final = ("limit", "cursor", "fields", "valueMin", "valueMax", "fromTimestamp", "toTimestamp")


def _as_text(row: ScoreRow) -> str:
    if isinstance(row.value, str):
        return row.value
    return str(row.shown_value).lower() if row.data_type == "BOOLEAN" else f"{row.value:g}"


_FIELDS: Final[Mapping[str, Callable[[ScoreRow], str | None]]] = {
    "id": lambda row: row.id,
    "name": lambda row: row.name,
    "source": lambda row: row.source,
    "dataType": lambda row: row.data_type,
    "environment": lambda row: row.environment,
    "configId": lambda row: row.config_id,
    "queueId": lambda row: row.queue_id,
    "authorUserId": lambda row: row.author_id,
    "traceId": lambda row: row.trace_id,
    "sessionId": lambda row: row.session_id,
    "experimentId": lambda row: row.run_id,
    "observationId": lambda row: row.observation_id,
    "value": _as_text,
}
_KNOWN: Final = frozenset(_FIELDS) | frozenset(_OTHERS)
_FILTERABLE: Final = frozenset({"NUMERIC", "BOOLEAN", "CATEGORICAL"})


@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """A validated request; `since` and `until` are in milliseconds."""

    limit: int
    before: Key | None
    groups: frozenset[str]
    lists: dict[str, frozenset[str]]
    tests: tuple[Test, ...]
    since: int | None
    until: int | None


def read_score_query(params: MultiMapping[str]) -> ScoreQuery:
    """Return the request that the query string makes.

    Raises:
        Refusal: 400 for unknown parameters and for anything else the real server refuses.
    """
    unknown = sorted(set(params) - _KNOWN)
    if unknown:
        invalid([issue(f"Unrecognized key(s) in object: {', '.join(unknown)}", code="unrecognized_keys")])
    lists = {name: frozenset(_split(params[name])) for name in _FIELDS if params.get(name)}
    _refuse_contradictions(lists)
    groups = frozenset(_split(params.get("fields", "")))
    if groups - GROUPS:
        invalid([issue(f"Unknown field group: {', '.join(sorted(groups - GROUPS))}", "fields")])
    since, until = (_moment(params.get(name), name) for name in ("fromTimestamp", "toTimestamp"))
    return ScoreQuery(
        limit=_limit(params.get("limit", "50")),
        before=_cursor(params["cursor"]) if params.get("cursor") else None,
        groups=groups,
        lists=lists,
        tests=tuple(_tests(params, lists)),
        since=since,
        until=until,
    )


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _refuse_contradictions(lists: dict[str, frozenset[str]]) -> None:
    if len(lists.keys() & {"traceId", "sessionId", "experimentId"}) > 1:
        invalid([issue("traceId, sessionId and experimentId are mutually exclusive")])
    if "observationId" in lists and "traceId" not in lists:
        invalid([issue("observationId requires traceId", "observationId")])
    if "dataType" in lists:
        lists["dataType"] = frozenset(name.upper() for name in lists["dataType"])
        if lists["dataType"] - DATA_TYPES:
            invalid([issue("Invalid enum value", "dataType", code="invalid_enum_value")])
    if "source" in lists:
        lists["source"] = frozenset(name.upper() for name in lists["source"])
    if "value" in lists and (len(lists.get("dataType", ())) != 1 or not lists["dataType"] <= _FILTERABLE):
        invalid([issue("value requires exactly one dataType of NUMERIC, BOOLEAN or CATEGORICAL", "value")])


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        invalid([issue("Number must be between 1 and 100", "limit", code="too_big")])
    return int(text)


def _moment(text: str | None, name: str) -> int | None:
    try:
        return None if text is None else milliseconds(text)
    except ValueError as error:
        invalid([issue(str(error), name, code="invalid_string")])


def _cursor(text: str) -> Key:
    try:
        content = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if content["v"] != 1:
            bad_request("Invalid cursor format")
        return milliseconds(content["lastTimestamp"]), str(content["lastId"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        bad_request("Invalid cursor format")


def _cursor_after(row: ScoreRow) -> str:
    content = orjson.dumps({"v": 1, "lastTimestamp": iso(row.timestamp), "lastId": row.id})
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _tests(params: MultiMapping[str], lists: dict[str, frozenset[str]]) -> Iterator[Test]:
    for name, wanted in lists.items():
        yield _member(_FIELDS[name], wanted)
    for name, sign in (("valueMin", 1), ("valueMax", -1)):
        if name in params:
            yield _bound(params[name], name, sign, lists)


def _member(get: Callable[[ScoreRow], str | None], wanted: frozenset[str]) -> Test:
    return lambda row: get(row) in wanted


def _bound(text: str, name: str, sign: int, lists: dict[str, frozenset[str]]) -> Test:
    if lists.get("dataType") != frozenset({"NUMERIC"}):
        invalid([issue(f"{name} requires dataType NUMERIC", name)])
    try:
        edge = float(text)
    except ValueError:
        invalid([issue("Expected number", name, code="invalid_type")])
    return lambda row: not isinstance(row.value, str) and sign * (row.value - edge) >= 0


def answer_score_query(query: ScoreQuery, table: Scores, project: str, now: int) -> dict[str, Any]:
    """Return the page that `query` asks for, with what is visible at `now` (ms).

    Rows of one id collapse to the newest timestamp *of those the cursor left*, as in the real server: the older row
    of a score that was written on two days turns up on a later page.
    """
    page: list[ScoreRow] = []
    seen: set[str] = set()
    more = False
    for row in _candidates(query, table):
        if row.visible_at > now or row.id in seen or not all(test(row) for test in query.tests):
            continue
        if len(page) == query.limit:
            more = True
            break
        seen.add(row.id)
        page.append(row)
    meta: dict[str, Any] = {"limit": query.limit} | ({"cursor": _cursor_after(page[-1])} if more else {})
    return {"data": [row.document(project, query.groups) for row in page], "meta": meta}


def _candidates(query: ScoreQuery, table: Scores) -> Iterator[ScoreRow]:
    since: Key | None = None if query.since is None else (query.since,)
    until: Key | None = None if query.until is None else (query.until,)
    before = min((key for key in (until, query.before) if key is not None), default=None)
    if "id" in query.lists:
        few = table.of_ids(query.lists["id"])
    elif "traceId" in query.lists:
        few = table.of_traces(query.lists["traceId"])
    else:
        return table.timeline.newest_first(since, before)
    inside = [row for row in few if (since is None or row.order >= since) and (before is None or row.order < before)]
    return iter(sorted(inside, key=lambda row: row.order, reverse=True))
