"""What evaluators say of a few traces that were read whole: what they skip, and how much they would ask of a model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from evaluator.definitions import Evaluator
from evaluator.langfuse import Langfuse
from evaluator.preview.parts import named, parts
from evaluator.scoring.first_outcomes import first_outcome
from judges import Prompt, Question, together
from traces import Failure, NotApplicable, Outcome, Session, Trace, TraceRef, json_text, tokens

_TRACES_A_FETCH: Final = 50


@dataclass(frozen=True, slots=True)
class Drawn:
    """A trace that was drawn by chance, and the names of those evaluators that take it."""

    ref: TraceRef
    takers: frozenset[str]


class Need(NamedTuple):
    """What a question asks of a model: its part of a call, and of the tokens of its prompt.

    `alone`: as it would be asked in a round of anchors, where no other rubric of its group shares the call; it comes
    on top of the needs of the question itself.
    """

    model: str
    calls: float
    tokens: float
    alone: bool = False


Said = Outcome | list[Need]
"""What an evaluator says of a part of a trace, or what it needs of a model for that."""


@dataclass(slots=True)
class Looked:
    """What one evaluator says of the traces whose content was read.

    Attributes:
        traces: how many of its own were.
        parts: what of them it looked at: the traces themselves, or their observations.
        skipped: why it had nothing to say of a part, and how often.
        calls: judge calls, by model; one for a group of rubrics counts in parts.
        tokens: about how many tokens the prompts have, by model.
        alone: calls and tokens, by model, where a rubric with anchors asked about the same parts alone.
    """

    traces: int = 0
    parts: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    calls: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    alone: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def skips(self) -> float:
        """The share of parts that it has nothing to say of; 0 where none was read."""
        return self.skipped.total() / self.parts if self.parts else 0.0

    @property
    def scores(self) -> float:
        """How many scores a trace gets, on average; 1 where none was read."""
        return (self.parts - self.skipped.total()) / self.traces if self.traces else 1.0

    def add(self, said: Sequence[Said]) -> None:
        """Count what was said of the parts of one more trace, or what is to be asked about them."""
        self.traces += 1
        for each in said:
            self.parts += 1
            self._count(each)

    def _count(self, said: Said) -> None:
        match said:
            case NotApplicable(reason):
                self.skipped[reason] += 1
            case Failure(kind):
                self.skipped[f"failed: {kind}"] += 1
            case list():
                for need in said:
                    if need.alone:
                        calls, read = self.alone.get(need.model, (0.0, 0.0))
                        self.alone[need.model] = calls + need.calls, read + need.tokens
                        continue
                    self.calls[need.model] = self.calls.get(need.model, 0.0) + need.calls
                    self.tokens[need.model] = self.tokens.get(need.model, 0.0) + need.tokens
            case _:
                pass


def chosen(lots: Sequence[Sequence[Drawn]], most: int) -> list[TraceRef]:
    """Return at most so many traces: each evaluator in turn adds the next of its own.

    The lots are the same for all, so that most of what one adds is another's too.
    """
    found: dict[str, TraceRef] = {}
    for place in range(max(map(len, lots), default=0)):
        for lot in lots:
            if place < len(lot) and (len(found) < most or lot[place].ref.id in found):
                found[lot[place].ref.id] = lot[place].ref
    return list(found.values())


def read(langfuse: Langfuse, refs: Sequence[TraceRef]) -> dict[str, Trace]:
    """Return traces whole; those that are gone are absent."""
    found: dict[str, Trace] = {}
    # Those that ended together are read together: Langfuse searches by time.
    refs = sorted(refs, key=lambda ref: ref.ended)
    for start in range(0, len(refs), _TRACES_A_FETCH):
        found |= langfuse.fetch(refs[start : start + _TRACES_A_FETCH])
    return found


def look(
    evaluators: Mapping[str, Evaluator],
    lots: Mapping[str, Sequence[Drawn]],
    wanted: Collection[str],
    traces: Mapping[str, Trace],
    salt: str,
) -> dict[str, Looked]:
    """Ask each evaluator about the first traces of its own lot, as far as they were wanted: those are a fair sample.

    Args:
        evaluators: by name.
        lots: what each has drawn, in order.
        wanted: the ids that were to be read.
        traces: what was read, by id.
        salt: key of the hash that chooses among too many observations.
    """
    firsts = {name: list(itertools.takewhile(lambda d: d.ref.id in wanted, lot)) for name, lot in lots.items()}
    takers = {drawn.ref.id: drawn.takers for lot in firsts.values() for drawn in lot if drawn.ref.id in traces}
    said = {
        id_: _said(traces[id_], [evaluators[name] for name in sorted(names)], salt) for id_, names in takers.items()
    }
    looked = {name: Looked() for name in lots}
    for name, lot in firsts.items():
        for drawn in lot:
            if drawn.ref.id in said:
                looked[name].add(said[drawn.ref.id][name])
    return looked


def _said(trace: Trace, evaluators: Sequence[Evaluator], salt: str) -> dict[str, list[Said]]:
    """Return what each evaluator says of the parts of a trace, or needs of a model when all of them ask together."""
    of = [(each, part) for each in evaluators for part in parts(each, trace, salt)]
    firsts = said_together([(each, part, named(part)) for each, part in of])
    said: dict[str, list[Said]] = {each.name: [] for each in evaluators}
    for (each, _), first in zip(of, firsts, strict=True):
        said[each.name].append(first)
    return {name: own or [NotApplicable("no observation matches")] for name, own in said.items()}


def said_together(materials: Sequence[tuple[Evaluator, Trace | Session, str]]) -> list[Said]:
    """Return what each evaluator says of its material, or needs of a model when all of them ask together.

    Args:
        materials: evaluators, what each looks at, and what that is called.
    """
    firsts = [first_outcome(evaluator, material) for evaluator, material, _ in materials]
    asked = [
        (first, evaluator, subject, list[Need]())
        for first, (evaluator, _, subject) in zip(firsts, materials, strict=True)
        if isinstance(first, Question)
    ]
    for call in together([question for question, *_ in asked], [subject for *_, subject, _ in asked]):
        shared = _needs(call.question, 1 / len(call.places))
        for place in call.places:
            question, evaluator, _, needs = asked[place]
            needs.extend(shared)
            if evaluator.rubric is not None and evaluator.rubric.spec.anchors is not None:
                own = shared if len(call.places) == 1 else _needs(question, 1.0)
                needs.extend(need._replace(alone=True) for need in own)
    needed = (needs for *_, needs in asked)
    return [next(needed) if isinstance(first, Question) else first for first in firsts]


def _needs(question: Question, share: float) -> list[Need]:
    found = []
    for opinion in question.opinions():
        prompts = opinion.likely_prompts()
        read = sum(map(_tokens, prompts))
        found.append(Need(opinion.prompt.model, share * len(prompts), share * read))
    return found


def _tokens(prompt: Prompt) -> int:
    return tokens(prompt.system) + tokens(prompt.user) + tokens(json_text(prompt.schema))
