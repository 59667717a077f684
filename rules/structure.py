"""Rules about the shape of a value: is it JSON, and the JSON that was asked for."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from typing import Any, ClassVar, Final, Self

import orjson
from pydantic import Field, PrivateAttr, field_validator, model_validator

from rules.base import Rule, counted, failed, measured, passed, quoted
from rules.schemas import Schema
from rules.text import ANSWER, NOT_FOUND
from traces import DataType, NotApplicable, Path, Trace, Verdict, as_text, well_formed

_NO_NUMBER: Final = NotApplicable("no number")
_LONGEST_NUMBER: Final = 40
_NUMBER: Final = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")


class JsonRule(Rule):
    """A rule over JSON values. Every selected value must be in order; one that was recorded as text is parsed first.

    A trace in which `value` selects nothing (or only nulls) is not scored.
    """

    value: Path = Field(default=ANSWER, description="what to look at; of several values each one")
    fenced: bool = Field(default=False, description="whether the JSON may stand in a Markdown code fence")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Parse each selected value and look at it."""
        found = [located for located in self.value.located(trace) if located.value is not None]
        if not found:
            return NOT_FOUND
        for located in found:
            problem = self._problem(located.value)
            if problem is not None:
                return failed(f"{located.where}: {problem}")
        return passed(f"{counted(len(found), 'value')} in order")

    @abstractmethod
    def problem_of(self, value: Any) -> str | None:
        """Return what is wrong with a parsed value, None when nothing is."""

    def _problem(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return self.problem_of(value)
        text = inside_fence(value) if self.fenced else value
        try:
            parsed = orjson.loads(well_formed(text))
        except orjson.JSONDecodeError as error:
            return f"not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        return self.problem_of(parsed)


class JsonValid(JsonRule):
    """The value is valid JSON (RFC 8259: no comments, no trailing commas, no NaN).

    A value that Langfuse recorded as an object or a list was valid JSON and passes.
    """

    example: ClassVar = {"name": "answers-in-json", "rule": "json_valid", "fenced": True}

    def problem_of(self, value: Any) -> str | None:  # noqa: ARG002 - that it was parsed is all that was asked
        """Find nothing wrong: the value is JSON."""
        return None


class JsonSchema(JsonRule):
    """The value is JSON that fits a JSON Schema (2020-12), written out in the rule.

    The schema itself is checked when it is read. Patterns in it are RE2's, references may only lead inside the schema
    (`#/$defs/...`), and `format` is a remark, not a check.
    """

    example: ClassVar = {
        "name": "answer-fits",
        "rule": "json_schema",
        "schema": {
            "type": "object",
            "required": ["answer", "sources"],
            "properties": {"answer": {"type": "string"}, "sources": {"type": "array", "minItems": 1}},
        },
    }

    document: dict[str, Any] | bool = Field(alias="schema", description="the JSON Schema")
    _schema: Schema = PrivateAttr()

    @field_validator("document")
    @classmethod
    def _is_a_schema(cls, document: dict[str, Any] | bool) -> dict[str, Any] | bool:
        Schema(document)
        return document

    @model_validator(mode="after")
    def _compile(self) -> Self:
        self._schema = Schema(self.document)
        return self

    def problem_of(self, value: Any) -> str | None:
        """Validate against the schema."""
        return self._schema.problem(value)


class OneOf(Rule):
    """The value is one of a list: a label, a decision, a code. White space around it does not count.

    Numbers and truth values are compared as they are written in JSON: `true`, `3`. Of several selected values each one
    must be in the list. A trace in which `value` selects nothing (or only nulls) is not scored.
    """

    example: ClassVar = {
        "name": "known-intent",
        "rule": "one_of",
        "value": "$.root.output.intent",
        "values": ["refund", "change", "question"],
    }

    value: Path = Field(default=ANSWER, description="what to look at; of several values each one")
    values: tuple[str, ...] = Field(min_length=1, description="what is allowed")
    ignore_case: bool = Field(default=False, description="whether upper and lower case are the same")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Compare each selected value."""
        found = [as_text(value).strip() for value in self.value.values(trace) if value is not None]
        if not found:
            return NOT_FOUND
        allowed = set(map(self._form, self.values))
        strange = next((value for value in found if self._form(value) not in allowed), None)
        if strange is None:
            return passed(f"{quoted(found[0], 40)} is allowed" if len(found) == 1 else f"{len(found)} values allowed")
        return failed(f"{quoted(strange, 40)} is none of {counted(len(self.values), 'allowed value')}")

    def _form(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text


class NumberRule(Rule):
    """A rule over a number: one that was recorded, or a text that is nothing but one (`3`, ` -1.5e3 `)."""

    value: Path = Field(default=ANSWER, description="the number to look at; of several values the first")

    def number(self, trace: Trace) -> float | NotApplicable:
        """Return the number; a trace in which `value` selects none is not scored."""
        values = [value for value in self.value.values(trace) if value is not None]
        if not values:
            return NOT_FOUND
        number = _as_number(values[0])
        return _NO_NUMBER if number is None else number


class NumberValue(NumberRule):
    """The number that the value is, as a score. What is no finite number is not scored."""

    gives: ClassVar = DataType.NUMERIC
    example: ClassVar = {"name": "stated-confidence", "rule": "number_value", "value": "$.root.output.confidence"}

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Read the number."""
        number = self.number(trace)
        return number if isinstance(number, NotApplicable) else measured(number, f"{self.value.text} is {number:g}")


class NumberInRange(NumberRule):
    """The value is a number, and neither too small nor too large. Both limits are included in what is allowed.

    Something that is no finite number fails; a value that is not there is not scored.
    """

    example: ClassVar = {
        "name": "sane-confidence",
        "rule": "number_in_range",
        "value": "$.root.output.confidence",
        "min": 0,
        "max": 1,
    }

    min: float | None = Field(default=None, allow_inf_nan=False, description="the least that is allowed")
    max: float | None = Field(default=None, allow_inf_nan=False, description="the most that is allowed")

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g})")
        return self

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Read the number, and compare."""
        number = self.number(trace)
        if number is _NO_NUMBER:
            return failed(f"{self.value.text} is no number")
        if isinstance(number, NotApplicable):
            return number
        if self.min is not None and number < self.min:
            return failed(f"{number:g}, at least {self.min:g} expected")
        if self.max is not None and number > self.max:
            return failed(f"{number:g}, at most {self.max:g} allowed")
        return passed(f"{number:g} is in range")


def _as_number(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip() if len(value) <= _LONGEST_NUMBER else ""
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def inside_fence(text: str) -> str:
    """Return what stands between the first ``` line and the last one; all of it when there is no fence."""
    lines = text.strip().splitlines()
    if len(lines) >= 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        return "\n".join(lines[1:-1])
    return text
