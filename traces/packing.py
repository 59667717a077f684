"""What is shown of a text that is too long, by importance: whole, cut in its middle, or left out with a remark.

Every piece has a weight, and what it may cost grows with it: the longest pieces of the least weight are cut first.
More room never shows less of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from typing import Final

from traces.lengths import Limit, Shortened, shortened
from traces.record import record

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
        if limit.fits(self.text):
            return Shortened(self.text, 0)
        lead = self.text[: self.kept]
        inner = shortened(self.text[self.kept :], limit.less(lead))
        return Shortened(lead + inner.text, inner.left_out)


@record(frozen=True, slots=True)
class Passage:
    """Text that may be too long to be shown whole: it can be packed, or divided into parts."""

    pieces: Sequence[Piece]

    @classmethod
    def of(cls, text: str) -> Passage:
        """Return a text of which nothing weighs more than the rest."""
        return cls([Piece(text, 1)])

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(piece.text for piece in self.pieces)

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to read in it."""
        return not any(piece.text.strip() for piece in self.pieces)

    def changed(self, change: Callable[[str], str]) -> Passage:
        """Return it with every piece changed, each by itself."""
        texts = [change(piece.text) for piece in self.pieces]
        if all(new is piece.text for new, piece in zip(texts, self.pieces, strict=True)):
            return self  # as nearly always
        return Passage([replace(piece, text=new) for new, piece in zip(texts, self.pieces, strict=True)])

    def packed(self, limit: Limit) -> Shortened:
        """Return as much of it as fits, the heaviest pieces before the others."""
        return self.pieces[0].cut(limit) if len(self.pieces) == 1 else packed(self.pieces, limit)

    def parts(self, limit: Limit) -> list[str]:
        """Return all of it as texts that fit, one after the other."""
        return parted(self.pieces, limit)


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
    """Return the pieces, one a line, as several texts that fit; only what does not fit alone is divided.

    A text that begins below a heading begins with it once more.
    """
    parting = _Parting(limit)
    for piece in pieces:
        parting.add(piece.text, pieces[piece.heading].text if piece.heading is not None else "")
    return parting.texts()


class _Parting:
    """Texts that are filled one after the other."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._texts: list[str] = []
        self._lines: list[str] = []
        self._room = limit.most

    def add(self, text: str, title: str) -> None:
        """Add a text; where it does not fit any more the next one begins, with the title unless that is too long."""
        title = title if self._limit.cost(title) <= self._limit.most // 4 else ""
        alone = self._limit.less(f"{title}\n").most
        cost = self._limit.cost(f"{text}\n")
        if cost > self._room and (cost <= alone or self._room < self._limit.most // 4):
            self._turn(title)
        start = 0
        while (taken := _fitting(text, start, self._room, self._limit)) < len(text) - start:
            self._write(text[start : start + taken].removesuffix("\n"))
            start += taken
            self._turn(title)
        self._write(text[start:])

    def texts(self) -> list[str]:
        """Return all of them."""
        return [*self._texts, "\n".join(self._lines)]

    def _write(self, text: str) -> None:
        self._lines.append(text)
        self._room -= self._limit.cost(f"{text}\n")

    def _turn(self, title: str) -> None:
        if self._lines:
            self._texts.append("\n".join(self._lines))
        self._lines = []
        self._room = self._limit.most
        if title:
            self._write(title)


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


def _fitting(text: str, start: int, room: int, limit: Limit) -> int:
    """Return how many characters from `start` on fit into `room`, at least one; whole lines where possible."""
    most = max(room - limit.cost("\n"), 1)
    part = text[start : start + most // limit.cheapest + 1]
    while (cost := limit.cost(part)) > most and len(part) > 1:
        part = part[: max(len(part) * most // cost, 1)]
    if start + len(part) == len(text):
        return len(part)
    return (part.rfind("\n", len(part) // 2) + 1) or len(part)
