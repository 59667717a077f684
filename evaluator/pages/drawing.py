"""Charts of pages as SVG: numbers become lines, colours come from the page, so that they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from markupsafe import Markup, escape

from evaluator.messages.figures import day, value
from monitors import WeekMean

_WIDE, _HIGH, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 190, 52, 14, 12, 26
_SPARK_WIDE, _SPARK_HIGH = 132, 26
_RANGE_WIDE, _RANGE_HIGH = 132, 16
_HOURS_HIGH: Final = 150
_MOST_DATES: Final = 7
_MOST_LEVELS: Final = 5
_NEARLY: Final = 1e-6


class Scale(NamedTuple):
    """From values to a stretch of pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, number: float) -> float:
        """Return where a value lies; what is outside lies on the edge."""
        span = self.high - self.low
        share = (number - self.low) / span if span else 0.5
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)


def weekly_chart(line: Sequence[WeekMean], binary: bool, label: str) -> Markup:
    """Return weekly means with their 95 % intervals as a band, this week marked."""
    low, high = limits(line, binary=binary)
    x, y = (
        Scale(0, max(len(line) - 1, 1), _LEFT, _WIDE - _RIGHT),
        Scale(low, high, _HIGH - _BOTTOM, _TOP),
    )
    parts = [f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{escape(label)}">']
    for level in round_levels(low, high):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(level) + 4:.1f}" text-anchor="end">{value(level, binary)}</text>')
    every = -(-len(line) // _MOST_DATES)
    for place in range(len(line) - 1, -1, -every):
        where = "end" if place == len(line) - 1 else "middle"
        parts.append(
            f'<text x="{x(place):.1f}" y="{_HIGH - 8}" text-anchor="{where}">{escape(day(line[place].start))}</text>'
        )
    parts.extend(_drawn(line, x, y))
    for place, week in enumerate(line):
        if week.mean is not None:
            kind = "now" if place == len(line) - 1 else "dot"
            said = f"week from {day(week.start)}: {value(week.mean, binary)} from {week.n:,} scored"
            parts.append(
                f'<circle class="{kind}" cx="{x(place):.1f}" cy="{y(week.mean):.1f}" r="{4 if kind == "now" else 2.5}">'
                f"<title>{escape(said)}</title></circle>"
            )
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers, and text that is escaped


def spark_chart(line: Sequence[WeekMean], low: float, high: float) -> Markup:
    """Return the same small, without words, on a scale that several of them share."""
    x, y = Scale(0, max(len(line) - 1, 1), 3, _SPARK_WIDE - 3), Scale(low, high, _SPARK_HIGH - 3, 3)
    last = line[-1] if line else None
    now = (
        f'<circle class="now" cx="{x(len(line) - 1):.1f}" cy="{y(last.mean):.1f}" r="2.5"/>'
        if last and last.mean is not None
        else ""
    )
    body = "".join(_drawn(line, x, y))
    return Markup(f'<svg class="spark" viewBox="0 0 {_SPARK_WIDE} {_SPARK_HIGH}" aria-hidden="true">{body}{now}</svg>')  # noqa: S704


def range_chart(mean: float, ends: tuple[float | None, float | None], low: float, high: float) -> Markup:
    """Return a mean as a dot with its interval as a bar, on a scale that several of them share."""
    x = Scale(low, high, 4, _RANGE_WIDE - 4)
    first, last = ends
    middle = _RANGE_HIGH / 2
    bar = (
        ""
        if first is None or last is None
        else f'<line class="whisker" x1="{x(first):.1f}" x2="{x(last):.1f}" y1="{middle}" y2="{middle}"/>'
    )
    dot = f'<circle class="dot" cx="{x(mean):.1f}" cy="{middle}" r="3.5"/>'
    return Markup(f'<svg class="spark" viewBox="0 0 {_RANGE_WIDE} {_RANGE_HIGH}" aria-hidden="true">{bar}{dot}</svg>')  # noqa: S704


class HourBar(NamedTuple):
    """What became of the pairs of trace and evaluator of one hour."""

    start: datetime
    sampled: int
    scored: int
    other: int
    failed: int

    @property
    def pending(self) -> int:
        """How many have not ended."""
        return max(0, self.sampled - self.scored - self.other - self.failed)


def hourly_chart(bars: Sequence[HourBar]) -> Markup:
    """Return hours as bars, stacked by what became of their pairs; the hours of the axis are UTC."""
    most = max((max(bar.sampled, bar.scored + bar.other + bar.failed) for bar in bars), default=0) or 1
    wide = (_WIDE - _LEFT - _RIGHT) / max(len(bars), 1)
    y = Scale(0, most, _HOURS_HIGH - _BOTTOM, _TOP)
    said = "pairs of trace and evaluator by the hour; the table below has the numbers"
    parts = [f'<svg viewBox="0 0 {_WIDE} {_HOURS_HIGH}" role="img" aria-label="{said}">']
    for level in (0, most):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(level) + 4:.1f}" text-anchor="end">{level:,}</text>')
    for place, bar in enumerate(bars):
        left, floor = _LEFT + place * wide, 0
        kinds = (("scored", bar.scored), ("other", bar.other), ("failed", bar.failed), ("waits", bar.pending))
        for kind, number in kinds:
            if number:
                top, bottom = y(floor + number), y(floor)
                parts.append(
                    f'<rect class="bar {kind}" x="{left + 1:.1f}" width="{max(wide - 2, 1):.1f}" y="{top:.1f}" '
                    f'height="{bottom - top:.1f}"><title>{bar.start:%H:00}: {number:,} {kind}</title></rect>'
                )
                floor += number
        if bar.start.hour % 3 == 0:
            parts.append(
                f'<text x="{left + wide / 2:.1f}" y="{_HOURS_HIGH - 8}" text-anchor="middle">{bar.start:%H}</text>'
            )
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers


