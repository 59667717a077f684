"""Rules that compare two texts of a trace: the answer with a reference, the answer with the system prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator
from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from rules.base import counted, failed, passed, quoted
from rules.measuring import AtLeast, Measure, Measuring, Number
from rules.text import ANSWER, NOT_FOUND, selected_text
from rules.words import runs, words
from traces import NotApplicable, Path, Trace, Verdict, as_text, composed

_LONGEST: Final = 20_000
"""Characters of each text that are compared, one with each of the other."""

_NO_REFERENCE: Final = NotApplicable("no reference")
_NO_PROMPT: Final = NotApplicable("no system prompt")
_OF_THE_SYSTEM: Final = frozenset({"system", "developer"})
_MOST_MESSAGES: Final = 200


class SimilarityMeasure(Measuring):
    """Measures how like two texts are."""

    value: Path = Field(default=ANSWER, description="the text to look at")
    reference: Path | None = Field(default=None, description="the text it should be like")
    text: str | None = Field(default=None, description="instead of `reference`: the text itself")
    by: Literal["characters", "words", "words in any order"] = Field(
        default="characters", description="what is counted as the same"
    )

    @model_validator(mode="after")
    def _has_a_reference(self) -> Self:
        if (self.reference is None) == (self.text is None):
            raise ValueError("needs reference, such as $.root.metadata.expected, or text")
        return self

    def measure(self, trace: Trace) -> Measure | NotApplicable:
        """Compare the two texts."""
        value = selected_text(self.value, trace)
        other = self.text if self.reference is None else selected_text(self.reference, trace)
        if value is None:
            return NOT_FOUND
        if other is None:
            return _NO_REFERENCE
        share = self._share(value[:_LONGEST], other[:_LONGEST])
        cut = f" of their first {_LONGEST:,} characters" if max(len(value), len(other)) > _LONGEST else ""
        return Measure(share, f"similarity {share:.2f} by {self.by}{cut}")

    def _share(self, one: str, other: str) -> float:
        if self.by == "characters":
            return Levenshtein.normalized_similarity(*(" ".join(composed(t).casefold().split()) for t in (one, other)))
        first, second = words(one), words(other)
        if self.by == "words":
            return Levenshtein.normalized_similarity(first, second)
        return fuzz.token_sort_ratio(" ".join(first), " ".join(second)) / 100


class Similarity(Number, SimilarityMeasure):
    """How like the text is to a reference, from 0 to 1: 1 minus the share of it that would have to be changed.

    The Levenshtein distance, of characters or of words, over the length of the longer text. Case and white space do
    not count, with words nor does punctuation. Each text is compared up to its first 20,000 characters. A trace without
    the text or without a reference is not scored.
    """

    example: ClassVar = {"name": "like-expected", "rule": "similarity", "reference": "$.root.metadata.expected"}


class MinSimilarity(AtLeast, SimilarityMeasure):
    """The text is like a reference: their `similarity` is at least a limit."""

    example: ClassVar = {
        "name": "close-to-expected",
        "rule": "min_similarity",
        "reference": "$.root.metadata.expected",
        "by": "words",
        "at_least": 0.7,
    }

    at_least: float = Field(default=0.8, ge=0, le=1, description="the smallest similarity that is allowed")


class PromptOverlap(Measuring):
    """Measures how much of the system prompt stands in the answer."""

    value: Path = Field(default=ANSWER, description="the text to look at")
    prompt: Path | None = Field(
        default=None, description="the system prompt; without it, the system messages that generations got"
    )
    run: int = Field(default=12, ge=3, le=100, description="consecutive words that are no coincidence")

    def compare(self, trace: Trace) -> tuple[Sequence[str], frozenset[tuple[str, ...]]] | NotApplicable:
        """Return the words of the prompt, and the runs of words that both have."""
        text = selected_text(self.value, trace)
        if text is None:
            return NOT_FOUND
        prompt = system_prompt(trace) if self.prompt is None else selected_text(self.prompt, trace)
        known, of_prompt = _in_runs(prompt or "", self.run)
        return (known, of_prompt.intersection(runs(words(text), self.run))) if of_prompt else _NO_PROMPT

    def measure(self, trace: Trace) -> Measure | NotApplicable:
        """Count the words of the prompt that stand in a common run."""
        found = self.compare(trace)
        if isinstance(found, NotApplicable):
            return found
        known, common = found
        covered: set[int] = set()
        for start, run in enumerate(runs(known, self.run)):
            if run in common:
                covered.update(range(start, start + self.run))
        share = len(covered) / len(known)
        return Measure(share, f"{len(covered):,} of {counted(len(known), 'word')} of the system prompt in the answer")


class PromptShare(Number, PromptOverlap):
    """Which share of the system prompt stands word for word in the answer, from 0 to 1.

    Counted are words in runs of at least `run` that both have in common.
    """

    kind: ClassVar[str] = "prompt_overlap"
    example: ClassVar = {"name": "prompt-overlap", "rule": "prompt_overlap"}


class PromptLeak(PromptOverlap):
    """The answer does not give the system prompt away: it has no `run` consecutive words in common with it.

    The system prompt is what messages of the roles system and developer say in the inputs of generations and of the
    root. Greetings and sentences that the prompt tells the model to say are leaks too: choose `run` longer than they
    are. A trace without system prompt is not scored.
    """

    example: ClassVar = {"name": "no-prompt-leak", "rule": "prompt_leak", "run": 15}

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look for a common run."""
        found = self.compare(trace)
        if isinstance(found, NotApplicable):
            return found
        known, common = found
        if not common:
            return passed(f"no {self.run} words in a row of {counted(len(known), 'word')} of the system prompt")
        first = next(run for run in runs(known, self.run) if run in common)
        return failed(f"{self.run} words in a row of the system prompt: {quoted(' '.join(first), 30)}")


def _in_runs(prompt: str, run: int) -> tuple[Sequence[str], frozenset[tuple[str, ...]]]:
    """Return the words of a prompt and its runs of them; those of usual length are remembered: all traces have them."""
    return _remembered(prompt, run) if len(prompt) <= _LONGEST else _remembered.__wrapped__(prompt, run)


@lru_cache(maxsize=32)
def _remembered(prompt: str, run: int) -> tuple[Sequence[str], frozenset[tuple[str, ...]]]:
    known = words(prompt)
    return known, frozenset(runs(known, run))


def system_prompt(trace: Trace) -> str:
    """Return what system messages say, each once, in order; empty without any."""
    said: dict[str, None] = {}
    for step in (trace.root, *trace.generations):
        for message in _messages(step.input):
            role = message.get("role") if isinstance(message, dict) else None
            if isinstance(role, str) and role in _OF_THE_SYSTEM:
                said.setdefault(as_text(message.get("content")))
    return "\n".join(text for text in said if text)


def _messages(held: Any) -> list[Any]:
    messages = held.get("messages") if isinstance(held, dict) else held
    return messages[:_MOST_MESSAGES] if isinstance(messages, list) else []
