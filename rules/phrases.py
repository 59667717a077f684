"""Phrases: lists of them in YAML or in a file, and where they stand in a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path as File
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from traces import composed

MOST_PHRASES: Final = 1000
"""Phrases in one list: a text is searched once for each."""

_MOST_BYTES: Final = 1_000_000
_FILE: Final = "name of a text file beside rules.yaml: one phrase a line, lines that begin with # are remarks"
_PLAIN: Final = {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u202f": " "}
_UNSPACED: Final = (("\u0e00", "\u0e7f"), ("\u3040", "\u30ff"), ("\u3400", "\u9fff"))
"""Scripts without spaces between words: no letter tells where one ends."""


def _listed(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() != {"file"} or not isinstance(value["file"], str):
        raise ValueError("expected a list of phrases, or {file: NAME} with one phrase on each line")
    folder = (info.context or {}).get("folder", File())
    return _read(File(folder) / value["file"], value["file"])


def _read(file: File, shown: str) -> tuple[str, ...]:
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ValueError(f"file {shown!r} (looked for in the folder of the configuration): {why}") from error
    lines = [line.strip() for line in text.splitlines()]
    phrases = tuple(line for line in lines if line and not line.startswith("#"))
    if not phrases or len(text) > _MOST_BYTES or len(phrases) > MOST_PHRASES:
        raise ValueError(f"file {shown!r} has {len(phrases):,} phrases; expected 1 to {MOST_PHRASES:,}, one on a line")
    return phrases


Phrases = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MOST_PHRASES},
                {
                    "type": "object",
                    "properties": {"file": {"type": "string", "description": _FILE}},
                    "required": ["file"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
"""A list of phrases, or `{file: NAME}`: a text file beside rules.yaml, one phrase a line, `#` begins a remark."""


def found_in(
    text: str, phrases: Iterable[str], *, ignore_case: bool = True, whole_words: bool = True
) -> dict[str, int]:
    """Return the phrases that are in `text`, each with the character where it first stands."""
    folded = _folded(text, ignore_case=ignore_case)
    places = {phrase: _find(folded, _known(phrase, ignore_case), whole_words) for phrase in phrases}
    return {phrase: place for phrase, place in places.items() if place >= 0}


@lru_cache(maxsize=8 * MOST_PHRASES)
def _known(phrase: str, ignore_case: bool) -> str:
    return _folded(phrase, ignore_case=ignore_case)


def _folded(text: str, *, ignore_case: bool) -> str:
    for typographic, plain in _PLAIN.items():
        text = text.replace(typographic, plain)
    text = composed(text)
    return composed(text.casefold()) if ignore_case else text


def _find(text: str, phrase: str, whole_words: bool) -> int:
    place = text.find(phrase)
    while whole_words and place >= 0 and not _stands_alone(text, place, place + len(phrase)):
        place = text.find(phrase, place + 1)
    return place


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no word goes on over either edge. An edge that is punctuation itself needs no boundary."""
    inside_before = start > 0 and _in_word(text[start - 1]) and _in_word(text[start])
    inside_after = end < len(text) and _in_word(text[end - 1]) and _in_word(text[end])
    return not inside_before and not inside_after


def _in_word(character: str) -> bool:
    if any(first <= character <= last for first, last in _UNSPACED):
        return False
    return character == "_" or character.isalnum() or unicodedata.category(character).startswith("M")
