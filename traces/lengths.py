"""How long a text is for a model, and how a text that is too long is cut: in its middle, and never silently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from traces.record import record

_GRAINS: Final = 16
"""A token is counted in sixteenths, so that the estimate of two texts together is the sum of theirs."""

_LIGHTEST: Final = 3
_CLASSES: Final = {
    _LIGHTEST: b" abcdefghijklmnopqrstuvwxyz",
    8: b"\t\n\r!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" + bytes(range(0xC0, 0xE0)),
    11: b"0123456789",
    14: b"ABCDEFGHIJKLMNOPQRSTUVWXYZ" + bytes(range(0xE0, 0xF0)),
    32: bytes(range(0xF0, 0x100)) + bytes([*range(9), 11, 12, *range(14, 32), 127]),
}
"""Sixteenths of a token by byte of UTF-8: the first byte stands for its character. Fitted to what real tokenizers
make of prose, JSON, code and ten scripts; docs/long-traces.md has the errors."""

MOST_A_CHARACTER: Final = 2
"""Tokens of one character, at most."""

_TABLE: Final = bytes(next((weight for weight, held in _CLASSES.items() if byte in held), 0) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be shown, by some measure.

    `cost` measures a text; the cost of two texts together is the sum of theirs. `token` is about what a token costs,
    `cheapest` at least what any character does. Made by `in_tokens` and `in_characters`.
    """

    most: int
    cost: Callable[[str], int]
    token: int
    cheapest: int

    def fits(self, text: str) -> bool:
        """Whether `text` may be shown whole."""
        return self.cost(text) <= self.most

    def less(self, text: str) -> Limit:
        """Return what is left when `text` is shown too."""
        return replace(self, most=self.most - self.cost(text))


@record(frozen=True, slots=True)
class Shortened:
    """A text that fits, and how many characters were left out of it."""

    text: str
    left_out: int


def tokens(text: str) -> int:
    """Return about how many tokens a model makes of `text`, by the kinds of its characters; never less than one."""
    return max(-(-_grains(text) // _GRAINS), 1)


def in_tokens(most: int) -> Limit:
    """Return the limit of so many tokens, as `tokens` estimates them."""
    return Limit(most * _GRAINS, _grains, _GRAINS, _LIGHTEST)


def in_characters(most: int) -> Limit:
    """Return the limit of so many characters."""
    return Limit(most, len, 4, 1)


def shortened(text: str, limit: Limit) -> Shortened:
    """Keep head and tail of `text`, two thirds and one, and say between them how much is missing.

    When the limit has not even room for that remark, nothing is kept at all.
    """
    if len(text) * limit.cheapest <= limit.most and limit.fits(text):
        return Shortened(text, 0)
    room = limit.most - limit.cost(remark(len(text)))
    if room < 0:
        return Shortened("", len(text))
    keep = _most_kept(text, limit, room)
    head, tail = _ends(text, keep)
    left_out = len(text) - len(head) - len(tail)
    return Shortened(f"{head}{remark(left_out)}{tail}", left_out)


def remark(characters: int) -> str:
    """Say that something is missing, on a line of its own."""
    return f"\n[... {characters:,} characters left out ...]\n"


def _most_kept(text: str, limit: Limit, room: int) -> int:
    """Return how many characters of head and tail together cost at most `room`."""
    low, high = 0, min(room // limit.cheapest, len(text) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(map(limit.cost, _ends(text, middle))) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _ends(text: str, keep: int) -> tuple[str, str]:
    return text[: (keep * 2 + 2) // 3], text[len(text) - keep // 3 :]


def _grains(text: str) -> int:
    weights = text.encode(errors="replace").translate(_TABLE)
    return sum(weight * weights.count(weight) for weight in _CLASSES)
