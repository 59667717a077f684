"""What nobody may find in a text by accident: keys, addresses, and the numbers of people, cards and accounts.

Redaction takes them out of what a judge reads, rules say that an answer holds them. What has a check digit must pass
it: an order's number is no card.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, takewhile
from typing import Final, Literal

from traces.patterns import Pattern

SensitiveKind = Literal["key", "email", "iban", "card", "ip", "phone"]
"""What can be found without a pattern of one's own, in the order in which they name what is two things at once."""

Span = tuple[int, int]
Check = Callable[[str, int, int], Iterable[Span]]
"""Gives the parts of a candidate that are what it looks like."""

_CARD_DIGITS: Final = (13, 19)

_EDGE: Final = r"(?:\\[nrt]|\b)"
"""The beginning of a word, also behind an escaped end of line, as JSON in JSON has it."""

_GAP: Final = r"[ \x{a0}\x{202f}\x{2010}\x{2011}\x{2013}./()-]"

_DASH: Final = r"[ .\x{a0}\x{2011}-]"
_LOCAL: Final = rf"[0-9]{{3,4}}{_DASH}[0-9]{{3,5}}|[0-9]{{2,3}}(?:{_DASH}[0-9]{{2,3}}){{1,3}}|[0-9]{{5,8}}"

_EMAIL: Final = (r"(?:\\[nrt])?([\pL\pN._%+-]+(?:'[\pL\pN._%+-]+)*(?:@|%40)(?:[\pL\pN-]+\.)+\pL{2,})",)
_CARD: Final = (r"([0-9](?:[ \x{a0}\x{202f}-]?[0-9]){12,})",)
_IBAN: Final = (rf"{_EDGE}([A-Z]{{2}}[0-9]{{2}}(?:[ \x{{a0}}\x{{202f}}-]?[A-Z0-9]){{11,40}})",)
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
    rf"{_EDGE}(GOCSPX-[0-9A-Za-z_-]{{20,}}|ya29\.[0-9A-Za-z_-]{{20,}})",
    rf"{_EDGE}(SG\.[0-9A-Za-z_-]{{16,32}}\.[0-9A-Za-z_-]{{16,64}}|pypi-[0-9A-Za-z_-]{{40,}}|sq0[a-z]{{3}}-[0-9A-Za-z_-]{{20,}})",
    rf"{_EDGE}(SK[0-9a-f]{{32}}|[0-9a-f]{{32}}-us[0-9]{{1,2}}|[0-9]{{8,10}}:AA[0-9A-Za-z_-]{{33}})\b",
    rf"{_EDGE}(eyJ[A-Za-z0-9_-]{{6,}}\.[A-Za-z0-9_-]{{6,}}(?:\.[A-Za-z0-9_-]*)?)",
    r"://hooks\.slack\.com/[a-z]+/([A-Za-z0-9/]{12,})",
    r"://[^\s/:@\"'\\]*:([^\s/@\"'\\]+)@",
    rf"(?i)authorization{_IS}(?:basic|token|bearer)\s+([A-Za-z0-9._~+/=-]{{12,}})",
    rf"{_EDGE}(?:[Bb]earer|BEARER)\s+([a-z]*[A-Z0-9_~+/=][A-Za-z0-9._~+/=-]{{9,}}|[a-z]{{20,}})",
    rf"""(?i){_NAMED}{_IS}([^\s"'\\,;\[][^\s"'\\,;]{{7,}})""",
    rf"""(?i){_HIDDEN}{_IS}([A-Za-z][^\s"'\\,;]{{2,5}}[0-9][^\s"'\\,;]{{0,3}})""",
    rf"(?i)token{_IS}([A-Za-z0-9._~+/=-]{{20,}})",
)


def as_it_is(_: str, start: int, end: int) -> Iterator[Span]:
    """Take every candidate for real."""
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


_ACCOUNTS: Final = {
    length: countries.split()
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
}
"""Countries by the length of their account numbers, from the registry that SWIFT keeps for ISO 13616."""

_LENGTHS: Final = {country: length for length, countries in _ACCOUNTS.items() for country in countries}


def _ibans(text: str, start: int, end: int) -> Iterator[Span]:
    """Give an account's number when it is as long as its country has them, and ISO 7064's check (mod 97) holds."""
    places = [place for place in range(start, end) if text[place].isalnum()]
    length = _LENGTHS.get(text[start : start + 2], 0)
    if not 0 < length <= len(places):
        return
    last = places[length - 1]
    if text[last + 1 : last + 2].isalnum():
        return
    said = "".join(text[place] for place in places[:length])
    if int("".join(str(int(sign, 36)) for sign in said[4:] + said[:4])) % 97 == 1:
        yield start, last + 1


_CANDIDATES: Final[dict[SensitiveKind, tuple[tuple[str, ...], Check]]] = {
    "key": (_KEY, as_it_is),
    "email": (_EMAIL, _emails),
    "iban": (_IBAN, _ibans),
    "card": (_CARD, _cards),
    "ip": (_IP, _ips),
    "phone": (_PHONE, _phones),
}


Look = Callable[[str], Iterator[Span]]
"""Gives the places of something in a text."""


def finder(patterns: tuple[Pattern, ...], group: int, check: Check) -> Look:
    """Return what gives the places of all that `patterns` match (of a group in it) and `check` takes for real."""
    one = patterns[0] if len(patterns) == 1 else Pattern.parse("|".join(f"(?:{each.text})" for each in patterns))

    def look(text: str) -> Iterator[Span]:
        if one.search(text) is None:
            return  # as nearly always, in one pass
        for pattern in patterns:
            for start, end in pattern.spans(text, group):
                yield from check(text, start, end)

    return look


_FINDERS: Final = {
    kind: finder(tuple(map(Pattern.parse, patterns)), 1, check) for kind, (patterns, check) in _CANDIDATES.items()
}


def finder_of(kind: SensitiveKind) -> Look:
    """Return what gives the places of all values of a kind in a text."""
    return _FINDERS[kind]
