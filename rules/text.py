"""Rules that read a text: by default what the application answered."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from rules.base import Rule, counted, failed, passed, quoted
from rules.phrases import Phrases, found_in
from rules.words import sentences
from traces import NotApplicable, Path, Pattern, Trace, Verdict, as_text, tokens

ANSWER: Final = Path.parse("$.root.output")
NOT_FOUND: Final = NotApplicable("value not found")

_SHOWN: Final = 12
"""Characters of a match that a comment quotes: enough to recognise it, too few to leak it."""

Unit = Literal["chars", "words", "sentences", "tokens"]


class TextRule(Rule):
    """A rule over one text: what `value` selects, as a person would read it, several values one after the other.

    A trace in which `value` selects nothing (or only nulls) is not scored.
    """

    value: Path = Field(default=ANSWER, description="the text to look at")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Select the text and look at it."""
        text = selected_text(self.value, trace)
        return NOT_FOUND if text is None else self.check_text(text)

    @abstractmethod
    def check_text(self, text: str) -> Verdict | NotApplicable:
        """Look at the selected text."""


class NotEmpty(Rule):
    """There is something other than white space.

    An empty list or object counts as empty. A value that is not there at all fails too.
    """

    example: ClassVar = {"name": "answered", "rule": "not_empty", "value": "$.root.output"}

    value: Path = Field(default=ANSWER, description="what must be there; of several values one is enough")

    def check(self, trace: Trace) -> Verdict:
        """Look for a value that is not empty."""
        values = [value for value in self.value.values(trace) if value is not None]
        if not values:
            return failed(f"{self.value.text} is not there")
        if any(_holds_something(value) for value in values):
            return passed(f"{self.value.text} is not empty")
        return failed(f"{self.value.text} is empty")


class Length(TextRule):
    """The text is neither too short nor too long. Both limits are included in what is allowed.

    Words are what stands between white space. A sentence ends with . ! ? or their Asian forms before a space, so that
    `e.g. this` is counted as two. Tokens are an estimate, since every model has its own.
    """

    example: ClassVar = {"name": "concise", "rule": "length", "max": 250, "unit": "words"}

    min: int | None = Field(default=None, ge=0, description="the least that is allowed")
    max: int | None = Field(default=None, ge=0, description="the most that is allowed")
    unit: Unit = Field(default="chars", description="what is counted")

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        return self

    def check_text(self, text: str) -> Verdict:
        """Count and compare."""
        size, found = size_of(text, self.unit)
        if self.min is not None and size < self.min:
            return failed(f"{found}, at least {self.min:,} expected")
        if self.max is not None and size > self.max:
            return failed(f"{found}, at most {self.max:,} allowed")
        return passed(found)


class Regex(TextRule):
    r"""The text matches a regular expression somewhere, or nowhere.

    The syntax is RE2's, whose time grows linearly with the text whatever the pattern: look-arounds and backreferences
    do not exist. `(?i)` in front ignores case, `(?s)` lets a dot cross lines, `^` and `$` with `(?m)` mean each line,
    `\A` and `\z` the whole text.
    """

    example: ClassVar = {"name": "names-an-order", "rule": "regex", "pattern": r"\b[A-Z]{2}-\d{4,}\b"}

    pattern: Pattern = Field(description="the regular expression")
    match: Literal["required", "forbidden"] = Field(
        default="required", description="whether a match is what must be there or what must not"
    )

    def check_text(self, text: str) -> Verdict:
        """Search the pattern."""
        span = self.pattern.search(text)
        verdict = passed if (span is not None) == (self.match == "required") else failed
        if span is None:
            return verdict(f"no match of {quoted(self.pattern.text)} in {counted(len(text), 'character')}")
        start, end = span
        shown = quoted(text[start:end], _SHOWN)
        return verdict(f"{quoted(self.pattern.text)} matches {shown} at character {start:,}")


