"""Choosing values from a trace with JSONPath (RFC 9535), shared by rules and rubrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import jsonpath_rfc9535

from traces.jsonpath import Environment
from traces.parsed import Parsed
from traces.plain_paths import steps

if TYPE_CHECKING:
    from jsonpath_rfc9535 import JSONPathNode

    from traces.model import Trace

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
    """A compiled JSONPath over `Trace.document()`: `$.root.input`, `$.observations[?@.type == 'TOOL'].output`."""

    __slots__ = ("_query", "_steps")

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

    def values(self, trace: Trace) -> list[Any]:
        """Return every value the path selects, in document order; an empty list when nothing matches.

        A filter that compares values nested more deeply than the interpreter can follow selects nothing.
        """
        if self._steps is None:
            return [node.value for node in self._nodes(trace)]
        values: list[Any] = [trace.document()]
        for step in self._steps:
            values = step(values)
        return values

    def located(self, trace: Trace) -> list[Located]:
        """Return `values` together with the place of each."""
        return [Located(node) for node in self._nodes(trace)]

    def first(self, trace: Trace) -> Any:
        """Return the first selected value, None when nothing matches."""
        return next(iter(self.values(trace)), None)

    def _nodes(self, trace: Trace) -> list[JSONPathNode]:
        try:
            return list(self._query.find(trace.document()))
        except RecursionError:
            return []
