"""Scores of some weeks as columns, and the weighted means of a week.

A week is a block of seven days: block 0 ends now, block 1 ends where the baseline ends (normally where block 0
begins), so a look on any day compares whole weeks and the day of the week cancels.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors.means import Estimate, Floats, Ints, WeekMean, hajek, week_mean

WEEK: Final = timedelta(days=7)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1) // _MICROSECOND
NONE: Final = "(none)"
"""The segment of traces that have no value in a dimension."""

FEWEST: Final = 5
"""Scores a week, or a segment of the baseline, needs to count at all."""

_LISTS: Final = frozenset({"tags"})
"""Dimensions whose text is a comma list: a trace belongs to each of its values."""


_NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Judged:
    """One score as evidence.

    `weight` is one over the probability that the trace was taken; `session` clusters what is not independent (the
    trace id when there is no session); `version` names what measured it: scores of different ones are not compared.
    `session_id` is there when the score is about a whole session, and then `trace_id` is not. `confidence` is how sure
    its judge was, from 0 to 1.
    """

    value: float
    at: datetime
    trace_id: str = ""
    weight: float = 1.0
    session: str = ""
    segments: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    comment: str = ""
    boolean: bool = False
    session_id: str = ""
    confidence: float = 0.0


class Span(NamedTuple):
    """A stretch of time, from `start` up to but not including `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Dimension:
    """Who belongs to which segment: pair `j` says that row `rows[j]` has value `names[codes[j]]`.

    `portion` is 1 / (number of values of that row), so that portions of a row add up to one. `joint` is one code a
    row, the same for rows with the same set of values.
    """

    names: tuple[str, ...]
    rows: Ints
    codes: Ints
    portion: Floats
    joint: Ints


@dataclass(frozen=True, slots=True, eq=False)
class WeeklySeries:
    """Comparable scores of this week (`week` 0) and of baseline weeks (1 is the newest), one row a score.

    `version` measured all of them; `left_out` scores of these weeks were measured by others, `since` is when this one
    began. `excluded` are blocks the operator wants left alone. `recent` tells of each row of week 0 (by row number)
    the trace, session and comment. `age` is how many whole days before `now` a score was, where that is known.
    """

    now: datetime
    baseline_end: datetime
    weeks: int
    values: Floats
    weights: Floats
    week: Ints
    session: Ints
    dimensions: Mapping[str, Dimension]
    recent: Mapping[int, Judged]
    excluded: frozenset[int]
    binary: bool
    version: str | None = None
    left_out: int = 0
    since: datetime | None = None
    age: Ints | None = None

    def start(self, week: int) -> datetime:
        """Return when a block begins."""
        return self.now - WEEK if week == 0 else self.baseline_end - week * WEEK

    def estimate(self, week: int, values: Floats | None = None) -> Estimate:
        """Return the mean of a week's scores, or of `values` (one a row) in their place."""
        rows = self.week == week
        return hajek((self.values if values is None else values)[rows], self.weights[rows], self.session[rows])

    def means(self, values: Floats) -> Floats:
        """Return the weighted mean of `values` (one a row) in every week, 0 where there is none."""
        weights = np.bincount(self.week, self.weights, self.weeks + 1)
        sums = np.bincount(self.week, self.weights * values, self.weeks + 1)
        return np.asarray(sums / np.maximum(weights, np.finfo(float).tiny), dtype=np.float64)

    def baseline(self) -> list[int]:
        """Return the blocks fit to compare with, newest first."""
        counts = np.bincount(self.week, minlength=self.weeks + 1)
        return [
            week
            for week in range(1, self.weeks + 1)
            if counts[week] >= FEWEST and week not in self.excluded and np.ptp(self.session[self.week == week]) > 0
        ]

    def joined(self, newest: int) -> WeeklySeries:
        """Return the series with its `newest` weeks as one, week 0; only the last seven days tell of their traces."""
        return replace(
            self,
            weeks=self.weeks - newest + 1,
            baseline_end=self.baseline_end - (newest - 1) * WEEK,
            week=np.maximum(self.week - newest + 1, 0),
            excluded=frozenset(max(week - newest + 1, 0) for week in self.excluded if week >= newest),
        )

    def line(self) -> tuple[WeekMean, ...]:
        """Return the weekly means, oldest first, this week last."""
        return tuple(self._week_mean(week) for week in range(self.weeks, -1, -1))

    def _week_mean(self, week: int) -> WeekMean:
        n = int((self.week == week).sum())
        if n < FEWEST or week in self.excluded:
            return WeekMean(self.start(week), n)
        return week_mean(self.start(week), self.estimate(week), binary=self.binary)


def weekly(
    scores: Iterable[Judged],
    *,
    now: datetime,
    weeks: int,
    segments: Sequence[str] = (),
    baseline_end: datetime | None = None,
    since: datetime | None = None,
    excluded: Sequence[Span] = (),
) -> WeeklySeries:
    """Put scores into weeks: see `Held.weekly`."""
    held = Held.of(scores, now=now, segments=segments)
    return held.weekly(weeks=weeks, baseline_end=baseline_end, since=since, excluded=excluded)


def _touches(start: datetime, spans: Sequence[Span]) -> bool:
    return any(span.start < start + WEEK and span.end > start for span in spans)


class Held:
    """Scores as columns, in no weeks yet. Plain arrays: a million scores must fit."""

    def __init__(self, now: datetime, segments: Sequence[str]) -> None:
        self._now = now
        self._values, self._weights = array("d"), array("d")
        self._at, self._session, self._version = array("q"), array("i"), array("i")
        self._sessions: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._dimensions = {name: (array("i"), dict[str, int]()) for name in segments}
        self._recent: dict[int, Judged] = {}
        self._declared = bytearray()

    @classmethod
    def of(cls, scores: Iterable[Judged], *, now: datetime, segments: Sequence[str] = ()) -> Held:
        """Look at each score once and let it go, so that a stream of any length will do.

        Args:
            scores: in any order.
            now: end of this week (exclusive); the traces of this week's scores are remembered.
            segments: dimensions to keep.
        """
        held = cls(now, segments)
        for score in scores:
            held._add(score)
        held._sessions.clear()  # their names are long, and needed no more
        return held

    def _add(self, score: Judged) -> None:
        if self._now - WEEK <= score.at < self._now:
            # What it belongs to is in the columns.
            self._recent[len(self._values)] = replace(score, segments=_NOWHERE)
        self._values.append(score.value)
        self._weights.append(score.weight)
        self._at.append(_microseconds(score.at))
        self._session.append(_code(self._sessions, score.session or score.trace_id))
        self._version.append(_code(self._versions, score.version))
        self._declared.append(score.boolean)
        for name, (codes, known) in self._dimensions.items():
            codes.append(_code(known, score.segments.get(name) or NONE))

    def weekly(
        self,
        *,
        weeks: int,
        at: datetime | None = None,
        baseline_end: datetime | None = None,
        since: datetime | None = None,
        excluded: Sequence[Span] = (),
        version: str | None = None,
    ) -> WeeklySeries:
        """Return the scores in weeks; those outside them are left out.

        Args:
            weeks: number of baseline blocks.
            at: end of this week, if it is not the newest one that is held.
            baseline_end: end of the newest baseline block; `at - 7 days` unless an open alert has frozen it.
            since: nothing before it is comparable.
            excluded: spans of time; a block that any of them touches is left out.
            version: what measured them; by default what measured most of the newest week.
        """
        now = at or self._now
        end = baseline_end or now - WEEK
        blocks = ((block, now - WEEK if block == 0 else end - block * WEEK) for block in range(weeks + 1))
        left_alone = frozenset(block for block, start in blocks if _touches(start, excluded))
        when = np.frombuffer(self._at, dtype=np.int64)
        week = _blocks(when, now, end)
        inside = (week >= 0) & (week <= weeks)
        if since is not None:
            inside &= when >= _microseconds(since)
        wanted = None if version is None else self._versions.get(version, -1)
        return self._series(now, end, weeks, left_alone, week, inside, wanted)

    def _series(
        self,
        now: datetime,
        end: datetime,
        weeks: int,
        excluded: frozenset[int],
        week: Ints,
        inside: NDArray[np.bool_],
        wanted: int | None,
    ) -> WeeklySeries:
        versions = np.frombuffer(self._version, dtype=np.int32)
        version = self._ruling(versions[inside], week[inside]) if wanted is None else wanted
        kept = inside & (versions == version) if version is not None else inside
        # Where all are wanted nothing is copied: a million scores in two forms at once would be twice the memory.
        chosen = slice(None) if kept.all() else kept
        places = np.cumsum(kept, dtype=np.int32) - 1
        values = np.frombuffer(self._values)[chosen]
        known = np.frombuffer(self._at, dtype=np.int64)[chosen]
        declared = np.frombuffer(self._declared, dtype=np.bool_)[inside]
        rows, one = np.arange(values.size, dtype=np.int32), np.broadcast_to(np.float64(1), values.size)
        return WeeklySeries(
            now=now,
            baseline_end=end,
            weeks=weeks,
            values=values,
            weights=np.frombuffer(self._weights)[chosen],
            week=week[chosen],
            session=np.frombuffer(self._session, dtype=np.int32)[chosen],
            dimensions={
                name: _dimension(name, np.frombuffer(codes, dtype=np.int32)[chosen], known_as, rows, one)
                for name, (codes, known_as) in self._dimensions.items()
            },
            recent={int(places[row]): score for row, score in self._recent.items() if kept[row] and week[row] == 0},
            excluded=excluded,
            binary=_is_binary(values, bool(declared.all())),
            version=None if version in {None, -1} else list(self._versions)[version],
            left_out=int(inside.sum() - values.size),
            since=_EPOCH + int(known.min()) * _MICROSECOND if known.size else None,
            age=((_microseconds(now) - 1 - known) // _DAY).astype(np.int32),
        )

    def _ruling(self, versions: Ints, week: Ints) -> int | None:
        """Return the version that measured most of the newest week that has scores.

        Most, not the newest: a judge that falls back to another model now and then does not change the ruler.
        """
        if not week.size:
            return None
        counts: Counter[int] = Counter(versions[week == week.min()].tolist())
        names = list(self._versions)
        return max(counts, key=lambda code: (counts[code], names[code]))


def _blocks(at: Ints, now: datetime, end: datetime) -> Ints:
    """Return the block of each time, -1 for those in none."""
    last, before, week = _microseconds(now), _microseconds(end), WEEK // _MICROSECOND
    block = np.where(at < before, -((at - before) // week), -1)
    return np.where((at >= last - week) & (at < last), 0, block).astype(np.int32)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _code(known: dict[str, int], value: str) -> int:
    return known.setdefault(value, len(known))


def _is_binary(values: Floats, declared: bool) -> bool:
    """Whether scores are pass or fail: declared so, or a 0/1 score that has been 0 at least once."""
    return values.size > 0 and bool(np.isin(values, (0.0, 1.0)).all()) and (declared or bool((values == 0).any()))


def _dimension(name: str, joint: Ints, known: Mapping[str, int], rows: Ints, one: Floats) -> Dimension:
    """Return who belongs to which segment; `rows` are the numbers of all rows and `one` a 1 for each."""
    if name not in _LISTS:
        return Dimension(tuple(known), rows, joint, one, joint)
    single: dict[str, int] = {}
    members = [np.array([_code(single, value) for value in _listed(text)], dtype=np.int32) for text in known]
    if not joint.size:
        return Dimension(tuple(single), rows, joint, one, joint)
    length = np.array([member.size for member in members], dtype=np.int32)
    sizes = length[joint]
    # Where each row's values begin among those of all lists, and then one after the other.
    begins = np.repeat((np.cumsum(length) - length)[joint] - (np.cumsum(sizes) - sizes), sizes)
    flat = np.concatenate(members)[begins + np.arange(begins.size)]
    each: NDArray[np.int32] = np.repeat(rows.astype(np.int32, copy=False), sizes)
    return Dimension(tuple(single), each, flat, np.repeat(1 / sizes, sizes), joint)


def values_of(dimension: str, text: str) -> frozenset[str]:
    """Return to which segments of a dimension a score of this text belongs."""
    return frozenset(_listed(text)) if dimension in _LISTS else frozenset({text or NONE})


def _listed(text: str) -> list[str]:
    return sorted({part.strip() for part in text.split(",")} - {""}) or [NONE]
