"""What must not leave for a judge is taken out of the texts: addresses, numbers of people, keys, and what a team names.

The same value becomes the same placeholder in all texts of a question, so that a judge still sees that the answer
repeats the address of the question, and never the address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate, takewhile
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from traces import Passage, Pattern, well_formed

Kind = Literal["email", "phone", "card", "key", "ip"]
"""What can be found without a pattern of one's own."""

Span = tuple[int, int]
Check = Callable[[str, int, int], Iterable[Span]]
"""Gives the parts of a candidate that are what it looks like."""

_PASSES: Final = 5
"""What is taken out may uncover a value beside it; more than a second look is needed by no text people write."""

_CARD_DIGITS: Final = (13, 19)

_EDGE: Final = r"(?:\\[nrt]|\b)"
"""The beginning of a word, also behind an escaped end of line, as JSON in JSON has it."""

_GAP: Final = r"[ \x{a0}\x{202f}\x{2010}\x{2011}\x{2013}./()-]"

_DASH: Final = r"[ .\x{a0}\x{2011}-]"
_LOCAL: Final = rf"[0-9]{{3,4}}{_DASH}[0-9]{{3,5}}|[0-9]{{2,3}}(?:{_DASH}[0-9]{{2,3}}){{1,3}}|[0-9]{{5,8}}"

_EMAIL: Final = (r"(?:\\[nrt])?([\pL\pN._%+-]+(?:'[\pL\pN._%+-]+)*(?:@|%40)(?:[\pL\pN-]+\.)+\pL{2,})",)
_CARD: Final = (r"([0-9](?:[ \x{a0}\x{202f}-]?[0-9]){12,})",)
_PHONE: Final = (
    rf"(\+[1-9](?:{_GAP}{{0,2}}[0-9]){{7,14}})",
    rf"{_EDGE}(00[1-9](?:{_GAP}{{0,2}}[0-9]){{8,13}})\b",
    rf"((?:\([2-9][0-9]{{2}}\) ?|{_EDGE}(?:1{_DASH})?[2-9][0-9]{{2}}{_DASH})[0-9]{{3}}{_DASH}[0-9]{{4}})\b",
    rf"((?:\(0[1-9][0-9]{{1,4}}\) ?|{_EDGE}0[1-9][0-9]{{1,4}}[ \x{{a0}}/-]{{1,3}})(?:{_LOCAL}))\b",
    rf"{_EDGE}(0[1-9](?:{_DASH}[0-9]{{2}}){{4}}|0[1-9][0-9]{{8,10}})\b",
)
"""International; of North America; of countries where a city begins with a zero; of France, and in one piece."""

