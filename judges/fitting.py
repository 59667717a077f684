"""What of its inputs a judge is shown: each within its own limit, and all together within the model's context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from judges.suspicion import suspected
from traces import Limit, Passage, Shortened, in_tokens, shortened, tokens
from traces.lengths import MOST_A_CHARACTER

MOST_PARTS: Final = 16
"""Calls for one opinion: what is longer still is packed first, and that is told."""

_LEAST_SHOWN: Final = 200
"""Tokens of an input: with less of it nothing can be judged, and the model may as well say so."""

_LEAST_PART: Final = 500
_LONGEST_NOTES: Final = 700
"""Tokens; all notes together have at most half of the room, so that there is some for what they are taken from."""

_SHARES: Final = (0.9, 0.6, 0.4)
"""Of the room in all parts together: where long lines end they are not filled."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An input in several texts, the other inputs, and how many characters of each are missing.

    `notes` is how many tokens the notes on one part may have.
    """

    name: str
    texts: tuple[str, ...]
    notes: int
    beside: Mapping[str, str]
    left_out: Mapping[str, int]


REDACTED: Final = "redacted"
"""Where a verdict tells how many different values were taken out, by kind."""

SUSPECTED: Final = "suspected"
"""Where a verdict tells what its material tries on a judge."""

OF_MATERIAL: Final = frozenset({REDACTED, SUSPECTED})
"""What a verdict tells of the material, and so of whatever else is judged from it."""

NOTHING: Final[Mapping[str, Any]] = {}


class Inputs:
    """The inputs of one question by name, in their order, each already within its own limit."""

    def __init__(
        self, passages: Mapping[str, Passage], limits: Mapping[str, Limit | None], told: Mapping[str, Any] = NOTHING
    ) -> None:
        """Hold each passage to its limit; None is no limit but the model's.

        `told` is what a verdict tells of them; what they try on a judge is told too, under `suspected`.
        """
        self._passages = passages
        self._limits = limits
        self.whole: Mapping[str, Shortened] = {
            name: Shortened(passage.text, 0) if (limit := limits[name]) is None else passage.packed(limit)
            for name, passage in passages.items()
        }
        attempts = suspected(shown.text for shown in self.whole.values())
        self.told = {**told, SUSPECTED: list(attempts)} if attempts else told

    def fit(self, room: int) -> bool:
        """Whether they may be shown as they are, in so many tokens."""
        characters = sum(len(shown.text) for shown in self.whole.values())
        if characters * MOST_A_CHARACTER + len(self.whole) <= room:
            return True  # as nearly always, and nothing need be counted
        return sum(self._tokens.values()) <= room

    def packed(self, room: int) -> dict[str, Shortened]:
        """Return as much of them as fits into so many tokens: the longest give way first."""
        cap = _cap(list(self._tokens.values()), max(room, _LEAST_SHOWN * len(self._tokens)))
        return {name: self.whole[name] if used <= cap else self._cut(name, cap) for name, used in self._tokens.items()}

    def parts(self, room: int) -> Parts | None:
        """Divide the longest so that each part fits beside the others; None when these leave too little room.

        Beside a part stand the notes on those before it.
        """
        name = max(self._tokens, key=lambda each: self._tokens[each])
        beside = {each: self.whole[each] for each in self._tokens if each != name}
        used = sum(self._tokens[each] for each in beside)
        if used > room // 2:
            others = Inputs({each: self._passages[each] for each in beside}, self._limits)
            beside, used = others.packed(room // 2), room // 2
        divided = self._divided(name, room - used)
        if divided is None:
            return None
        texts, notes, left_out = divided
        missing = {**{each: shown.left_out for each, shown in beside.items()}, name: left_out}
        return Parts(name, texts, notes, {each: shown.text for each, shown in beside.items()}, missing)

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {name: tokens(shown.text) for name, shown in self.whole.items()}

    def _cut(self, name: str, most: int) -> Shortened:
        cut = self._passages[name].packed(in_tokens(most))
        own = self._limits[name]
        if own is None or own.fits(cut.text):
            return cut
        again = shortened(cut.text, own)  # few tokens may be many characters
        return Shortened(again.text, cut.left_out + again.left_out)

    def _divided(self, name: str, room: int) -> tuple[tuple[str, ...], int, int] | None:
        """Return the texts of an input, the tokens of the notes on each, and the characters that are missing."""
        shown = self.whole[name]
        passage = Passage.of(shown.text) if shown.left_out else self._passages[name]
        rooms = list(_rooms(room))
        for number, limit, notes in rooms:
            if self._tokens[name] <= number * limit and len(texts := passage.parts(in_tokens(limit))) <= number:
                return tuple(texts), notes, shown.left_out
        for share in _SHARES if rooms else ():
            number, limit, notes = rooms[-1]
            packed = passage.packed(in_tokens(int(number * limit * share)))
            texts = Passage.of(packed.text).parts(in_tokens(limit))
            if len(texts) <= number:
                return tuple(texts), notes, shown.left_out + packed.left_out
        return None


def _rooms(room: int) -> Iterator[tuple[int, int, int]]:
    """Give each number of parts with the tokens of one of them, and of the notes on it."""
    for number in range(2, MOST_PARTS + 1):
        notes = min(_LONGEST_NOTES, room // (2 * number))
        limit = room - (number - 1) * notes
        if limit >= _LEAST_PART:
            yield number, limit, notes


def _cap(sizes: list[int], room: int) -> int:
    """Return the most that any of them may have, so that all together have `room`."""
    left, room_left = sorted(sizes), room
    for place, size in enumerate(left):
        share = room_left // (len(left) - place)
        if size > share:
            return share
        room_left -= size
    return room
