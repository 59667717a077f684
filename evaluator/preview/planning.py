"""`evaluator plan`: the definitions replayed over past traffic. Reads only, and calls no model.

Every root of the window is read and decided about as the service would have. What is in the traces is read of a few,
drawn at random among those that evaluators took: from these follow what is skipped, and how long prompts are.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from evaluator.app import Desk
from evaluator.definitions import Definitions, Evaluator
from evaluator.discovery.filter_scores import score_names
from evaluator.langfuse import Window, is_excluded
from evaluator.preview.looking import Drawn, Looked, chosen, look, read
from evaluator.preview.past_sessions import SeenSessions, Visit, Visited, decided
from evaluator.preview.past_sessions import look as look_at_sessions
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled, Sampler, position
from traces import RecordedScore, ScoreValue, TraceRef, TraceRoot, worst

DONE: Final = "done"
"""What a pair is counted as that need not be evaluated any more."""

_LOT: Final = "evaluator plan"
"""Key of the hash that draws the traces whose content is read: another one than the service samples by."""


Told = Callable[[int], None]
"""Is told how many more were read."""

Done = Callable[[Sequence[Job]], Collection[tuple[str, str]]]
"""Returns the pairs of some jobs, as (trace id, evaluator), that need not be evaluated."""


@dataclass(slots=True)
class Taken:
    """What one evaluator decided about the traffic.

    Attributes:
        evaluator: which one.
        states: how many traces it filtered, sampled out or sampled, or need not evaluate any more.
        hours: how many it sampled in each hour.
        drawn: some of those it sampled, in the order of a lot that is the same for all evaluators.
        size: of evaluators of sessions, whose states count sessions: how many traces one has, on average.
    """

    evaluator: Evaluator
    states: Counter[str] = field(default_factory=Counter)
    hours: Counter[datetime] = field(default_factory=Counter)
    drawn: list[Drawn] = field(default_factory=list)
    size: float = 0.0


@dataclass(slots=True)
class Replay:
    """One configuration over the traffic.

    Attributes:
        definitions: the configuration.
        traces: how many it would have looked at.
        hours: how many of them in each hour; `evaluated`: those that any evaluator took.
        taken: what each evaluator decided.
        looked: what each says of the traces that were read.
        visited: what evaluators of sessions decided.
    """

    definitions: Definitions
    traces: int = 0
    hours: Counter[datetime] = field(default_factory=Counter)
    evaluated: Counter[datetime] = field(default_factory=Counter)
    taken: dict[str, Taken] = field(default_factory=dict)
    looked: dict[str, Looked] = field(default_factory=dict)
    visited: Mapping[str, Visited] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was replayed.

    Attributes:
        window: of end times.
        read: how many traces were read whole.
        steps: observations in such a trace, on average; 0 where none was read.
        late: scores that filters ask for: how many there are, and how many came after the service had looked.
        sessions: how many there were; 0 where no evaluator looks at them.
        sessions_read: how many traces were read whole for evaluators of sessions.
    """

    window: Window
    read: int
    steps: float
    late: Mapping[str, tuple[int, int]]
    sessions: int = 0
    sessions_read: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The configuration over past traffic, and another one to compare it with."""

    traffic: Traffic
    now: Replay
    before: Replay | None
    moved: Mapping[str, tuple[int, int]]
    """Of evaluators in both: traces or sessions that only the new one takes, and that only the old one took."""


def plan(desk: Desk, last: timedelta, *, content: int, against: Definitions | None, told: Told) -> Plan:
    """Replay the definitions.

    Args:
        desk: where the traffic is, and what is defined.
        last: how far back.
        content: how many traces are read whole.
        against: another configuration over the same traffic.
        told: how many more roots were read.
    """
    until = desk.clock.now() - desk.definitions.service.discovery.quiet_for
    return replay(desk, Window(until - last, until), content=content, against=against, told=told, sessions=True)


def replay(
    desk: Desk,
    window: Window,
    *,
    content: int,
    told: Told,
    against: Definitions | None = None,
    done: Done | None = None,
    sessions: bool = False,
) -> Plan:
    """Replay the definitions over what ended in `window`, `sessions` too where that is wanted.

    `done` says which pairs need no evaluation any more.
    """
    replays = [_Replaying(each, content) for each in (desk.definitions, against) if each is not None]
    scores = _Scores(desk, window, {name for each in replays for name in score_names(each.definitions)})
    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    seen = SeenSessions() if sessions and any(each.looks_at_sessions for each in replays) else None
    for page in _roots(desk, window, replays, told):
        roots = [scores.on(root) for root in page]
        ended = done(replays[0].jobs(roots)) if done is not None else ()
        for root in roots:
            takers = [each.see(root, ended) for each in replays]
            gained.update(takers[0] - takers[-1])
            lost.update(takers[-1] - takers[0])
            if seen is not None:
                seen.see(scores.on_session(root))
    results = [each.result() for each in replays]
    refs = chosen([taken.drawn for each in results for taken in each.taken.values()], content)
    traces = read(desk.langfuse, refs)
    wanted = {ref.id for ref in refs}
    for each in results:
        salt = each.definitions.service.sampling.salt
        evaluators = {name: taken.evaluator for name, taken in each.taken.items()}
        each.looked = look(evaluators, {name: taken.drawn for name, taken in each.taken.items()}, wanted, traces, salt)
    sessions_read = 0
    if seen is not None:
        sessions_read = max(_add_sessions(desk, each, seen, window.end, content) for each in results)
        new, old = (_visits(each) for each in (results[0], results[-1]))
        gained.update({name: round(len(new[name] - old[name]) / seen.share) for name in new.keys() & old.keys()})
        lost.update({name: round(len(old[name] - new[name]) / seen.share) for name in new.keys() & old.keys()})
    steps = sum(len(trace.observations) for trace in traces.values()) / len(traces) if traces else 0.0
    both = results[0].taken.keys() & results[-1].taken.keys()
    moved = {name: (gained[name], lost[name]) for name in sorted(both)}
    traffic = Traffic(window, len(traces), steps, scores.late(), 0 if seen is None else len(seen), sessions_read)
    return Plan(traffic, results[0], results[1] if against is not None else None, moved)


def _add_sessions(desk: Desk, replay: Replay, seen: SeenSessions, until: datetime, content: int) -> int:
    """Add what evaluators of sessions decided and say; return how many traces were read for it."""
    definitions = replay.definitions
    replay.visited = decided(seen, definitions.evaluators, definitions, until)
    most = definitions.service.sessions.most_traces
    looked, number = look_at_sessions(desk.langfuse, replay.visited, traces=content, most=most)
    replay.looked |= looked
    for name, each in replay.visited.items():
        replay.taken[name] = Taken(each.evaluator, each.states, each.hours, size=each.size)
    return number


def _visits(replay: Replay) -> dict[str, set[tuple[str, int]]]:
    return {name: {visit.key for visit in each.taken} for name, each in replay.visited.items()}


def draw(desk: Desk, evaluator: Evaluator, last: timedelta, most: int, told: Told) -> list[TraceRef]:
    """Return traces of the last time that an evaluator's filters let pass, drawn by a hash of their ids.

    Each has the same chance, whatever the rates of `sample` are, as long as one above 0 is for it.

    Args:
        desk: where the traces are.
        evaluator: whose filters.
        last: how far back.
        most: how many.
        told: how many more roots were read.
    """
    definitions = _taking_all(desk.definitions, evaluator)
    until = desk.clock.now() - definitions.service.discovery.quiet_for
    window = Window(until - last, until)
    scores = _Scores(desk, window, score_names(definitions))
    replaying = _Replaying(definitions, most)
    for page in _roots(desk, window, [replaying], told):
        for root in page:
            replaying.see(scores.on(root))
    return [each.ref for each in replaying.result().taken[evaluator.name].drawn]


def draw_sessions(desk: Desk, evaluator: Evaluator, last: timedelta, most: int, told: Told) -> list[Visit]:
    """Return sessions that were idle some time of late and that an evaluator's filters let pass, each as it is now.

    Takes what `draw` takes.
    """
    definitions = _taking_all(desk.definitions, evaluator)
    until = desk.clock.now() - definitions.service.discovery.quiet_for
    window = Window(until - last, until)
    scores, seen = _Scores(desk, window, score_names(definitions)), SeenSessions()
    for page in _roots(desk, window, [_Replaying(definitions, 0)], told):
        for root in page:
            seen.see(scores.on_session(scores.on(root)))
    visits = decided(seen, definitions.evaluators, definitions, until)[evaluator.name].taken
    newest = {visit.session_id: visit for visit in visits}  # later visits come later
    return list(newest.values())[:most]


def _taking_all(definitions: Definitions, evaluator: Evaluator) -> Definitions:
    """Return definitions of this evaluator alone, who takes whatever some line of its sample takes of."""
    every = tuple(line.model_copy(update={"rate": float(line.rate > 0)}) for line in evaluator.sample)
    return replace(definitions, evaluators=(replace(evaluator, sample=every),))


class _Replaying:
    """Decides about roots as the service would have, and counts."""

    def __init__(self, definitions: Definitions, content: int) -> None:
        self.definitions = definitions
        self._content = content
        # What a rule said is read from its scores: nobody is asked again.
        traced = (each for each in definitions.evaluators if each.target != "session")
        replayed = [replace(each, in_pass=frozenset()) for each in traced]
        self._sampler = Sampler(replayed, definitions.service.sampling.salt)
        self._replay = Replay(definitions, taken={each.name: Taken(each) for each in replayed})
        self._heaps: dict[str, list[tuple[float, int, Drawn]]] = {each.name: [] for each in replayed}

    @property
    def looks_at_sessions(self) -> bool:
        """Whether some evaluator judges sessions."""
        return any(each.target == "session" for each in self.definitions.evaluators)

    def jobs(self, roots: Iterable[TraceRoot]) -> list[Job]:
        """Return what would be handed over of some roots."""
        found: list[Job] = []
        for root in roots:
            if not self._is_excluded(root):
                decisions = (choice.decision for choice in self._sampler.choose(root))
                found.append(Job(root.ref, tuple(each for each in decisions if isinstance(each, Sampled))))
        return [job for job in found if job.samples]

    def see(self, root: TraceRoot, done: Collection[tuple[str, str]] = ()) -> frozenset[str]:
        """Count a root; return who takes it, of those with whom it is not `done`."""
        if self._is_excluded(root):
            return frozenset()
        hour = root.ref.ended.replace(minute=0, second=0, microsecond=0)
        self._replay.traces += 1
        self._replay.hours[hour] += 1
        names = []
        for choice in self._sampler.choose(root):
            taken = self._replay.taken[choice.evaluator]
            if (root.ref.id, choice.evaluator) in done:
                taken.states[DONE] += 1
                continue
            taken.states[choice.state] += 1
            if isinstance(choice.decision, Sampled):
                names.append(choice.evaluator)
                taken.hours[hour] += 1
        takers = frozenset(names)
        if takers:
            self._replay.evaluated[hour] += 1
            self._draw(Drawn(root.ref, takers))
        return takers

    def _is_excluded(self, root: TraceRoot) -> bool:
        return is_excluded(root.ref.environment, self.definitions.service.discovery.exclude_environments)

    def result(self) -> Replay:
        """Return what was counted."""
        for name, heap in self._heaps.items():
            self._replay.taken[name].drawn = [drawn for _, _, drawn in sorted(heap, reverse=True)]
        return self._replay

    def _draw(self, drawn: Drawn) -> None:
        # A trace that comes twice has the same lot: the count keeps what cannot be compared from being compared.
        ticket = (-position(drawn.ref.id, _LOT), -self._replay.traces, drawn)
        for name in drawn.takers:
            heap = self._heaps[name]
            if len(heap) < self._content:
                heapq.heappush(heap, ticket)
            elif heap and ticket > heap[0]:
                heapq.heapreplace(heap, ticket)


class _Scores:
    """The scores that filters ask for, as far as they were there when the service looked at their trace."""

    def __init__(self, desk: Desk, window: Window, names: Iterable[str]) -> None:
        discovery = desk.definitions.service.discovery
        self._seen_after = discovery.quiet_for + discovery.every
        self._found: dict[str, list[RecordedScore]] = {}
        self._of_sessions: dict[str, list[RecordedScore]] = {}
        self._severities = {each.name: each.severity for each in desk.definitions.evaluators if each.severity}
        self._counts: dict[str, list[int]] = {name: [0, 0] for name in sorted(names)}
        if not self._counts:
            return
        around = Window(window.start - discovery.longest_trace, desk.clock.now() + timedelta(minutes=1))
        for page in desk.langfuse.scores(around, names=list(self._counts)):
            for score in page:
                if score.trace_id is not None:
                    self._found.setdefault(score.trace_id, []).append(score)
                elif score.session_id is not None:
                    self._of_sessions.setdefault(score.session_id, []).append(score)

    def on(self, root: TraceRoot) -> TraceRoot:
        """Return a root with its scores."""
        found = self._found.get(root.ref.id)
        if found is None:
            return root
        values: dict[str, ScoreValue] = {}
        for score in found:  # newest first: the first one that was there held
            late = score.timestamp > root.ref.ended + self._seen_after
            self._counts[score.name][0] += 1
            self._counts[score.name][1] += late
            if not late:
                values.setdefault(score.name, score.value)
        failed = (self._severities[name] for name, value in values.items() if not value and name in self._severities)
        return replace(root, scores=values, found=worst(failed))

    def on_session(self, root: TraceRoot) -> TraceRoot:
        """Return a root as evaluators of sessions see it: with the scores of its session too."""
        scores = {s.name: s.value for s in reversed(self._of_sessions.get(root.session_id or "", ()))}
        return replace(root, scores={**scores, **root.scores}) if scores else root

    def late(self) -> dict[str, tuple[int, int]]:
        """Return of each name how many scores there were, and how many of them came too late to be seen."""
        return {name: (every, late) for name, (every, late) in self._counts.items()}


def _roots(desk: Desk, window: Window, replays: Sequence[_Replaying], told: Told) -> Iterator[Sequence[TraceRoot]]:
    """Give every root that any of the configurations looks at, in pages."""
    service = [each.definitions.service.discovery for each in replays]
    nobody = set.intersection(*(set(each.exclude_environments) for each in service))
    longest = max(each.longest_trace for each in service)
    for page in desk.langfuse.finished_roots(window, longest=longest, exclude_environments=nobody):
        yield page
        told(len(page))
