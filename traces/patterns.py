"""Regular expressions whose time grows linearly with the text, whoever wrote the pattern or the text.

Patterns come from configuration and texts from strangers. Python's own engines backtrack and hold the interpreter
while they do: one bad pair stops a whole process, and no time limit can interrupt it. RE2 cannot be stalled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import re2

from traces.parsed import Parsed
from traces.text import well_formed

LONGEST_PATTERN: Final = 10_000
"""Characters; far more than anybody writes by hand, and little enough to compile at once."""

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False  # the engine would print to standard error; the exception says the same


class BadPattern(ValueError):
    """A text is not a regular expression RE2 understands; the message says what is wrong with it."""


class Pattern(Parsed):
    r"""A compiled regular expression in RE2's syntax: `(?i)refund(s|ed)?`, `\b[A-Z]{2}-\d{4}\b`."""

    __slots__ = ("_compiled",)

    expected: ClassVar = r"a regular expression such as (?i)order \d+"
    json_schema: ClassVar = {
        "type": "string",
        "maxLength": LONGEST_PATTERN,
        "description": "a regular expression in RE2 syntax",
    }

    def __init__(self, text: str, compiled: Any) -> None:
        super().__init__(text)
        self._compiled = compiled

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Compile `text`.

        Raises:
            BadPattern: it is not valid, too long, or needs a backtracking engine.
        """
        if len(text) > LONGEST_PATTERN:
            raise BadPattern(f"a pattern may have {LONGEST_PATTERN} characters, this one has {len(text)}")
        try:
            return cls(text, re2.compile(text, _OPTIONS))
        except UnicodeEncodeError as error:
            raise BadPattern("the pattern holds half of a character (a lone surrogate)") from error
        except re2.error as error:
            raise BadPattern(f"{_shortened(text)} is not a regular expression: {_said(error)}") from error

    def search(self, text: str) -> tuple[int, int] | None:
        """Return start and end (in characters) of the first match anywhere in `text`, None without one."""
        found = self._compiled.search(well_formed(text))
        return None if found is None else found.span()

    def spans(self, text: str, group: int = 0) -> Iterator[tuple[int, int]]:
        """Give start and end (in characters) of every match that overlaps none before it, or of a group in it."""
        for found in self._compiled.finditer(well_formed(text)):
            span: tuple[int, int] = found.span(group)
            yield span

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches."""
        return self._compiled.fullmatch(well_formed(text)) is not None


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:79]}…")


def _said(error: Exception) -> str:
    """Return RE2's message, with the reason where it refuses what other engines know."""
    raw = error.args[0] if error.args else ""
    said = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    if "perl operator" in said or "escape sequence: \\" in said:
        said += (
            "; look-arounds and backreferences are not supported, since patterns must run in linear time"
            " (google-re2 syntax)"
        )
    return said
