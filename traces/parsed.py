"""Values that people write as text in YAML and that are compiled when read: paths, patterns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler


class Parsed(ABC):
    """A value compiled from `text` and written back as it; two of the same text are equal.

    Not a dataclass: pydantic would write a default value of one field by field into a JSON Schema.
    """

    __slots__ = ("text",)

    expected: ClassVar[str]
    """What to write, with an example: completes "expected ..."."""
    json_schema: ClassVar[dict[str, Any]]
    """How editors see it."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Compile `text`; a `ValueError` says what is wrong with it."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.text == self.text if isinstance(other, Parsed) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self.text))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    @classmethod
    def _read(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("wrong_type", "expected {expected}", {"expected": cls.expected})
        try:
            return cls.parse(value)
        except ValueError as error:
            raise PydanticCustomError("bad_text", "{reason}", {"reason": str(error)}) from error

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: type, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read, serialization=core_schema.plain_serializer_function_ser_schema(_text)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(cls.json_schema)


def _text(value: Parsed) -> str:
    return value.text
