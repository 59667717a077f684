"""Reading many rows: pages, duplicates, windows that are too wide, roots and whole traces.

Every time condition stands in `filter`: a condition there silently removes the simple parameters on the same column.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import orjson

from evaluator.langfuse.paging import PageSize, pages
from evaluator.langfuse.reading import (
    Row,
    newest,
    object_page,
    observation_page,
    readable,
    root_of,
    score_of_row,
    trace_of,
)
from evaluator.langfuse.wire import Params, TooLong, TooWide, Wire
from traces import RecordedScore, Trace, TraceRef, TraceRoot

NEVER_EVALUATED: Final = frozenset({"llm-as-a-judge", "sdk-experiment", "code-eval"})
"""Environments of judges and experiments; with those that begin with `langfuse` they are left out: no loops."""

ROOT_FIELDS: Final = "core,basic,time,trace_context,prompt,model"
ROOT_FIELDS_AND_METADATA: Final = f"{ROOT_FIELDS},metadata"
"""Asked for alone, each value of the metadata comes cut at 200 characters (contract 1.1)."""

TRACE_FIELDS: Final = "core,basic,io,metadata,model,usage,prompt,metrics,trace_context,time"
ROOTS_A_PAGE: Final = 1000
ROWS_A_PAGE: Final = 1000
SCORES_A_PAGE: Final = 100
TRACES_A_REQUEST: Final = 50
"""Ids of 32 digits in one URL, well below the 8 kB that proxies take."""

_LONGEST_QUERY: Final = 3_000
"""Characters of the ids in one URL: proxies take 8 kB, and each id is a text its user chose."""

_REMEMBERED: Final = 20_000
MOST_BYTES: Final = 64 << 20
"""Of traces read together: a trace of a million steps must not fill the memory. Larger batches are read in halves."""

_BYTES_A_ROW: Final = 1_000
_ROOTS: Final = [("isRootObservation", "true")]
_AROUND: Final = timedelta(hours=1)
_NARROWEST: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time: from `start` up to, not including, `end`."""

    start: datetime
    end: datetime

    def halves(self) -> tuple[Window, Window]:
        """Return the later and the earlier half, newest first as Langfuse reads."""
        middle = self.start + (self.end - self.start) / 2
        return Window(middle, self.end), Window(self.start, middle)


def is_excluded(environment: str, also: Collection[str] = ()) -> bool:
    """Whether traces of an environment are never evaluated."""
    return environment.startswith("langfuse") or environment in NEVER_EVALUATED or environment in also


async def root_pages(
    wire: Wire, window: Window, longest: timedelta, excluded: Collection[str], fields: str = ROOT_FIELDS
) -> AsyncIterator[list[TraceRoot]]:
    """Give roots whose end lies in `window`, page by page.

    A trace comes once as long as its rows lie within some ten thousand of each other, as rows not merged yet do. Others
    are told apart by who claims them: the memory of a scan must not grow with what it reads.
    """
    before: set[str] = set()
    seen: set[str] = set()
    async for rows in _ended(wire, window, Window(window.start - longest, window.end), fields):
        page = [root for root in roots_in(rows) if root.ref.id not in seen and root.ref.id not in before]
        if len(seen) > _REMEMBERED:
            before, seen = seen, set()
        seen.update(root.ref.id for root in page)
        yield [root for root in page if not is_excluded(root.ref.environment, excluded)]


def _ended(wire: Wire, window: Window, started: Window, fields: str) -> AsyncIterator[list[Row]]:
    """Give the rows of roots that started and ended in the given spans."""
    ended = [_condition("endTime", ">=", window.start), _condition("endTime", "<", window.end)]
    return root_rows(wire, ended, started, fields)


async def root_rows(
    wire: Wire, conditions: Sequence[Any], started: Window, fields: str = ROOT_FIELDS
) -> AsyncGenerator[list[Row]]:
    """Give the rows of roots that started in a span and fulfil the conditions, newest first.

    Langfuse stores rows by their start: when it cannot read the span at once (422), each half of it is read alone.
    """
    filters = [*conditions, *_started(started)]
    try:
        async for rows in _pages(wire, fields, filters, PageSize(ROOTS_A_PAGE, _BYTES_A_ROW), _ROOTS):
            yield rows
    except TooWide:
        if started.end - started.start <= _NARROWEST:
            raise
        for half in started.halves():
            async for rows in root_rows(wire, conditions, half, fields):
                yield rows


def roots_in(rows: Iterable[Row]) -> Iterator[TraceRoot]:
    """Give the root of each trace among rows: of several the earliest start, then the smallest id."""
    found: dict[str, TraceRoot] = {}
    for row in newest(rows).values():
        root = readable(root_of, row)
        if root is None:
            continue
        known = found.get(root.ref.id)
        if known is None or (root.ref.started, root.ref.root_id) < (known.ref.started, known.ref.root_id):
            found[root.ref.id] = root
    return iter(found.values())


