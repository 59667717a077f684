"""An OpenTelemetry collector stand-in: takes log records and spans over OTLP/HTTP and keeps them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from threading import Lock
from typing import Any, TypeVar

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sandbox.faults import CONTROL, Fault, FaultKind, Faults, controlling, injecting

PROTOBUF = "application/x-protobuf"

Exported = TypeVar("Exported", ExportLogsServiceRequest, ExportTraceServiceRequest)


class CollectorStandIn:
    """Takes POST /v1/logs and POST /v1/traces.

    Attributes:
        faults: What goes wrong on the wire.
        records: What arrived: event name, trace and span id in hex, time in seconds, attributes, those of the resource.
        spans: What arrived: name, kind, ids of itself, its parent and its links in hex, attributes, events, error.
        headers: Those of the last request.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.records: list[dict[str, Any]] = []
        self.spans: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self._lock = Lock()

    def counts(self) -> dict[str, Any]:
        """Return how many records and spans arrived."""
        with self._lock:
            return {"records": len(self.records), "spans": len(self.spans)}

    def app(self) -> web.Application:
        """Return the web application that serves it."""
        app = web.Application(middlewares=[injecting(self.faults, _refused)], client_max_size=64 << 20)
        app.router.add_post("/v1/logs", self._take_records)
        app.router.add_post("/v1/traces", self._take_spans)
        app.router.add_post(f"{CONTROL}faults", controlling(self.faults))
        return app

    async def _take_records(self, request: web.Request) -> web.Response:
        found = await _read(request, ExportLogsServiceRequest)
        with self._lock:
            self.headers = dict(request.headers)
            for resource in found.resource_logs:
                of_resource = _attributes(resource.resource.attributes)
                for scope in resource.scope_logs:
                    self.records += [_record(record) | {"resource": of_resource} for record in scope.log_records]
        return web.Response(body=ExportLogsServiceResponse().SerializeToString(), content_type=PROTOBUF)

    async def _take_spans(self, request: web.Request) -> web.Response:
        found = await _read(request, ExportTraceServiceRequest)
        with self._lock:
            self.headers = dict(request.headers)
            for resource in found.resource_spans:
                of_resource = _attributes(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += [_span(span) | {"resource": of_resource} for span in scope.spans]
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)


async def _read(request: web.Request, kind: type[Exported]) -> Exported:
    """Read what a request holds; what it does not hold is answered as a collector would."""
    if request.content_type != PROTOBUF:
        raise web.HTTPUnsupportedMediaType
    body = await request.read()
    try:
        # aiohttp has already undone a compression it knows; a stranger's may have come through.
        return kind.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    except (DecodeError, OSError, zlib.error):
        raise web.HTTPBadRequest from None


def _record(record: LogRecord) -> dict[str, Any]:
    return {
        "event": record.event_name,
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
        "time": record.time_unix_nano / 1e9,
        "attributes": _attributes(record.attributes),
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "links": [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        "attributes": _attributes(span.attributes),
        "events": [(event.name, _attributes(event.attributes)) for event in span.events],
        "error": span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
    }


def _attributes(known: Iterable[KeyValue]) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in known}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def _refused(fault: Fault) -> web.Response:
    if fault.kind is FaultKind.RATE_LIMITED:
        return web.Response(status=429, headers={"Retry-After": f"{max(1, round(fault.seconds))}"})
    return web.Response(status=fault.status)
