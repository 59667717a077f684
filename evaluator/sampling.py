"""Which traces an evaluator sees: a keyed hash, so the answer never depends on order, process or other evaluators.

One salt for all evaluators makes the samples nested: whatever a lower rate takes, a higher one takes too, and adding
or changing one evaluator leaves every other sample as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from traces import SampleRule, TraceRoot, When

_DOMAIN: Final = b"evaluator:sampling:1"


LATE: Final = "late"
"""The stratum of what chance left out and feedback brought back: to be read, not to be counted in a mean."""


class NotTaken(StrEnum):
    """Why an evaluator does not see a trace."""

    FILTERED = "filtered"
    SAMPLED_OUT = "sampled_out"
    SHED = "shed"
    """Taken at the configured rate, but not while workers cannot keep up, or the money runs low."""

    OWED = "owed"
    """Not decided yet: there is no money now, and it is caught up with."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """An evaluator takes a trace: with which probability it did, and through which line of its `sample`."""

    evaluator: str
    probability: float
    stratum: str


Tier = tuple[str, int]
"""A line of an evaluator's `sample`, by its place."""


class Choice:
    """What an evaluator decides about some traces: one object for all of them, compared by identity."""

    __slots__ = ("decision", "evaluator", "tier")

    def __init__(self, evaluator: str, decision: Sampled | NotTaken, tier: Tier | None = None) -> None:
        """`tier` is the line that decided; None where none matched."""
        self.evaluator = evaluator
        self.decision = decision
        self.tier = tier

    @property
    def state(self) -> str:
        """How the decision is called in the funnel."""
        return "sampled" if isinstance(self.decision, Sampled) else self.decision.value


class Rate(NamedTuple):
    """At which rate a line takes traces: as `wanted`, and what is `kept` of it while the money runs low."""

    wanted: float
    kept: float


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

    def __init__(
        self, evaluators: Iterable[Samples], salt: str, share: float = 1.0, rates: Mapping[Tier, Rate] | None = None
    ) -> None:
        """Sample for `evaluators`.

        Args:
            evaluators: who they are.
            salt: key of the hash.
            share: of each rate, under overload.
            rates: of the lines whose rate is another than the configured one.
        """
        self._hash = _keyed(salt)
        self._plans = [_plan(evaluator, share, rates or {}) for evaluator in evaluators]

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
    """A line of `sample`: `when` is None where it matches everything.

    `wanted` is the highest rate that it, or any line behind it, would have if there were workers and money enough.
    """

    when: When | None
    wanted: float
    kept: float
    own: float
    taken: Choice
    shed: Choice
    out: Choice


class _Plan(NamedTuple):
    """What an evaluator may decide; its lines stand in the order in which they count."""

    when: When | None
    lines: list[_Line]
    filtered: Choice


def _plan(evaluator: Samples, share: float, rates: Mapping[Tier, Rate]) -> _Plan:
    name = evaluator.name
    known = [rates.get((name, index), Rate(line.rate, line.rate)) for index, line in enumerate(evaluator.sample)]
    order = sorted(range(len(known)), key=lambda index: (-known[index].kept, -known[index].wanted, index))
    lines: list[_Line] = []
    most = 0.0
    for index in reversed(order):
        tier, rate = (name, index), known[index]
        kept, most = rate.kept * share, max(most, rate.wanted)
        taken = Choice(name, Sampled(name, kept, str(index)), tier)
        shed, out = Choice(name, NotTaken.SHED, tier), Choice(name, NotTaken.SAMPLED_OUT, tier)
        lines.append(_Line(_condition(evaluator.sample[index].when), most, kept, rate.wanted, taken, shed, out))
    return _Plan(_condition(evaluator.when), lines[::-1], Choice(name, NotTaken.FILTERED))


def _condition(when: When) -> When | None:
    return None if when == When() else when


def _choice(plan: _Plan, root: TraceRoot, at: float) -> Choice:
    if plan.when is None or plan.when.matches(root):
        for place, line in enumerate(plan.lines):
            if line.when is None or line.when.matches(root):
                if at < line.kept:
                    return line.taken
                return line.out if at >= line.wanted else _not_taken(plan.lines[place:], [root], at)
    return plan.filtered


def _choice_of_any(plan: _Plan, roots: Sequence[TraceRoot], at: float) -> Choice:
    matching = [root for root in roots if plan.when is None or plan.when.matches(root)]
    for place, line in enumerate(plan.lines if matching else ()):
        if line.when is None or any(map(line.when.matches, matching)):
            return line.taken if at < line.kept else _not_taken(plan.lines[place:], matching, at)
    return plan.filtered


def _not_taken(lines: Sequence[_Line], roots: Sequence[TraceRoot], at: float) -> Choice:
    """Say by the first of the lines, which matches, whether any would have taken it if there were enough."""
    matching = (line for line in lines if line.when is None or any(map(line.when.matches, roots)))
    return lines[0].shed if any(at < line.own for line in matching) else lines[0].out


def _keyed(salt: str) -> hashlib.blake2b:
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    return hashlib.blake2b(key=key, digest_size=8, person=_DOMAIN[:16])


def _position(keyed: hashlib.blake2b, trace_id: str) -> float:
    hashed = keyed.copy()
    hashed.update(trace_id.encode())
    return (int.from_bytes(hashed.digest()) >> 11) / 2**53
