"""What only some need is loaded when they need it: every command and every worker pays for what is loaded at once."""

from __future__ import annotations

import subprocess
import sys


def test_opening_the_service_loads_nothing_that_may_stay_unused() -> None:
    code = (
        "import sys, evaluator.app, evaluator.worker, evaluator.service, evaluator.status.overview; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "evaluator.app" in loaded
    assert {"opentelemetry.sdk.trace", "evaluator.telemetry.tracing", "evaluator.telemetry.events"}.isdisjoint(loaded)
    assert {"openai", "langfuse", "slack_sdk", "valkey", "scipy.stats", "matplotlib"}.isdisjoint(loaded)
