"""What is shown of a text that is too long, by importance: whole, cut in its middle, or left out with a remark.

Every piece has a weight, and what it may cost grows with it: the longest pieces of the least weight are cut first.
More room never shows less of anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from typing import Final

from traces.lengths import Limit, Shortened, shortened

_FIRST_ROUND: Final = 1 / 8
_LEAST_TOKENS: Final = 24
"""Of a piece that is cut: less than this of it, and the remark about the rest, tells nothing."""


@dataclass(slots=True)
class Piece:
    """A line of a text, or a value in it with all its lines.

    `kept` characters at its beginning are never cut: they say what it is. `weight` is what it may cost, by the weight
    of others. `heading` is the number of the piece without which it could not be understood.
    """

    text: str
    weight: int
    kept: int = 0
    heading: int | None = None

    def cut(self, limit: Limit) -> Shortened:
        """Return as much of it as fits."""
        lead = self.text[: self.kept]
        inner = shortened(self.text[self.kept :], limit.less(lead))
        return Shortened(lead + inner.text, inner.left_out)


def packed(pieces: Sequence[Piece], limit: Limit) -> Shortened:
    """Return the pieces, one a line, with as much of them as fits.

    A limit so low that not even a few of them can be shown cuts the whole in its middle.
    """
    costs = [limit.cost(piece.text) + limit.cost("\n") for piece in pieces]
    if sum(costs) <= limit.most + limit.cost("\n"):
        return Shortened("\n".join(piece.text for piece in pieces), 0)
    allowances = _Filling(pieces, costs, limit).allowances()
    if not allowances:
        return shortened("\n".join(piece.text for piece in pieces), limit)
    return _written(pieces, costs, allowances, limit)


def parted(pieces: Sequence[Piece], limit: Limit) -> list[str]:
    """Return the pieces, one a line, as several texts that fit; one that does not fit alone is divided.

    A text that begins below a heading begins with it once more.
    """
    texts: list[str] = []
    lines: list[str] = []
    room = limit.most
    for piece in pieces:
        title = pieces[piece.heading].text if piece.heading is not None else ""
        for text in _divided(piece.text, limit.less(title + "\n")):
            if lines and limit.cost(text + "\n") > room:
                texts.append("\n".join(lines))
                lines, room = ([title] if title else []), limit.less(title + "\n" if title else "").most
            lines.append(text)
            room -= limit.cost(text + "\n")
    return [*texts, "\n".join(lines)]


class _Filling:
    """Which pieces get how much: a fixed order of grants, and as many of them as fit.

    The order does not depend on the limit. That is why more room never shows less.
    """

    def __init__(self, pieces: Sequence[Piece], costs: Sequence[int], limit: Limit) -> None:
        self._pieces = pieces
        self._costs = costs
        self._most = limit.most
        self._token = limit.token
        self._remark = limit.cost(_gap(len(pieces), sum(len(piece.text) for piece in pieces)) + "\n")
        self._least = [
            min(cost, _LEAST_TOKENS * limit.token + limit.cost(piece.text[: piece.kept]))
            for piece, cost in zip(pieces, costs, strict=True)
        ]
        self._granted: dict[int, int] = {}
        self._spent = self._remark
        self._gaps = 1

    def allowances(self) -> dict[int, int]:
        """Return what each piece that is shown may cost."""
        fitting: dict[int, int] = {}
        journal: list[tuple[int, int]] = []
        open_grant: tuple[int, int] | None = None
        left = 0
        for number, cap in self._grants():
            if self._spent - self._gaps * self._remark > self._most:
                break  # nothing that is still to come makes up for this
            before = self._granted.get(number)
            if self._spent <= self._most:
                fitting.update(journal)
                journal.clear()
                open_grant, left = ((number, cap) if before is not None else None), self._most - self._spent
            self._grant(number, cap, journal)
        else:
            if self._spent <= self._most:
                fitting.update(journal)
                open_grant = None
        if open_grant is not None:
            number, cap = open_grant
            fitting[number] = min(fitting[number] + left, cap)
        return fitting

    def _grants(self) -> Iterator[tuple[int, int]]:
        """Give each piece what it may cost now, round after round, the heaviest first, each round twice as much."""
        waiting = self._order()
        for doubling in count():
            room = _FIRST_ROUND * 2**doubling * self._token
            still: list[int] = []
            for number in waiting:
                cap = min(int(room * self._pieces[number].weight), self._costs[number])
                if cap >= self._least[number] and cap > self._granted.get(number, 0):
                    yield number, cap
                if cap < self._costs[number]:
                    still.append(number)
            if not still:
                return
            waiting = still

    def _order(self) -> list[int]:
        """Return the numbers of the pieces, the heaviest first, and of the same weight from both ends inwards."""
        last = len(self._pieces) - 1
        return sorted(range(last + 1), key=lambda n: (-self._pieces[n].weight, min(2 * n, 2 * (last - n) + 1)))

    def _grant(self, number: int, cap: int, journal: list[tuple[int, int]]) -> None:
        heading = self._pieces[number].heading
        if heading is not None and heading not in self._granted:
            self._grant(heading, self._costs[heading], journal)
        known = self._granted.get(number)
        if known is None:
            beside = (number - 1 in self._granted or number == 0) + (
                number + 1 in self._granted or number == len(self._pieces) - 1
            )
            self._gaps += 1 - beside
            self._spent += (1 - beside) * self._remark
        self._spent += cap - (known or 0)
        self._granted[number] = cap
        journal.append((number, cap))


def _written(pieces: Sequence[Piece], costs: Sequence[int], allowances: dict[int, int], limit: Limit) -> Shortened:
    lines: list[str] = []
    left_out = 0
    for is_shown, run in groupby(range(len(pieces)), key=allowances.__contains__):
        numbers = list(run)
        if not is_shown:
            missing = sum(len(pieces[number].text) for number in numbers)
            lines.append(_gap(len(numbers), missing))
            left_out += missing
            continue
        for number in numbers:
            cut = _as_allowed(pieces[number], costs[number], allowances[number], limit)
            lines.append(cut.text)
            left_out += cut.left_out
    return Shortened("\n".join(lines), left_out)


def _as_allowed(piece: Piece, cost: int, allowed: int, limit: Limit) -> Shortened:
    if allowed >= cost:
        return Shortened(piece.text, 0)
    return piece.cut(replace(limit, most=allowed).less("\n"))


def _gap(pieces: int, characters: int) -> str:
    what = "1 line" if pieces == 1 else f"{pieces:,} lines"
    return f"[... {what} left out: {characters:,} characters ...]"


def _divided(text: str, limit: Limit) -> Iterator[str]:
    """Give a text in parts that fit, where possible with whole lines."""
    most = max(limit.most - limit.cost("\n"), 1)
    start = 0
    while True:
        part = text[start : start + most // limit.cheapest + 1]
        while (cost := limit.cost(part)) > most and len(part) > 1:
            part = part[: max(len(part) * most // cost, 1)]
        start += len(part)
        if start >= len(text):
            yield part
            return
        whole = part.rfind("\n", len(part) // 2) + 1
        start -= len(part) - whole if whole else 0
        yield part[: whole - 1] if whole else part
