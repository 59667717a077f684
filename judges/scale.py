"""What a judge may answer: a number in a range, yes or no, labels, or a checklist of such."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, WrapValidator, model_validator

from judges.answer import BaseScale, OffScale, abstains, bare, explanations, quoted, yes_or_no
from judges.checklist import ChecklistScale
from traces import DataType

SEPARATOR: Final = ", "
"""Stands between labels in the value of a scale that takes several."""

MOST_LISTED: Final = 100
"""Levels that are listed in an answer's schema; a finer scale has only its range there."""

_LONGEST_NUMBER: Final = 100
_NEAR: Final = 1e-6
_ROUNDING: Final = 1e-9
"""Share of a scale by which a number may miss its ends: 1.0000000000000002 was meant to be 1."""
_AROUND: Final = r"[\s\"'`*_(\[\])]*"
_ALONE: Final = re.compile(
    rf"{_AROUND}(?:(?:final )?(?:score|rating|grade|verdict|answer){_AROUND}(?::|=|is\b)?{_AROUND})?"
    rf"(?P<number>[-+]?[0-9]+(?:\.[0-9]+)?){_AROUND}"
    rf"(?:(?:/|out of){_AROUND}(?P<of>[0-9]+(?:\.[0-9]+)?){_AROUND})?\.?{_AROUND}",
    re.IGNORECASE,
)
"""A number that stands alone or behind its label: "4", "Score: 4", "**4/5**"; never "40 %" or "4 of the claims"."""

_Level = TypeVar("_Level", float, bool, str)


def _in_order(given: Any, validated: Callable[[Any], dict[_Level, str]]) -> dict[_Level, str]:
    anchors = validated(given)
    if len(anchors) < len(given):
        raise ValueError("a level is given twice, written in two ways")
    # The order in the file means nothing, and must not look as if it did: it would be in the version.
    return dict(sorted(anchors.items()))


_Meaning = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_MEANINGS: Final = "What the levels mean:"
_ANCHORS: Final = "what a level means, by level; not every level needs one"


class NumericScale(BaseScale):
    """A number from `min` to `max`, any or only in whole steps."""

    data_type: ClassVar = DataType.NUMERIC

    type: Literal["numeric"]
    min: float = Field(allow_inf_nan=False, description="worst value")
    max: float = Field(allow_inf_nan=False, description="best value")
    step: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="distance of two levels; without it any number will do"
    )
    anchors: Annotated[dict[float, _Meaning], WrapValidator(_in_order)] = Field(default={}, description=_ANCHORS)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.min < self.max:
            raise ValueError(f"min ({self.min:g}) must be below max ({self.max:g})")
        if self.step is not None and not _is_whole((self.max - self.min) / self.step):
            raise ValueError(f"no whole number of steps of {self.step:g} leads from {self.min:g} to {self.max:g}")
        wrong = next((level for level in self.anchors if not self.has(level)), None)
        if wrong is not None:
            raise ValueError(f"anchors: {wrong:g} is no level; a level is {self.asked}")
        return self

    @property
    def asked(self) -> str:
        """How the judge is told what to answer."""
        limits = f"from {self.min:g} to {self.max:g}"
        if self.step is None:
            return f"a number {limits}"
        return f"a whole number {limits}" if self._counts else f"a number {limits} in steps of {self.step:g}"

    @property
    def explained(self) -> str:
        """What the levels mean, the best first."""
        return explanations(_MEANINGS, {f"{level:g}": self.anchors[level] for level in reversed(self.anchors)})

    @property
    def levels(self) -> tuple[float, ...]:
        """All values in order, when they can be counted; empty without `step`."""
        if self.step is None:
            return ()
        return tuple(self._level(number) for number in range(round((self.max - self.min) / self.step) + 1))

    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value."""
        whole = self.step is not None and _is_whole(self.min) and _is_whole(self.step)
        schema: dict[str, Any] = {"type": "integer" if whole else "number", "description": self.asked}
        if self.step is not None and (self.max - self.min) / self.step < MOST_LISTED:
            schema["enum"] = [int(level) if whole else level for level in self.levels]
        return schema

    def parse(self, answer: Any) -> float:
        """Read an answer strictly.

        Raises:
            OffScale: it is no number of the scale.
        """
        said, slack = _number(answer, self.max), (self.max - self.min) * _ROUNDING
        # Compared before it is made a float: JSON knows integers no float can hold.
        if said is None or not self.min - slack <= said <= self.max + slack:
            raise OffScale(f"expected {self.asked}")
        number = min(max(float(said), self.min), self.max)
        if self.step is None:
            return number
        steps = (number - self.min) / self.step
        if not _is_whole(steps):
            raise OffScale(f"expected {self.asked}")
        return self._level(round(steps))

    @property
    def _counts(self) -> bool:
        return self.step == 1 and _is_whole(self.min)

    def _level(self, number: int) -> float:
        """Return one level; 0.1 + 0.2 is the level 0.3."""
        return round(self.min + number * (self.step or 0), 10)


class BooleanScale(BaseScale):
    """Yes or no; true is good."""

    data_type: ClassVar = DataType.BOOLEAN

    type: Literal["boolean"]
    anchors: Annotated[dict[bool, _Meaning], WrapValidator(_in_order)] = Field(default={}, description=_ANCHORS)

    @property
    def asked(self) -> str:
        """How the judge is told what to answer."""
        return "true or false"

    @property
    def explained(self) -> str:
        """What yes and no mean, yes first."""
        return explanations(_MEANINGS, {str(level).lower(): self.anchors[level] for level in reversed(self.anchors)})

    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value."""
        return {"type": "boolean", "description": self.asked}

    def parse(self, answer: Any) -> bool:
        """Read an answer strictly.

        Raises:
            OffScale: it is neither true nor false.
        """
        said = yes_or_no(answer)
        if said is None:
            raise OffScale(f"expected {self.asked}")
        return said


