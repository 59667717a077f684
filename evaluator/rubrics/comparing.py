"""`evaluator rubric diff`: two versions of a rubric on the same real traces, side by side. Writes no score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from evaluator.app import Desk
from evaluator.definitions import Evaluator
from evaluator.messages.words import is_unasked, usage_of
from evaluator.preview.intervals import Interval, mean_difference, share
from evaluator.preview.parts import parts
from evaluator.preview.past_sessions import whole
from evaluator.preview.planning import Told, draw, draw_sessions
from evaluator.rubrics.golden import Asks
from judges import BaseScale, NumericScale, Question, Rubric
from traces import DataType, NotApplicable, Outcome, Session, Trace, Usage, Verdict

_DRAWN_AT_MOST: Final = 4
"""Times the sample that are drawn, where many traces have nothing to judge."""

_TRACES_A_FETCH: Final = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """What both versions say of a trace, an observation or a session; `again` is the old one asked a second time."""

    trace: Trace | Session
    before: Outcome
    after: Outcome
    again: Outcome | None = None

    @property
    def both(self) -> tuple[Verdict, Verdict] | None:
        """The verdicts, where both gave one."""
        one, other = self.before, self.after
        return (one, other) if isinstance(one, Verdict) and isinstance(other, Verdict) else None

    @property
    def differs(self) -> bool:
        """Whether they say different things: another value, or one says nothing."""
        return differ(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of a rubric on a sample.

    Attributes:
        before, after: the versions.
        pairs: what they say, in the order the traces were drawn.
        skipped: traces or sessions drawn of which neither had anything to judge.
    """

    before: Rubric
    after: Rubric
    pairs: tuple[Pair, ...]
    skipped: int

    @property
    def asked(self) -> tuple[Pair, ...]:
        """The traces about which both versions could be asked."""
        return tuple(pair for pair in self.pairs if not is_unasked(pair.before) and not is_unasked(pair.after))

    @property
    def scale(self) -> tuple[float, float] | None:
        """The range both give numbers in; 0 to 1 when they have different ranges, None when one gives labels."""
        one, other = _range(self.before.spec.score), _range(self.after.spec.score)
        if one is None or other is None:
            return None
        return one if one == other else (0.0, 1.0)

    def numbers(self) -> list[tuple[float, float]]:
        """Return both values of each trace that both gave one, on the common scale."""
        if self.scale is None:
            return []
        found = [pair.both for pair in self.pairs]
        return [(self._number(a, self.before), self._number(b, self.after)) for a, b in (f for f in found if f)]

    def _number(self, verdict: Verdict, rubric: Rubric) -> float:
        own, common = _range(rubric.spec.score), self.scale
        value = float(verdict.value)
        if own is None or common is None or own == common:
            return value
        return (value - own[0]) / (own[1] - own[0])

    @property
    def shift(self) -> Interval | None:
        """By how much the new version scores higher, on average; None with fewer than two traces."""
        return mean_difference([after - before for before, after in self.numbers()])

    @property
    def flips(self) -> Interval | None:
        """The share of traces of which they say different things."""
        return share([pair.differs for pair in self.asked])

    @property
    def noise(self) -> Interval | None:
        """The share of traces of which the old version says something else when it is asked again."""
        return share([differ(p.before, p.again) for p in self.asked if p.again is not None and not is_unasked(p.again)])

    def used(self, side: Callable[[Pair], Outcome | None]) -> Usage:
        """Return what the outcomes of one side cost."""
        outcomes = (side(pair) for pair in self.pairs)
        return sum((usage_of(outcome) for outcome in outcomes if outcome is not None), Usage())


def differ(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes say different things, whatever their reasons are."""
    if isinstance(one, Verdict) and isinstance(other, Verdict):
        return one.value != other.value
    return type(one) is not type(other)


def sampled(
    desk: Desk, evaluator: Evaluator, before: Rubric, *, last: timedelta, most: int, told: Told
) -> tuple[list[Trace | Session], int]:
    """Return what the rubric's filters let pass and either version can judge, and how many neither can.

    Drawn by a hash of their ids: the same traffic gives the same sample. Of a session it is all that there is now.

    Args:
        desk: where the traces are.
        evaluator: the new version.
        before: the old one.
        last: how far back.
        most: how many traces, observations or sessions.
        told: how many more traces were listed.
    """
    versions = [before, *([evaluator.rubric] if evaluator.rubric is not None else [])]
    drawn = (_sessions if evaluator.target == "session" else _traces)(desk, evaluator, last, most, told)
    found: list[Trace | Session] = []
    skipped = 0
    for material in drawn:
        if len(found) == most:
            break
        if any(isinstance(version.question(material), Question) for version in versions):
            found.append(material)
        else:
            skipped += 1
    return found, skipped


def _traces(desk: Desk, evaluator: Evaluator, last: timedelta, most: int, told: Told) -> Iterator[Trace]:
    drawn = draw(desk, evaluator, last, _DRAWN_AT_MOST * most, told)
    salt = desk.definitions.service.sampling.salt
    for start in range(0, len(drawn), _TRACES_A_FETCH):
        refs = drawn[start : start + _TRACES_A_FETCH]
        traces = desk.langfuse.fetch(refs)
        for each in (traces[ref.id] for ref in refs if ref.id in traces):
            yield from parts(evaluator, each, salt)


def _sessions(desk: Desk, evaluator: Evaluator, last: timedelta, most: int, told: Told) -> Iterator[Session]:
    longest = desk.definitions.service.sessions.most_traces
    for visit in draw_sessions(desk, evaluator, last, _DRAWN_AT_MOST * most, told):
        session = whole(desk.langfuse, visit, longest)
        if session is not None:
            yield session


def compare(
    model: Asks,
    before: Rubric,
    after: Rubric,
    traces: Sequence[Trace | Session],
    *,
    skipped: int = 0,
    noise: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Ask both versions about each trace, and with `noise` the old one twice."""
    versions = [before, after, *([before] if noise else [])]
    first = [version.question(trace) for trace in traces for version in versions]
    outcomes: dict[int, Outcome] = {at: each for at, each in enumerate(first) if isinstance(each, NotApplicable)}
    places = [at for at, each in enumerate(first) if isinstance(each, Question)]
    progress(len(outcomes))
    for lot in model.ask([each for each in first if isinstance(each, Question)]):
        outcomes |= {places[at]: outcome for at, outcome in lot}
        progress(len(lot))
    width = len(versions)
    pairs = (
        Pair(trace, *(outcomes[at] for at in range(number * width, (number + 1) * width)))
        for number, trace in enumerate(traces)
    )
    return Comparison(before, after, tuple(pairs), skipped)


def _range(scale: BaseScale) -> tuple[float, float] | None:
    if isinstance(scale, NumericScale):
        return scale.min, scale.max
    return None if scale.data_type is DataType.CATEGORICAL else (0.0, 1.0)
