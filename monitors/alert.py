"""When people are told: the states of an alert, and the alert itself.

closed -> open (one message) -> closed again when the week is no longer low, or when the fall has become normal. While
open the baseline stays what it was before the fall, so the fall cannot hide in it; firing and resolving lie far apart
(p < .004 and p > .2), so nothing flaps.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from monitors.attribution import Attribution
from monitors.drop import DropTest, NotEnoughHistory
from monitors.series import WEEK, Span, WeekMean

_NAMESPACE: Final = uuid.UUID("0c3f6a3e-2d0b-5d5e-8a55-97b1a6c4e0f2")
_CALM: Final = 0.2
_NEW_NORMAL: Final = timedelta(weeks=4)
_REMEMBERED: Final = 8


class Event(StrEnum):
    """Why a message goes out."""

    FELL = "fell"
    RESOLVED = "resolved"
    NEW_NORMAL = "new_normal"
    REMEASURED = "remeasured"


@dataclass(frozen=True, slots=True)
class Alert:
    """What people are told of one score.

    `id` is that of the fall and stays the same until it is over; `line` are the weekly means, oldest first. `test` is
    None only when the score is measured differently now (REMEASURED): `note` then says what happened.
    """

    id: str
    event: Event
    score: str
    at: datetime
    opened: datetime | None
    binary: bool
    line: tuple[WeekMean, ...]
    test: DropTest | None = None
    attribution: Attribution | None = None
    note: str = ""

    @property
    def key(self) -> str:
        """Name of its message: sent once."""
        return f"{self.id}/{self.event}"


@dataclass(frozen=True, slots=True)
class AlertState:
    """What a monitor remembers between looks.

    `opened` is when the open alert fired (None when closed), `since` the moment before which nothing is comparable,
    `version` what measured the score last, `fallen` past falls, kept out of the baseline.
    """

    opened: datetime | None = None
    id: str = ""
    since: datetime | None = None
    version: str | None = None
    fallen: tuple[Span, ...] = ()

    @property
    def baseline_end(self) -> datetime | None:
        """Where the baseline ends while an alert is open; None when it moves along."""
        return None if self.opened is None else self.opened - WEEK

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; `from_json` is the inverse."""
        return {
            "opened": _text(self.opened),
            "id": self.id,
            "since": _text(self.since),
            "version": self.version,
            "fallen": [[span.start.isoformat(), span.end.isoformat()] for span in self.fallen],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> AlertState:
        """Read what `to_json` wrote; None is the state of a score never looked at."""
        if not data:
            return cls()
        return cls(
            opened=_time(data.get("opened")),
            id=data.get("id", ""),
            since=_time(data.get("since")),
            version=data.get("version"),
            fallen=tuple(Span(*map(datetime.fromisoformat, span)) for span in data.get("fallen", ())),
        )


def alert_id(project: str, monitor: str, opened: datetime) -> str:
    """Return the identity of a fall: project, monitor and the ISO week in which it was first seen."""
    year, week, _ = opened.isocalendar()
    return str(uuid.uuid5(_NAMESPACE, json.dumps([project, monitor, f"{year}-W{week:02}"])))


def step(
    state: AlertState,
    test: DropTest | NotEnoughHistory,
    *,
    version: str | None,
    at: datetime,
    project: str,
    monitor: str,
) -> tuple[AlertState, Event | None]:
    """Return the next state and the reason for a message, if any.

    `version` is what measured this week's scores, None when there are none.
    """
    if version is not None and version != state.version:
        state, changed = replace(state, version=version), state.version is not None
        if changed and (state.opened is not None or isinstance(test, NotEnoughHistory)):
            # Another ruler: neither a fall nor a recovery can be told from it.
            return replace(state, opened=None), Event.REMEASURED
    if isinstance(test, NotEnoughHistory):
        return state, None
    if state.opened is None:
        if not test.fired:
            return state, None
        return replace(state, opened=at, id=alert_id(project, monitor, at)), Event.FELL
    if test.p > _CALM:
        span = Span(state.opened - WEEK, max(at - WEEK, state.opened))
        return replace(state, opened=None, fallen=(*state.fallen, span)[-_REMEMBERED:]), Event.RESOLVED
    if at - state.opened >= _NEW_NORMAL:
        return replace(state, opened=None, since=state.opened - WEEK), Event.NEW_NORMAL
    return state, None


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