class CategoricalScale(BaseScale):
    """One of some labels, or several of them."""

    data_type: ClassVar = DataType.CATEGORICAL

    type: Literal["categorical"]
    labels: tuple[str, ...] = Field(min_length=2, description="the possible answers")
    ordered: bool = Field(default=False, description="the labels stand from worst to best")
    several: bool = Field(default=False, description="more than one label may apply; the value lists them by name")
    anchors: Annotated[dict[str, _Meaning], WrapValidator(_in_order)] = Field(default={}, description=_ANCHORS)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        plain = [bare(label) for label in self.labels]
        if not all(plain):
            raise ValueError("a label needs letters or digits")
        if len(set(plain)) < len(plain):
            raise ValueError("labels must differ by more than upper and lower case, blanks and quotes")
        if any(abstains(label) for label in self.labels):
            raise ValueError("every judge may answer cannot_judge: it is not a label")
        if self.several and self.ordered:
            raise ValueError("labels in an order exclude each other: leave out ordered or several")
        if self.several and any("," in label for label in self.labels):
            raise ValueError("where several labels may apply, a label has no comma: commas stand between them")
        wrong = next((label for label in self.anchors if label not in self.labels), None)
        if wrong is not None:
            raise ValueError(f"anchors: {wrong!r} is no label; the labels are {quoted(self.labels)}")
        return self

    @property
    def asked(self) -> str:
        """How the judge is told what to answer."""
        labels = quoted(self.labels)
        if self.several:
            return f"a list of one or more of {labels}: all that apply"
        return f"exactly one of {labels}" + (" (from worst to best)" if self.ordered else "")

    @property
    def explained(self) -> str:
        """What the labels mean, in their order."""
        return explanations(_MEANINGS, {label: self.anchors[label] for label in self.labels if label in self.anchors})

    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value."""
        one = {"type": "string", "enum": list(self.labels)}
        # That a list is not empty stands in no schema: some servers refuse minItems.
        form = {"type": "array", "items": one} if self.several else one
        return {**form, "description": self.asked}

    def parse(self, answer: Any) -> str:
        """Read an answer strictly, whatever its case and the quotes around it. Several labels are joined, by name.

        Raises:
            OffScale: it is none of the labels, or something else among them.
        """
        if not self.several:
            return self._label(answer)
        parts = answer.split(",") if isinstance(answer, str) else answer
        if not isinstance(parts, list) or not parts:
            raise OffScale(f"expected {self.asked}")
        return self.joined({self._label(part) for part in parts})

    @staticmethod
    def joined(labels: set[str]) -> str:
        """Return several labels as one value, the same whatever the order they were named in."""
        return SEPARATOR.join(sorted(labels))

    def labels_of(self, value: str) -> set[str]:
        """Return the labels of a value; the inverse of `joined` where several may apply."""
        return set(value.split(SEPARATOR)) if self.several else {value}

    def _label(self, answer: Any) -> str:
        said = bare(answer) if isinstance(answer, str) else ""
        for label in self.labels:
            if bare(label) == said:
                return label
        raise OffScale(f"expected {self.asked}")


Scale = Annotated[
    NumericScale | BooleanScale | CategoricalScale | ChecklistScale,
    Field(discriminator="type"),
]
"""What a rubric's `score` may be."""


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < _NEAR


def _number(answer: Any, best: float) -> float | None:
    if isinstance(answer, bool):
        return None
    if isinstance(answer, int | float):
        return answer
    if not isinstance(answer, str) or len(answer) > _LONGEST_NUMBER:
        return None
    found = _ALONE.fullmatch(answer)
    # "4/10" on a scale to 5 is a judge that uses another scale.
    if found is None or (found["of"] is not None and float(found["of"]) != best):
        return None
    return float(found["number"])
