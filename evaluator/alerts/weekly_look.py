"""One look at one score: its weeks, the tests of them, and what the baseline is while an alert is open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any

from monitors import (
    LASTING,
    YEAR,
    AlertState,
    DropTest,
    Held,
    MonitorSpec,
    NotEnoughHistory,
    WeeklySeries,
    alpha,
    bridged,
    drop_test,
    evidence,
    expect,
    is_calm,
    lasting_alpha,
    lasting_test,
)
from monitors.drift import Anchored
from monitors.drop import Difference, Residuals
from monitors.series import WEEK, Span


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One look at one score: the evidence, and what the test says of this week.

    `lasting` is what it says of the last weeks together, with what explains that: their series as one week, and its
    residuals. None where they cannot be compared. `bridge` is there when another ruler measured the weeks before and
    anchors know both: how far this week lies below them, for information.
    """

    at: datetime
    series: WeeklySeries
    expected: Residuals | NotEnoughHistory
    test: DropTest | NotEnoughHistory
    lasting: DropTest | None = None
    together: tuple[WeeklySeries, Residuals] | None = None
    bridge: Difference | None = None

    @property
    def fell(self) -> DropTest | NotEnoughHistory:
        """What people hear of when a fall opens: this week, or the last weeks where no single one shows it."""
        alone = isinstance(self.test, DropTest) and self.test.fired
        return self.lasting if self.lasting is not None and self.lasting.fired and not alone else self.test

    @property
    def explains(self) -> tuple[WeeklySeries, Residuals | NotEnoughHistory]:
        """What explains a fall that opens: the weeks and residuals of the test that people hear of."""
        together = self.together is not None and self.fell is self.lasting
        return self.together if together and self.together is not None else (self.series, self.expected)

    @property
    def fires(self) -> bool:
        """Whether this week, or the last weeks together, are low enough for an alert."""
        return isinstance(self.fell, DropTest) and self.fell.fired

    @property
    def claim(self) -> float:
        """How sure the surest of its tests is: p over the level at which it fires, infinite for too small a fall."""
        tests = [test for test in (self.test, self.lasting) if isinstance(test, DropTest)]
        return min((test.claim for test in tests), default=inf)

    def sharing(self, share: float) -> Look:
        """Return the look with the levels of its tests multiplied by `share`."""
        test = self.test.sharing(share) if isinstance(self.test, DropTest) else self.test
        return replace(self, test=test, lasting=None if self.lasting is None else self.lasting.sharing(share))

    @property
    def is_calm(self) -> bool:
        """Whether no alert would stay open."""
        return isinstance(self.test, NotEnoughHistory) or (is_calm(self.test) and not self.fires)


def analysed(spec: MonitorSpec, state: AlertState, at: datetime, held: Held, judge: Anchored | None = None) -> Look:
    """Return what is to be seen at a time of the scores that are held: those after it are left out.

    `judge` is what anchors know of what measured them, where there are any.
    """
    # First, and let go: years of scores need not be held in two forms at once.
    lasting, together = _lasting(spec, state, at, held, judge) if spec.test == "weeks" else (None, None)
    end, weeks = baseline(spec, state, at)
    excluded = (*spec.excluded, *state.fallen)
    series = held.weekly(at=at, weeks=weeks, baseline_end=end, since=state.since, excluded=excluded)
    expected = expect(series, most_weeks=spec.baseline_weeks)
    bridge = _bridge(spec, state, series, held, judge)
    if isinstance(expected, NotEnoughHistory):
        return Look(at, series, expected, expected, bridge=bridge)
    level = alpha(spec.false_alerts_per_year)
    ways: dict[str, Any] = {"smallest_drop": spec.smallest_drop, "scale": spec.scale, "judge": judge}
    test = drop_test(series, expected, alpha=level, **ways)
    if spec.test == "e-detector":
        found = evidence(_rolling(spec, state, at, held), scale=spec.scale, most_weeks=spec.baseline_weeks)
        test = replace(test, evidence=found, needed=YEAR / spec.false_alerts_per_year)
    return Look(at, series, expected, test, lasting, together, bridge)


def _bridge(
    spec: MonitorSpec, state: AlertState, series: WeeklySeries, held: Held, judge: Anchored | None
) -> Difference | None:
    """Return how far this week lies below the old ruler's weeks, where the ruler has just changed."""
    if judge is None or state.version is None or series.version is None or series.version == state.version:
        return None
    shift = judge.between(state.version, series.version)
    if shift is None:
        return None
    end, weeks = baseline(spec, state, series.now)
    excluded = (*spec.excluded, *state.fallen)
    ways: dict[str, Any] = {"at": series.now, "weeks": weeks, "baseline_end": end, "since": state.since}
    before = held.weekly(**ways, excluded=excluded, version=state.version)
    return bridged(before, series, shift, spec.scale)


def _lasting(
    spec: MonitorSpec, state: AlertState, at: datetime, held: Held, judge: Anchored | None
) -> tuple[DropTest | None, tuple[WeeklySeries, Residuals] | None]:
    """Return the test of the last weeks together, and what explains it when it fires."""
    rolling = _rolling(spec, state, at, held)
    found = lasting_test(
        rolling,
        alpha=lasting_alpha(spec.false_alerts_per_year),
        smallest_drop=spec.smallest_drop,
        scale=spec.scale,
        most_weeks=spec.baseline_weeks,
        judge=judge,
    )
    if found is None:
        return None, None
    lasting, residual = found
    return lasting, (rolling.joined(LASTING), residual) if lasting.fired else None


def _rolling(spec: MonitorSpec, state: AlertState, at: datetime, held: Held) -> WeeklySeries:
    """Return the last weeks and a baseline before them, whether or not an alert has frozen its own."""
    # While an alert is open its weeks are no baseline, wherever they lie.
    fall = [] if state.opened is None else [Span(state.opened - state.span * WEEK, at - LASTING * WEEK)]
    excluded = [*spec.excluded, *state.fallen, *(span for span in fall if span.start < span.end)]
    weeks = spec.baseline_weeks + _replaced(excluded, at - (spec.baseline_weeks + LASTING) * WEEK, at) + LASTING - 1
    return held.weekly(at=at, weeks=weeks, since=state.since, excluded=excluded)


def baseline(spec: MonitorSpec, state: AlertState, now: datetime) -> tuple[datetime, int]:
    """Return where the baseline ends, and how many weeks of it to read."""
    end = state.baseline_end or now - WEEK
    excluded = (*spec.excluded, *state.fallen)
    return end, spec.baseline_weeks + _replaced(excluded, end - spec.baseline_weeks * WEEK, end)


def _replaced(excluded: Iterable[Span], start: datetime, end: datetime) -> int:
    """Return how many more weeks to read so that excluded ones are made up for."""
    lengths = (span.end - span.start for span in excluded if span.start < end and span.end > start)
    return sum(-(-length // WEEK) + 1 for length in lengths)
