"""Rules about how a text is written: its length, how hard it is to read, whether it repeats itself, its language."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field, model_validator

from rules.base import counted, failed, measured, passed
from rules.measuring import AtMost, Measure, MeasuringText, Number
from rules.text import TextRule, Unit, selected_text, size_of
from rules.words import runs, sentences, without_code, words
from traces import DataType, NotApplicable, Path, Trace, Verdict

_FEW_WORDS: Final = NotApplicable("too few words")
_LONG_WORD: Final = 6
_FEWEST_WORDS: Final = 20

_CODES: Final = (
    "af am an ar as az ba be bg bn br bs ca cs cy da de dz el en eo es et eu fa fi fo fr fy ga gd gl gu ha he "
    "hi hr ht hu hy id ig is it ja jv ka kk km kn ko ku ky la lb lg ln lo lt lv mg mk ml mn mr ms mt my ne nl "
    "nn no oc om or pa pl ps pt qu ro ru rw sa se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk "
    "ur uz vi vo wa xh yo zh zu"
)
LANGUAGES: Final = frozenset(_CODES.split())
"""ISO 639-1 codes of the languages that the model tells apart."""

_UNCERTAIN: Final = NotApplicable("language not certain")
_FEWEST_LETTERS: Final = 20
_LETTERS: Final = 5_000
"""Characters that tell a language; more would only take longer."""


class TextLength(TextRule):
    """How long the text is, in the unit you choose; `length` says how each is counted."""

    gives: ClassVar = DataType.NUMERIC
    example: ClassVar = {"name": "answer-words", "rule": "text_length", "unit": "words"}

    unit: Unit = Field(default="chars", description="what is counted")

    def check_text(self, text: str) -> Verdict:
        """Count."""
        return measured(*size_of(text, self.unit))


class ReadingMeasure(MeasuringText):
    """Measures readability; Markdown code is left out."""

    def measure_text(self, text: str) -> Measure | NotApplicable:
        """Compute LIX."""
        prose = without_code(text)
        several, number = words(prose), max(sentences(prose), 1)
        if len(several) < _FEWEST_WORDS:
            return _FEW_WORDS
        hard = sum(len(word) > _LONG_WORD for word in several)
        lix = len(several) / number + 100 * hard / len(several)
        shares = f"{len(several) / number:.1f} words a sentence, {hard / len(several):.0%} of them long"
        return Measure(lix, f"LIX {lix:.0f}: {shares}")


class ReadingDifficulty(Number, ReadingMeasure):
    """Readability: how hard the text is to read, as LIX (Björnsson 1968): words a sentence + per cent of long words.

    About 25 is a children's book, 40 a newspaper, 60 a law. Long words have more than six letters. Made for European
    languages; no use for scripts without spaces. Markdown code is left out. A text of fewer than 20 words is not
    scored.
    """

    example: ClassVar = {"name": "reading-difficulty", "rule": "reading_difficulty"}


class MaxReadingDifficulty(AtMost, ReadingMeasure):
    """The text is not too hard to read: its LIX (`reading_difficulty`) is at most a limit."""

    example: ClassVar = {"name": "easy-to-read", "rule": "max_reading_difficulty", "at_most": 50}

    at_most: float = Field(default=55, gt=0, allow_inf_nan=False, description="the highest LIX that is allowed")


class RepetitionMeasure(MeasuringText):
    """Measures how much a text repeats itself."""

    run: int = Field(default=4, ge=1, le=20, description="words that make a run")

    def measure_text(self, text: str) -> Measure | NotApplicable:
        """Count the runs that were there before."""
        every = runs(words(text), self.run)
        if len(every) < _FEWEST_WORDS:
            return _FEW_WORDS
        share = 1 - len(set(every)) / len(every)
        return Measure(share, f"{share:.2f} of {counted(len(every), 'run')} of {self.run} words were there before")


class Repetition(Number, RepetitionMeasure):
    """How much of the text says again what it said before, from 0 to nearly 1: models that loop come near 1.

    The share of runs of four words which are a repetition (seq-rep-4 of Welleck et al. 2020, "Neural Text Generation
    with Unlikelihood Training"). People's prose lies below 0.05. Scripts without spaces, and endless words, are cut
    into letters. A text of fewer than 20 such runs is not scored.
    """

    example: ClassVar = {"name": "repetition", "rule": "repetition"}


class MaxRepetition(AtMost, RepetitionMeasure):
    """The text does not go round in a loop: its share of repeated runs (`repetition`) is at most a limit.

    Tables and lists of like items repeat themselves honestly, up to about a half.
    """

    example: ClassVar = {"name": "no-loop-in-text", "rule": "max_repetition", "at_most": 0.5}

    at_most: float = Field(default=0.5, ge=0, le=1, description="the largest share that is allowed")


def _is_known(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(f"{code!r} is no language we can tell; write ISO 639-1 codes such as en, de, zh")
    return code


class Language(TextRule):
    """The text is in one of some languages, or in the language of another text, such as the question.

    Told by py3langid from the first 5,000 characters, Markdown code left out. A text with fewer than 20 letters, or one
    whose language is told with less than `certain`, is not scored: nobody knows the language of "OK, done!".
    """

    example: ClassVar = {"name": "answers-in-their-language", "rule": "language", "same_as": "$.root.input"}

    allowed: tuple[Annotated[str, AfterValidator(_is_known)], ...] = Field(
        default=(), description="ISO 639-1 codes such as en, de, zh"
    )
    same_as: Path | None = Field(default=None, description="the text whose language is allowed too")
    certain: float = Field(default=0.9, gt=0, le=1, description="how certain a language must be, from 0 to 1")

    @model_validator(mode="after")
    def _allows_something(self) -> Language:
        if not self.allowed and self.same_as is None:
            raise ValueError("needs allowed, such as [en], or same_as, such as $.root.input")
        return self

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Tell the language of the text, and of the other one."""
        text = selected_text(self.value, trace)
        other = "" if self.same_as is None else selected_text(self.same_as, trace) or ""
        told = language_of(text or "", self.certain)
        allowed = {*self.allowed, language_of(other, self.certain)} - {""}
        if not told or not allowed:
            return _UNCERTAIN
        verdict = passed if told in allowed else failed
        return verdict(f"the language is {told}; {' or '.join(sorted(allowed))} allowed")

    def check_text(self, text: str) -> Verdict | NotApplicable:
        """Tell the language of a text alone."""
        told = language_of(text, self.certain)
        return (passed if told in self.allowed else failed)(f"the language is {told}") if told else _UNCERTAIN


def language_of(text: str, certain: float) -> str:
    """Return the ISO 639-1 code of a text's language; empty when it cannot be told with such certainty."""
    prose = without_code(text[:_LETTERS])
    if sum(map(str.isalpha, prose)) < _FEWEST_LETTERS:
        return ""
    code, probability = _identifier().classify(prose)
    return str(code) if probability >= certain else ""


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Load the model when it is first needed: it takes a second and 100 MB."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 - see above

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
