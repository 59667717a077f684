"""Which traces an evaluator sees: a keyed hash, so the answer never depends on order, process or other evaluators.

One salt for all evaluators makes the samples nested: whatever a lower rate takes, a higher one takes too, and adding
or changing one evaluator leaves every other sample as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from traces import SampleRule, TraceRoot, When

_DOMAIN: Final = b"evaluator:sampling:1"


class NotTaken(StrEnum):
    """Why an evaluator does not see a trace."""

    FILTERED = "filtered"
    SAMPLED_OUT = "sampled_out"
    SHED = "shed"
    """Taken at the configured rate, but not while workers cannot keep up."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """An evaluator takes a trace: with which probability it did, and through which line of its `sample`."""

    evaluator: str
    probability: float
    stratum: str


class Choice:
    """What an evaluator decides about some traces: one object for all of them, compared by identity."""

    __slots__ = ("decision", "evaluator")

    def __init__(self, evaluator: str, decision: Sampled | NotTaken) -> None:
        self.evaluator = evaluator
        self.decision = decision

    @property
    def state(self) -> str:
        """How the decision is called in the funnel."""
        return "sampled" if isinstance(self.decision, Sampled) else self.decision.value


class Samples(Protocol):
    """Something that takes a sample of traces."""

    @property
    def name(self) -> str:
        """Return the evaluator's name."""

    @property
    def when(self) -> When:
        """Return which traces it may see at all."""

    @property
    def sample(self) -> Sequence[SampleRule]:
        """Return at which rates it sees them."""


class Sampler:
    """Decides for all evaluators at once: a trace is hashed once, and what never changes is worked out before."""

    def __init__(self, evaluators: Iterable[Samples], salt: str, share: float = 1.0) -> None:
        """Sample for `evaluators`; under overload only a `share` of each rate counts."""
        self._hash = _keyed(salt)
        self._plans = [_plan(evaluator, share) for evaluator in evaluators]

    def choose(self, root: TraceRoot) -> tuple[Choice, ...]:
        """Return what each evaluator decides, in their order.

        Of all lines of `sample` that match the highest rate counts, under the same hash: the inclusion probability is
        then exactly that rate, not a mixture.
        """
        at = _position(self._hash, root.ref.id)
        return tuple([_choice(plan, root, at) for plan in self._plans])

    def choose_session(self, session_id: str, roots: Sequence[TraceRoot]) -> tuple[Choice, ...]:
        """Return what each evaluator decides about a session, in their order.

        It is taken through any of its traces: those that match `when` count, and of the lines of `sample` that any of
        them matches the one with the highest rate, under the hash of the session's id. So a session that was taken
        once is taken again when it has gone on.
        """
        at = _position(self._hash, f"session/{session_id}")
        return tuple([_choice_of_any(plan, roots, at) for plan in self._plans])


def position(trace_id: str, salt: str) -> float:
    """Return where a trace lies in [0, 1): uniform, and the same for ever for one salt."""
    return _position(_keyed(salt), trace_id)


class _Line(NamedTuple):
    """A line of `sample`: `when` is None where it matches everything."""

    when: When | None
    rate: float
    kept: float
    taken: Choice
    shed: Choice


class _Plan(NamedTuple):
    """What an evaluator may decide; its lines stand in the order in which they count."""

    when: When | None
    lines: list[_Line]
    filtered: Choice
    sampled_out: Choice


def _plan(evaluator: Samples, share: float) -> _Plan:
    def choice(decision: Sampled | NotTaken) -> Choice:
        return Choice(evaluator.name, decision)

    shed, lines = choice(NotTaken.SHED), []
    for index, line in sorted(enumerate(evaluator.sample), key=lambda each: (-each[1].rate, each[0])):
        kept = line.rate * share
        taken = choice(Sampled(evaluator.name, kept, str(index)))
        lines.append(_Line(_condition(line.when), line.rate, kept, taken, shed))
    return _Plan(_condition(evaluator.when), lines, choice(NotTaken.FILTERED), choice(NotTaken.SAMPLED_OUT))


def _condition(when: When) -> When | None:
    return None if when == When() else when


def _choice(plan: _Plan, root: TraceRoot, at: float) -> Choice:
    if plan.when is None or plan.when.matches(root):
        for when, rate, kept, taken, shed in plan.lines:
            if when is None or when.matches(root):
                if at < kept:
                    return taken
                return shed if at < rate else plan.sampled_out
    return plan.filtered


def _choice_of_any(plan: _Plan, roots: Sequence[TraceRoot], at: float) -> Choice:
    matching = [root for root in roots if plan.when is None or plan.when.matches(root)]
    for when, rate, kept, taken, shed in plan.lines if matching else ():
        if when is None or any(map(when.matches, matching)):
            if at < kept:
                return taken
            return shed if at < rate else plan.sampled_out
    return plan.filtered


def _keyed(salt: str) -> hashlib.blake2b:
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    return hashlib.blake2b(key=key, digest_size=8, person=_DOMAIN[:16])


def _position(keyed: hashlib.blake2b, trace_id: str) -> float:
    hashed = keyed.copy()
    hashed.update(trace_id.encode())
    return (int.from_bytes(hashed.digest()) >> 11) / 2**53
