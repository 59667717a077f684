"""When people are told: the states of an alert, and the alert itself.

closed -> open (one message) -> closed again when the week is no longer low, or when the fall has become normal, or when
somebody says that the change was expected. While open the baseline stays what it was before the fall, so the fall
cannot hide in it; firing and resolving lie far apart (p < .004 and p > .2), so nothing flaps. A message goes out while
it is open only when the fall has grown by a step that could be seen by itself, a week after the last message or later:
until then the rolling week fills up with days of the fall, and what grows is only their share.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import NormalDist
from typing import Any, Final

from monitors.attribution import Attribution
from monitors.changes import Change
from monitors.drop import DropTest, NotEnoughHistory
from monitors.means import WeekMean
from monitors.series import WEEK, Span

_NAMESPACE: Final = uuid.UUID("0c3f6a3e-2d0b-5d5e-8a55-97b1a6c4e0f2")
_CALM: Final = 0.2
_NEW_NORMAL: Final = timedelta(weeks=4)
_REMEMBERED: Final = 8
_POWER: Final = 0.8
_NORMAL: Final = NormalDist()


class Event(StrEnum):
    """Why a message goes out."""

    FELL = "fell"
    GREW = "grew"
    RESOLVED = "resolved"
    NEW_NORMAL = "new_normal"
    REMEASURED = "remeasured"
    EXPECTED = "expected"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Alert:
    """What people are told of one score.

    `id` is that of the fall and stays the same until it is over; `line` are the weekly means, oldest first. `test` is
    None when weeks are not comparable any more (REMEASURED, EXPECTED, LOST): `note` then says what happened. `told` is
    how deep the fall was said to be before, in points of the score, and `update` counts the messages that say it grew.
    `changes` is what was new in this week; `by_people` says what people would have made of it.
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
    told: float | None = None
    update: int = 0
    changes: tuple[Change, ...] = ()
    by_people: str = ""

    @property
    def key(self) -> str:
        """Name of its message: sent once."""
        return f"{self.id}/{self.event}{self.update}" if self.event is Event.GREW else f"{self.id}/{self.event}"


