from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sandbox.langfuse import otlp
from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.rows import Row
from sandbox.langfuse.times import iso, milliseconds

START = milliseconds("2026-11-23T09:00:00Z")
TRACE, SPAN, PARENT = bytes(range(16)), bytes(range(8)), bytes(range(8, 16))


def attribute(name: str, value: Any) -> KeyValue:
    made = AnyValue()
    if isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, list):
        made.array_value.values.extend(AnyValue(string_value=item) for item in value)
    else:
        made.string_value = value
    return KeyValue(key=name, value=made)


def export(
    attributes: dict[str, Any] | None = None, resource: dict[str, Any] | None = None, **span: Any
) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.extend(attribute(name, value) for name, value in (resource or {}).items())
    scope = group.scope_spans.add()
    scope.scope.name, scope.scope.version = "langfuse-sdk", "5.0.4"
    fields = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "name": "step",
        "start_time_unix_nano": START * 1_000_000 + 999_999,
        "end_time_unix_nano": (START + 1500) * 1_000_000,
    }
    scope.spans.add(
        attributes=[attribute(name, value) for name, value in (attributes or {}).items()], **(fields | span)
    )
    return made


def row_of(message: ExportTraceServiceRequest) -> Row:
    (found,) = otlp.rows(message, project="p", now=START, visible_at=lambda: START)
    return found


def stored(
    attributes: dict[str, Any] | None = None, resource: dict[str, Any] | None = None, **span: Any
) -> dict[str, Any]:
    return row_of(export(attributes, resource, **span)).body


def test_a_bare_span_is_a_root_span_named_after_itself() -> None:
    body = stored()
    assert body["id"] == SPAN.hex()
    assert body["traceId"] == TRACE.hex()
    assert (body["startTime"], body["endTime"]) == (iso(START), iso(START + 1500))
    assert (body["type"], body["level"], body["environment"]) == ("SPAN", "DEFAULT", "default")
    assert (body["isRootObservation"], body["parentObservationId"]) == (True, None)
    assert (body["name"], body["traceName"], body["latency"]) == ("step", "step", 1.5)


def test_langfuse_attributes_become_fields() -> None:
    body = stored(
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.input": '{"q": 1}',
            "langfuse.observation.output": "answer",
            "langfuse.observation.level": "WARNING",
            "langfuse.observation.status_message": "slow",
            "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.model.parameters": '{"temperature": 0}',
            "langfuse.observation.usage_details": '{"input": 10, "output": 5}',
            "langfuse.observation.cost_details": '{"input": 0.25, "output": 0.5}',
            "langfuse.observation.prompt.name": "support",
            "langfuse.observation.prompt.version": 3,
            "langfuse.observation.completion_start_time": '"2026-11-23T09:00:00.400Z"',
            "langfuse.trace.name": "answer-user-query",
            "langfuse.trace.tags": ["b", "a"],
            "langfuse.trace.public": True,
            "langfuse.release": "r7",
            "langfuse.version": "v2",
            "user.id": "anna",
            "session.id": "talk",
        }
    )
    expected = {
        "type": "GENERATION",
        "input": '{"q": 1}',
        "output": "answer",
        "level": "WARNING",
        "statusMessage": "slow",
        "model": "gpt-4o",
        "modelParameters": {"temperature": 0},
        "usageDetails": {"input": 10, "output": 5, "total": 15},
        "costDetails": {"input": 0.25, "output": 0.5, "total": 0.75},
        "totalCost": 0.75,
        "promptName": "support",
        "promptVersion": 3,
        "timeToFirstToken": 0.4,
        "traceName": "answer-user-query",
        "tags": ["a", "b"],
        "public": True,
        "release": "r7",
        "version": "v2",
        "userId": "anna",
        "sessionId": "talk",
        "ingestionSdkName": "langfuse-sdk",
    }
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("text", ["plain", "", "0012", "{broken", '"quoted"', "null"])
def test_input_and_output_stay_the_text_that_was_sent(text: str) -> None:
    body = stored({"langfuse.observation.input": text, "langfuse.observation.output": text})
    assert (body["input"], body["output"]) == (text, text)


def test_metadata_is_decoded_and_the_observation_wins_over_the_trace() -> None:
    body = stored(
        {
            "langfuse.trace.metadata.tier": '"gold"',
            "langfuse.trace.metadata.shared": '"trace"',
            "langfuse.observation.metadata.shared": '"own"',
            "langfuse.observation.metadata.tries": "3",
            "langfuse.observation.metadata.plain": "not json",
        }
    )
    assert body["metadata"] == {"tier": "gold", "shared": "own", "tries": 3, "plain": "not json"}


def test_metadata_that_is_no_object_goes_under_one_key() -> None:
    assert stored({"langfuse.observation.metadata": "[1,2]"})["metadata"] == {"metadata": [1, 2]}
    assert stored({"langfuse.observation.metadata": '{"a":1}'})["metadata"] == {"a": 1}


