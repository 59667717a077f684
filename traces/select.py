"""Choosing values from a trace with JSONPath (RFC 9535), shared by rules and rubrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import jsonpath_rfc9535
from jsonpath_rfc9535.segments import JSONPathChildSegment
from jsonpath_rfc9535.selectors import NameSelector

from traces.jsonpath import Environment
from traces.parsed import Parsed
from traces.plain_paths import steps

if TYPE_CHECKING:
    from jsonpath_rfc9535 import JSONPathNode

    from traces.targets import Material

_ENVIRONMENT: Final = Environment()


class BadPath(ValueError):
    """A text is not a JSONPath; the message says what is wrong with it and at which column."""


class Located:
    """A selected value and where it was."""

    __slots__ = ("_node",)

    def __init__(self, node: JSONPathNode) -> None:
        self._node = node

    @property
    def value(self) -> Any:
        """The value itself."""
        return self._node.value

    @property
    def where(self) -> str:
        """A normalized path such as `$['root']['output']`, made when asked for: names may be longer than values."""
        return self._node.path()


class Path(Parsed):
    """A compiled JSONPath over the document of a trace, a step or a session.

    `$.root.input`, `$.observations[?@.type == 'TOOL'].output`, `$.observation.output`, `$.traces[-1].root.output`
    """

    __slots__ = ("_query", "_steps", "key")

    expected: ClassVar = "a JSONPath such as $.root.output"
    json_schema: ClassVar = {
        "type": "string",
        "pattern": r"^\$",
        "description": "a JSONPath (RFC 9535) over the trace",
    }

    def __init__(self, text: str, query: jsonpath_rfc9535.JSONPathQuery) -> None:
        super().__init__(text)
        self._query = query
        self._steps = steps(query)
        self.key = _first_name(query)
        """The name right behind the `$`; None when the path begins otherwise."""

    @classmethod
    def parse(cls, text: str) -> Path:
        """Compile `text`.

        Raises:
            BadPath: it is not valid RFC 9535.
        """
        try:
            return cls(text, _ENVIRONMENT.compile(text))
        except (jsonpath_rfc9535.JSONPathError, RecursionError) as error:
            said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            shown = text if len(text) <= 200 else f"{text[:199]}…"
            raise BadPath(f"{shown!r} is not a JSONPath (RFC 9535): {said}; for example $.root.output") from error

    def values(self, material: Material) -> list[Any]:
        """Return every value the path selects, in document order; an empty list when nothing matches.

        A filter that compares values nested more deeply than the interpreter can follow selects nothing.
        """
        if self._steps is None:
            return [node.value for node in self._nodes(material)]
        values: list[Any] = [material.document_with(self.key)]
        for step in self._steps:
            values = step(values)
        return values

    def located(self, material: Material) -> list[Located]:
        """Return `values` together with the place of each."""
        return [Located(node) for node in self._nodes(material)]

    def first(self, material: Material) -> Any:
        """Return the first selected value, None when nothing matches."""
        return next(iter(self.values(material)), None)

    def _nodes(self, material: Material) -> list[JSONPathNode]:
        try:
            return list(self._query.find(material.document()))
        except RecursionError:
            return []


def _first_name(query: jsonpath_rfc9535.JSONPathQuery) -> str | None:
    first = query.segments[0] if query.segments else None
    if not isinstance(first, JSONPathChildSegment) or len(first.selectors) != 1:
        return None
    selector = first.selectors[0]
    return selector.name if isinstance(selector, NameSelector) else None
