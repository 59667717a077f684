"""Logs: structlog, one JSON object a line or readable in a terminal. Secrets and trace content never."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


def configure_logs(form: str = "auto", stream: TextIO = sys.stderr, level: int = logging.INFO) -> None:
    """Send every log line, ours and the libraries', to `stream`.

    Args:
        form: `json`, `pretty`, or `auto`: pretty in a terminal, JSON elsewhere.
        stream: where to.
        level: the least level of our own lines; libraries speak from WARNING on.
    """
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
        if not pretty
        else structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty()) if pretty else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("evaluator").setLevel(level)
    # A catch-up that takes longer than its interval is normal, not a warning every 30 seconds.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
