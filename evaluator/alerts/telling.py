"""From what a look found to what is told of it: the alert, and the message that goes into the outbox."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any, Final

from evaluator.alerts.weekly_look import Look
from evaluator.messages.alert import Urls, message
from evaluator.messages.facts import facts_of
from evaluator.messages.figures import sees
from monitors import (
    Alert,
    AlertState,
    Attribution,
    DropTest,
    Event,
    Marks,
    NotEnoughHistory,
    Segment,
    WeeklySeries,
    alert_id,
    attribute,
    chart,
    detectable,
    first_seen,
    segment_line,
    without_judge,
)
from monitors.drop import Residuals

LOOKED_BACK: Final = timedelta(days=1)
"""How long before a fall was first to be seen its message may have been sent."""

_EXPLAINED: Final = frozenset({Event.FELL, Event.GREW})


def alert_of(
    monitor: str, found: Look, event: Event, before: AlertState, after: AlertState, given: Marks, project: str
) -> Alert:
    """Return what people are told of a look that changed a monitor's state."""
    test = found.fell if event is Event.FELL else found.test
    series, expected = found.explains if event is Event.FELL else (found.series, found.expected)
    return Alert(
        id=alert_id(project, monitor, found.at) if event is Event.REMEASURED else after.id,
        event=event,
        score=monitor,
        at=found.at,
        opened=after.opened or before.opened,
        binary=found.series.binary,
        line=found.series.line(),
        test=test if isinstance(test, DropTest) and event is not Event.EXPECTED else None,
        attribution=_explanation(series, expected, test) if event in _EXPLAINED else None,
        note=_note(found, before, after, given, event),
        told=before.told,
        update=after.updates,
        changes=first_seen(found.series) if event in _EXPLAINED else (),
    )


def _explanation(
    series: WeeklySeries, expected: Residuals | NotEnoughHistory, test: DropTest | NotEnoughHistory
) -> Attribution | None:
    return attribute(series, without_judge(series, expected, test)) if isinstance(expected, Residuals) else None


def unwatched(monitor: str, before: AlertState, now: datetime) -> Alert:
    """Return what people are told when a score is watched no longer while its alert is open."""
    note = "It stands in monitors.yaml no more: the alert is closed, whatever its score does."
    return Alert(before.id, Event.LOST, monitor, now, before.opened, binary=False, line=(), note=note)


def payload_of(alert: Alert, before: AlertState, found: Look | None, urls: Urls, *, charts: bool) -> dict[str, Any]:
    """Return an alert for the outbox; with `charts` some destination can show one of what was found."""
    picture = _picture(alert, found) if charts and found and alert.event in _EXPLAINED else None
    payload = {
        "message": message(alert, urls),
        "chart": base64.b64encode(picture).decode() if picture else None,
        "facts": facts_of(alert, urls),
    }
    if alert.event is Event.FELL:
        return {**payload, "opens": alert.id}
    if before.opened is None or before.muted:
        return payload
    since = before.opened - LOOKED_BACK
    follows = {"alert": before.id, "message": f"{before.id}/{Event.FELL}", "since": since.isoformat()}
    return {**payload, "follows": follows}


def sight_of(found: Look) -> str:
    """Return what can be seen of a score at the rate at which it is sampled now."""
    if isinstance(found.test, NotEnoughHistory):
        return f"nothing can be compared yet: {found.test.reason}"
    smallest = detectable(found.test)
    return f"{sees(smallest, found.test.baseline, found.series.binary)} ({found.test.n:,} scores in the last one)"


def _picture(alert: Alert, found: Look) -> bytes:
    row = alert.attribution.rows[0] if alert.attribution and alert.attribution.rows else None
    name = "" if row is None else f"{row.dimension.replace('_', ' ')} {row.value}"
    guilty = None if row is None else Segment(name, segment_line(found.series, row.dimension, row.value))
    return chart(alert.line, alert.score, percent=alert.binary, guilty=guilty)


def _note(found: Look, before: AlertState, after: AlertState, given: Marks, event: Event) -> str:
    """Return what to say of weeks that are not comparable any more."""
    if event is Event.EXPECTED and given.expected is not None:
        why = f" ({given.expected_why})" if given.expected_why else ""
        return (
            f"A change was expected on {given.expected.day} {given.expected:%b}{why}: the alert is closed, and later "
            "weeks are compared with each other once there are enough of them."
        )
    if event is Event.LOST and isinstance(found.test, NotEnoughHistory):
        return f"For four weeks nothing could be compared ({found.test.reason}): the alert is closed."
    if event is not Event.REMEASURED:
        return ""
    closed = " The open alert is closed." if before.opened is not None else ""
    why = f" ({found.test.reason})" if isinstance(found.test, NotEnoughHistory) else ""
    return (
        f"Its evaluator or judge model changed ({before.version or 'unknown'} → {after.version or 'unknown'}), so "
        f"earlier weeks cannot be compared.{closed} Falls are reported again when enough weeks are measured "
        f"alike{why}; a backfill of the earlier weeks shortens the wait."
    )