async def roots_by_id(
    wire: Wire, trace_ids: Sequence[str], window: Window, fields: str = ROOT_FIELDS
) -> dict[str, TraceRoot]:
    """Return the roots of the given traces that started in `window`."""
    found: dict[str, TraceRoot] = {}
    for start in range(0, len(trace_ids), TRACES_A_REQUEST):
        filters = [_any_of(trace_ids[start : start + TRACES_A_REQUEST]), *_started(window)]
        async for rows in _pages(wire, fields, filters, PageSize(ROOTS_A_PAGE, _BYTES_A_ROW), _ROOTS):
            found.update((root.ref.id, root) for root in roots_in(rows) if root.ref.id not in found)
    return found


async def whole_traces(wire: Wire, refs: Sequence[TraceRef], size: PageSize) -> dict[str, Trace | TooWide]:
    """Return the given traces with everything in them; those not visible are absent.

    One that alone is more than the server can read, row by row, has its error in its place, and costs no other.
    """
    window = Window(min(r.started for r in refs) - _AROUND, max(r.ended for r in refs) + _AROUND)
    filters = [_any_of([ref.id for ref in refs]), *_started(window)]
    rows: list[Row] = []
    try:
        async for page in _pages(wire, TRACE_FIELDS, filters, size, most_bytes=MOST_BYTES):
            rows += page
    except TooWide as error:
        if len(refs) == 1:
            alone = isinstance(error, TooLong) or size.rows == 1
            return {refs[0].id: error} if alone else await whole_traces(wire, refs, size)
        middle = len(refs) // 2
        return {**await whole_traces(wire, refs[:middle], size), **await whole_traces(wire, refs[middle:], size)}
    by_trace: dict[str, list[Row]] = {}
    for row in newest(rows).values():
        if row.trace_id:
            by_trace.setdefault(row.trace_id, []).append(row)
    return {ref.id: trace for ref in refs if (trace := trace_of(by_trace.get(ref.id, ()), ref)) is not None}


async def score_pages(
    wire: Wire,
    window: Window,
    names: Sequence[str],
    trace_ids: Sequence[str],
    session_ids: Sequence[str] = (),
    *,
    authors: bool = False,
) -> AsyncIterator[list[RecordedScore]]:
    """Give scores with a timestamp in `window`, newest first; each id once over the whole scan.

    With `trace_ids` or `session_ids` only theirs; a session whose id holds a comma cannot be asked for. With `authors`
    they say who annotated.
    """
    seen: set[str] = set()
    wanted = [("traceId", trace_ids[i : i + TRACES_A_REQUEST]) for i in range(0, len(trace_ids), TRACES_A_REQUEST)]
    wanted += [("sessionId", group) for group in groups_by_length(i for i in session_ids if "," not in i)]
    everything: list[tuple[str, Sequence[str]]] = [("", ())]
    for subject, ids in wanted if trace_ids or session_ids else everything:
        params = [
            ("fields", "details,subject,annotation" if authors else "details,subject"),
            ("fromTimestamp", window.start.isoformat()),
            ("toTimestamp", window.end.isoformat()),
            *([("name", ",".join(names))] if names else []),
            *([(subject, ",".join(ids))] if ids else []),
        ]
        async for rows in pages(wire, "v3/scores", params, PageSize(SCORES_A_PAGE, _BYTES_A_ROW), object_page):
            page = [s for row in rows if row["id"] not in seen and (s := readable(score_of_row, row)) is not None]
            seen.update(row["id"] for row in rows)
            yield page


def groups_by_length(ids: Iterable[str]) -> Iterator[list[str]]:
    """Cut ids into groups that fit into a URL."""
    group: list[str] = []
    length = 0
    for each in dict.fromkeys(ids):
        size = len(quote(each, safe="")) + 9  # quotes and a comma, escaped
        if group and length + size > _LONGEST_QUERY:
            yield group
            group, length = [], 0
        group.append(each)
        length += size
    if group:
        yield group


async def _pages(
    wire: Wire, fields: str, filters: Sequence[Any], size: PageSize, more: Params = (), most_bytes: float = math.inf
) -> AsyncIterator[list[Row]]:
    params = [("fields", fields), ("filter", orjson.dumps(filters).decode()), *more]
    async for rows in pages(wire, "v2/observations", params, size, observation_page, most_bytes):
        yield rows


def _condition(column: str, operator: str, at: datetime) -> dict[str, str]:
    return {"type": "datetime", "column": column, "operator": operator, "value": at.isoformat()}


def _started(window: Window) -> list[dict[str, str]]:
    return [_condition("startTime", ">=", window.start), _condition("startTime", "<", window.end)]


def _any_of(trace_ids: Sequence[str]) -> dict[str, Any]:
    return {"type": "stringOptions", "column": "traceId", "operator": "any of", "value": list(trace_ids)}
