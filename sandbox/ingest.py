"""Plays plans into Langfuse over its real interfaces: OTLP for traces, POST /scores for scores."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sandbox.plans import ScorePlan, SpanPlan, TracePlan, stable_id

TRACES_A_REQUEST: Final = 60
SCORES_A_REQUEST: Final = 100
_AT_ONCE: Final = 4
_TRIES: Final = 8

Progress = Callable[[int], None]


def play(
    plans: Sequence[TracePlan], *, base_url: str, public_key: str, secret_key: str, progress: Progress | None = None
) -> None:
    """Send traces and their scores; return when Langfuse has accepted all.

    Raises:
        RuntimeError: Langfuse refuses, or does not answer after several tries.
    """
    asyncio.run(send(plans, base_url=base_url, public_key=public_key, secret_key=secret_key, progress=progress))


async def send(
    plans: Sequence[TracePlan], *, base_url: str, public_key: str, secret_key: str, progress: Progress | None = None
) -> None:
    """Do what `play` does, on the running loop."""
    key = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()
    limit = asyncio.Semaphore(_AT_ONCE)
    done = 0
    async with aiohttp.ClientSession(base_url, headers={"Authorization": f"Basic {key}"}) as session:

        async def traces(part: Sequence[TracePlan]) -> None:
            nonlocal done
            async with limit:
                headers = {
                    "Content-Type": "application/x-protobuf",
                    "Content-Encoding": "gzip",
                    "x-langfuse-ingestion-version": "4",
                }
                body = gzip.compress(export(part).SerializeToString(), compresslevel=1)
                await _post(session, "/api/public/otel/v1/traces", body, headers)
            done += len(part)
            if progress is not None:
                progress(done)

        await asyncio.gather(*(traces(part) for part in _parts(plans, TRACES_A_REQUEST)))
        scores = [score_body(plan, score) for plan in plans for score in plan.scores]
        for group in _parts(scores, SCORES_A_REQUEST):
            await _post(session, "/api/public/scores", orjson.dumps(list(group)), {"Content-Type": "application/json"})


def export(plans: Sequence[TracePlan]) -> ExportTraceServiceRequest:
    """Return traces as one OTLP export."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.scope.name = "sample-traffic"
    scope.spans.extend(_span(plan, span) for plan in plans for span in plan.spans)
    return request


def score_body(plan: TracePlan, score: ScorePlan) -> dict[str, Any]:
    """Return a score as POST /scores takes it, its id and timestamp constant."""
    return {
        "id": stable_id(32, plan.id, score.name),
        "traceId": plan.id,
        "name": score.name,
        "value": score.value,
        "dataType": score.data_type,
        "timestamp": plan.end.isoformat(),
        "environment": plan.environment,
        **({"comment": score.comment} if score.comment else {}),
    }


def _span(plan: TracePlan, span: SpanPlan) -> Span:
    known: dict[str, Any] = {
        "langfuse.trace.name": plan.name,
        "langfuse.environment": plan.environment,
        "langfuse.trace.tags": list(plan.tags) or None,
        "langfuse.release": plan.release,
        "user.id": plan.user_id,
        "session.id": plan.session_id,
        "langfuse.observation.type": span.type.lower(),
        "langfuse.observation.input": _text(span.input),
        "langfuse.observation.output": _text(span.output),
        "langfuse.observation.level": span.level,
        "langfuse.observation.status_message": span.status_message,
        "langfuse.observation.model.name": span.model,
        "langfuse.observation.usage_details": _text(dict(span.usage) or None),
        "langfuse.observation.cost_details": _text({"total": span.cost} if span.cost is not None else None),
        "langfuse.observation.prompt.name": span.prompt_name,
        "langfuse.observation.prompt.version": span.prompt_version,
        **{f"langfuse.observation.metadata.{key}": value for key, value in span.metadata.items()},
    }
    return Span(
        trace_id=bytes.fromhex(plan.id),
        span_id=bytes.fromhex(span.id),
        parent_span_id=bytes.fromhex(span.parent_id) if span.parent_id else b"",
        name=span.name,
        start_time_unix_nano=_nanoseconds(span.start),
        end_time_unix_nano=_nanoseconds(span.end),
        attributes=[KeyValue(key=key, value=_value(value)) for key, value in known.items() if value is not None],
    )


def _value(value: Any) -> AnyValue:
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=str(item)) for item in value]))
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=str(value))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


async def _post(session: aiohttp.ClientSession, path: str, body: bytes, headers: dict[str, str]) -> None:
    for attempt in range(_TRIES):
        wait = 0.2 * 2**attempt
        try:
            async with session.post(path, data=body, headers=headers) as response:
                if response.status < 300:
                    return
                if response.status < 500 and response.status != 429:
                    raise RuntimeError(f"{path}: {response.status} {(await response.text())[:200]}")
                wait = float(response.headers.get("Retry-After", wait))
        except aiohttp.ClientError:
            pass  # a reset tells nothing; ids are constant, so sending again is harmless
        await asyncio.sleep(wait)
    raise RuntimeError(f"{path}: no answer after {_TRIES} tries")
