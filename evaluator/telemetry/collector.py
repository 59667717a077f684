"""What all that goes to an OpenTelemetry collector has in common: who says it."""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

EXPORT_SECONDS: Final = 5.0


def resource() -> Resource:
    """Return who speaks: this service, and what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say besides."""
    return Resource({"service.name": "evaluator"}).merge(OTELResourceDetector().detect())
