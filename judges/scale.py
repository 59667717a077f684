"""What a judge may answer: a number in a range, yes or no, or one of some labels."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from traces import DataType

CANNOT_JUDGE: Final = "cannot_judge"
"""The legal answer of a judge that cannot tell; no scale may have it as a value."""

_LONGEST_NUMBER: Final = 100
_AROUND: Final = r"[\s\"'`*_(\[\])]*"
_ALONE: Final = re.compile(
    rf"{_AROUND}(?:(?:final )?(?:score|rating|grade|verdict|answer){_AROUND}(?::|=|is\b)?{_AROUND})?"
    rf"(?P<number>[-+]?[0-9]+(?:\.[0-9]+)?){_AROUND}"
    rf"(?:(?:/|out of){_AROUND}(?P<of>[0-9]+(?:\.[0-9]+)?){_AROUND})?\.?{_AROUND}",
    re.IGNORECASE,
)
"""A number that stands alone or behind its label: "4", "Score: 4", "**4/5**"; never "40 %" or "4 of the claims"."""

_WORDS: Final = {"true": True, "yes": True, "pass": True, "false": False, "no": False, "fail": False}


class OffScale(ValueError):
    """An answer is no value of the scale; the message says what was expected."""


class _Scale(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NumericScale(_Scale):
    """A number from `min` to `max`."""

    type: Literal["numeric"]
    min: float = Field(allow_inf_nan=False, description="worst value")
    max: float = Field(allow_inf_nan=False, description="best value")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min < self.max:
            raise ValueError(f"min ({self.min:g}) must be below max ({self.max:g})")
        return self

    @property
    def data_type(self) -> DataType:
        """The type of the score in Langfuse."""
        return DataType.NUMERIC

    @property
    def asked(self) -> str:
        """How the judge is told what to answer."""
        return f"a number from {self.min:g} to {self.max:g}"

    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value."""
        return {"type": "number", "description": self.asked}

    def parse(self, answer: Any) -> float:
        """Read an answer strictly.

        Raises:
            OffScale: it is no number of the scale.
        """
        number = _number(answer, self.max)
        # Compared before it is made a float: JSON knows integers no float can hold.
        if number is None or not self.min <= number <= self.max:
            raise OffScale(f"expected {self.asked}")
        return float(number)


class BooleanScale(_Scale):
    """Yes or no; true is good."""

    type: Literal["boolean"]

    @property
    def data_type(self) -> DataType:
        """The type of the score in Langfuse."""
        return DataType.BOOLEAN

    @property
    def asked(self) -> str:
        """How the judge is told what to answer."""
        return "true or false"

    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value."""
        return {"type": "boolean", "description": self.asked}

    def parse(self, answer: Any) -> bool:
        """Read an answer strictly.

        Raises:
            OffScale: it is neither true nor false.
        """
        if isinstance(answer, bool):
            return answer
        word = _WORDS.get(bare(answer)) if isinstance(answer, str) else None
        if word is None:
            raise OffScale(f"expected {self.asked}")
        return word


class CategoricalScale(_Scale):
    """One of some labels."""

    type: Literal["categorical"]
    labels: tuple[str, ...] = Field(min_length=2, description="the possible answers")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        plain = [bare(label) for label in self.labels]
        if not all(plain):
            raise ValueError("a label needs letters or digits")
        if len(set(plain)) < len(plain):
            raise ValueError("labels must differ by more than upper and lower case, blanks and quotes")
        if any(abstains(label) for label in self.labels):
            raise ValueError(f"every judge may answer {CANNOT_JUDGE}: it is not a label")
        return self

    @property
    def data_type(self) -> DataType:
        """The type of the score in Langfuse."""
        return DataType.CATEGORICAL

    @property
    def asked(self) -> str:
        """How the judge is told what to answer."""
        return "exactly one of " + ", ".join(f'"{label}"' for label in self.labels)

    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value."""
        return {"type": "string", "enum": list(self.labels), "description": self.asked}

    def parse(self, answer: Any) -> str:
        """Read an answer strictly, whatever its case and the quotes around it.

        Raises:
            OffScale: it is none of the labels.
        """
        said = bare(answer) if isinstance(answer, str) else ""
        for label in self.labels:
            if bare(label) == said:
                return label
        raise OffScale(f"expected {self.asked}")


Scale = Annotated[NumericScale | BooleanScale | CategoricalScale, Field(discriminator="type")]
"""What a rubric's `score` may be."""


def abstains(answer: object) -> bool:
    """Whether an answer says that the judge cannot tell; null says so too."""
    if isinstance(answer, str):
        return re.sub(r"[ -]", "_", bare(answer)) == CANNOT_JUDGE
    return answer is None


def bare(word: str) -> str:
    """Return `word` in lower case, without what judges like to put around one."""
    return word.strip(" \t\r\n\"'`*.").casefold()


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
