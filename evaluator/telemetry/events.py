"""Scores as OpenTelemetry events: `gen_ai.evaluation.result`, to whatever collector the environment names.

The event stands at the span that was judged, where ids allow it. It is a copy, never the record: it leaves through the
SDK's queue behind everybody's back, and what no collector takes is dropped there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry import context
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from evaluator.settings import Settings
from evaluator.telemetry.collector import EXPORT_SECONDS, resource
from traces import DataType, Ref, Score, Subject, TraceRef, well_formed

NAME: Final = "gen_ai.evaluation.result"
"""The event's name in OpenTelemetry's conventions for generative AI."""

_LONGEST_QUEUE: Final = 20_000
_EVERY_MILLISECONDS: Final = 1000
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")


class ScoreEvents:
    """Sends scores to a collector. Safe for many threads; nothing here waits or raises."""

    def __init__(self, provider: LoggerProvider, now: Callable[[], float], *, explanations: bool) -> None:
        """Send through `provider`.

        Args:
            provider: of the SDK; closed with this.
            now: seconds since 1970.
            explanations: whether events carry the reasoning, which may quote what was judged.
        """
        self._provider = provider
        self._logger = provider.get_logger("evaluator")
        self._now = now
        self._explanations = explanations

    def tell(self, scores: Iterable[Score], ref: Ref) -> None:
        """Send scores of one trace, of its steps, or of one session."""
        for score in scores:
            span, named = _span_of(score.subject, ref)
            self._logger.emit(
                timestamp=int(self._now() * 1e9),
                context=span,
                severity_number=SeverityNumber.INFO,
                event_name=NAME,
                attributes={**self._attributes(score), **named},
            )

    def close(self) -> None:
        """Send what is waiting; how long that takes is up to the collector."""
        self._provider.shutdown()

    def _attributes(self, score: Score) -> dict[str, str | float]:
        told: dict[str, str | float] = {
            "gen_ai.evaluation.name": score.name,
            "evaluator.version": str(score.metadata.get("evaluator_version", "")),
            "langfuse.environment": score.environment,
        }
        if suspected := score.metadata.get("suspected"):
            told["evaluator.suspected"] = ", ".join(suspected)
        if not isinstance(score.value, str):
            told["gen_ai.evaluation.score.value"] = float(score.value)
        if (label := _label(score)) is not None:
            told["gen_ai.evaluation.score.label"] = label
        if self._explanations and score.comment:
            told["gen_ai.evaluation.explanation"] = well_formed(score.comment)
        return told


def open_events(settings: Settings, now: Callable[[], float], *, explanations: bool) -> ScoreEvents:
    """Return events to the collector that the environment names."""
    exporter = OTLPLogExporter(
        settings.otlp_logs_endpoint, headers=settings.otlp_headers or None, timeout=EXPORT_SECONDS
    )
    provider = LoggerProvider(resource(), shutdown_on_exit=False)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter, schedule_delay_millis=_EVERY_MILLISECONDS, max_queue_size=_LONGEST_QUEUE)
    )
    return ScoreEvents(provider, now, explanations=explanations)


def _span_of(subject: Subject, ref: Ref) -> tuple[context.Context, dict[str, str]]:
    """Return the judged span as the parent of events, and what names the subject where no span can."""
    trace_id = subject.trace_id
    if trace_id is None:
        return context.Context(), {"gen_ai.conversation.id": well_formed(subject.session_id or "")}
    if not _TRACE_ID.fullmatch(trace_id) or not int(trace_id, 16):
        return context.Context(), {"langfuse.trace.id": well_formed(trace_id)}
    step = subject.observation_id or (ref.root_id if isinstance(ref, TraceRef) else "")
    span_id = int(step, 16) if _SPAN_ID.fullmatch(step) else 0
    parent = SpanContext(int(trace_id, 16), span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent), context.Context()), {}


def _label(score: Score) -> str | None:
    match score.data_type:
        case DataType.BOOLEAN:
            return "pass" if score.value else "fail"
        case DataType.CATEGORICAL:
            return str(score.value)
        case DataType.NUMERIC:
            return None