def limits(*lines: Sequence[WeekMean], binary: bool = False) -> tuple[float, float]:
    """Return the lowest and highest value to show of some weeks; a pass rate stays between 0 and 1."""
    ends = [end for line in lines for week in line for end in (week.low, week.high, week.mean) if end is not None]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    if binary:
        low, high = max(low, 0.0), min(high, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def round_levels(low: float, high: float) -> list[float]:
    """Return two to five round numbers between two ends, evenly apart: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span))
    step = next(
        step for step in (power / 5, power / 2, power, 2 * power, 5 * power) if span / step < _MOST_LEVELS - _NEARLY
    )
    return [number * step for number in range(math.ceil(low / step - _NEARLY), math.floor(high / step + _NEARLY) + 1)]


def _drawn(line: Sequence[WeekMean], x: Scale, y: Scale) -> Iterator[str]:
    """Give the bands of weeks with an interval, then the line of those with a mean; each ends where one has none."""
    for stretch in _stretches((week.low, week.high) for week in line):
        above = [f"{x(place):.1f},{y(ends[1]):.1f}" for place, ends in stretch]
        below = [f"{x(place):.1f},{y(ends[0]):.1f}" for place, ends in reversed(stretch)]
        yield f'<polygon class="band" points="{" ".join(above + below)}"/>'
    for stretch in _stretches((week.mean,) for week in line):
        points = " ".join(f"{x(place):.1f},{y(mean):.1f}" for place, (mean,) in stretch)
        yield f'<polyline class="line" points="{points}"/>'


def _stretches(weeks: Iterable[tuple[float | None, ...]]) -> Iterator[list[tuple[int, list[float]]]]:
    """Give each run of weeks of which all is known, with their places."""
    stretch: list[tuple[int, list[float]]] = []
    for place, week in enumerate(weeks):
        known = [number for number in week if number is not None]
        if len(known) == len(week):
            stretch.append((place, known))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch
