"""Observations in memory: by id, by trace, and by time, with row versions that are not merged yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from random import Random
from typing import Final

from sandbox.langfuse.behaviour import Behaviour
from sandbox.langfuse.rows import Row, filled
from sandbox.langfuse.timeline import Timeline
from sandbox.langfuse.times import milliseconds

_FAR_MS: Final = 30_000


class Observations:
    """The table of observations. `all` and `roots` are in the order of the API, oldest first."""

    def __init__(self) -> None:
        self.all: Timeline[Row] = Timeline()
        self.roots: Timeline[Row] = Timeline()
        self._traces: dict[str, dict[str, list[Row]]] = {}  # trace id -> observation id -> versions
        self._homes: dict[str, set[str]] = {}  # observation id -> ids of traces

    def add(self, row: Row, *, keep_older: bool = False) -> None:
        """Store a row. Older versions of its id are merged away, unless `keep_older`."""
        versions = self._traces.setdefault(row.trace_id, {}).setdefault(row.id, [])
        if not keep_older:
            for older in versions:
                older.gone = True
            versions.clear()
        versions.append(row)
        self._homes.setdefault(row.id, set()).add(row.trace_id)
        self.all.add(row)
        if row.body["isRootObservation"]:
            self.roots.add(row)

    def of_ids(self, ids: Iterable[str]) -> Iterator[Row]:
        """Yield every version of these observations."""
        for id_ in ids:
            for trace_id in self._homes.get(id_, ()):
                yield from self._traces[trace_id][id_]

    def of_traces(self, trace_ids: Iterable[str]) -> Iterator[Row]:
        """Yield every version of every observation of these traces."""
        for trace_id in trace_ids:
            yield from chain.from_iterable(self._traces.get(trace_id, {}).values())

    def remove_traces(self, trace_ids: Iterable[str]) -> None:
        """Delete traces with all their observations."""
        for trace_id in trace_ids:
            for id_, versions in self._traces.pop(trace_id, {}).items():
                self._homes[id_].discard(trace_id)
                for row in versions:
                    row.gone = True

    @property
    def observations(self) -> int:
        """Distinct observations."""
        return sum(map(len, self._traces.values()))

    @property
    def traces(self) -> int:
        """Distinct traces."""
        return len(self._traces)

    @property
    def rows(self) -> int:
        """Stored versions of observations, unmerged ones included."""
        return sum(len(versions) for trace in self._traces.values() for versions in trace.values())


def older_version(row: Row, behaviour: Behaviour, random: Random) -> Row:
    """Return a version of `row` as it was before its last update: one second older and without its output.

    A far one has another start time, so its key differs and it turns up elsewhere in a scan, before or after.
    """
    far = random.random() < behaviour.far_duplicates
    shift = random.choice((-1, 1)) * random.randint(1, _FAR_MS) if far else 0
    body = row.body | {"output": None, "statusMessage": None}
    first = body["completionStartTime"]
    return filled(
        body,
        project=body["projectId"],
        start=row.start + shift,
        end=row.end,
        first=None if first is None else milliseconds(first),
        updated=milliseconds(body["updatedAt"]) - 1000,
        visible_at=row.visible_at,
    )
