"""`evaluator rubric tune`: a better wording of a rubric from where its judge and people differ, tried on other labels.

The labelled traces are parted by a hash of their session: what is learned comes from one half, and whether it is better
is found out on the other, which nobody who proposed has seen.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evaluator.calibration.agreement import distance
from evaluator.calibration.labels import said_in
from evaluator.calibration.report import worded
from evaluator.messages.words import reason_of, usage_of
from evaluator.rubrics.golden import Asks
from evaluator.rubrics.rivals import LabelledTrace, read_by
from evaluator.sampling.sampler import position
from judges import Example, Expectation, NumericScale, Question, Redaction, Rubric
from judges.agreement import Value
from judges.calibration import Labelled
from judges.scale import BooleanScale, CategoricalScale
from judges.shared_scale import SharedScale, shared_scale
from judges.tuning import PROPOSAL, Lesson, Proposal, precedent, tuning_question
from traces import NotApplicable, Outcome, Session, Trace, Usage, Verdict, in_characters, shortened

HELD_OUT: Final = 0.5
"""The part of the sessions that is kept for the test."""

MOST_LESSONS: Final = 12
_PER_SESSION: Final = 2
_LONGEST_SHOWN: Final = 3000
"""Characters that are shown of an input of a disagreement."""

_LONGEST_EXAMPLE: Final = 1500
"""Characters of all inputs of a trace that is proposed as a golden example; longer ones are not for a file."""

_MOST_EXAMPLES: Final = 3
_LONGEST_ID: Final = 48
"""Characters; the name of an example has 60 at most."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A trace on which the judge and people differ: by `apart` of the scale, with what a model is shown of it."""

    each: LabelledTrace
    outcome: Outcome
    said: Value
    apart: float
    lesson: Lesson


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the judge says of the traces to learn from.

    Attributes:
        judged: how many have a verdict and a label.
        chosen: where they differ, what teaches most first.
        differing: how many there are of those.
        used: what the judge cost.
        scale: on which both are read.
    """

    judged: int
    chosen: tuple[Disagreement, ...]
    differing: int
    used: Usage
    scale: SharedScale


@dataclass(frozen=True, slots=True)
class Change:
    """What is to change in a rubric's file."""

    anchors: Mapping[str, str]
    precedents: tuple[str, ...]
    examples: tuple[Example, ...]


def parted(traces: Sequence[LabelledTrace], salt: str) -> tuple[list[LabelledTrace], list[LabelledTrace]]:
    """Return the traces to learn from and those to test on; all of a session are in one of the two."""
    halves: tuple[list[LabelledTrace], list[LabelledTrace]] = ([], [])
    for each in traces:
        session = each.session
        halves[position(f"tune/{session}", salt) < HELD_OUT].append(each)
    return halves


