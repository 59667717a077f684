"""Judge calls on their way to Langfuse: how much may wait, in spans and in bytes, and how much goes out at once.

A prompt may have megabytes: what is bounded by number alone may hold gigabytes while Langfuse is slow or away. A
question is taken whole or not at all, so that none is shown in parts; what is not taken is counted and told.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

MOST_SPANS: Final = 2048
MOST_BYTES: Final = 64_000_000
"""What may wait in a process: the texts as they are held in memory."""

SPANS_A_REQUEST: Final = 32
BYTES_A_REQUEST: Final = 4_000_000
"""Langfuse Cloud takes 5 MB at once; a single call that is longer goes alone."""

_TOLD_EVERY_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class Room:
    """How much waits. Safe for many threads; nothing here waits or raises."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Begin empty; `seconds` is a clock that never goes back."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._spans = 0
        self._bytes = 0
        self._held: dict[int, tuple[int, int]] = {}
        self._dropped = 0
        self._told = -_TOLD_EVERY_SECONDS

    def take(self, span_id: int, spans: int, size: int) -> bool:
        """Take room for a question until its span of this id was sent; whether there was any.

        Args:
            span_id: the last span of the question to end.
            spans: how many it has.
            size: their bytes; more than there can ever be room for are taken when nothing else waits.
        """
        with self._lock:
            fits = self._spans + spans <= MOST_SPANS and self._bytes + size <= MOST_BYTES
            if fits or not self._spans:
                self._held[span_id] = spans, size
                self._spans += spans
                self._bytes += size
                return True
            self._dropped += 1
            now, waiting, dropped = self._seconds(), self._spans, self._dropped
            if now - self._told < _TOLD_EVERY_SECONDS:
                return False
            self._told = now
        _log.warning("judge calls are not shown: too much waits for Langfuse", dropped=dropped, waiting=waiting)
        return False

    def sent(self, spans: Iterable[ReadableSpan]) -> None:
        """Note that these spans do not wait any more."""
        with self._lock:
            for span in spans:
                number, size = self._held.pop(span.context.span_id, (0, 0)) if span.context else (0, 0)
                self._spans -= number
                self._bytes -= size


class _Exporter(SpanExporter):
    """Hands spans on in requests that Langfuse takes, and gives their room back whether it took them or not."""

    def __init__(self, inner: SpanExporter, room: Room) -> None:
        self._inner = inner
        self._room = room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            results = [self._inner.export(lot) for lot in lots(spans)]
        finally:
            self._room.sent(spans)
        return next((each for each in results if each is not SpanExportResult.SUCCESS), SpanExportResult.SUCCESS)

    def shutdown(self) -> None:
        self._inner.shutdown()


def sending(endpoint: str, headers: dict[str, str], room: Room) -> SpanProcessor:
    """Return what sends spans to `endpoint` in the background; each question must have taken `room`."""
    exporter = OTLPSpanExporter(endpoint, headers=headers, compression=Compression.Gzip)
    # Twice the room: who is popped from the SDK's queue holds room until it was sent, so that queue is never full.
    return BatchSpanProcessor(
        _Exporter(exporter, room), max_queue_size=2 * MOST_SPANS, max_export_batch_size=SPANS_A_REQUEST
    )


def lots(spans: Sequence[ReadableSpan]) -> Iterator[list[ReadableSpan]]:
    """Give spans as they fit into requests."""
    lot: list[ReadableSpan] = []
    size = 0
    for span in spans:
        own = sum(sys.getsizeof(value) for value in (span.attributes or {}).values())
        if lot and size + own > BYTES_A_REQUEST:
            yield lot
            lot, size = [], 0
        lot.append(span)
        size += own
    if lot:
        yield lot
