"""Sessions of past traffic, as the service would have taken them: for `plan`, `rubric diff` and `try`. Reads only.

A session is judged whenever it has been idle for long enough, and again when it went on after that. Its traces are
collected from roots that pass by; of very many sessions a fair part is kept, drawn by a hash of their ids.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from evaluator.definitions import Definitions, Evaluator
from evaluator.langfuse import Langfuse, is_excluded
from evaluator.preview.looking import Looked, Said, said_together
from evaluator.sampling.sampler import Choice, Sampled, Sampler, position
from traces import Session, TraceRoot

T = TypeVar("T")

MOST_ROOTS: Final = 50_000
"""Roots that are kept in memory; of more traffic a part of the sessions stands for all."""

_LOT: Final = "evaluator sessions"
"""Key of the hash that draws sessions: another one than the service samples by."""


class Visit(NamedTuple):
    """A session at a moment when it had been idle for long enough, with all its roots until then, by their start."""

    session_id: str
    roots: tuple[TraceRoot, ...]
    at: datetime

    @property
    def key(self) -> tuple[str, int]:
        """What tells a session as it was then from others, and from itself when it had gone on."""
        return self.session_id, len(self.roots)


@dataclass(frozen=True, slots=True)
class Visited:
    """What one evaluator decided about the sessions of some traffic.

    Attributes:
        evaluator: which one.
        states: visits by what was decided, scaled up where not all sessions were kept.
        hours: visits that it took, by the hour they were due.
        taken: those visits, in the order of a lot that is the same for all evaluators.
    """

    evaluator: Evaluator
    states: Counter[str]
    hours: Counter[datetime]
    taken: tuple[Visit, ...]

    @property
    def size(self) -> float:
        """How many traces a session had that was taken, on average; 0 where none was."""
        return sum(len(visit.roots) for visit in self.taken) / len(self.taken) if self.taken else 0.0


class SeenSessions:
    """Roots that passed by, by session."""

    def __init__(self, most: int = MOST_ROOTS) -> None:
        """Keep about `most` roots at most."""
        self._most = most
        self._roots: dict[str, dict[str, TraceRoot]] = {}
        self._number = 0
        self.share = 1.0
        """The part of all sessions that is kept."""

    def see(self, root: TraceRoot) -> None:
        """Note a root; one without a session is of none."""
        session_id = root.session_id
        if not session_id or position(session_id, _LOT) >= self.share:
            return
        known = self._roots.setdefault(session_id, {})
        self._number += root.ref.id not in known
        known[root.ref.id] = root
        while self._number > self._most and len(self._roots) > 1:
            self._halve()

    def __len__(self) -> int:
        return round(len(self._roots) / self.share)

    def visits(self, idle: timedelta, until: datetime) -> Iterator[Visit]:
        """Give each moment until `until` at which a session had been idle for so long, in the order of the lot."""
        for session_id in sorted(self._roots, key=lambda each: position(each, _LOT)):
            roots = sorted(self._roots[session_id].values(), key=lambda root: (root.ref.started, root.ref.id))
            for due in _due(roots, idle):
                if due <= until:
                    known = tuple(root for root in roots if root.ref.ended + idle <= due)
                    yield Visit(session_id, known, due)

    def _halve(self) -> None:
        self.share /= 2
        self._roots = {each: roots for each, roots in self._roots.items() if position(each, _LOT) < self.share}
        self._number = sum(map(len, self._roots.values()))


def decided(
    seen: SeenSessions, evaluators: Iterable[Evaluator], definitions: Definitions, until: datetime
) -> dict[str, Visited]:
    """Return what evaluators of sessions decide about those that were seen, by name."""
    excluded = definitions.service.discovery.exclude_environments
    found: dict[str, Visited] = {}
    for evaluator in evaluators:
        if evaluator.idle is None:
            continue
        sampler = Sampler([evaluator], definitions.service.sampling.salt)
        states: Counter[str] = Counter()
        hours: Counter[datetime] = Counter()
        taken: list[Visit] = []
        for visit in seen.visits(evaluator.idle, until):
            roots = tuple(root for root in visit.roots if not is_excluded(root.ref.environment, excluded))
            if not roots:
                continue
            (choice,) = sampler.choose_session(visit.session_id, roots)
            states[choice.state] += 1
            if is_taken(choice):
                hours[visit.at.replace(minute=0, second=0, microsecond=0)] += 1
                taken.append(visit._replace(roots=roots))
        found[evaluator.name] = Visited(
            evaluator, _scaled(states, seen.share), _scaled(hours, seen.share), tuple(taken)
        )
    return found


def is_taken(choice: Choice) -> bool:
    """Whether the service judges what was decided about."""
    return isinstance(choice.decision, Sampled)


def whole(langfuse: Langfuse, visit: Visit, most: int) -> Session | None:
    """Read a session as it was at a visit, its newest `most` traces; None when none of them is there any more."""
    newest = visit.roots[-most:]
    traces = langfuse.fetch([root.ref for root in newest])
    known = tuple(traces[root.ref.id] for root in newest if root.ref.id in traces)
    return Session(visit.session_id, known, len(visit.roots) > len(newest)) if known else None


def look(
    langfuse: Langfuse, visited: Mapping[str, Visited], *, traces: int, most: int
) -> tuple[dict[str, Looked], int]:
    """Return what evaluators say of the first sessions they took, and how many traces were read for that.

    Args:
        langfuse: where they are.
        visited: what each evaluator took, by name.
        traces: how many are read at most, beyond those of a session that was begun.
        most: how many of one session are read.
    """
    looked = {name: Looked() for name in visited}
    takers: dict[tuple[str, int], list[str]] = {}
    for name, each in visited.items():
        for visit in each.taken:
            takers.setdefault(visit.key, []).append(name)
    said: dict[tuple[str, int], dict[str, Said]] = {}
    number = 0
    for place in range(max((len(each.taken) for each in visited.values()), default=0)):
        for name, each in visited.items():
            if place >= len(each.taken):
                continue
            visit = each.taken[place]
            if visit.key not in said and number < traces:
                number += min(len(visit.roots), most)
                session = whole(langfuse, visit, most)
                asking = [visited[taker].evaluator for taker in takers[visit.key]]
                said[visit.key] = {} if session is None else _said(session, asking)
            if name in said.get(visit.key, ()):
                looked[name].add([said[visit.key][name]])
    return looked, number


def _said(session: Session, evaluators: Sequence[Evaluator]) -> dict[str, Said]:
    firsts = said_together([(each, session, session.id) for each in evaluators])
    return {each.name: first for each, first in zip(evaluators, firsts, strict=True)}


def _due(roots: Sequence[TraceRoot], idle: timedelta) -> Iterator[datetime]:
    """Give when a session became due: its last end and the idle time, each time nothing went on before that."""
    ends = sorted(root.ref.ended for root in roots)
    for end, following in itertools.zip_longest(ends, ends[1:]):
        if following is None or following - end > idle:
            yield end + idle


def _scaled(counts: Counter[T], share: float) -> Counter[T]:
    return Counter({key: round(number / share) for key, number in counts.items()}) if share < 1 else counts
