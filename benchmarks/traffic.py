"""The traces every contender evaluates: six observations each, as a support assistant with retrieval leaves them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import orjson

from sandbox.langfuse.rows import row

_HEAVY: Final = frozenset({"input", "output", "metadata"})
"""Fields Langfuse leaves out unless they are asked for."""

_SENTENCES: Final = (
    "Orders can be returned within 30 days of delivery, unused and in their original packaging.",
    "Refunds reach the card that was charged after 3 to 5 working days; Zürich and Genève may take a day longer.",
    "Express delivery takes one working day and costs 9,90 €, standard delivery three to five.",
    "A parcel that was not collected goes back to us after seven days and is refunded without its postage.",
    "Opened software, vouchers and goods made to measure can only be exchanged when they are faulty.",
    "The warranty covers manufacturing faults for two years from the day on the invoice.",
    "Please keep the label's number: without it the carrier cannot trace the parcel.",
    "Invoices are under “My orders”; a company's VAT number can be added within 14 days.",
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One observation as the stand-in answers it: with its texts (`full`) and without (`lean`)."""

    start: str
    end: str
    full: bytes
    lean: bytes


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace; the root comes first."""

    id: str
    observations: tuple[Stored, ...]

    @property
    def root(self) -> Stored:
        """The root."""
        return self.observations[0]


def finished_traces(number: int, until: datetime, seed: int = 7) -> list[StoredTrace]:
    """Return so many traces, newest first, one a millisecond, the last one ending at `until`."""
    random = Random(seed)
    return [_trace(n, until - timedelta(milliseconds=n), random) for n in range(number)]


def _trace(number: int, end: datetime, random: Random) -> StoredTrace:
    trace_id = f"{number:08x}{random.getrandbits(96):024x}"
    rows = list(_rows(number, trace_id, end, random))
    milliseconds = int(end.timestamp() * 1000)
    stored = (row(each, project="bench", now=milliseconds, visible_at=0).body for each in rows)
    return StoredTrace(trace_id, tuple(_stored(body) for body in stored))


def _stored(body: dict[str, Any]) -> Stored:
    lean = {name: value for name, value in body.items() if name not in _HEAVY}
    return Stored(body["startTime"], body["endTime"], orjson.dumps(body), orjson.dumps(lean))


def _rows(number: int, trace_id: str, end: datetime, random: Random) -> Iterator[dict[str, Any]]:
    start = end - timedelta(seconds=2)
    question = f"Order {number}: {_text(random, 300)}"
    documents = [_text(random, 450), _text(random, 450)]
    answer = _text(random, 800)
    root = _observation(trace_id, "SPAN", "answer-user-query", start, end, number)
    yield {**root, "input": {"question": question, "context": documents}, "output": {"answer": answer}}

    def child(kind: str, name: str, first: float, last: float, texts: tuple[Any, Any], **more: Any) -> dict[str, Any]:
        began, ended = start + timedelta(seconds=first), start + timedelta(seconds=last)
        made = _observation(trace_id, kind, name, began, ended, number)
        return {**made, "parentObservationId": root["id"], "input": texts[0], "output": texts[1], **more}

    model = {"model": "gpt-5.4-mini", "usageDetails": {"input": 640, "output": 210}, "promptName": "support"}
    asked = [{"role": "system", "content": _text(random, 500)}, {"role": "user", "content": question}]
    yield child("GENERATION", "plan", 0.05, 0.4, (asked, _text(random, 300)), **model, promptVersion=2)
    yield child("RETRIEVER", "search", 0.45, 0.6, ({"query": question}, documents))
    yield child(
        "TOOL", "get_order", 0.65, 0.8, ({"order_id": number}, {"status": "delivered", "log": _text(random, 900)})
    )
    yield child("TOOL", "get_customer", 0.85, 1.0, ({"customer": number % 97}, {"note": _text(random, 900)}))
    told = [{"role": "user", "content": question + "\n" + "\n".join(documents)}]
    yield child("GENERATION", "answer", 1.05, 1.95, (told, answer), **model, promptVersion=4)


def _observation(trace_id: str, kind: str, name: str, start: datetime, end: datetime, number: int) -> dict[str, Any]:
    return {
        "id": f"{trace_id[:8]}{zlib.crc32(name.encode()):08x}",
        "traceId": trace_id,
        "traceName": "answer-user-query",
        "type": kind,
        "name": name,
        "startTime": start.isoformat(),
        "endTime": end.isoformat(),
        "environment": "production",
        "userId": f"user-{number % 97}",
        "sessionId": f"session-{number // 3}",
        "release": "2026.11",
        "tags": ["chat", "de" if number % 3 else "fr"],
        "metadata": {"region": "eu-central", "attempt": 1},
    }


def _text(random: Random, characters: int) -> str:
    words = ""
    while len(words) < characters:
        words += random.choice(_SENTENCES) + " "
    return words[:characters]


def recent(now: datetime | None = None) -> datetime:
    """Return an end for the traffic: long enough ago to count as finished, within the hour that is evaluated."""
    return (now or datetime.now(UTC)) - timedelta(minutes=5)
