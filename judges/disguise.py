"""What a text says to a reader, whatever signs it is written with: for looking at it, never for showing it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_UNSEEN: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f"
    "\ufeff\U000e0100-\U000e01ef"
)
"""Characters without a width, and those that turn the direction of writing."""

_MARKS: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
_TAGS: Final = "\U000e0020-\U000e007e"
"""ASCII that no font shows and language models read."""

_COMPATIBLE: Final = "\u00a0\u2000-\u200a\u202f\u2100-\u214f\u2460-\u24ff\u3000\uff01-\uff5e\U0001d400-\U0001d7ff"
"""Letters, digits and blanks in other shapes."""

_ALIKE: Final = str.maketrans(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u0455\u0443\u0445"
    "\u0410\u0412\u0421\u0415\u041d\u0406\u041a\u041c\u041e\u0420\u0422\u0425\u0423"
    "\u2039\u203a\u27e8\u27e9\u3008\u3009"
    "\u03b1\u03bf\u03c1\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "acdehijlopsyxABCEHIKMOPTXY<><><>aopvABEZHIKMNOPTYX",
)
"""Cyrillic and Greek letters that look like Latin ones, brackets that look like others."""


def _table() -> dict[int, str | None]:
    table: dict[int, str | None] = {}
    for sign in _members(_UNSEEN + _MARKS):
        table[ord(sign)] = None
    for sign in _members(_TAGS):
        table[ord(sign)] = chr(ord(sign) - 0xE0000)
    for sign in _members(_COMPATIBLE):
        table[ord(sign)] = unicodedata.normalize("NFKC", sign).translate(_ALIKE)
    return table | {alike: chr(latin) for alike, latin in _ALIKE.items()}


def _members(ranges: str) -> list[str]:
    """Return the characters of a class as it stands between brackets."""
    found = re.findall(r"(.)-(.)|(.)", ranges, re.DOTALL)
    return [chr(code) for low, high, one in found for code in range(ord(low or one), ord(high or one) + 1)]


_ASCII: Final = bytes(range(128))
_TABLE: Final = _table()
_ODD: Final = re.compile(f"[{_UNSEEN}{_MARKS}{_TAGS}{_COMPATIBLE}{''.join(map(chr, _ALIKE))}]")


def undisguised(text: str) -> str:
    """Return `text` in plain letters: without unseen signs and piled marks, lookalikes as what they look like.

    Not the way round: text in another script changes too, so this is for finding words and nothing else.
    """
    if text.isascii() or _ODD.search(_beyond_ascii(text)) is None:
        return text
    return text.translate(_TABLE)


def _beyond_ascii(text: str) -> str:
    """Return the characters that are not ASCII, all that can be odd: looking through a whole text took ten times it."""
    return text.encode(errors="surrogatepass").translate(None, _ASCII).decode(errors="surrogatepass")
