"""The weekly digest: how each watched score does, what moved, what was evaluated at what cost, and what is news."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from evaluator.messages.alert import trend
from evaluator.messages.blame import blamed
from evaluator.messages.blocks import Message, context, entities, escaped, plain, post, section
from evaluator.messages.figures import by_mix, change, day, dimension, dollars, early, percent_change, value
from evaluator.messages.missing import MANY, MISSING
from monitors import Contribution, DropTest, NotEnoughHistory, WeekMean

_MOST_LINES: Final = 40
_MOST_NAMED: Final = 5
_MOVED: Final = 0.005
"""One-sided p of a move that is told: among fifty calm scores, one in two weeks."""

_SAMPLED: Final = "sampled"
_ANSWERED: Final = ("scored", "skipped")
_TOLD: Final = (*_ANSWERED, *MISSING)


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One watched score.

    Attributes:
        score: its monitor's key.
        binary: whether it is a pass rate.
        line: its weeks.
        test: this week against those before.
        opened: when its open alert fired.
        who: the segment that a fall is blamed on.
        missing: the share of its sampled traces that have no judgement; None for scores that are not ours.
        by_people: what people would have made of the week; empty where nobody can tell.
    """

    score: str
    binary: bool
    line: tuple[WeekMean, ...]
    test: DropTest | NotEnoughHistory
    opened: datetime | None = None
    who: Contribution | None = None
    missing: float | None = None
    by_people: str = ""

    @property
    def moved(self) -> float:
        """How far the week is from those before, as a share of them; 0 when that may be chance."""
        test = self.test
        if isinstance(test, NotEnoughHistory) or _MOVED < test.p < 1 - _MOVED:
            return 0.0
        return -(test.relative(test.drop) or test.drop)

    @property
    def fell_silent(self) -> bool:
        """Whether there were scores in a week before, and none in this."""
        return self.test.mean is None and any(week.mean is not None for week in self.line)

    @property
    def lacks(self) -> bool:
        """Whether too many judgements are missing."""
        return self.missing is not None and self.missing > MANY

    @property
    def is_news(self) -> bool:
        """Whether people should hear of it although nothing else happened."""
        return self.opened is not None or self.moved != 0 or self.fell_silent or self.lacks


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted from the beginning up to a time: pairs by (evaluator, state), and what judges cost in USD."""

    at: datetime
    pairs: Mapping[tuple[str, str], int]
    usd: float

    def since(self, before: Totals | None) -> Coverage:
        """Return what was counted after an earlier time; everything, where that is not known or was forgotten."""
        if before is None or any(number > self.pairs.get(pair, 0) for pair, number in before.pairs.items()):
            return Coverage(None, dict(self.pairs), self.usd)
        pairs = {pair: number - before.pairs.get(pair, 0) for pair, number in self.pairs.items()}
        return Coverage(before.at, pairs, max(0.0, self.usd - before.usd))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        pairs = [[evaluator, state, number] for (evaluator, state), number in sorted(self.pairs.items())]
        return {"at": self.at.isoformat(), "pairs": pairs, "usd": self.usd}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Totals | None:
        """Read it; None of what is none."""
        if data is None:
            return None
        pairs = {(evaluator, state): number for evaluator, state, number in data["pairs"]}
        return cls(datetime.fromisoformat(data["at"]), pairs, data["usd"])


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was evaluated since a time (None: ever): pairs by (evaluator, state), and what judges cost in USD."""

    since: datetime | None
    pairs: Mapping[tuple[str, str], int]
    usd: float

    def missing(self, evaluator: str) -> float | None:
        """Return the share of an evaluator's finished pairs that have no judgement; None without any."""
        lost = sum(self.pairs.get((evaluator, state), 0) for state in MISSING)
        done = lost + self.pairs.get((evaluator, "scored"), 0)
        return lost / done if done else None


def digest(lines: Sequence[DigestLine], coverage: Coverage, at: datetime) -> Message:
    """Return the weekly overview: what matters first, then each score, then what was evaluated."""
    title = f"Quality this week, {day(at)} {at.year}"
    first = sorted(lines, key=lambda line: (line.opened is None, -abs(line.moved), not line.is_news))
    blocks = [section("\n".join(told))] if (told := list(_summary(first))) else []
    blocks.extend(section(_line(line)) for line in first[:_MOST_LINES])
    if len(first) > _MOST_LINES:
        blocks.append(section(f"… and {len(first) - _MOST_LINES} more scores"))
    blocks.append(context(_covered(coverage)))
    falling = [line.score for line in first if line.opened is not None]
    summary = f"{len(lines)} scores watched, " + (f"low: {', '.join(falling)}" if falling else "no open alert")
    return post(title, blocks, f"{title}: {plain(summary)}")


def _summary(lines: Sequence[DigestLine]) -> list[str]:
    moved = [line for line in lines if line.moved and line.opened is None]
    parts = {
        "Low": [_named(line) for line in lines if line.opened is not None],
        "Moved": [_named(line) for line in moved],
        "No scores any more": [escaped(line.score) for line in lines if line.fell_silent],
        "Judgements are missing": [f"{escaped(line.score)} {line.missing:.0%}" for line in lines if line.lacks],
    }
    return [f"*{what}:* {_listed(names)}" for what, names in parts.items() if names]


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _named(line: DigestLine) -> str:
    test = line.test
    if isinstance(test, NotEnoughHistory):
        return escaped(line.score)
    moved = change(-test.drop, line.binary, sign=True) if line.binary or test.baseline <= 0 else ""
    who = "" if line.who is None else f" ({dimension(line.who.dimension)} {escaped(line.who.value)})"
    return f"{escaped(line.score)} {moved or percent_change(-test.drop / test.baseline)}{who}"


def _line(line: DigestLine) -> str:
    test = line.test
    mean = test.mean
    shown = "no scores this week" if mean is None else f"*{value(mean, line.binary)}* from {test.n:,} scored"
    lacks = f"; {line.missing:.1%} of judgements are missing" if line.missing else ""
    parts = [f"{escaped(line.score)} {shown}{lacks}", trend(line.line)]
    if isinstance(test, NotEnoughHistory):
        parts.append(f"not compared: {entities(test.reason)}{early(test, line.binary)}")
    else:
        low, high = (change(-points, line.binary, sign=True) for points in (test.high, test.low))
        moved = change(-test.drop, line.binary, sign=True)
        parts.append(f"{moved} (95 % {low} to {high}) against the {test.weeks} weeks before")
        if said := by_mix(test, line.binary):
            parts.append(said)
        if said := blamed(test, line.binary):
            parts.append(said)
    if line.by_people:
        parts.append(entities(line.by_people))
    if line.opened is not None:
        parts.append(f":small_red_triangle_down: low since the week to {day(line.opened)}")
    return "\n".join(parts)


def _covered(coverage: Coverage) -> str:
    """Return what was sampled, what became of it, and at what cost."""
    by_state: Counter[str] = Counter()
    for (_, state), number in coverage.pairs.items():
        by_state[state] += number
    since = "" if coverage.since is None else f"Since {day(coverage.since)}: "
    ended = ", ".join(f"{by_state[state]:,} {state}" for state in _TOLD if by_state[state])
    cost = f"; {dollars(coverage.usd)} USD on judges" if coverage.usd else ""
    return f"{since}{by_state[_SAMPLED]:,} evaluations sampled{': ' if ended else ''}{ended}{cost}."
