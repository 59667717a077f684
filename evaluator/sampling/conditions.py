"""Rules decide in the same pass whom a rubric looks at: a trace in which a rule found something is taken at its rate.

Discovery sees a root and no more. Where a line of `sample`, or a `when`, asks for a rule's verdict it hands the trace
over with what depends on it; the worker that has read the whole trace asks the rules and decides. A verdict is a
function of the trace, and where the trace lies under the hash is not: so the rate of the line that holds is exactly the
probability with which the trace was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from evaluator.definitions.evaluators import Evaluator, of_rules
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled
from traces import DataType, Outcome, Trace, TraceRoot, Verdict, worst

NOTHING_FOUND: Final = "no rule found what it looks for"
"""Why an evaluator leaves a trace that it would have taken if a rule had found something."""

Ask = Callable[[Evaluator, Trace], Outcome]
"""Returns what a rule says of a trace; a rule that breaks says a failure."""

_of_rules = lru_cache(maxsize=1024)(of_rules)


def decided(
    job: Job, trace: Trace, evaluators: Mapping[str, Evaluator], ask: Ask
) -> tuple[list[Sampled], list[Sampled]]:
    """Return by what each evaluator takes a trace, and those that leave it since no rule says what they ask for.

    Of several lines of one evaluator the first that holds counts; they come with the highest rate first.
    """
    if not any(sampled.depends for sampled in job.samples):
        return list(job.samples), []
    verdicts = _Verdicts(trace, evaluators, ask)
    taken: dict[str, Sampled] = {}
    left: dict[str, Sampled] = {}
    for sampled in job.samples:
        if sampled.evaluator in taken:
            continue
        evaluator = evaluators.get(sampled.evaluator)
        if not sampled.depends or evaluator is None or verdicts.hold(evaluator, sampled):
            taken[sampled.evaluator] = replace(sampled, depends=False)
        else:
            left.setdefault(sampled.evaluator, sampled)
    return list(taken.values()), [each for name, each in left.items() if name not in taken]


def with_verdicts_on(root: TraceRoot, trace: Trace, evaluators: Sequence[Evaluator], ask: Ask) -> TraceRoot:
    """Return a root with what the rules say of its trace that filters of these evaluators ask for."""
    verdicts = _Verdicts(trace, {each.name: each for each in evaluators}, ask)
    names = frozenset[str]().union(*(each.in_pass for each in evaluators))
    return verdicts.on(root, names)


class _Verdicts:
    """What rules say of one trace; each is asked once, and only if a filter needs it."""

    def __init__(self, trace: Trace, evaluators: Mapping[str, Evaluator], ask: Ask) -> None:
        self._trace = trace
        self._evaluators = evaluators
        self._ask = ask
        self._root = root_of(trace)
        self._known: dict[str, float | None] = {}

    def hold(self, evaluator: Evaluator, sampled: Sampled) -> bool:
        """Whether rules say what a line of an evaluator asks of them, and its `when`."""
        place = int(sampled.stratum)
        if place >= len(evaluator.sample):
            return False  # the file has fewer lines now than when the trace was handed over
        root = self.on(self._root, evaluator.in_pass)
        asked = [_of_rules(when, evaluator.in_pass) for when in (evaluator.when, evaluator.sample[place].when)]
        return all(when.matches(root) for when in asked)

    def on(self, root: TraceRoot, names: Iterable[str]) -> TraceRoot:
        """Return a root with what some rules say, and how bad the worst of it is."""
        said = {name: value for name in sorted(names) if (value := self._of(name)) is not None}
        failing = (self._evaluators[name] for name, value in said.items() if not value)
        failed = (each.severity for each in failing if each.data_type is DataType.BOOLEAN)
        return replace(root, scores={**root.scores, **said}, found=worst(each for each in failed if each is not None))

    def _of(self, name: str) -> float | None:
        """Return a rule's value; None when it says nothing of this trace, or no longer exists."""
        if name not in self._known:
            evaluator = self._evaluators.get(name)
            outcome = None
            if evaluator is not None and evaluator.rule is not None and evaluator.when.matches(self._root):
                outcome = self._ask(evaluator, self._trace)
            self._known[name] = float(outcome.value) if isinstance(outcome, Verdict) else None
        return self._known[name]


def root_of(trace: Trace) -> TraceRoot:
    """Return what a filter sees of a whole trace."""
    root = trace.root
    return TraceRoot(
        trace.ref,
        name=trace.name,
        level=root.level,
        user_id=trace.user_id,
        session_id=trace.session_id,
        tags=trace.tags,
        release=trace.release,
        version=trace.version,
        model=root.model,
        prompt_name=root.prompt_name,
        prompt_version=root.prompt_version,
        metadata=root.metadata,
    )
