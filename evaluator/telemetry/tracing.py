"""The service's spans on their way to a collector, over OTLP. See spans.py for what is in them.

They have a tracer provider of their own, which no other library of the process knows: what Langfuse's SDK writes of
judge calls never goes to the collector, and these never go to Langfuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar, Token
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from evaluator.settings import Settings
from evaluator.telemetry.collector import EXPORT_SECONDS, resource
from evaluator.telemetry.spans import Attribute, Span, Spans, kind_of
from traces import well_formed

_KINDS: Final = {
    "batch": SpanKind.CONSUMER,
    "read": SpanKind.CLIENT,
    "judge": SpanKind.CLIENT,
    "write": SpanKind.CLIENT,
    "deliver": SpanKind.CLIENT,
}
_HEADER: Final = "traceparent"
_CONTEXT: Final = TraceContextTextMapPropagator()


class _Sent(Span):
    """A span that is sent when it ends."""

    def __init__(self, span: trace.Span, follows: str | None = None) -> None:
        self.follows = follows
        self._span = span
        self._token: Token[_Sent | None] | None = None

    @property
    def context(self) -> Context:
        """What makes another one begin under it."""
        return trace.set_span_in_context(self._span, Context())

    def link(self, follows: Iterable[str]) -> None:
        for each in follows:
            for link in _links(each):
                self._span.add_link(link.context)

    def note(self, attributes: dict[str, Attribute]) -> None:
        self._span.set_attributes(_clean(attributes))

    def tell(self, event: str, attributes: dict[str, Attribute]) -> None:
        self._span.add_event(event, _clean(attributes))

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR, kind))

    def end(self) -> None:
        if self._span.is_recording():
            self._span.end()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.fail(kind_of(error))
        if self._token is not None:
            _current.reset(self._token)
        self.end()


_current: ContextVar[_Sent | None] = ContextVar("current span", default=None)


class SentSpans(Spans):
    """Begins spans that are sent."""

    is_on = True

    def __init__(self, provider: TracerProvider) -> None:
        """Send through `provider`, which is closed with this."""
        self._provider = provider
        self._tracer = provider.get_tracer("evaluator")

    def span(self, name: str, attributes: dict[str, Attribute] | None = None, follows: str | None = None) -> Span:
        """Return a span that is current inside its block."""
        return _Sent(self._begun(name, attributes or {}, _links(follows)), follows)

    def begin(self, name: str, attributes: dict[str, Attribute] | None = None) -> Span:
        """Return a span under the current one."""
        return _Sent(self._begun(name, attributes or {}, []))

    def current(self) -> Span:
        """Return the span of the block we are in."""
        span = _current.get()
        return super().current() if span is None else span

    def traceparent(self) -> str | None:
        """Return the current span as W3C Trace Context writes it."""
        if (span := _current.get()) is None:
            return None
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier, span.context)
        return carrier.get(_HEADER)

    def close(self) -> None:
        """Send what waits; how long that takes is up to the collector."""
        self._provider.shutdown()

    def _begun(self, name: str, attributes: Mapping[str, Attribute], links: list[Link]) -> trace.Span:
        above = _current.get()
        context = Context() if above is None else above.context
        kind = _KINDS.get(name, SpanKind.INTERNAL)
        return self._tracer.start_span(name, context, kind, _clean(attributes), links)


def open_spans(settings: Settings) -> SentSpans:
    """Return spans to the collector that the environment names; OTEL_TRACES_SAMPLER says which of them."""
    exporter = OTLPSpanExporter(
        settings.otlp_traces_endpoint, headers=settings.otlp_headers or None, timeout=EXPORT_SECONDS
    )
    provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return SentSpans(provider)


def _links(follows: str | None) -> list[Link]:
    """Return what a span follows; nothing of what is no trace context: a message may come from anywhere."""
    if follows is None:
        return []
    found = trace.get_current_span(_CONTEXT.extract({_HEADER: follows}, Context())).get_span_context()
    return [Link(found)] if found.is_valid else []


def _clean(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Return attributes as a collector takes them: ids of strangers may hold half characters."""
    return {name: well_formed(value) if isinstance(value, str) else _list(value) for name, value in attributes.items()}


def _list(value: Attribute) -> Attribute:
    return [well_formed(each) for each in value] if isinstance(value, list) else value
