"""Messages on their way: from the outbox to every destination, each exactly as often as it takes to get there.

A message leaves the outbox when all destinations have it. How each did is remembered beside it, so that one that is
down does not make the others hear twice. What a destination does not take is tried again, ever less often.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from evaluator.clock import Clock
from evaluator.errors import EvaluatorError, Unavailable
from evaluator.messages.blocks import Message
from evaluator.state.alert_memory import DONE
from evaluator.telemetry.spans import NO_SPANS, Spans

_FIRST_WAIT: Final = 60.0
_LONGEST_WAIT: Final = 3600.0
_LOOKED_BACK: Final = timedelta(minutes=5)
"""How long before it was put into the outbox a message may have been posted, by the other's clock."""

_UNDER_WAY: Final = "on its way"

_Pair = tuple[str, str]
"""A destination, and a message."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it goes to one destination.

    Attributes:
        key: its name, the same however often it is sent.
        content: what people read.
        chart: a PNG to go with it.
        facts: the same for programs; empty for messages that are no alerts.
        since: the earliest time at which it may have been sent before; None when it surely was not.
        thread: name of the message it follows, None when it stands for itself.
        thread_place: where that message is, when it is known.
        thread_since: the earliest time at which that message may have been sent.
    """

    key: str
    content: Message
    chart: bytes | None = None
    facts: Mapping[str, Any] | None = None
    since: datetime | None = None
    thread: str | None = None
    thread_place: str | None = None
    thread_since: datetime | None = None


class Destination(Protocol):
    """Somewhere messages go."""

    @property
    def name(self) -> str:
        """What people call it; without a slash."""

    @property
    def takes_charts(self) -> bool:
        """Whether a chart can go with a message."""

    def take(self, letter: Letter) -> str | None:
        """Deliver; return where it is, if one can say. Raises `Unavailable` or `Refused`."""

    def find(self, key: str, since: datetime) -> str | None:
        """Return where a message is that was sent at or after a time; None when there is none, or nobody can say."""

    def probe(self) -> str:
        """Return what is there, without sending anything. Raises `Unavailable` or `Refused`."""


class Outbox(Protocol):
    """Messages not all destinations have."""

    def outbox(self) -> dict[str, dict[str, Any]]:
        """Return them by name."""

    def sent(self, message: str) -> None:
        """Take one out."""


class Memory(Protocol):
    """What is remembered of deliveries."""

    def place(self, alert: str) -> str | None:
        """Return where the message is that opened an alert."""

    def keep_place(self, alert: str, place: str) -> None:
        """Remember it."""

    def deliveries(self) -> dict[tuple[str, str], str]:
        """Return how (destination, message) went: DONE, or why it did not."""

    def delivered(self, destination: str, message: str, said: str = DONE) -> None:
        """Remember how a delivery went."""

    def forget_deliveries(self, message: str, destinations: Iterable[str]) -> None:
        """Forget how they went."""


