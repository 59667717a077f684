"""Texts as words, for the rules that count and compare them: the same cut everywhere, and never more than so many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from traces import Pattern, composed

LONGEST: Final = 100_000
"""Characters of a text that are cut into words; what follows is not looked at. A long book chapter has 50,000."""

_UNSPACED: Final = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Thai, kana and Chinese characters: written without spaces, each stands for itself."""

_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['\u2019-][^\W{_UNSPACED}]+)*")
_SENTENCE_END: Final = Pattern.parse(r"[.!?\x{2026}]+[\"'\x{201d}\x{2019})\]*_]*(?:\s|\z)|[\x{3002}\x{ff01}\x{ff1f}]+")
"""RE2, since a million dots in a row would keep another engine busy for ever."""

_CODE: Final = re.compile(r"(?s:```.*?(?:```|\Z))|`[^`\n]+`")
_LONGEST_WORD: Final = 40
"""A longer run of letters is no word (a loop such as 'aaaa', a key): its letters stand for themselves."""


def words(text: str) -> list[str]:
    """Return the words of a text without regard to case, in order; punctuation is left out."""
    found: list[str] = []
    for word in _WORD.findall(composed(text[:LONGEST]).casefold().replace("\u2019", "'")):
        if len(word) > _LONGEST_WORD:
            found.extend(word)
        else:
            found.append(word)
    return found


def sentences(text: str) -> int:
    """Return how many sentences a text has: pieces that end with . ! ? … or their Asian forms, or with the text."""
    text = text[:LONGEST]
    begin, found = 0, 0
    for start, end in (*_SENTENCE_END.spans(text), (len(text), len(text))):
        found += any(map(str.isalnum, text[begin:start]))
        begin = end
    return found


def runs(several: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """Return every run of so many consecutive words, in order (n-grams)."""
    return list(zip(*(several[start:] for start in range(length)), strict=False))


def without_code(text: str) -> str:
    """Return a text with spaces where its Markdown code stood, so that places stay the same."""
    return _CODE.sub(lambda found: " " * len(found[0]), text) if "`" in text else text
