"""Errors, sorted by what the caller must do.

EvaluatorError
|-- ConfigError     a person edits a file or an environment variable
|-- Unavailable     wait, then the same again
|-- Refused         never retry: the request itself is wrong
|   `-- Overtaxed   ask for less at once; what is one thing only, later and not for ever
|-- Gone            the thing no longer exists (or never will)

The edges (`langfuse/`, `model/`, `messages/`, `state/`) translate each status and exception into one of these;
above them nobody looks at HTTP codes. A message says what is wrong, where, what was expected and what to do, and never
carries a key or trace content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class EvaluatorError(Exception):
    """Anything we raise on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a configuration: `where` is `file:line:column`, or the name of an environment variable."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(EvaluatorError):
    """The configuration is wrong; `problems` lists everything that is, of all files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Unavailable(EvaluatorError):
    """A service cannot answer now. `retry_after` is in seconds, None when it did not say."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Refused(EvaluatorError):
    """A service will never accept this request."""


class Overtaxed(Refused):
    """A service had no resources for this request: for less, or at another time, it may have them."""


class Gone(EvaluatorError):
    """What was asked for does not exist."""