class Delivery:
    """Sends what waits in the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        memory: Memory,
        destinations: Sequence[Destination],
        clock: Clock,
        sender: str = "",
        spans: Spans = NO_SPANS,
    ) -> None:
        """Send to every one of `destinations`, in the name of `sender`: others may send to the same places."""
        self._spans = spans
        self._outbox = outbox
        self._memory = memory
        self._destinations = tuple(destinations)
        self._clock = clock
        self._sender = sender
        self._waits: dict[_Pair, tuple[float, float]] = {}
        self._told: set[_Pair] = set()

    def __bool__(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._destinations)

    @property
    def takes_charts(self) -> bool:
        """Whether anybody can show a chart."""
        return any(each.takes_charts for each in self._destinations)

    def deliver(self) -> None:
        """Send what is due. What a destination does not take stays, and is tried again ever less often."""
        waiting = self._outbox.outbox() if self._destinations else {}
        if not waiting:
            return
        known = self._memory.deliveries()
        for key, payload in waiting.items():
            for each in self._destinations:
                if known.get((each.name, key)) != DONE and not self._comes_too_early(each, payload, waiting, known):
                    known[each.name, key] = self._said(each, key, payload, known.get((each.name, key)))
            if all(known.get((name, key)) == DONE for name in self._names):
                self._outbox.sent(key)
                # Those too that are set up no more.
                self._memory.forget_deliveries(key, {name for name, of in known if of == key} | self._names)
                self._told.difference_update((name, key) for name in self._names)

    @property
    def _names(self) -> set[str]:
        return {each.name for each in self._destinations}

    def recall(self, key: str, thread: str, since: datetime) -> bool:
        """Whether a message was sent at or after a time, as far as a destination can tell; its place is kept."""
        for each in self._destinations:
            try:
                place = each.find(key, since)
            except EvaluatorError as error:
                _log.warning("cannot look for an earlier message", destination=each.name, reason=str(error))
                continue
            if place is not None:
                self._memory.keep_place(thread, place)
                return True
        return False

    def _comes_too_early(
        self, to: Destination, payload: Mapping[str, Any], waiting: Mapping[str, Any], known: Mapping[_Pair, str]
    ) -> bool:
        """Whether the message that this one follows is not there yet."""
        follows = payload.get("follows")
        first = str(follows["message"]) if follows else ""
        return first in waiting and known.get((to.name, first)) != DONE

    def _said(self, to: Destination, key: str, payload: Mapping[str, Any], before: str | None) -> str:
        """Send a message if it is due; return how it stands with it, which is remembered."""
        if (to.name, key) in self._told:
            # It was told, and Redis was away in that moment.
            self._memory.delivered(to.name, key)
            return DONE
        due, _ = self._waits.get((to.name, key), (0.0, 0.0))
        if self._clock.monotonic() < due:
            return before or _UNDER_WAY
        letter = self._letter(key, payload, again=before is not None)
        if before is None:
            # Noted before it goes: who takes over after a crash looks whether it arrived.
            self._memory.delivered(to.name, key, _UNDER_WAY)
        try:
            with self._spans.span("deliver", {"evaluator.destination": to.name, "evaluator.message": key}):
                place = to.take(letter if to.takes_charts else replace(letter, chart=None))
        except EvaluatorError as error:
            return self._postpone(to, key, error)
        self._told.add((to.name, key))
        self._waits.pop((to.name, key), None)
        self._memory.delivered(to.name, key)
        if place is not None and (alert := payload.get("opens")):
            self._memory.keep_place(alert, place)
        return DONE

    def _letter(self, key: str, payload: Mapping[str, Any], *, again: bool) -> Letter:
        picture, follows = payload.get("chart"), payload.get("follows")
        put = payload.get("at")
        since = datetime.fromisoformat(put) - _LOOKED_BACK if again and put else None
        # An alert's name is its own in the world. A digest is named by its week: without us in it, the mail program of
        # who reads those of two projects would take the second for the first, and a webhook's receiver too.
        is_alert = any(payload.get(part) for part in ("facts", "opens", "follows"))
        named = key if is_alert or not self._sender else f"{self._sender}/{key}"
        return Letter(
            named,
            payload["message"],
            base64.b64decode(picture) if picture else None,
            payload.get("facts"),
            since,
            follows["message"] if follows else None,
            self._memory.place(follows["alert"]) if follows else None,
            datetime.fromisoformat(follows["since"]) if follows else None,
        )

    def _postpone(self, to: Destination, key: str, error: EvaluatorError) -> str:
        _, last = self._waits.get((to.name, key), (0.0, 0.0))
        asked = error.retry_after if isinstance(error, Unavailable) else None
        wait = max(asked or 0.0, min(max(_FIRST_WAIT, 2 * last), _LONGEST_WAIT))
        self._waits[to.name, key] = (self._clock.monotonic() + wait, wait)
        why = str(error) or "it failed"
        self._memory.delivered(to.name, key, why)
        _log.error("a message is not delivered yet", to=to.name, message=key, reason=why, again_in_seconds=wait)
        return why
