"""What all that goes to an OpenTelemetry collector has in common: who says it, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

EXPORT_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 5.0


def resource() -> Resource:
    """Return who speaks: this service, and what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say besides."""
    return Resource({"service.name": "evaluator"}).merge(OTELResourceDetector().detect())


def closed_in_time(shutdown: Callable[[], object]) -> None:
    """Let what waits be sent, for some seconds: a collector that is away must not keep a process from ending."""
    closing = threading.Thread(target=shutdown, name="collector", daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)
