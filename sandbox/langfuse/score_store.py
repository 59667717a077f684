"""Scores in memory, keyed like the real table: (day of timestamp, name, id), so one id can have several rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import orjson

from sandbox.langfuse.timeline import Key, Timeline
from sandbox.langfuse.times import day, iso


@dataclass(slots=True, eq=False)
class ScoreRow:
    """A stored score. Times are in milliseconds; `metadata` is text to text, as the table keeps it."""

    id: str
    name: str
    value: float | str
    data_type: str
    timestamp: int
    created: int
    updated: int
    visible_at: int
    trace_id: str | None = None
    observation_id: str | None = None
    session_id: str | None = None
    run_id: str | None = None
    environment: str = "default"
    source: str = "API"
    comment: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    config_id: str | None = None
    queue_id: str | None = None
    author_id: str | None = None
    order: Key = field(init=False)
    gone: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.order = (self.timestamp, self.id)

    @property
    def key(self) -> Key:
        """What rows are merged by, within one id."""
        return day(self.timestamp), self.name

    @property
    def subject(self) -> Key:
        """What the score is about, together with its name."""
        return self.trace_id, self.observation_id, self.session_id, self.run_id, self.name

    @property
    def shown_value(self) -> float | bool | str:
        """The value in the type its data type is read back in."""
        return bool(self.value) if self.data_type == "BOOLEAN" else self.value

    def document(self, project: str, groups: frozenset[str]) -> dict[str, Any]:
        """Return the score as GET /v3/scores shows it with these field groups."""
        shown: dict[str, Any] = {
            "id": self.id, "projectId": project, "name": self.name, "value": self.shown_value,
            "dataType": self.data_type, "source": self.source, "timestamp": iso(self.timestamp),
            "environment": self.environment, "createdAt": iso(self.created), "updatedAt": iso(self.updated),
        }  # fmt: skip
        if "details" in groups:
            metadata = {name: _parsed(text) for name, text in self.metadata.items()}
            shown |= {"comment": self.comment, "configId": self.config_id, "metadata": metadata}
        if "subject" in groups:
            shown["subject"] = self._subject_document()
        if "annotation" in groups:
            shown |= {"authorUserId": self.author_id, "queueId": self.queue_id}
        return shown

    def _subject_document(self) -> dict[str, Any]:
        if self.observation_id is not None:
            return {"kind": "observation", "id": self.observation_id, "traceId": self.trace_id}
        if self.trace_id is not None:
            return {"kind": "trace", "id": self.trace_id}
        if self.session_id is not None:
            return {"kind": "session", "id": self.session_id}
        return {"kind": "experiment", "id": self.run_id}


def _parsed(text: str) -> Any:
    # The trap of the real server: text that happens to be JSON comes back as JSON ("1" as 1).
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


class Scores:
    """The table of scores. `dropped` counts what was accepted and never stored."""

    def __init__(self) -> None:
        self.timeline: Timeline[ScoreRow] = Timeline()
        self.dropped = 0
        self._rows: dict[str, dict[Key, ScoreRow]] = {}  # id -> key -> row
        self._traces: dict[str, dict[str, None]] = {}  # trace id -> ids

    def put(self, row: ScoreRow, *, keeps_first_timestamp: bool = False) -> None:
        """Store `row` in place of the row with the same key.

        `keeps_first_timestamp` is how servers before 4.59 merge: what a score is about and when, and its environment,
        stay as they were first written.
        """
        versions = self._rows.setdefault(row.id, {})
        if keeps_first_timestamp and versions:
            first = next(iter(versions.values()))
            row = replace(
                row,
                timestamp=first.timestamp,
                created=first.created,
                trace_id=first.trace_id,
                environment=first.environment,
            )
        older = versions.get(row.key)
        if older is not None:
            older.gone = True
            row.created = older.created
            row.visible_at = min(row.visible_at, older.visible_at)  # an update never hides a score for a while
        versions[row.key] = row
        if row.trace_id is not None:
            self._traces.setdefault(row.trace_id, {})[row.id] = None
        self.timeline.add(row)

    def remove(self, id_: str) -> None:
        """Delete every row of a score."""
        for row in self._rows.pop(id_, {}).values():
            row.gone = True

    def remove_traces(self, trace_ids: list[str]) -> None:
        """Delete the scores of these traces."""
        for trace_id in trace_ids:
            for id_ in self._traces.pop(trace_id, ()):
                self.remove(id_)

    def of_ids(self, ids: frozenset[str]) -> Iterator[ScoreRow]:
        """Yield every row of these scores."""
        return chain.from_iterable(self._rows[id_].values() for id_ in ids if id_ in self._rows)

    def of_traces(self, trace_ids: frozenset[str]) -> Iterator[ScoreRow]:
        """Yield every row of every score of these traces and of their observations."""
        ids = frozenset(chain.from_iterable(self._traces.get(trace_id, ()) for trace_id in trace_ids))
        return (row for row in self.of_ids(ids) if row.trace_id in trace_ids)

    def rows(self) -> Iterator[ScoreRow]:
        """Yield every row, in no order."""
        return chain.from_iterable(versions.values() for versions in self._rows.values())

    def counts(self) -> dict[str, int]:
        """Return ids (`scores`), rows, (trace, name) pairs, and `duplicates`.

        `duplicates` is what a metric would count too often: subjects that have more than one row of one name (two ids,
        or one id on two days), and ids stored under more than one name.
        """
        subjects = Counter(row.subject for row in self.rows())
        renamed = sum(len({name for _, name in versions}) > 1 for versions in self._rows.values())
        return {
            "scores": len(self._rows),
            "score_rows": sum(map(len, self._rows.values())),
            "pairs": len({(row.trace_id, row.name) for row in self.rows() if row.trace_id is not None}),
            "duplicates": sum(times > 1 for times in subjects.values()) + renamed,
            "dropped_scores": self.dropped,
        }
