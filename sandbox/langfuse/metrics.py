"""GET /api/public/v2/metrics for the three score views: counts and averages, as a check of what the tables hold.

Rows are counted as ClickHouse's FINAL leaves them: one score that was written on two days counts twice here, although
no list of scores shows it. That is what makes the duplicates of a careless client visible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sandbox.langfuse.answers import bad_request, invalid, issue
from sandbox.langfuse.score_store import ScoreRow, Scores
from sandbox.langfuse.times import day, iso, milliseconds

_DAY_MS: Final = 86_400_000
VIEWS: Final[Mapping[str, frozenset[str]]] = {
    "scores-numeric": frozenset({"NUMERIC", "BOOLEAN"}),  # booleans are numbers here too, as in the real server
    "scores-boolean": frozenset({"BOOLEAN"}),
    "scores-categorical": frozenset({"CATEGORICAL"}),
}
_AGGREGATIONS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "count": len,
    "sum": sum,
    "avg": lambda values: sum(values) / len(values) if values else 0.0,
    "min": lambda values: min(values, default=0.0),
    "max": lambda values: max(values, default=0.0),
}
_FIELDS: Final[Mapping[str, Callable[[ScoreRow], str | None]]] = {
    "name": lambda row: row.name,
    "environment": lambda row: row.environment,
    "source": lambda row: row.source,
    "dataType": lambda row: row.data_type,
    "configId": lambda row: row.config_id,
    "stringValue": lambda row: row.value if isinstance(row.value, str) else None,
    "traceId": lambda row: row.trace_id,
}
_FILTER_ONLY: Final = frozenset({"traceId"})


def _monday(ms: int) -> int:
    days = day(ms)
    return (days - (days + 3) % 7) * _DAY_MS  # 1970 began on a Thursday


_BUCKETS: Final[Mapping[str, tuple[Callable[[int], int], int]]] = {
    "hour": (lambda ms: ms - ms % 3_600_000, 3_600_000),
    "day": (lambda ms: day(ms) * _DAY_MS, _DAY_MS),
    "week": (_monday, 7 * _DAY_MS),
}
Test = Callable[[ScoreRow], bool]
Group = tuple[int | None, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    """A validated query; `since` and `until` are in milliseconds, `fills` tells whether empty buckets become rows."""

    types: frozenset[str]
    metrics: tuple[tuple[str, str], ...]
    dimensions: tuple[str, ...]
    tests: tuple[Test, ...]
    granularity: str | None
    since: int
    until: int
    fills: bool
    row_limit: int


def read_metrics_query(text: str | None) -> MetricsQuery:
    """Return the query in the `query` parameter.

    Raises:
        Refusal: 400 for anything the real server refuses, and for the views and measures that are not stood in for.
    """
    try:
        given = orjson.loads(text or "")
        since, until = milliseconds(given["fromTimestamp"]), milliseconds(given["toTimestamp"])
        metrics = tuple((str(m["aggregation"]), str(m["measure"])) for m in given["metrics"])
        dimensions = tuple(str(dimension["field"]) for dimension in given.get("dimensions") or ())
        time_dimension = given.get("timeDimension") or {}
        row_limit = int((given.get("config") or {}).get("row_limit", 100))
        types = VIEWS[given["view"]]
        tests = tuple(_tests(given.get("filters") or ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        invalid([issue(f"Invalid query: {error!r}", "query")])
    granularity = time_dimension.get("granularity")
    granularity = "day" if granularity == "auto" else granularity
    if since >= until or not metrics or not 1 <= row_limit <= 1000 or granularity not in {None, *_BUCKETS}:
        invalid([issue("Invalid time range, metrics, granularity or row_limit", "query")])
    for aggregation, measure in metrics:
        if aggregation not in _AGGREGATIONS or measure not in {"count", "value"}:
            bad_request(f"Invalid metric {aggregation} of {measure}")
    for field in dimensions:
        if field not in _FIELDS or field in _FILTER_ONLY:
            bad_request(f"Invalid dimension {field}")
    fills = granularity is not None and not given.get("orderBy")
    return MetricsQuery(types, metrics, dimensions, tests, granularity, since, until, fills, row_limit)


def _tests(filters: Sequence[Mapping[str, Any]]) -> Iterator[Test]:
    for item in filters:
        column, kind, value = str(item["column"]), item["type"], item["value"]
        if column == "metadata" and kind == "stringObject":
            yield _metadata_is(str(item["key"]), str(value))
            continue
        if column not in _FIELDS and not column.endswith("Name"):
            bad_request(f"Invalid filter column {column}")
        # The trap of the real server: an unknown column that ends in Name is taken for the name of the score.
        wanted = frozenset(value) if kind == "stringOptions" else frozenset({value})
        yield _is_in(_FIELDS.get(column, _FIELDS["name"]), wanted, inside=item["operator"] in {"=", "any of"})


def _metadata_is(key: str, value: str) -> Test:
    return lambda row: row.metadata.get(key) == value


def _is_in(get: Callable[[ScoreRow], str | None], wanted: frozenset[str], *, inside: bool) -> Test:
    return lambda row: (get(row) in wanted) == inside


def answer_metrics_query(query: MetricsQuery, table: Scores, now: int) -> dict[str, Any]:
    """Return the rows that `query` asks for, with what is visible at `now` (ms), oldest bucket first."""
    groups: dict[Group, list[float]] = defaultdict(list)
    for row in table.timeline.newest_first((query.since,), (query.until,)):
        if row.visible_at <= now and row.data_type in query.types and all(test(row) for test in query.tests):
            groups[_group(row, query)].append(0.0 if isinstance(row.value, str) else row.value)
    if query.fills:
        _fill(groups, query)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] or 0, [text or "" for text in item[0][1]]))
    return {"data": [_document(group, values, query) for group, values in ordered[: query.row_limit]]}


def _group(row: ScoreRow, query: MetricsQuery) -> Group:
    bucket = None if query.granularity is None else _BUCKETS[query.granularity][0](row.timestamp)
    return bucket, tuple(_FIELDS[name](row) for name in query.dimensions)


def _fill(groups: dict[Group, list[float]], query: MetricsQuery) -> None:
    # Empty weeks become rows of zeros, which an unwary reader takes for an average of zero.
    start_of, step = _BUCKETS[query.granularity or "day"]
    known = {bucket for bucket, _ in groups}
    for bucket in range(start_of(query.since), query.until, step):
        if bucket not in known:
            groups[bucket, tuple(None for _ in query.dimensions)] = []


def _document(group: Group, values: Sequence[float], query: MetricsQuery) -> dict[str, Any]:
    bucket, names = group
    document: dict[str, Any] = dict(zip(query.dimensions, names, strict=True))
    if bucket is not None:
        document["time_dimension"] = iso(bucket)
    return document | {
        f"{aggregation}_{measure}": _AGGREGATIONS[aggregation](values) for aggregation, measure in query.metrics
    }
