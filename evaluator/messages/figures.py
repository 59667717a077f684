"""Figures as people write them, in messages and reports."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from monitors import DropTest, NotEnoughHistory

_MINUS: Final = "\N{MINUS SIGN}"


def value(points: float, binary: bool) -> str:
    """Return a score: pass rates in percent."""
    return f"{100 * points:.1f} %" if binary else f"{points:,.2f}"


def dollars(amount: float) -> str:
    """Return an amount of US dollars, to the cent, or finer where it is small."""
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.4f}"


def label(one: float, binary: bool) -> str:
    """Return a single score: of pass and fail the word."""
    return ("pass" if one else "fail") if binary else f"{one:.4g}"


def change(points: float, binary: bool, *, sign: bool = False) -> str:
    """Return a difference of scores, in points; `sign` puts a plus before what rises."""
    number = points * 100 if binary else points
    digits = 1 if binary else 2
    return (signed(number, digits) if sign else f"{number:,.{digits}f}") + (" points" if binary else "")


def size(test: DropTest, binary: bool) -> str:
    """Return the fall with its interval: points for pass rates, percent of the baseline for the rest."""
    if binary or test.baseline <= 0:
        unit, factor, digits = ("points", 100.0, 1) if binary else ("points", 1.0, 2)
        drop, low, high = (signed(-x * factor, digits) for x in (test.drop, test.low, test.high))
        return f"{drop} {unit}, 95 % interval {low} to {high} {unit}"
    drop, low, high = (signed(-100 * x / test.baseline, 0) for x in (test.drop, test.low, test.high))
    return f"{drop} %, 95 % interval {low} to {high} %"


def early(test: NotEnoughHistory, binary: bool) -> str:
    """Say how this week compares with the few weeks there are; nothing without any."""
    if test.early is None:
        return ""
    drop, low, high = test.early
    moved, least, most = (change(-points, binary, sign=True) for points in (drop, high, low))
    return f"; for information, the plain mean moved by {moved} (95 % {least} to {most})"


def by_mix(test: DropTest, binary: bool) -> str:
    """Say that only the mix moved, where the plain mean fell and quality inside segments did not."""
    if test.baseline - test.mean + test.by_judge < test.smallest or test.drop >= test.smallest or test.fired:
        return ""
    return f"the plain mean is {value(test.mean, binary)}: the mix of traffic moved, quality inside segments did not"


def sees(smallest: float, level: float, binary: bool) -> str:
    """Say which fall is seen within a week, in points of the score or as a share of its level."""
    if binary or level <= 0:
        return f"at this rate you will see a fall of {value(smallest, binary)} within a week"
    return f"at this rate you will see a fall of {100 * smallest / level:.1f} % within a week"


def percent_change(share: float) -> str:
    """Return a change as a share of 1, in per cent with its sign."""
    return f"{signed(100 * share, 0)} %"


def signed(number: float, digits: int) -> str:
    """Return a number with its sign, a true minus for negative ones and none for what rounds to 0."""
    text = f"{abs(number):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return (_MINUS if number < 0 else "+") + text


def day(at: datetime) -> str:
    """Return a day of the year."""
    return f"{at.day} {at:%b}"


def dimension(name: str | None) -> str:
    """Return a dimension of segments as a word."""
    return (name or "").replace("_", " ")
