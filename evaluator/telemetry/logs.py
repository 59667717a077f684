"""Logs: structlog, one JSON object a line or readable in a terminal. Secrets and trace content never.

The words of an exception may quote what was evaluated: an error of ours is told whole, any other by its type and the
places it passed. What libraries say is kept to one short line. Characters that would steer a terminal are spelled out,
and should a secret stand in a line after all, it is taken out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Collection, Iterable, Iterator, MutableMapping
from typing import Any, Final, TextIO

import structlog

from evaluator.errors import EvaluatorError

_HIDDEN: Final = "[hidden]"
_SHORTEST_SECRET: Final = 6
"""Characters; a shorter one is also a part of harmless words."""

_LONGEST_LINE: Final = 500
"""Characters of what a library says."""

_MOST_FRAMES: Final = 30
_MOST_CAUSES: Final = 5
_CONTROLS: Final = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for span in ((0x00, 0x20), (0x7F, 0xA0), (0x200B, 0x2010), (0x2028, 0x202F), (0x2060, 0x2070), (0xFEFF, 0xFF00))
    for code in range(*span)
}
"""Characters that end a line, move the cursor or turn the direction of writing, as they are shown."""

_log = structlog.get_logger(__name__)


def configure_logs(
    form: str = "auto", stream: TextIO = sys.stderr, level: int = logging.INFO, *, secrets: Collection[str] = ()
) -> None:
    """Send every log line, ours and the libraries', to `stream`.

    Args:
        form: `json`, `pretty`, or `auto`: pretty in a terminal, JSON elsewhere.
        stream: where to.
        level: the least level of our own lines; libraries speak from WARNING on, and never below this.
        secrets: never shown, whoever says them.
    """
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _without_words,
    ]
    if pretty:
        shared.append(_spelled_out)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty()) if pretty else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(stream)
    handler.setLevel(level)  # a library told to debug itself would write whole requests
    handler.setFormatter(
        _Discreet(
            secrets,
            foreign_pre_chain=[_one_line, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("evaluator").setLevel(level)
    # A catch-up that takes longer than its interval is normal, not a warning every 30 seconds.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def told(error: BaseException) -> str:
    """Return an error and its causes: types, places, and the words of our own errors, which never hold content."""
    return "\n".join(_lines(error))


def spelled_out(text: str) -> str:
    """Return a stranger's text for one line of a terminal: what would end the line or steer the cursor is shown."""
    return text.translate(_CONTROLS)


def hide(secrets: Iterable[str]) -> None:
    """Let no line show these secrets either, beside those that `configure_logs` was told."""
    told = list(secrets)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Discreet):
            handler.formatter.hide(told)


def tell_of_threads() -> None:
    """Log a thread that dies of an error as everything else is logged; by itself Python prints the error's words."""
    threading.excepthook = lambda died: _log.critical("a thread died", exc_info=died.exc_value)


class _Discreet(structlog.stdlib.ProcessorFormatter):
    """The last step of every line: no secret passes it."""

    def __init__(self, secrets: Collection[str], **settings: Any) -> None:
        super().__init__(**settings)
        self._secrets: list[str] = []
        self.hide(secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        """Take these out too, the longest first: one may be a part of another."""
        forms = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1])} | {*self._secrets}
        self._secrets = sorted((form for form in forms if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


Event = MutableMapping[str, Any]


def _without_words(_logger: Any, _method: str, event: Event) -> Event:
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given is True else given
    if isinstance(error, BaseException):
        event["exception"] = told(error)
    return event


def _spelled_out(_logger: Any, _method: str, event: Event) -> Event:
    for key, value in event.items():
        if isinstance(value, str) and key not in {"exception", "stack"}:
            event[key] = spelled_out(value)
    return event


def _one_line(_logger: Any, _method: str, event: Event) -> Event:
    lines = str(event["event"]).splitlines() or [""]
    event["event"] = lines[0][:_LONGEST_LINE]
    return event


def _lines(error: BaseException) -> Iterator[str]:
    current: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if current is None:
            return
        words = _words(current)
        yield f"{type(current).__module__}.{type(current).__qualname__}" + (f": {words}" if words else "")
        for frame, line in reversed(list(traceback.walk_tb(current.__traceback__))[-_MOST_FRAMES:]):
            yield f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _words(error: BaseException) -> str:
    if isinstance(error, EvaluatorError):
        return spelled_out(str(error))
    return os.strerror(error.errno) if isinstance(error, OSError) and isinstance(error.errno, int) else ""