def test_the_resource_speaks_for_its_spans_unless_they_speak_themselves() -> None:
    resource = {"langfuse.environment": "production", "langfuse.release": "r1"}
    assert stored(resource=resource)["environment"] == "production"
    body = stored({"langfuse.environment": "staging"}, resource)
    assert (body["environment"], body["release"]) == ("staging", "r1")


def test_own_environments_cannot_be_written() -> None:
    assert stored({"langfuse.environment": "langfuse-llm-as-a-judge"})["environment"] == "llm-as-a-judge"


def test_a_child_has_a_parent_and_no_trace_name_of_its_own() -> None:
    body = stored(parent_span_id=PARENT)
    assert (body["parentObservationId"], body["isRootObservation"], body["traceName"]) == (PARENT.hex(), False, None)


@pytest.mark.parametrize("flag", ["is_app_root", "as_root"])
def test_an_app_root_is_a_root_that_keeps_its_parent(flag: str) -> None:
    body = stored({f"langfuse.internal.{flag}": True}, parent_span_id=PARENT)
    assert (body["isRootObservation"], body["parentObservationId"]) == (True, PARENT.hex())


def test_a_failed_span_is_an_error_with_its_message() -> None:
    body = stored(status=Status(code=Status.STATUS_CODE_ERROR, message="boom"))
    assert (body["level"], body["statusMessage"]) == ("ERROR", "boom")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"langfuse.observation.type": "agent"}, "AGENT"),
        ({"langfuse.observation.type": "TOOL"}, "TOOL"),
        ({"langfuse.observation.type": "unheard-of"}, "SPAN"),
        ({"langfuse.observation.model.name": "m"}, "GENERATION"),
    ],
)
def test_types(attributes: dict[str, Any], expected: str) -> None:
    assert stored(attributes)["type"] == expected


@pytest.mark.parametrize(("sent", "tags"), [("b, a", ["a", "b"]), ('["b","a"]', ["a", "b"]), (["x"], ["x"]), ("", [])])
def test_tags_come_as_list_or_text(sent: Any, tags: list[str]) -> None:
    assert stored({"langfuse.trace.tags": sent})["tags"] == tags


def test_a_span_without_an_end_is_open() -> None:
    found = row_of(export(end_time_unix_nano=0))
    assert (found.end, found.body["endTime"], found.body["latency"]) == (None, None, None)


@pytest.mark.parametrize("ids", [{"trace_id": b""}, {"trace_id": b"x"}, {"span_id": b""}, {"span_id": TRACE}])
def test_one_malformed_id_refuses_the_whole_export(ids: dict[str, Any]) -> None:
    message = export()
    message.resource_spans.extend(export(**ids).resource_spans)
    with pytest.raises(Refusal) as caught:
        otlp.rows(message, project="p", now=START, visible_at=lambda: START)
    assert caught.value.status == 400


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=5))
def test_protobuf_comes_through_whatever_the_texts(attributes: dict[str, str]) -> None:
    sent = export({f"langfuse.observation.metadata.{name}": json.dumps(value) for name, value in attributes.items()})
    read = otlp.decode(sent.SerializeToString(), "application/x-protobuf")
    assert row_of(read).body["metadata"] == attributes


def test_json_has_ids_in_hex() -> None:
    span = {
        "traceId": TRACE.hex(),
        "spanId": SPAN.hex(),
        "parentSpanId": PARENT.hex(),
        "name": "step",
        "startTimeUnixNano": str(START * 1_000_000),
        "endTimeUnixNano": str((START + 5) * 1_000_000),
        "attributes": [{"key": "user.id", "value": {"stringValue": "anna"}}],
    }
    message = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    body = row_of(otlp.decode(json.dumps(message).encode(), "application/json")).body
    assert (body["traceId"], body["id"], body["parentObservationId"]) == (TRACE.hex(), SPAN.hex(), PARENT.hex())
    assert body["userId"] == "anna"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xff", "application/x-protobuf"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', "application/json"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": 3}]}]}]}', "application/json"),
        (b"", "text/plain"),
    ],
)
def test_anything_else_is_a_400(content: bytes, kind: str) -> None:
    with pytest.raises(Refusal) as caught:
        otlp.decode(content, kind)
    assert caught.value.status == 400


def test_an_empty_export_is_fine() -> None:
    assert otlp.rows(otlp.decode(b"", "application/x-protobuf"), project="p", now=0, visible_at=lambda: 0) == []


def test_usage_in_the_words_of_a_model_api_is_told_in_langfuses() -> None:
    told = {
        "prompt_tokens": 100,
        "completion_tokens": 8,
        "total_tokens": 108,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": None},
        "completion_tokens_details": None,
    }
    row = row_of(export({"langfuse.observation.usage_details": json.dumps(told)}))
    assert row.body["usageDetails"] == {"input": 36, "output": 8, "total": 108, "input_cached_tokens": 64}
