"""What a judge may answer: a number in a range, yes or no, or one of some labels."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from traces import DataType

_ALONE: Final = re.compile(
    r"^\W*(?:(?:score|rating|verdict|answer|label)\W*[:=]\s*)?([-+]?\d+(?:\.\d+)?)(?:\s*/\s*\d+)?\W*$", re.IGNORECASE
)
"""A number that stands alone or behind its label: "4", "Score: 4", "4/5"; never "40 %" or "4 of the claims"."""

_WORDS: Final = {"true": True, "yes": True, "pass": True, "false": False, "no": False, "fail": False}


class OffScale(ValueError):
    """An answer is no value of the scale; the message says what was expected."""


class _Scale(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NumericScale(_Scale):
    """A number from `min` to `max`."""

    type: Literal["numeric"]
    min: float = Field(description="worst value")
    max: float = Field(description="best value")

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
        number = _number(answer)
        if number is None or not self.min <= number <= self.max:
            raise OffScale(f"expected {self.asked}")
        return number


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
        word = _WORDS.get(answer.strip().strip(".").lower()) if isinstance(answer, str) else None
        if word is None:
            raise OffScale(f"expected {self.asked}")
        return word


class CategoricalScale(_Scale):
    """One of some labels."""

    type: Literal["categorical"]
    labels: tuple[str, ...] = Field(min_length=2, description="the possible answers")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({label.casefold() for label in self.labels}) < len(self.labels):
            raise ValueError("labels must differ by more than upper and lower case")
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
        """Read an answer strictly, whatever its case.

        Raises:
            OffScale: it is none of the labels.
        """
        said = answer.strip().strip("\"'.").casefold() if isinstance(answer, str) else ""
        for label in self.labels:
            if label.casefold() == said:
                return label
        raise OffScale(f"expected {self.asked}")


Scale = Annotated[NumericScale | BooleanScale | CategoricalScale, Field(discriminator="type")]
"""What a rubric's `score` may be."""


def _number(answer: Any) -> float | None:
    if isinstance(answer, bool):
        return None
    if isinstance(answer, int | float):
        return float(answer) if math.isfinite(answer) else None
    found = _ALONE.match(answer.strip()) if isinstance(answer, str) and len(answer) < 100 else None
    return None if found is None or "%" in answer else float(found[1])
