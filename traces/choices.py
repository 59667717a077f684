"""What filters are made of: one word or several, one level or several, numbers from and to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator


def as_list(value: object) -> object:
    """Return one text in a list, and anything else as it is."""
    return [value] if isinstance(value, str) else value


def one_or_list(one: dict[str, object]) -> WithJsonSchema:
    """Return what tells editors that one text needs no brackets."""
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})


Level = Literal["DEBUG", "DEFAULT", "WARNING", "ERROR"]
"""Langfuse's levels of an observation."""

ObservationType = Literal[
    "GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"
]
"""Langfuse's types of an observation."""

OneOf = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1), one_or_list({"type": "string"})]
"""One text or a list of texts; matches when the trace has any of them."""

OneLevelOf = Annotated[
    tuple[Level, ...],
    BeforeValidator(as_list),
    Field(min_length=1),
    one_or_list({"enum": list(get_args(Level))}),
]
"""One level or a list of levels."""


def _numbers(value: object) -> object:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


OneNumberOf = Annotated[
    tuple[int, ...], BeforeValidator(_numbers), Field(min_length=1), one_or_list({"type": "integer"})
]
"""One whole number or a list of them."""


def _types(value: object) -> object:
    several = as_list(value)
    return [each.upper() if isinstance(each, str) else each for each in several] if isinstance(several, list) else value


OneTypeOf = Annotated[
    tuple[ObservationType, ...],
    BeforeValidator(_types),
    Field(min_length=1),
    one_or_list({"enum": [*get_args(ObservationType), *(name.lower() for name in get_args(ObservationType))]}),
]
"""One type or a list of types, in either case."""


def _scalars(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    several = ((key, one if isinstance(one, list | tuple) else [one]) for key, one in value.items())
    return {key: [_written(each) for each in listed] for key, listed in several}


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value}" if isinstance(value, int | float) else value


_SCALAR: dict[str, object] = {"type": ["string", "number", "boolean"]}

ValuesByKey = Annotated[
    dict[str, tuple[Annotated[str, Field(max_length=200)], ...]],
    BeforeValidator(_scalars),
    Field(min_length=1),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]},
        }
    ),
]
"""A value, or a list of values, for each of some keys; numbers and truth values as JSON writes them."""


def text_of(value: Any) -> str | None:
    """Return a recorded scalar as `ValuesByKey` writes it; None for what is none."""
    written: str | None = _written(value) if isinstance(value, str | int | float) else None
    return written


class Limits(BaseModel):
    """A number from and to, both included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: float | None = Field(default=None, allow_inf_nan=False, description="the number is at least this")
    at_most: float | None = Field(default=None, allow_inf_nan=False, description="the number is at most this")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("needs at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least ({self.at_least:g}) is above at_most ({self.at_most:g}): nothing can match")
        return self

    def holds(self, number: float | None) -> bool:
        """Whether a number lies between; one that is not known never does."""
        if number is None:
            return False
        return (self.at_least is None or number >= self.at_least) and (self.at_most is None or number <= self.at_most)
