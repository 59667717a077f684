"""Rules about the shape of a value: is it JSON, and the JSON that was asked for."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import orjson
from pydantic import Field, PrivateAttr, field_validator, model_validator

from rules.base import Rule, counted, failed, passed
from rules.schemas import Schema
from rules.text import ANSWER, NOT_FOUND
from traces import NotApplicable, Path, Trace, Verdict, well_formed


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
        text = _inside_fence(value) if self.fenced else value
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


def _inside_fence(text: str) -> str:
    """Return what stands between the first ``` line and the last one; all of it when there is no fence."""
    lines = text.strip().splitlines()
    if len(lines) >= 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        return "\n".join(lines[1:-1])
    return text
