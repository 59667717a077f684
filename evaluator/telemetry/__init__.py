"""What the service says of its own work: logs, spans, and scores as OpenTelemetry events.

Begin with `logs`: every line goes through it, and none of them holds trace content. `spans` says what is begun and
ended; `tracing` and `events` send it to a collector and are loaded only where there is one.
"""