def lessons_of(
    model: Asks,
    rubric: Rubric,
    traces: Sequence[LabelledTrace],
    redaction: Redaction,
    *,
    pass_at: float | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Lessons:
    """Ask the judge about the traces to learn from, and choose where it differs from people."""
    first = [rubric.question(each.trace) for each in traces]
    outcomes: dict[int, Outcome] = {at: each for at, each in enumerate(first) if isinstance(each, NotApplicable)}
    places = [at for at, each in enumerate(first) if isinstance(each, Question)]
    for lot in model.ask([each for each in first if isinstance(each, Question)]):
        outcomes |= {places[at]: outcome for at, outcome in lot}
        progress(len(lot))
    said = [said_in(label) for each in traces for label in each.labels.values()]
    scale = shared_scale(rubric.spec.score, said, pass_at)
    read = [(at, item) for at in range(len(traces)) if (item := read_by(outcomes[at], traces[at], scale, pass_at))]
    found = [
        _disagreement(rubric, traces[at], outcomes[at], item, scale, redaction)
        for at, item in read
        if any(distance(item.ours, value, scale) for value in item.labels.values())
    ]
    found.sort(key=lambda each: (-each.apart, not each.lesson.comments, each.each.trace.id))
    used = sum((usage_of(outcome) for outcome in outcomes.values()), Usage())
    return Lessons(len(read), tuple(_spread(found)), len(found), used, scale)


def ask(
    model: Asks,
    rubric: Rubric,
    lessons: Lessons,
    by: str,
    draw: Callable[[], str] = lambda: secrets.token_hex(12),
) -> Outcome:
    """Ask a model what to change; a verdict's details hold the proposal.

    Args:
        model: what asks.
        rubric: as it is.
        lessons: where its judge and people differ.
        by: name of the model.
        draw: makes the code of the fences.
    """
    question = tuning_question(rubric.spec, [each.lesson for each in lessons.chosen], by, draw)
    ((_, outcome),) = [ended for lot in model.ask([question]) for ended in lot]
    return outcome


def change_of(outcome: Verdict, rubric: Rubric, lessons: Lessons, redaction: Redaction) -> Change:
    """Return what a proposal changes, with the traces it rests on as golden examples."""
    proposal = outcome.details[PROPOSAL]
    assert isinstance(proposal, Proposal)  # noqa: S101 - our own question put it there
    shown = [(lessons.chosen[case.lesson], case) for case in proposal.cases]
    lines = tuple(precedent(case, each.lesson.said) for each, case in shown)
    current = {str(level): meaning for level, meaning in _anchors(rubric).items()}
    anchors = {level: text for level, text in proposal.anchors.items() if current.get(level) != text}
    made = (_example(rubric, each, lessons.scale, redaction) for each, _ in shown)
    return Change(anchors, lines, tuple(each for each in made if each is not None)[:_MOST_EXAMPLES])


def _anchors(rubric: Rubric) -> Mapping[str, str]:
    match rubric.spec.score:
        case NumericScale() as scale:
            return {f"{level:g}": text for level, text in scale.anchors.items()}
        case BooleanScale() as scale:
            return {str(level).lower(): text for level, text in scale.anchors.items()}
        case CategoricalScale() as scale:
            return scale.anchors
    return {}


def _spread(found: Sequence[Disagreement]) -> Iterator[Disagreement]:
    """Give the first of them, few of a session: one odd user is no lesson."""
    sessions: Counter[str] = Counter()
    given = 0
    for each in found:
        session = each.each.session
        sessions[session] += 1
        if sessions[session] <= _PER_SESSION and given < MOST_LESSONS:
            given += 1
            yield each


def _disagreement(
    rubric: Rubric,
    each: LabelledTrace,
    outcome: Outcome,
    item: Labelled,
    scale: SharedScale,
    redaction: Redaction,
) -> Disagreement:
    apart = sum(distance(item.ours, value, scale) for value in item.labels.values()) / len(item.labels)
    values = list(item.labels.values())
    comments = [text for rater in item.labels if (text := each.labels[rater].comment)]
    texts = redaction.of([reason_of(outcome), *comments]).texts
    shown = {
        name: shortened(text, in_characters(_LONGEST_SHOWN)).text
        for name, text in _inputs(rubric, each.trace, redaction).items()
    }
    ours = outcome.value if isinstance(outcome, Verdict) else item.ours
    words = ", ".join(dict.fromkeys(_said(value, scale) for value in values))
    lesson = Lesson(shown, worded(ours), texts[0], words, texts[1:])
    return Disagreement(each, outcome, values[0], apart, lesson)


def _inputs(rubric: Rubric, trace: Trace | Session, redaction: Redaction) -> dict[str, str]:
    """Return what the judge is given of a trace, by name, without what must not leave."""
    texts = {name: source.text(trace) or source.default or "" for name, source in rubric.spec.inputs.items()}
    clean = redaction.of(list(texts.values())).texts
    return {name: text for name, text in zip(texts, clean, strict=True) if text.strip()}


def _said(value: Value, scale: SharedScale) -> str:
    """Return what a person said in the words of the judge's scale."""
    if scale.pass_at is None:
        return worded(value)
    return f"{scale.pass_at:g} or more" if value else f"less than {scale.pass_at:g}"


def _example(rubric: Rubric, found: Disagreement, scale: SharedScale, redaction: Redaction) -> Example | None:
    """Return a disagreement as a golden example; None where it is too long for a file, or its judge passes already."""
    inputs = _inputs(rubric, found.each.trace, redaction)
    expected = _expected(rubric, found.said, scale)
    long = sum(map(len, inputs.values())) > _LONGEST_EXAMPLE
    if expected is None or expected.met_by(found.outcome) or long:
        return None
    told = next(iter(found.lesson.comments), "")
    why = f"A person said {_said(found.said, scale)}{': ' if told else ''}{told}"
    return Example(name=_called(found.each.trace), description=why[:200], inputs=dict(inputs), expect=expected)


def _called(material: Trace | Session) -> str:
    """Return what an example is called, another than all others: its id, or of a step that of the step."""
    id_ = material.root.id if isinstance(material, Trace) and material.whole is not None else material.id
    if len(id_) > _LONGEST_ID:
        id_ = hashlib.blake2b(id_.encode(errors="replace"), digest_size=16).hexdigest()
    return f"labelled {id_}"


def _expected(rubric: Rubric, said: Value, scale: SharedScale) -> Expectation | None:
    """Return what a judge that agrees with people would answer: on a scale of numbers, give or take one step."""
    own = rubric.spec.score
    if isinstance(own, BooleanScale):
        return Expectation(equals=bool(said))
    if isinstance(own, CategoricalScale):
        return None if own.several else Expectation(equals=str(said))
    if not isinstance(own, NumericScale) or isinstance(said, str):
        return None
    step = own.step or (own.max - own.min) / 10
    if scale.pass_at is not None:
        return Expectation(at_least=scale.pass_at) if said else Expectation(at_most=max(scale.pass_at - step, own.min))
    low, high = float(said) - step, float(said) + step
    limits = {"at_least": low if low > own.min else None, "at_most": high if high < own.max else None}
    return Expectation(**limits) if any(each is not None for each in limits.values()) else None