class PhraseRule(TextRule):
    """A rule over phrases.

    Typographic quotes and no-break spaces count as their plain forms, composed letters as composed however they were
    written.
    """

    ignore_case: bool = Field(default=True, description="whether upper and lower case are the same")
    whole_words: bool = Field(
        default=False, description="whether a phrase must begin and end where a word does: `rate` is not in `generate`"
    )

    def find(self, text: str, phrases: Phrases) -> dict[str, int]:
        """Return the phrases that are in `text`, each with the character where it first stands."""
        return found_in(text, phrases, ignore_case=self.ignore_case, whole_words=self.whole_words)


class Contains(PhraseRule):
    """The text contains phrases: at least one of `any`, and every one of `all`."""

    example: ClassVar = {"name": "offers-help", "rule": "contains", "any": ["let me know", "happy to help"]}

    any: Phrases = Field(default=(), description="phrases of which one is enough")
    all: Phrases = Field(default=(), description="phrases that must all be there")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.any and not self.all:
            raise ValueError("needs any, all or both")
        _refuse_blank((*self.any, *self.all))
        return self

    def check_text(self, text: str) -> Verdict:
        """Look for the phrases."""
        found = self.find(text, (*self.any, *self.all))
        missing = [phrase for phrase in self.all if phrase not in found]
        if missing:
            return failed(f"{listed(missing)} not found")
        if self.any and not any_of(self.any, found):
            return failed(f"none of {listed(self.any)} found")
        return passed(f"found {placed(found)}")


class Forbids(PhraseRule):
    """The text contains none of some phrases: refusals, boilerplate, names of competitors."""

    example: ClassVar = {
        "name": "no-boilerplate",
        "rule": "forbids",
        "phrases": ["as an AI language model", "I cannot help with that"],
    }

    phrases: Phrases = Field(min_length=1, description="what must not be there")

    @model_validator(mode="after")
    def _phrases_say_something(self) -> Self:
        _refuse_blank(self.phrases)
        return self

    def check_text(self, text: str) -> Verdict:
        """Look for the phrases."""
        found = self.find(text, self.phrases)
        if found:
            return failed(f"found {placed(found)}")
        return passed(f"none of {counted(len(self.phrases), 'phrase')} found")


def size_of(text: str, unit: Unit) -> tuple[int, str]:
    """Return how long a text is, and how that is said."""
    match unit:
        case "chars":
            return len(text), counted(len(text), "character")
        case "words":
            return (size := len(text.split())), counted(size, "word")
        case "sentences":
            return (size := sentences(text)), counted(size, "sentence")
        case "tokens":
            size = tokens(text) if text else 0
            return size, f"about {counted(size, 'token')}"


def selected_text(path: Path, trace: Trace) -> str | None:
    """Return what `path` selects as one text, None when it selects nothing but nulls; most rules read the same."""
    return trace.once(f"text of {path.text}", lambda: _text_of(path, trace))


def _text_of(path: Path, trace: Trace) -> str | None:
    values = [value for value in path.values(trace) if value is not None]
    return "\n".join(as_text(value) for value in values) if values else None


def any_of(phrases: Phrases, found: dict[str, int]) -> bool:
    """Whether one of `phrases` was found."""
    return not found.keys().isdisjoint(phrases)


def _holds_something(value: object) -> bool:
    if isinstance(value, (list, dict)):
        return bool(value)
    return bool(as_text(value).strip())


def _refuse_blank(phrases: Phrases) -> None:
    if not all(phrase.strip() for phrase in phrases):
        raise ValueError("a phrase may not be blank")


def listed(phrases: Phrases | list[str]) -> str:
    """Return the first phrases in quotes, and how many more there are."""
    shown = ", ".join(quoted(phrase, 40) for phrase in phrases[:5])
    return shown if len(phrases) <= 5 else f"{shown} and {len(phrases) - 5} more"


def placed(found: dict[str, int]) -> str:
    """Return the first phrases with where they stand, and how many more there are."""
    shown = [f"{quoted(phrase, 40)} at character {place:,}" for phrase, place in list(found.items())[:5]]
    return ", ".join(shown) if len(found) <= 5 else f"{', '.join(shown)} and {len(found) - 5} more"
