"""Choosing values from a trace with JSONPath (RFC 9535), shared by rules and rubrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jsonpath_rfc9535
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

    from traces.model import Trace

_ENVIRONMENT = jsonpath_rfc9535.JSONPathEnvironment()


class BadPath(ValueError):
    """A text is not a JSONPath; the message says what is wrong with it and at which column."""


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled JSONPath over `Trace.document()`: `$.root.input`, `$.observations[?@.type == 'TOOL'].output`."""

    text: str
    _query: jsonpath_rfc9535.JSONPathQuery = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Path:
        """Compile `text`.

        Raises:
            BadPath: it is not valid RFC 9535.
        """
        try:
            return cls(text, _ENVIRONMENT.compile(text))
        except jsonpath_rfc9535.JSONPathError as error:
            msg = f"{text!r} is not a JSONPath (RFC 9535): {error}; for example $.root.output"
            raise BadPath(msg) from error

    def values(self, trace: Trace) -> list[Any]:
        """Return every value the path selects, in document order; an empty list when nothing matches."""
        return list(self._query.find(trace.document()).values())

    def first(self, trace: Trace) -> Any:
        """Return the first selected value, None when nothing matches."""
        return next(iter(self.values(trace)), None)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: type, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def read(value: object) -> Path:
            if isinstance(value, cls):
                return value
            if not isinstance(value, str):
                raise PydanticCustomError("jsonpath", "expected a JSONPath such as $.root.output")
            try:
                return cls.parse(value)
            except BadPath as error:
                raise PydanticCustomError("jsonpath", "{reason}", {"reason": str(error)}) from error

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(lambda path: path.text)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\$", "description": "a JSONPath (RFC 9535) over the trace"}
