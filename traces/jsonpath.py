"""The JSONPath engine (RFC 9535), made safe for recorded values and for patterns people write.

The library follows the RFC, with three habits that a service cannot have: `match` and `search` use a backtracking
engine, a pattern that is none silently matches nothing, and `..` gives up on values nested 100 levels deep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import jsonpath_rfc9535 as engine
from iregexp_check import check as is_iregexp
from jsonpath_rfc9535.filter_expressions import StringLiteral
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction
from jsonpath_rfc9535.node import JSONPathNode
from jsonpath_rfc9535.parse import Parser
from jsonpath_rfc9535.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath_rfc9535.tokens import Token, TokenStream

from traces.patterns import BadPattern, Pattern

DEEPEST: Final = 1100
"""Levels that `..` descends: more than the JSON parser lets in (1024)."""

_REMEMBERED: Final = 256
"""Compiled patterns kept; those that a document supplies are as many as strangers like."""


class _Matching(FilterFunction):
    """`match` (the whole text) and `search` (anywhere in it), in linear time."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012 - the library's declaration
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._known: dict[str, Pattern] = {}

    def __call__(self, text: object, pattern: object) -> bool:
        """Whether `text` matches; anything but two texts, or a pattern that is none, does not (RFC 9535, 2.4.6)."""
        if not isinstance(text, str) or not isinstance(pattern, str):
            return False
        try:
            compiled = self._compiled(pattern)
        except BadPattern:
            return False
        return compiled.matches(text) if self._whole else compiled.search(text) is not None

    def _compiled(self, pattern: str) -> Pattern:
        known = self._known.get(pattern)
        if known is None:
            known = compile_iregexp(pattern)
            if len(self._known) < _REMEMBERED:
                self._known[pattern] = known
        return known


class _Below(JSONPathNode):
    """A node found by `..`. It knows its parent and its own step; the library's holds a copy of the whole way to it.

    Half a megabyte of empty lists, a thousand levels deep, filled gigabytes with such copies.
    """

    __slots__ = ("above", "depth", "step")

    def __init__(self, value: object, step: int | str, parent: JSONPathNode) -> None:
        self._value = value
        self.step = step
        self.above = self.parent = parent
        self.root = parent.root
        self.depth: int = _depth(parent) + 1

    @property
    def location(self) -> tuple[int | str, ...]:  # type: ignore[override] # nobody writes it
        """The names and indices from the root to here."""
        steps: list[int | str] = []
        node: JSONPathNode = self
        while isinstance(node, _Below):
            steps.append(node.step)
            node = node.above
        return (*node.location, *reversed(steps))

    def new_child(self, value: object, key: int | str, parent: JSONPathNode | None) -> JSONPathNode:
        """Return the node of a value inside this one."""
        return _Below(value, key, parent or self)


class _Descent(JSONPathRecursiveDescentSegment):
    """`..` without recursion: as deep as recorded values go, in the same order."""

    def _visit(self, node: JSONPathNode, depth: int = 1) -> Iterable[JSONPathNode]:  # noqa: ARG002 - overridden
        yield node
        left = [_inner(node)]  # on each level what is still to be visited there: a million siblings are never held
        while left:
            current = next(left[-1], None)
            if current is None:
                left.pop()
            else:
                yield current
                left.append(_inner(current))


class _Parser(Parser):
    def parse_query(self, stream: TokenStream, *, in_filter: bool = False) -> Iterable[JSONPathSegment]:
        for segment in super().parse_query(stream, in_filter=in_filter):
            if isinstance(segment, JSONPathRecursiveDescentSegment):
                yield _Descent(env=segment.env, token=segment.token, selectors=segment.selectors)
            else:
                yield segment


class Environment(engine.JSONPathEnvironment):
    """Compiles queries; one for the process, without state that a query could change."""

    parser_class = _Parser

    def setup_function_extensions(self) -> None:
        """Put linear-time matching in place of the library's."""
        super().setup_function_extensions()
        self.function_extensions["match"] = _Matching(whole=True)
        self.function_extensions["search"] = _Matching(whole=False)

    def validate_function_extension_signature(self, token: Token, args: list[Any]) -> list[Any]:
        """Refuse a literal pattern that is none, rather than let it silently match nothing."""
        checked = super().validate_function_extension_signature(token, args)
        if token.value in {"match", "search"} and isinstance(checked[1], StringLiteral):
            try:
                compile_iregexp(checked[1].value)
            except BadPattern as error:
                raise engine.JSONPathSyntaxError(str(error), token=token) from error
        return checked


def compile_iregexp(text: str) -> Pattern:
    """Compile an I-Regexp (RFC 9485), the dialect of `match` and `search`.

    Raises:
        BadPattern: it is none.
    """
    if not is_iregexp(text):
        # Says more than "invalid" where the text is no regular expression of any kind.
        Pattern.parse(text)
        raise BadPattern(f"{text!r} is not an I-Regexp (RFC 9485): plain groups, classes and quantifiers only")
    return Pattern.parse(_dots_stay_on_the_line(text))


def _dots_stay_on_the_line(text: str) -> str:
    """Spell the dot out: an I-Regexp's stops at carriage returns too."""
    parts: list[str] = []
    escaped = in_class = False
    for character in text:
        plain = not escaped and not in_class
        parts.append(r"[^\n\r]" if character == "." and plain else character)
        if not escaped and character in "[]":
            in_class = character == "["
        escaped = character == "\\" and not escaped
    return "".join(parts)


def _inner(node: JSONPathNode) -> Iterator[JSONPathNode]:
    """Give the children that may have children."""
    value = node.value if _depth(node) < DEEPEST else None
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return (_Below(item, step, node) for step, item in items if isinstance(item, (dict, list)))


def _depth(node: JSONPathNode) -> int:
    return node.depth if isinstance(node, _Below) else len(node.location)
