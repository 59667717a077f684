"""Which traces an evaluator sees: a keyed hash, so the answer never depends on order, process or other evaluators.

One salt for all evaluators makes the samples nested: whatever a lower rate takes, a higher one takes too, and adding
or changing one evaluator leaves every other sample as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from evaluator.definitions.evaluators import asks_rules, without_rules
from traces import SampleRule, TraceRoot, When, record

_DOMAIN: Final = b"evaluator:sampling:1"


LATE: Final = "late"
"""The stratum of what chance left out and feedback brought back: to be read, not to be counted in a mean."""


class NotTaken(StrEnum):
    """Why an evaluator does not see a trace."""

    FILTERED = "filtered"
    SAMPLED_OUT = "sampled_out"
    SHED = "shed"
    """Taken at the configured rate, but not while workers or its model cannot keep up, or the money runs low."""

    OWED = "owed"
    """Not decided yet: there is no money now, and it is caught up with."""


@record(frozen=True, slots=True)
class Sampled:
    """An evaluator takes a trace: with which probability it did, and through which line of its `sample`.

    With `depends` it does only if rules say what the line, or the evaluator's `when`, asks of them: the worker that has
    the whole trace finds out (conditions.py).
    """

    evaluator: str
    probability: float
    stratum: str
    depends: bool = False


Tier = tuple[str, int]
"""A line of an evaluator's `sample`, by its place."""


class Choice:
    """What an evaluator decides about some traces: one object for all of them, compared by identity."""

    __slots__ = ("decision", "depending", "evaluator", "tier")

    def __init__(
        self,
        evaluator: str,
        decision: Sampled | NotTaken,
        tier: Tier | None = None,
        depending: tuple[Sampled, ...] = (),
    ) -> None:
        """`tier` is the line that decided; None where none matched.

        `depending` are the lines that count before the `decision` if rules say what they ask, the highest rate first.
        """
        self.evaluator = evaluator
        self.decision = decision
        self.tier = tier
        self.depending = depending

    @property
    def is_about(self) -> bool:
        """Whether any line is about the trace, or might be."""
        return self.tier is not None or bool(self.depending)

    @property
    def samples(self) -> tuple[Sampled, ...]:
        """By what a worker may take a trace; the first that holds counts."""
        return (*self.depending, self.decision) if isinstance(self.decision, Sampled) else self.depending

    @property
    def state(self) -> str:
        """How the decision is called in the funnel; what depends is a worker's to decide."""
        return "sampled" if self.samples else str(self.decision)


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

    @property
    def in_pass(self) -> frozenset[str]:
        """Return the rules whose verdicts `when` and `sample` ask for and get from the worker."""


class Sampler:
    """Decides for all evaluators at once: a trace is hashed once, and what never changes is worked out before."""

    def __init__(
        self,
        evaluators: Iterable[Samples],
        salt: str,
        shares: Mapping[str, float] | None = None,
        rates: Mapping[Tier, Rate] | None = None,
    ) -> None:
        """Sample for `evaluators`.

        Args:
            evaluators: who they are.
            salt: key of the hash.
            shares: of the rates of evaluators that do not take all, under overload.
            rates: of the lines whose rate is another than the configured one.
        """
        self._hash = _keyed(salt)
        self._plans = [_plan(each, (shares or {}).get(each.name, 1.0), rates or {}) for each in evaluators]

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
    depends: Sampled | None


class _Plan(NamedTuple):
    """What an evaluator may decide; its lines stand in the order in which they count.

    `depending` keeps the choices that lines lead to whose rules are not asked yet: one object for each, as for others.
    """

    when: When | None
    lines: list[_Line]
    filtered: Choice
    depending: dict[tuple[tuple[Sampled, ...], int], Choice]


def _plan(evaluator: Samples, share: float, rates: Mapping[Tier, Rate]) -> _Plan:
    name = evaluator.name
    known = [rates.get((name, index), Rate(line.rate, line.rate)) for index, line in enumerate(evaluator.sample)]
    order = sorted(range(len(known)), key=lambda index: (-known[index].kept, -known[index].wanted, index))
    lines: list[_Line] = []
    most = 0.0
    for index in reversed(order):
        tier, rate, when = (name, index), known[index], evaluator.sample[index].when
        kept, most = rate.kept * share, max(most, rate.wanted)
        taken = Choice(name, Sampled(name, kept, str(index)), tier)
        shed, out = Choice(name, NotTaken.SHED, tier), Choice(name, NotTaken.SAMPLED_OUT, tier)
        asks = asks_rules(when, evaluator.in_pass) or asks_rules(evaluator.when, evaluator.in_pass)
        depends = Sampled(name, kept, str(index), depends=True) if asks else None
        condition = _condition(without_rules(when, evaluator.in_pass))
        lines.append(_Line(condition, most, kept, rate.wanted, taken, shed, out, depends))
    whole = _condition(without_rules(evaluator.when, evaluator.in_pass))
    return _Plan(whole, lines[::-1], Choice(name, NotTaken.FILTERED), {})


def _condition(when: When) -> When | None:
    return None if when == When() else when


def _choice(plan: _Plan, root: TraceRoot, at: float) -> Choice:
    depending: tuple[Sampled, ...] = ()
    found = plan.filtered
    if plan.when is None or plan.when.matches(root):
        for place, line in enumerate(plan.lines):
            if line.when is not None and not line.when.matches(root):
                continue
            if line.depends is not None:
                depending = (*depending, line.depends) if at < line.kept else depending
                continue
            if at < line.kept:
                found = line.taken
            else:
                found = line.out if at >= line.wanted else _not_taken(plan.lines[place:], [root], at)
            break
    return _depending(plan, depending, found) if depending else found


def _depending(plan: _Plan, depending: tuple[Sampled, ...], otherwise: Choice) -> Choice:
    key = depending, id(otherwise)
    if key not in plan.depending:
        plan.depending[key] = Choice(otherwise.evaluator, otherwise.decision, otherwise.tier, depending)
    return plan.depending[key]


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
