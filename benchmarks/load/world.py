"""Traffic of any size that is never stored: trace N, its rows and their times follow from N.

Traces end at even distances, `step` seconds apart; trace 0 ends first. A world with a `count` is finished; without one
it goes on for ever, and only what ended before now can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from sandbox.langfuse.rows import row

LASTS: Final = 2.0
"""Seconds from a root's start to its end."""

_SALT: Final = "5eed0f10ad7e57ab1e00"
_ID: Final = "%(id)s"
TICKET: Final = "Ticket "
"""Stands before the id in texts that say of which trace they are."""

_MARKS: Final = ("startTime", "endTime", "createdAt", "updatedAt", "completionStartTime")
_LEAVES: Final = ("TOOL", "RETRIEVER", "GENERATION", "TOOL", "SPAN")
_WORDS: Final = (
    "Orders can be returned within 30 days of delivery, unused and in their original packaging. "
    "Refunds reach the card that was charged after 3 to 5 working days. Express delivery takes one working day. "
    "A parcel that was not collected goes back to us after seven days and is refunded without its postage. "
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a trace looks like.

    Attributes:
        observations: how many, the root included.
        characters: of input and output together, in every observation.
        numbered: whether the texts say which trace they are of.
    """

    observations: int = 6
    characters: int = 800
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Rush:
    """A time in which traces come denser: from `start` to `end`, seconds after trace 0 ended, so many `times`."""

    start: float
    end: float
    times: float


@dataclass(frozen=True, slots=True)
class World:
    """All traffic there is.

    Attributes:
        first: when trace 0 ended, seconds since 1970.
        step: seconds from the end of one trace to the next one's.
        count: how many there are; None: it never ends.
        shapes: trace N has the shape N modulo their number.
        doubled: one root in so many comes with an unmerged older row, further down the list; 0: none does.
        rush: when traces come denser; None: never.
    """

    first: float
    step: float
    count: int | None = None
    shapes: tuple[Shape, ...] = (Shape(),)
    doubled: int = 0
    rush: Rush | None = None

    def ended(self, number: int) -> float:
        """Return when a trace ended."""
        even, rush = number * self.step, self.rush
        if rush is None or even <= rush.start:
            return self.first + even
        longest = rush.end - rush.start
        return self.first + max(
            rush.start + min((even - rush.start) / rush.times, longest), even - longest * (rush.times - 1)
        )

    def mark(self, number: int) -> int:
        """Return what a judge finds in a trace, from 1 to 5: lower in a rush, so that who leaves it out is wrong."""
        ended, rush = self.ended(number) - self.first, self.rush
        usual = 2 if rush is not None and rush.start < ended <= rush.end else 4
        return usual + (number * 2654435761 >> 16) % 3 - 1

    def between(self, start: float, end: float, now: float) -> range:
        """Return the traces that ended from `start` up to, not including, `end`."""
        last = math.ceil(self._even(min(end, now)) / self.step - 1e-9)
        first = max(0, math.ceil(self._even(start) / self.step - 1e-9))
        return range(first, max(first, last if self.count is None else min(last, self.count)))

    def _even(self, moment: float) -> float:
        """Return when something that ended at a moment would have, had all come at even distances."""
        after, rush = moment - self.first, self.rush
        if rush is None or after <= rush.start:
            return after
        return after + (min(after, rush.end) - rush.start) * (rush.times - 1)

    def older_row_of(self, number: int) -> int | None:
        """Return which later trace's older row stands behind this one's row."""
        if not self.doubled or number % self.doubled:
            return None
        later = number + min(700, int(30 / self.step))
        return later if later > number and (self.count is None or later < self.count) else None


def trace_id(number: int) -> str:
    """Return the id of a trace."""
    return f"{number:012x}{_SALT}"


def number_of(text: str) -> int:
    """Return which trace an id names."""
    return int(text[:12], 16)


def iso(seconds: float) -> str:
    """Return a moment as Langfuse writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Rows:
    """Writes rows of a world as JSON."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lean = {shape: _templates(shape, lean=True)[0] for shape in world.shapes}
        self._full = {shape: _templates(shape, lean=False) for shape in world.shapes}

    def root(self, number: int, at: int | None = None) -> bytes:
        """Return the row of a root without its texts, as it looks when it started like trace `at`."""
        ended = self._world.ended(number if at is None else at)
        return self._lean[self._shape(number)] % _values(number, ended, offset=0)

    def whole(self, number: int) -> list[tuple[float, bytes]]:
        """Return every row of a trace with its texts, newest first, each with the moment it started."""
        ended = self._world.ended(number)
        templates = self._full[self._shape(number)]
        gap = LASTS / len(templates) / 2
        written = [(ended - LASTS + n * gap, t % _values(number, ended, n * gap)) for n, t in enumerate(templates)]
        return written[::-1]

    def _shape(self, number: int) -> Shape:
        return self._world.shapes[number % len(self._world.shapes)]


def _values(number: int, ended: float, offset: float) -> dict[bytes, bytes]:
    start, end = iso(ended - LASTS + offset).encode(), iso(ended).encode()
    return {b"id": trace_id(number).encode(), b"start": start, b"end": end}


def _templates(shape: Shape, *, lean: bool) -> list[bytes]:
    return [_template(body, lean=lean) for body in _bodies(shape)]


def _template(body: dict[str, Any], *, lean: bool) -> bytes:
    """Return a row in which only ids and times are left open."""
    kept = {k: v for k, v in body.items() if not (lean and k in {"input", "output", "metadata"})}
    return orjson.dumps(kept).replace(b"%", b"%%").replace(b"%%(", b"%(")


def _bodies(shape: Shape) -> Iterator[dict[str, Any]]:
    text = (_WORDS * (shape.characters // (2 * len(_WORDS)) + 1))[: shape.characters // 2]
    if shape.numbered:
        text = f"{TICKET}{_ID}. {text}"
    for place in range(shape.observations):
        kind = _LEAVES[place % len(_LEAVES)] if place else "AGENT"
        given = {
            "id": f"{place:08x}{_SALT[:8]}",
            "traceId": "0" * 32,
            "startTime": iso(0),
            "endTime": iso(1),
            "type": kind,
            "name": "answer-user-query" if not place else kind.lower(),
            "traceName": "answer-user-query",
            "environment": "production",
            "userId": "user-17",
            "sessionId": "session-4",
            "release": "2026.11",
            "tags": ["chat", "de"],
            "input": {"question": text},
            "output": {"answer": text},
            "metadata": {"region": "eu-central", "attempt": 1},
        }
        if place:
            given |= {"parentObservationId": f"{0:08x}{_SALT[:8]}"}
        if kind == "GENERATION":
            given |= {"model": "gpt-5.4-mini", "usageDetails": {"input": 640, "output": 210}, "promptName": "support"}
        body = row(given, project="load", now=0, visible_at=0).body
        yield _opened(body, place)


def _opened(body: dict[str, Any], place: int) -> dict[str, Any]:
    times = {name: "%(start)s" if name == "startTime" else "%(end)s" for name in _MARKS if body.get(name)}
    # Ids differ between traces as real ones do, by their first digits.
    parent = {"parentObservationId": "%(id)s-0"} if place else {}
    return {**body, **times, **parent, "id": f"%(id)s-{place}", "traceId": _ID}
