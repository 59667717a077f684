"""A rubric: a judgement written in YAML, and how it becomes a question about what it judges."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from judges.asking import Question
from judges.checklist import ChecklistScale
from judges.fitting import REDACTED, Inputs
from judges.grouping import MOST_TOGETHER
from judges.grouping import TEMPLATE as GROUP_TEMPLATE
from judges.managed import ManagedPrompt
from judges.parts import TEMPLATE as PARTS_TEMPLATE
from judges.prompting import TEMPLATE, Prompting
from judges.redaction import Redaction
from judges.spec import RubricSpec
from traces import DataType, Material, NotApplicable, Passage, Verdict, as_text, with_remarks

_NOTHING: Final = Redaction()

DEFAULT_CONTEXT: Final = 128_000
"""Tokens a model reads and writes at once, until somebody tells."""

NO_PROMPT: Final = "prompt not known"
"""Why a rubric whose criteria Langfuse holds has nothing to ask before they are there."""


class Rubric:
    """A judgement ready to be asked.

    `version` is a hash of what can change a verdict: not of what says what is judged and when, nor of examples.
    """

    def __init__(
        self,
        spec: RubricSpec,
        boundary: Callable[[], str] = lambda: secrets.token_hex(12),
        beside: Iterable[RubricSpec] = (),
        context: int = DEFAULT_CONTEXT,
        redaction: Redaction = _NOTHING,
    ) -> None:
        """Use `spec`.

        Args:
            spec: the rubric as written.
            boundary: makes the code of each question's fences, which nobody may be able to guess.
            beside: the other rubrics of its group: what else a judge is asked may change what it says.
            context: tokens its models read and write at once; what is longer is packed, or read in parts.
            redaction: what is taken out of every text before anything leaves.
        """
        self.spec = spec
        self.name = spec.name
        self.data_type: DataType = spec.score.data_type
        self._beside = tuple(beside)
        self.version = _version(spec, self._beside, redaction)
        self._boundary = boundary
        self._context = context
        self._redaction = redaction
        self._limits = {name: source.limit for name, source in spec.inputs.items()}
        self._remarked = partial(with_remarks, shown=spec.vision)
        self._prompting = Prompting(spec, self.version, boundary)

    def among(self, group: Iterable[RubricSpec]) -> Rubric:
        """Return the rubric as a member of a group, itself included or not."""
        beside = tuple(spec for spec in group if spec.name != self.name)
        return Rubric(self.spec, self._boundary, beside, self._context, self._redaction) if beside else self

    def with_prompt(self, managed: ManagedPrompt) -> Rubric:
        """Return the rubric with the criteria that Langfuse holds; its version covers theirs. It is of no group yet."""
        return Rubric(self.spec.with_prompt(managed), self._boundary, (), self._context, self._redaction)

    def redacting(self, redaction: Redaction) -> Rubric:
        """Return the rubric with another redaction."""
        return Rubric(self.spec, self._boundary, self._beside, self._context, redaction)

    def parts(self, verdict: Verdict) -> dict[str, Verdict]:
        """Return what a verdict says of each criterion, by the name of its score; empty without `each`.

        A criterion that could not be judged has no score.
        """
        scale = self.spec.score
        if not isinstance(scale, ChecklistScale) or not scale.each:
            return {}
        found = scale.parts(verdict).items()
        return {self.spec.part_name(name): part for name, part in found if isinstance(part, Verdict)}

    def question(self, material: Material) -> Question | NotApplicable:
        """Return what to ask about a trace, a step or a session, or why there is nothing to ask."""
        return self.question_from({name: source.passage(material) for name, source in self.spec.inputs.items()})

    def question_from(self, inputs: Mapping[str, Any]) -> Question | NotApplicable:
        """Return what to ask about inputs given by name, as a golden example does."""
        if self.spec.awaits_prompt:
            return NotApplicable(NO_PROMPT)
        passages: dict[str, Passage] = {}
        for name, source in self.spec.inputs.items():
            given = inputs.get(name)
            passage = given if isinstance(given, Passage) else Passage.of(as_text(given))
            passage = passage.changed(self._remarked)
            if not passage.is_blank:
                passages[name] = passage
            elif source.default is not None:
                passages[name] = Passage.of(source.default)
            elif source.required:
                return NotApplicable(f"no {name}")
        passages, redacted = self._redaction.of_passages(passages)
        told = {REDACTED: redacted} if redacted else {}
        return self._prompting.ask(Inputs(passages, self._limits, told), self._context)


def grouped(rubrics: Sequence[Rubric]) -> list[Rubric]:
    """Return rubrics in their order, each knowing those it is answered together with.

    Raises:
        ValueError: too many have one group.
    """
    members: dict[object, list[RubricSpec]] = {}
    for rubric in rubrics:
        if rubric.spec.together is not None:
            members.setdefault(rubric.spec.together, []).append(rubric.spec)
    for (group, *_), specs in cast("dict[tuple[str, ...], list[RubricSpec]]", members).items():
        if len(specs) > MOST_TOGETHER:
            raise ValueError(f"group {group!r} has {len(specs)} rubrics; one call answers at most {MOST_TOGETHER}")
    return [rubric.among(members.get(rubric.spec.together, [])) for rubric in rubrics]


def _version(spec: RubricSpec, beside: Iterable[RubricSpec], redaction: Redaction) -> str:
    others = sorted(_decisive(other) for other in beside)
    wording = TEMPLATE + (GROUP_TEMPLATE if others else "")
    wording += PARTS_TEMPLATE if spec.judge.long == "parts" else ""
    template = hashlib.blake2b(wording.encode(), digest_size=8).hexdigest()
    without = [redaction.model_dump_json()] if redaction.is_on else []
    return hashlib.blake2b("".join((template, _decisive(spec), *others, *without)).encode(), digest_size=6).hexdigest()


def _decisive(spec: RubricSpec) -> str:
    # `each` writes more scores of the same verdict, and a group is known by its members; when an answer comes changes
    # nothing in it: none of these is another ruler.
    unread = (
        "description",
        "enabled",
        "when",
        "sample",
        "examples",
        "observe",
        "idle",
        "budget",
        "calibrate",
        "anchors",
    )
    without: dict[str, Any] = dict.fromkeys(unread, True)
    # What is not used is not in it either: the rulers of those who never heard of it stay what they were.
    unused = {name for name in ("logprobs", "escalate") if not getattr(spec.judge, name)}
    return spec.model_dump_json(exclude={**without, "score": {"each"}, "judge": {"group", "lane", *unused}})
