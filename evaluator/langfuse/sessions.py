"""Sessions: which traces belong to them, and what was already written about them.

Langfuse has no session with an end. Its traces are found by the session id on their roots, newest first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from evaluator.langfuse.paging import PageSize, pages
from evaluator.langfuse.reading import moment, object_page
from evaluator.langfuse.scanning import (
    ROOT_FIELDS,
    SCORES_A_PAGE,
    Window,
    groups_by_length,
    is_excluded,
    root_rows,
    roots_in,
)
from evaluator.langfuse.wire import Wire
from traces import TraceRoot

_PAGES_TOGETHER: Final = 4
"""Pages read of many sessions at once; then the short ones are not made to wait for a long one."""

_BYTES_A_SCORE: Final = 500


class SessionRoots(NamedTuple):
    """The newest roots of a session in order of their start; `more` says that there are older ones."""

    roots: tuple[TraceRoot, ...]
    more: bool


async def session_roots(
    wire: Wire,
    since: Mapping[str, datetime],
    until: datetime,
    most: int,
    excluded: Collection[str],
    fields: str = ROOT_FIELDS,
) -> dict[str, SessionRoots]:
    """Return the newest `most` roots of sessions that started from the given times on; one without any is absent."""
    found: dict[str, SessionRoots] = {}
    for group in groups_by_length(since):
        reading = _Reading({session_id: since[session_id] for session_id in group}, most, excluded, fields)
        whole = await reading.read(wire, until, _PAGES_TOGETHER)
        for session_id in group if whole else ():
            found[session_id] = reading.newest(session_id)
        for session_id in () if whole else group:
            alone = reading
            if not reading.is_full(session_id):
                alone = _Reading({session_id: since[session_id]}, most, excluded, fields)
                await alone.read(wire, until)
            found[session_id] = alone.newest(session_id)
    return {session_id: known for session_id, known in found.items() if known.roots}


async def score_times(wire: Wire, score_ids: Collection[str]) -> dict[str, datetime]:
    """Return the timestamps of those scores that exist: of one that has several, the oldest."""
    times: dict[str, datetime] = {}
    for group in groups_by_length(score_ids):
        params = [("id", ",".join(group))]
        async for rows in pages(wire, "v3/scores", params, PageSize(SCORES_A_PAGE, _BYTES_A_SCORE), object_page):
            for row in rows:
                at = moment(row.get("timestamp"))
                if at is not None:
                    times[row["id"]] = min(at, times.get(row["id"], at))
    return times


class _Reading:
    """Roots of some sessions as they come, newest first."""

    def __init__(self, since: Mapping[str, datetime], most: int, excluded: Collection[str], fields: str) -> None:
        self._since = since
        self._most = most
        self._excluded = excluded
        self._fields = fields
        self._found: dict[str, dict[str, TraceRoot]] = {session_id: {} for session_id in since}

    async def read(self, wire: Wire, until: datetime, pages_at_most: int | None = None) -> bool:
        """Read until all is read or no session needs more; False when pages ran out before."""
        number = 0
        window = Window(min(self._since.values()), until)
        async with contextlib.aclosing(root_rows(wire, [_of_any(self._since)], window, self._fields)) as found:
            async for rows in found:
                self._add(rows)
                number += 1
                if all(map(self.is_full, self._since)):
                    return True
                if number == pages_at_most:
                    return False
        return True

    def is_full(self, session_id: str) -> bool:
        """Whether more roots than wanted are known."""
        return len(self._found[session_id]) > self._most

    def newest(self, session_id: str) -> SessionRoots:
        """Return the newest roots."""
        known = sorted(self._found[session_id].values(), key=lambda root: (root.ref.started, root.ref.id))
        return SessionRoots(tuple(known[-self._most :]), more=len(known) > self._most)

    def _add(self, rows: Sequence[Any]) -> None:
        for root in roots_in(rows):
            session_id = root.session_id or ""
            known = self._found.get(session_id)
            if known is None or root.ref.started < self._since[session_id]:
                continue
            if is_excluded(root.ref.environment, self._excluded):
                continue
            before = known.get(root.ref.id)
            if before is None or (root.ref.started, root.ref.root_id) < (before.ref.started, before.ref.root_id):
                known[root.ref.id] = root


def _of_any(session_ids: Iterable[str]) -> dict[str, Any]:
    return {"type": "stringOptions", "column": "sessionId", "operator": "any of", "value": list(session_ids)}