_IP: Final = (
    rf"{_EDGE}((?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}})\b",
    r"((?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})",
)
_QUOTE: Final = r"""["'\\]*"""
_BREAK: Final = r"(?:\s|\\[nr])"
_KEY_ENDS: Final = r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_KEY_TAIL: Final = rf"(?:{_BREAK}{{0,4}}[A-Za-z0-9+/=]{{0,64}}{_BREAK}{{0,4}}{_KEY_ENDS})"
_KEY_HEAD: Final = (
    rf"-----BEGIN [A-Z ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----(?:{_BREAK}+[A-Za-z-]{{1,20}}: [A-Za-z0-9 ,.:/()-]{{1,80}})*"
)
_HIDDEN: Final = r"(?:secret(?:[_-]?access)?(?:[_-]?key)?|passw(?:or)?d|passphrase|pwd)"
_NAMED: Final = rf"(?:api[_-]?key|account[_-]?key|(?:access|auth|refresh)[_-]?token|{_HIDDEN})"
_IS: Final = rf"{_QUOTE}\s*[:=]\s*{_QUOTE}"
_KEY: Final = (
    rf"({_KEY_HEAD}(?:{_BREAK}+[A-Za-z0-9+/=]{{16,}})*{_KEY_TAIL}?)",
    rf"((?:[A-Za-z0-9+/=]{{16,}}{_BREAK}+)+{_KEY_TAIL})",
    rf"{_EDGE}((?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9]*[0-9][A-Za-z0-9_-]{{9,}})",
    rf"{_EDGE}((?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9]{{20,}})",
    rf"{_EDGE}((?:gh[opusr]|github_pat|glpat|hf|npm|xox[a-z]|xapp|whsec|dop_v1)[-_][A-Za-z0-9_-]{{10,}})",
    rf"{_EDGE}((?:AKIA|ASIA)[0-9A-Z]{{16}})",
    rf"{_EDGE}(AIza[0-9A-Za-z_-]{{30,}})",
    rf"{_EDGE}(eyJ[A-Za-z0-9_-]{{6,}}\.[A-Za-z0-9_-]{{6,}}(?:\.[A-Za-z0-9_-]*)?)",
    r"://hooks\.slack\.com/[a-z]+/([A-Za-z0-9/]{12,})",
    r"://[^\s/:@\"'\\]*:([^\s/@\"'\\]+)@",
    rf"(?i)authorization{_IS}(?:basic|token|bearer)\s+([A-Za-z0-9._~+/=-]{{12,}})",
    rf"{_EDGE}(?:[Bb]earer|BEARER)\s+([a-z]*[A-Z0-9_~+/=][A-Za-z0-9._~+/=-]{{9,}}|[a-z]{{20,}})",
    rf"""(?i){_NAMED}{_IS}([^\s"'\\,;\[][^\s"'\\,;]{{7,}})""",
    rf"""(?i){_HIDDEN}{_IS}([A-Za-z][^\s"'\\,;]{{2,5}}[0-9][^\s"'\\,;]{{0,3}})""",
    rf"(?i)token{_IS}([A-Za-z0-9._~+/=-]{{20,}})",
)


def _as_it_is(_: str, start: int, end: int) -> Iterator[Span]:
    yield start, end


_PICTURE: Final = re.compile(r"@[0-9.]+x\.(?:avif|gif|jpe?g|png|svg|webp)$")
"""How files are named that hold a picture for finer screens."""


def _emails(text: str, start: int, end: int) -> Iterator[Span]:
    if _PICTURE.search(text[start:end]) is None:
        yield start, end


_ISSUED: Final = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|3[47][0-9]{13}|(?:30|36|38|39)[0-9]{12,17}|35[0-9]{14,17}|5[1-5][0-9]{14}|"
    r"2(?:20[0-4]|22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|(?:50|5[6-9]|6[0-9])[0-9]{11,17}"
)
"""Numbers as the networks of cards begin them, as long as these have them; a year begins none."""


def _cards(text: str, start: int, end: int) -> Iterator[Span]:
    """Give the groups of digits in a row that are a card's number together."""
    said = text[start:end]
    groups = [found.span() for found in re.finditer("[0-9]+", said)]
    ends = [0, *accumulate(last - first for first, last in groups)]
    sums = _check_sums(said)
    at, last = 0, 0
    while at < len(groups):
        while last < len(groups) and ends[last + 1] - ends[at] <= _CARD_DIGITS[1]:
            last += 1
        fits = takewhile(partial(_fits, ends, at), range(last, at, -1))
        card = next((n for n in fits if _passes(sums, ends[at], ends[n]) and _issued(said, groups[at:n])), None)
        if card is not None:
            yield start + groups[at][0], start + groups[card - 1][1]
            at = card
        else:
            at += 1
        last = max(last, at)


def _issued(said: str, groups: Sequence[Span]) -> bool:
    """Whether some network has such numbers, and people write them in such groups."""
    *sizes, last = (end - first for first, end in groups)
    usual = min(sizes, default=3) >= 3 or {*sizes, last} == {last}
    return usual and _ISSUED.fullmatch("".join(said[first:end] for first, end in groups)) is not None


def _fits(ends: list[int], first: int, last: int) -> bool:
    return ends[last] - ends[first] >= _CARD_DIGITS[0]


def _check_sums(text: str) -> tuple[list[int], list[int]]:
    """Return the sums of all digits before each one, those at even places doubled and those at odd ones."""
    digits = [int(sign) for sign in text if "0" <= sign <= "9"]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits]
    even, odd = ([(doubled if n % 2 == place else digits)[n] for n in range(len(digits))] for place in (0, 1))
    return [0, *accumulate(even)], [0, *accumulate(odd)]


