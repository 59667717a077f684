"""The half of JSONPath that nearly all paths use, read directly: names, indices, wildcards, filters `@.a.b == 'text'`.

The library makes a node with its whole location for every value it passes; where only the values are asked for, that
was a tenth of all CPU. What is not understood here is left to the library, and the answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jsonpath_rfc9535 import JSONPathQuery
from jsonpath_rfc9535.filter_expressions import ComparisonExpression, Expression, RelativeFilterQuery, StringLiteral
from jsonpath_rfc9535.segments import JSONPathChildSegment, JSONPathSegment
from jsonpath_rfc9535.selectors import FilterSelector, IndexSelector, JSONPathSelector, NameSelector, WildcardSelector

Step = Callable[[list[Any]], list[Any]]


def steps(query: JSONPathQuery) -> tuple[Step, ...] | None:
    """Return what to do with the document, one step after the other; None when the library must read the path."""
    found = [_step(segment) for segment in query.segments]
    known = tuple(step for step in found if step is not None)
    return known if len(known) == len(found) else None


def _step(segment: JSONPathSegment) -> Step | None:
    if not isinstance(segment, JSONPathChildSegment) or len(segment.selectors) != 1:
        return None
    match segment.selectors[0]:
        case NameSelector(name=name):
            return _by_name(name)
        case IndexSelector(index=index):
            return _by_index(index)
        case WildcardSelector():
            return _children
        case FilterSelector() as selector:
            return _by_filter(selector)
    return None


def _by_name(name: str) -> Step:
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]


def _by_index(index: int) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [value[index] for value in values if isinstance(value, list) and -len(value) <= index < len(value)]

    return step


def _children(values: list[Any]) -> list[Any]:
    return [item for value in values for item in _inside(value)]


def _inside(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _by_filter(selector: FilterSelector) -> Step | None:
    comparison = selector.expression.expression
    if not isinstance(comparison, ComparisonExpression) or comparison.operator != "==":
        return None
    sides = comparison.left, comparison.right
    names = _names(sides[0]) or _names(sides[1])
    text = next((side.value for side in sides if isinstance(side, StringLiteral)), None)
    if names is None or text is None:
        return None
    return lambda values: [item for item in _children(values) if _at(item, names) == text]


def _names(side: Expression) -> tuple[str, ...] | None:
    """Return the names of a path such as `@.a.b`; None when it is anything else."""
    if not isinstance(side, RelativeFilterQuery):
        return None
    selectors: list[JSONPathSelector] = [
        selector for segment in side.query.segments if isinstance(segment, JSONPathChildSegment)
        for selector in segment.selectors
    ]  # fmt: skip
    names = tuple(selector.name for selector in selectors if isinstance(selector, NameSelector))
    return names if names and len(names) == len(selectors) == len(side.query.segments) else None


def _at(value: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value
