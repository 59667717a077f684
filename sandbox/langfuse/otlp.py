"""POST /api/public/otel/v1/traces: spans of an export become observation rows."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sandbox.langfuse.answers import bad_request
from sandbox.langfuse.environments import environment_name
from sandbox.langfuse.rows import LEVELS, TYPES, Row, filled
from sandbox.langfuse.times import milliseconds

_OBSERVATION: Final = "langfuse.observation."
_METADATA: Final = ("langfuse.trace.metadata", "langfuse.observation.metadata")  # the later one wins
# attribute -> field of the row, taken as it is
_PLAIN: Final[Mapping[str, str]] = {
    _OBSERVATION + "input": "input",
    _OBSERVATION + "output": "output",
    _OBSERVATION + "status_message": "statusMessage",
    _OBSERVATION + "model.name": "model",
    _OBSERVATION + "prompt.name": "promptName",
    "langfuse.trace.name": "traceName",
    "langfuse.trace.public": "public",
    "langfuse.release": "release",
    "langfuse.version": "version",
    "langfuse.experiment.id": "experimentId",
    "langfuse.experiment.name": "experimentName",
    "langfuse.experiment.dataset.id": "experimentDatasetId",
    "user.id": "userId",
    "session.id": "sessionId",
}
# attribute -> field of the row, sent as JSON text
_JSON: Final[Mapping[str, str]] = {
    _OBSERVATION + "model.parameters": "modelParameters",
    _OBSERVATION + "usage_details": "usageDetails",
    _OBSERVATION + "cost_details": "costDetails",
}
_SCALARS: Final = {"string_value", "bool_value", "int_value", "double_value"}


def decode(body: bytes, content_type: str) -> ExportTraceServiceRequest:
    """Return the export in `body`.

    Raises:
        Refusal: 400 when the content type is neither protobuf nor JSON, or the body is not that.
    """
    if content_type == "application/x-protobuf":
        try:
            return ExportTraceServiceRequest.FromString(body)
        except DecodeError:
            bad_request("Failed to parse OTel Protobuf Trace")
    if content_type != "application/json":
        bad_request("Invalid content type")
    try:
        message = _with_byte_ids(orjson.loads(body))
        return ParseDict(message, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError, KeyError):
        bad_request("Failed to parse OTel JSON Trace")


def _with_byte_ids(export: Any) -> Any:
    # OTLP's JSON writes ids in hex, protobuf's own JSON form writes bytes in base64.
    for resource in export.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if span.get(name):
                        span[name] = base64.b64encode(binascii.unhexlify(span[name])).decode()
    return export


def rows(export: ExportTraceServiceRequest, *, project: str, now: int, visible_at: Callable[[], int]) -> list[Row]:
    """Return the rows of all spans of an export, in its order.

    Raises:
        Refusal: 400, for the whole export, when one id is missing or malformed.
    """
    pairs = list(_spans(export))
    if any(len(span.trace_id) != 16 or len(span.span_id) != 8 for span, _ in pairs):
        bad_request("Missing or malformed trace or span id in OTel export")
    return [_row(span, shared, project=project, now=now, visible_at=visible_at()) for span, shared in pairs]


def _spans(export: ExportTraceServiceRequest) -> Iterator[tuple[Span, dict[str, Any]]]:
    for resource in export.resource_spans:
        shared = _mapping(resource.resource.attributes)
        for scope in resource.scope_spans:
            named = shared | {"ingestionSdkName": scope.scope.name, "ingestionSdkVersion": scope.scope.version}
            for span in scope.spans:
                yield span, named


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind in _SCALARS:
        return getattr(value, str(kind))
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _mapping(value.kvlist_value.values)
    return base64.b64encode(value.bytes_value).decode() if kind == "bytes_value" else None


def _mapping(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _row(span: Span, shared: Mapping[str, Any], *, project: str, now: int, visible_at: int) -> Row:
    given = {**shared, **_mapping(span.attributes)}
    body: dict[str, Any] = {field: given[name] for name, field in _PLAIN.items() if name in given}
    body |= {field: _loaded(given[name]) for name, field in _JSON.items() if name in given}
    parent = span.parent_span_id.hex()
    body |= {
        "id": span.span_id.hex(),
        "traceId": span.trace_id.hex(),
        "name": span.name,
        "parentObservationId": parent or None,
        "isRootObservation": not parent or _is_app_root(given),
        "type": _type(given),
        "level": _level(span, given),
        "environment": environment_name(given.get("langfuse.environment") or given.get("deployment.environment")),
        "metadata": _metadata(given),
        "tags": _tags(given.get("langfuse.trace.tags")),
        "promptVersion": _integer(given.get(_OBSERVATION + "prompt.version")),
        "ingestionSdkName": given["ingestionSdkName"],
        "ingestionSdkVersion": given["ingestionSdkVersion"],
    }
    if body.get("statusMessage") is None and span.status.message:
        body["statusMessage"] = span.status.message
    if not parent:
        body.setdefault("traceName", span.name)
    complete = partial(filled, body, project=project, updated=now, visible_at=visible_at, first=_first_token(given))
    end = span.end_time_unix_nano // 1_000_000
    return complete(start=span.start_time_unix_nano // 1_000_000, end=end or None)


def _is_app_root(given: Mapping[str, Any]) -> bool:
    return any(given.get(f"langfuse.internal.{flag}") in (True, "true") for flag in ("is_app_root", "as_root"))


def _type(given: Mapping[str, Any]) -> str:
    named = str(given.get(_OBSERVATION + "type", "")).upper()
    if named in TYPES:
        return named
    return "GENERATION" if _OBSERVATION + "model.name" in given else "SPAN"


def _level(span: Span, given: Mapping[str, Any]) -> str:
    named = str(given.get(_OBSERVATION + "level", "")).upper()
    if named in LEVELS:
        return named
    return "ERROR" if span.status.code == Status.STATUS_CODE_ERROR else "DEFAULT"


def _metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata; what is sent with the trace is copied to each observation, whose own keys win."""
    found: dict[str, Any] = {}
    for prefix in _METADATA:
        whole = _loaded(given.get(prefix))
        found |= whole if isinstance(whole, dict) else {} if whole is None else {"metadata": whole}
        start = prefix + "."
        found |= {name[len(start) :]: _loaded(value) for name, value in given.items() if name.startswith(start)}
    return found


def _tags(value: Any) -> list[str]:
    tags = _loaded(value) if isinstance(value, str) and value.startswith("[") else value
    if isinstance(tags, str):
        return [tag.strip() for tag in tags.split(",") if tag.strip()]
    return [str(tag) for tag in tags or ()]


def _integer(value: Any) -> int | None:
    return int(value) if re.fullmatch(r"\d+", str(value)) else None


def _first_token(given: Mapping[str, Any]) -> int | None:
    text = _loaded(given.get(_OBSERVATION + "completion_start_time"))
    try:
        return milliseconds(text)
    except ValueError:
        return None


def _loaded(value: Any) -> Any:
    """Return the JSON that `value` is the text of; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