@dataclass(frozen=True, slots=True)
class AlertState:
    """What a monitor remembers between looks.

    `opened` is when the open alert fired (None when closed), `since` the moment before which nothing is comparable,
    `version` what measured the score last, `fallen` past falls, kept out of the baseline. `told` is the deepest fall
    people were told of, in points of the score, `told_at` when, and `updates` counts how often it grew. `muted` says
    that the alert opened while it was snoozed: nobody was told. `span` is how many weeks were low together when it
    opened.
    """

    opened: datetime | None = None
    id: str = ""
    since: datetime | None = None
    version: str | None = None
    fallen: tuple[Span, ...] = ()
    told: float | None = None
    told_at: datetime | None = None
    updates: int = 0
    muted: bool = False
    span: int = 1

    @property
    def baseline_end(self) -> datetime | None:
        """Where the baseline ends while an alert is open; None when it moves along."""
        return None if self.opened is None else self.opened - self.span * WEEK

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; `from_json` is the inverse."""
        return {
            "opened": _text(self.opened),
            "id": self.id,
            "since": _text(self.since),
            "version": self.version,
            "fallen": [[span.start.isoformat(), span.end.isoformat()] for span in self.fallen],
            "told": self.told,
            "told_at": _text(self.told_at),
            "updates": self.updates,
            "muted": self.muted,
            "span": self.span,
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
            told=data.get("told"),
            told_at=_time(data.get("told_at")),
            updates=data.get("updates", 0),
            muted=data.get("muted", False),
            span=data.get("span", 1),
        )


def alert_id(project: str, monitor: str, opened: datetime) -> str:
    """Return the identity of a fall: project, monitor and the ISO week in which it was first seen."""
    year, week, _ = opened.isocalendar()
    return str(uuid.uuid5(_NAMESPACE, json.dumps([project, monitor, f"{year}-W{week:02}"])))


def foreseen(state: AlertState, expected: datetime | None) -> tuple[AlertState, Event | None]:
    """Return the state when a change was expected at a time: nothing before it is compared, an open alert is over."""
    if expected is None or (state.since is not None and state.since >= expected):
        return state, None
    event = Event.EXPECTED if state.opened is not None and not state.muted else None
    return replace(state, opened=None, since=expected), event


def detectable(test: DropTest) -> float:
    """Return how much deeper a fall must be to be seen as deeper, in points: found in four of five such weeks."""
    half = test.high - test.drop
    certain, shown = _NORMAL.inv_cdf(1 - test.alpha) + _NORMAL.inv_cdf(_POWER), _NORMAL.inv_cdf(0.975)
    return max(test.smallest, half * certain / shown)


def reopened(state: AlertState, test: DropTest, at: datetime, opened: datetime, name: str) -> AlertState:
    """Return the state of an alert that was told and forgotten: as deep as it is now, it is known."""
    return replace(state, opened=opened, id=name, told=test.drop, told_at=at, updates=0, muted=False, span=test.span)


def is_calm(test: DropTest) -> bool:
    """Return whether a week is so much like those before it that no alert stays open."""
    return test.p > _CALM


def step(
    state: AlertState,
    test: DropTest | NotEnoughHistory,
    *,
    lasting: DropTest | None = None,
    version: str | None,
    at: datetime,
    project: str,
    monitor: str,
    snoozed: bool = False,
    since: datetime | None = None,
) -> tuple[AlertState, Event | None]:
    """Return the next state and the reason for a message, if any.

    Args:
        state: what was known before the look.
        test: what the look found.
        lasting: what it found of the last weeks together: it opens an alert where no single week does, and that one is
            not over while it fires.
        version: what measured this week's scores, None when there are none.
        at: when the look is.
        project: of Langfuse.
        monitor: its key.
        snoozed: people want to hear of no fall now; what falls meanwhile opens in silence, and is told afterwards when
            the week is low then.
        since: when the fall was first to be seen, if that was before `at`.
    """
    if version is not None and version != state.version:
        state, changed = replace(state, version=version), state.version is not None
        if changed and (state.opened is not None or isinstance(test, NotEnoughHistory)):
            # Another ruler: neither a fall nor a recovery can be told from it.
            return replace(state, opened=None), Event.REMEASURED
    if isinstance(test, NotEnoughHistory):
        if state.opened is None or at - state.opened < _NEW_NORMAL:
            return state, None
        # Nobody writes the score any more, or too seldom: an alert that nothing can end is no alert.
        return replace(state, opened=None, since=state.opened), None if state.muted else Event.LOST
    if state.opened is None:
        opened = since or at
        name = alert_id(project, monitor, opened)
        if name == state.id:
            # The second fall of a week is another alert: who has taken the first must not take it for a repeat.
            name = str(uuid.uuid5(uuid.UUID(name), opened.date().isoformat()))
        together = lasting is not None and lasting.fired and not test.fired
        return _closed(state, lasting if together and lasting else test, at, opened, name, snoozed=snoozed)
    lasts = state.span > 1 and lasting is not None and lasting.fired
    if is_calm(test) and not lasts:
        span = Span(state.opened - state.span * WEEK, max(at - WEEK, state.opened))
        closed = replace(state, opened=None, fallen=(*state.fallen, span)[-_REMEMBERED:])
        return closed, None if state.muted else Event.RESOLVED
    if at - state.opened >= _NEW_NORMAL:
        # The week that ended when it opened began before the fall: its good days are not part of what is normal now.
        closed = replace(state, opened=None, since=state.opened)
        return closed, None if state.muted and snoozed else Event.NEW_NORMAL
    return (state, None) if snoozed else _open(state, test, at)


def _closed(
    state: AlertState, test: DropTest, at: datetime, opened: datetime, name: str, *, snoozed: bool
) -> tuple[AlertState, Event | None]:
    if not test.fired:
        return state, None
    after = replace(state, opened=opened, id=name, told=test.drop, told_at=at, updates=0, muted=snoozed, span=test.span)
    return after, None if snoozed else Event.FELL


def _open(state: AlertState, test: DropTest, at: datetime) -> tuple[AlertState, Event | None]:
    if state.muted:
        told = replace(state, told=test.drop, told_at=at, muted=False)
        return (told, Event.FELL) if test.fired else (state, None)
    if state.told is None or state.told_at is None:
        return replace(state, told=test.drop, told_at=at), None
    grew = test.fired and test.drop >= state.told + detectable(test)
    if grew and at - state.told_at >= WEEK:
        return replace(state, told=test.drop, told_at=at, updates=state.updates + 1), Event.GREW
    return state, None


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
