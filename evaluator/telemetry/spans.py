"""Spans of the service's own work, for those who collect them: what is begun, and that nothing is where nobody does.

They are about the service, never about what it evaluates: names, ids, numbers and kinds of errors, no content and no
key. What is current is kept here and not in OpenTelemetry's own context: Langfuse's SDK reads that one, and would hang
judge calls into our traces. tracing.py sends them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from evaluator.errors import EvaluatorError
from traces import Subject

Attribute = str | int | float | bool | list[str]

TRACE_ID: Final = "langfuse.trace.id"
SESSION_ID: Final = "langfuse.session.id"
OBSERVATION_ID: Final = "langfuse.observation.id"
EVALUATOR: Final = "evaluator.name"


class Span:
    """A span that nobody sees; `tracing` has those that are sent. It ends with its block, or by `end`.

    `follows` is the `traceparent` of what led to it, where that is known.
    """

    follows: str | None = None

    def link(self, follows: Iterable[str]) -> None:
        """Link it to what else led to it, each a `traceparent`."""

    def note(self, attributes: dict[str, Attribute]) -> None:
        """Add what is known by now."""

    def tell(self, event: str, attributes: dict[str, Attribute]) -> None:
        """Add something that happened on the way."""

    def fail(self, kind: str) -> None:
        """Say that it went wrong, and how, in a word."""

    def end(self) -> None:
        """Say that it is over; a second time changes nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        del kind, error, trace


class Spans:
    """Begins spans; these are seen by nobody and cost nothing. Safe for many threads."""

    is_on = False

    def span(self, name: str, attributes: dict[str, Attribute] | None = None, follows: str | None = None) -> Span:
        """Return a span that is current inside its block: others begin under it.

        Args:
            name: what is done, one of few.
            attributes: of what, and how much.
            follows: the `traceparent` of what led to it; it is linked, in a trace of its own.
        """
        del name, attributes, follows
        return _NOTHING

    def begin(self, name: str, attributes: dict[str, Attribute] | None = None) -> Span:
        """Return a span under the current one, which becomes not current; somebody must end it."""
        del name, attributes
        return _NOTHING

    def current(self) -> Span:
        """Return the span of the block we are in; outside of all, one that nobody sees."""
        return _NOTHING

    def traceparent(self) -> str | None:
        """Return the current span as W3C Trace Context writes it; None outside of all."""
        return None

    def close(self) -> None:
        """Send what waits."""


def about(subject: Subject, evaluators: Iterable[str]) -> dict[str, Attribute]:
    """Return what a span says that is about a subject and what looks at it."""
    ids = {TRACE_ID: subject.trace_id, SESSION_ID: subject.session_id, OBSERVATION_ID: subject.observation_id}
    known: dict[str, Attribute] = {name: value for name, value in ids.items() if value}
    return known | {EVALUATOR: ",".join(evaluators)}


def kind_of(error: BaseException) -> str:
    """Return an error as a word: `unavailable`, `refused`, ..., or the name of its type where it is not ours."""
    name = type(error).__name__
    return name.lower() if isinstance(error, EvaluatorError) else name


_NOTHING: Final = Span()
NO_SPANS: Final = Spans()
"""Where no collector is named."""
