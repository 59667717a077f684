"""What must not leave for a judge is taken out of the texts: addresses, numbers of people, keys, and what a team names.

The same value becomes the same placeholder in all texts of a question, so that a judge still sees that the answer
repeats the address of the question, and never the address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Final, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from traces import Look, Passage, Pattern, SensitiveKind, as_it_is, finder, finder_of, well_formed

_KINDS: Final = get_args(SensitiveKind)

_PASSES: Final = 5
"""What is taken out may uncover a value beside it; more than a second look is needed by no text people write."""

_NAME: Final = r"^[a-z][a-z0-9 _-]{0,29}$"


class OwnKind(BaseModel):
    """Something a team takes out by a pattern of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=_NAME)] = Field(
        description="what stands in its place: `order` becomes [order 1]"
    )
    pattern: Pattern = Field(description="what is taken out, in RE2 syntax")

    @field_validator("pattern")
    @classmethod
    def _matches_something(cls, pattern: Pattern) -> Pattern:
        if pattern.matches(""):
            raise ValueError("the pattern matches nothing at all too, and so everywhere; ask for one character")
        return pattern


@dataclass(frozen=True, slots=True)
class Redacted:
    """Texts without what was taken out, and how many different values that were, by kind."""

    texts: Sequence[str]
    counts: Mapping[str, int] = field(default_factory=dict)


class Redaction(BaseModel):
    """What is taken out of every text before it leaves for a judge; nothing unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[SensitiveKind, ...] = Field(
        default=(),
        description="email, phone, card and iban (with a right check digit), key (keys, tokens, passwords), ip",
    )
    own: tuple[OwnKind, ...] = Field(default=(), description="patterns of your own: {name: order, pattern: ...}")

    @field_validator("kinds")
    @classmethod
    def _in_one_order(cls, kinds: tuple[SensitiveKind, ...]) -> tuple[SensitiveKind, ...]:
        return tuple(kind for kind in _KINDS if kind in kinds)  # another order is no other ruler

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [own.name for own in self.own]
        twice = next((name for name in names if names.count(name) > 1 or name in _KINDS), None)
        if twice is not None:
            raise ValueError(f"own: {twice!r} is the name of another kind; its placeholders would be the same")
        return self

    @property
    def is_on(self) -> bool:
        """Whether anything is taken out."""
        return bool(self.kinds or self.own)

    def of(self, texts: Sequence[str]) -> Redacted:
        """Return the texts with a placeholder for each value: the same for the same value in all of them."""
        if not self.is_on:
            return Redacted(texts)
        clean = [well_formed(text) for text in texts]
        places = _Placeholders(clean, self._names)
        return Redacted([self._without(text, places) for text in clean], places.counts)

    def of_passages(self, passages: Mapping[str, Passage]) -> tuple[dict[str, Passage], Mapping[str, int]]:
        """Return passages by name without the values, before anything is cut, and how many values were in them."""
        if not self.is_on:
            return dict(passages), {}
        redacted = self.of([piece.text for passage in passages.values() for piece in passage.pieces])
        texts = iter(redacted.texts)
        return {name: passage.changed(lambda _: next(texts)) for name, passage in passages.items()}, redacted.counts

    def _without(self, text: str, places: _Placeholders) -> str:
        looks = [*self._own, *self._built_in]
        for _ in range(_PASSES):
            found = self._found(looks, text)
            if not found:
                break
            text = _replaced(text, found, places)
            looks = self._built_in  # a team's own pattern may well match a placeholder
        return text

    @staticmethod
    def _found(looks: Iterable[tuple[str, Look]], text: str) -> list[_Found]:
        return _together(
            _Found(start, rank, end, name)
            for rank, (name, look) in enumerate(looks)
            for start, end in look(text)
            if start < end
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*(own.name for own in self.own), *_KINDS)

    @cached_property
    def _own(self) -> list[tuple[str, Look]]:
        return [(own.name, finder((own.pattern,), 0, as_it_is)) for own in self.own]

    @cached_property
    def _built_in(self) -> list[tuple[str, Look]]:
        return [(kind, finder_of(kind)) for kind in _KINDS if kind in self.kinds]


@dataclass(frozen=True, slots=True, order=True)
class _Found:
    start: int
    rank: int
    end: int
    name: str


def _together(found: Iterable[_Found]) -> list[_Found]:
    """Return what was found from left to right, what overlaps as one: no half of a value is left."""
    joined: list[_Found] = []
    for each in sorted(found):
        if joined and each.start < joined[-1].end:
            before = joined[-1]
            rank, name = min((before.rank, before.name), (each.rank, each.name))
            joined[-1] = _Found(before.start, rank, max(before.end, each.end), name)
        else:
            joined.append(each)
    return joined


def _replaced(text: str, found: Iterable[_Found], places: _Placeholders) -> str:
    parts, end = [], 0
    for each in found:
        parts += [text[end : each.start], places.of(each.name, text[each.start : each.end])]
        end = each.end
    return "".join([*parts, text[end:]])


class _Placeholders:
    """Gives values numbers in the order they are met, none that a text already has."""

    def __init__(self, texts: Iterable[str], names: Iterable[str]) -> None:
        known = re.compile(rf"\[({'|'.join(map(re.escape, names))}) ([0-9]{{1,9}})\]")
        self._taken = {(found[1], int(found[2])) for text in texts for found in known.finditer(text)}
        self._given: dict[tuple[str, str], str] = {}
        self.counts: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def of(self, name: str, value: str) -> str:
        """Return the placeholder of a value."""
        key = name, _essence(name, value)
        if key not in self._given:
            number = self._last.get(name, 0) + 1
            while (name, number) in self._taken:
                number += 1
            self._last[name] = number
            self.counts[name] = self.counts.get(name, 0) + 1
            self._given[key] = f"[{name} {number}]"
        return self._given[key]


def _essence(name: str, value: str) -> str:
    """Return what makes two spellings one value."""
    if name == "email":
        return value.casefold().replace("%40", "@")
    written = {"phone": "[^0-9+]", "card": "[^0-9+]", "iban": "[^0-9A-Z]"}.get(name)
    return value if written is None else re.sub(written, "", value)
