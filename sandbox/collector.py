"""An OpenTelemetry collector stand-in: takes log records over OTLP/HTTP and keeps them."""

from __future__ import annotations

import gzip
import zlib
from threading import Lock
from typing import Any

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from sandbox.faults import CONTROL, Fault, FaultKind, Faults, controlling, injecting

PROTOBUF = "application/x-protobuf"


class CollectorStandIn:
    """Takes POST /v1/logs.

    Attributes:
        faults: What goes wrong on the wire.
        records: What arrived: event name, trace and span id in hex, time in seconds, attributes, those of the resource.
        headers: Those of the last request.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.records: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self._lock = Lock()

    def counts(self) -> dict[str, Any]:
        """Return how many records arrived."""
        with self._lock:
            return {"records": len(self.records)}

    def app(self) -> web.Application:
        """Return the web application that serves it."""
        app = web.Application(middlewares=[injecting(self.faults, _refused)], client_max_size=64 << 20)
        app.router.add_post("/v1/logs", self._take)
        app.router.add_post(f"{CONTROL}faults", controlling(self.faults))
        return app

    async def _take(self, request: web.Request) -> web.Response:
        if request.content_type != PROTOBUF:
            return web.Response(status=415)
        body = await request.read()
        try:
            # aiohttp has already undone a compression it knows; a stranger's may have come through.
            found = ExportLogsServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        except (DecodeError, OSError, zlib.error):
            return web.Response(status=400)
        with self._lock:
            self.headers = dict(request.headers)
            for resource in found.resource_logs:
                of_resource = {each.key: _value(each.value) for each in resource.resource.attributes}
                for scope in resource.scope_logs:
                    self.records += [_record(record) | {"resource": of_resource} for record in scope.log_records]
        return web.Response(body=ExportLogsServiceResponse().SerializeToString(), content_type=PROTOBUF)


def _record(record: LogRecord) -> dict[str, Any]:
    return {
        "event": record.event_name,
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
        "time": record.time_unix_nano / 1e9,
        "attributes": {each.key: _value(each.value) for each in record.attributes},
    }


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


def _refused(fault: Fault) -> web.Response:
    if fault.kind is FaultKind.RATE_LIMITED:
        return web.Response(status=429, headers={"Retry-After": f"{max(1, round(fault.seconds))}"})
    return web.Response(status=fault.status)