def _passes(sums: tuple[list[int], list[int]], first: int, end: int) -> bool:
    """Whether the last digit checks the others, as Luhn has it: from it back every second one is doubled."""
    total = sums[end % 2]
    return (total[end] - total[first]) % 10 == 0


_DECIMAL: Final = re.compile(r"\+[0-9]{1,3}\.[0-9]+")
_LONGER: Final = re.compile(r"[0-9]\.|[0-9A-Za-z][/-]")
"""Before digits that only end something longer: a version, an order's number, an address."""


def _phones(text: str, start: int, end: int) -> Iterator[Span]:
    said = text[start:end].lstrip("\\nrt")
    start = end - len(said)
    longer = said[0] not in "+(" and _LONGER.fullmatch(text[max(start - 2, 0) : start])
    if not longer and not _DECIMAL.fullmatch(said) and sum("0" <= sign <= "9" for sign in said) >= 8:
        yield start, end


_ESCAPED: Final = re.compile(r"\\[nrt]")


def _ips(text: str, start: int, end: int) -> Iterator[Span]:
    said, before, behind = text[start:end], text[max(start - 2, 0) : start], text[end : end + 2]
    if (
        re.search("[0-9]", said) is None
        or (_ESCAPED.fullmatch(before) is None and re.search(r"[0-9A-Za-z.:]$", before))
        or re.match(r"[0-9A-Za-z:]|\.[0-9]", behind)
    ):
        return
    try:
        ipaddress.ip_address(said)
    except ValueError:
        return
    yield start, end


_FINDERS: Final[dict[Kind, tuple[tuple[str, ...], Check]]] = {
    "key": (_KEY, _as_it_is),
    "email": (_EMAIL, _emails),
    "card": (_CARD, _cards),
    "ip": (_IP, _ips),
    "phone": (_PHONE, _phones),
}
"""By kind, in the order in which they name what is two things at once."""


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

    kinds: tuple[Kind, ...] = Field(
        default=(), description="email, phone, card (with a right check digit), key (keys, tokens, passwords), ip"
    )
    own: tuple[OwnKind, ...] = Field(default=(), description="patterns of your own: {name: order, pattern: ...}")

    @field_validator("kinds")
    @classmethod
    def _in_one_order(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        return tuple(kind for kind in _FINDERS if kind in kinds)  # another order is no other ruler

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [own.name for own in self.own]
        twice = next((name for name in names if names.count(name) > 1 or name in _FINDERS), None)
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
    def _found(looks: Iterable[tuple[str, _Look]], text: str) -> list[_Found]:
        return _together(
            _Found(start, rank, end, name)
            for rank, (name, look) in enumerate(looks)
            for start, end in look(text)
            if start < end
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*(own.name for own in self.own), *_FINDERS)

    @cached_property
    def _own(self) -> list[tuple[str, _Look]]:
        return [(own.name, _look((own.pattern,), 0, _as_it_is)) for own in self.own]

    @cached_property
    def _built_in(self) -> list[tuple[str, _Look]]:
        return [(kind, _LOOKS[kind]) for kind in _FINDERS if kind in self.kinds]


@dataclass(frozen=True, slots=True, order=True)
class _Found:
    start: int
    rank: int
    end: int
    name: str


_Look = Callable[[str], Iterator[Span]]


def _look(patterns: tuple[Pattern, ...], group: int, check: Check) -> _Look:
    one = patterns[0] if len(patterns) == 1 else Pattern.parse("|".join(f"(?:{each.text})" for each in patterns))

    def look(text: str) -> Iterator[Span]:
        if one.search(text) is None:
            return  # as nearly always, in one pass
        for pattern in patterns:
            for start, end in pattern.spans(text, group):
                yield from check(text, start, end)

    return look


_LOOKS: Final = {
    kind: _look(tuple(map(Pattern.parse, patterns)), 1, check) for kind, (patterns, check) in _FINDERS.items()
}


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
    return re.sub("[^0-9+]", "", value) if name in {"phone", "card"} else value
