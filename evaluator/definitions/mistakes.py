"""What pydantic found wrong, in words for the person who wrote the file: what, where, what was expected instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic_core import ErrorDetails

from evaluator.definitions.yaml_source import Location, Source
from evaluator.errors import Problem

_LONGEST_VALUE: Final = 60
"""Characters of a wrong value that are shown: enough to find it."""

_PLAINLY: Final[Mapping[str, str]] = {
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
    "dict_type": "expected keys with values",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "string_type": "expected text",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
}
"""What pydantic says in Python's words."""

_PATTERNS: Final[Mapping[str, str]] = {
    r"^[A-Za-z0-9][A-Za-z0-9 _.()-]{0,34}$": "expected 1 to 35 letters, digits, blanks or _ . ( ) -, "
    "of which the first is a letter or digit",
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,34}$": "expected a name of 1 to 35 letters, digits, _ or -, "
    "of which the first is a letter or digit",
    r"^[A-Za-z][A-Za-z0-9 _-]{0,39}$": "expected a name of 1 to 40 letters, digits, blanks, _ or -, "
    "of which the first is a letter",
    r"^[^,]+$": "expected a name without comma",
}
"""What a pattern means."""

_TOLD_BY_MESSAGE: Final = ("bad_text", "value_error")
"""Complaints whose message already shows the value, or is not about one."""


def problems_of(
    error: ValidationError, source: Source, model: type[BaseModel], prefix: Location = (), beside: Iterable[str] = ()
) -> list[Problem]:
    """Return each of pydantic's complaints with its place and, for a wrong name, the nearest right one.

    Args:
        error: what validating a part of `source` raised.
        source: the file.
        model: what was validated.
        prefix: where in the file the validated part stands.
        beside: keys that are legal at the top of that part though `model` does not know them.
    """
    details = error.errors(include_url=False, include_input=True)
    told = [_problem(one, source, model, prefix, beside) for one in details if not _follows(one, details)]
    return list(dict.fromkeys(told))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return what a person probably meant: `did you mean 'x'?`, or all known names when nothing is near."""
    names = sorted(known)
    close = near(name, names)
    if close is not None:
        return f"did you mean {close!r}?"
    return f"known: {', '.join(names)}" if names else "nothing is known there"


def near(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, None when it is like none of them."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)), None)


def _follows(one: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a list is called too short only because its entries are wrong, which is told already."""
    depth = len(one["loc"])
    return one["type"] == "too_short" and any(
        other is not one and other["loc"][:depth] == one["loc"] for other in details
    )


def _problem(
    one: ErrorDetails, source: Source, model: type[BaseModel], prefix: Location, beside: Iterable[str]
) -> Problem:
    location = [*prefix, *one["loc"]]
    path = source.steps(location)[len(prefix) :]
    kind, context = one["type"], one.get("ctx", {})
    if kind == "missing":
        path.append(str(location[-1]))
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        tag = context["discriminator"].strip("'")
        location.append(tag)
        path.append(tag)
    said = _said(one, lambda: _fields(model, one["loc"][:-1], beside))
    return Problem(source.place(location), f"{'.'.join(path)}: {said}" if path else said)


def _said(one: ErrorDetails, known: Any) -> str:
    """Word one complaint; `known` tells the keys that are legal where it arose."""
    kind, context, given = one["type"], one.get("ctx", {}), one.get("input")
    if kind == "extra_forbidden":
        return f"is not known here; {nearest(str(one['loc'][-1]), known())}"
    if kind in {"missing", "union_tag_not_found"}:
        return "is missing"
    if kind == "union_tag_invalid":
        return _choice(context["tag"], context["expected_tags"])
    if kind in {"literal_error", "enum"}:
        return _choice(given, context["expected"])
    if kind == "too_short" and context.get("min_length") == 1:
        return "must not be empty"
    message = _PATTERNS.get(context.get("pattern", ""), _PLAINLY.get(kind, one["msg"].removeprefix("Value error, ")))
    shows = isinstance(given, str | int | float | bool | None) and kind not in _TOLD_BY_MESSAGE
    return f"{message}, not {_shown(given)}" if shows else message


def _choice(given: object, expected: str) -> str:
    """Word a value that is none of pydantic's list, which reads: 'a', 'b' or 'c'."""
    names = re.findall(r"'((?:[^'\\]|\\.)*)'", expected)
    close = near(str(given), names)
    suggestion = f"; did you mean {close!r}?" if close is not None else ""
    return f"expected {expected}, not {_shown(given)}{suggestion}"


def _shown(given: object) -> str:
    if given is None:
        return "nothing"
    text = repr(given)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _fields(model: type[BaseModel], location: Location, beside: Iterable[str]) -> set[str]:
    """Name the keys a model knows at `location`, as its JSON Schema tells."""
    try:
        schema = model.model_json_schema()
    except (PydanticInvalidForJsonSchema, PydanticUserError):  # a team's own kind, with a type no schema can tell
        return {*model.model_fields, *beside} if not location else set()
    shared = schema.get("$defs", {})
    nodes = [schema]
    for step in location:
        deeper = [found for node in _opened(nodes, shared) for found in _below(node, step)]
        nodes = deeper or nodes  # the tag of a union is no key: stay where we are
    return {name for node in _opened(nodes, shared) for name in node.get("properties", {})} | set(
        () if location else beside
    )


def _opened(nodes: Iterable[Any], shared: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give each schema and those it stands for, references and alternatives followed."""
    for node in nodes:
        if "$ref" in node:
            yield from _opened([shared[node["$ref"].rsplit("/", 1)[-1]]], shared)
        yield node
        yield from _opened([*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())], shared)


def _below(node: dict[str, Any], step: int | str) -> list[Any]:
    if isinstance(step, int):
        return [node["items"]] if "items" in node else []
    if step in node.get("properties", {}):
        return [node["properties"][step]]
    inner = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    return [schema for schema in inner if isinstance(schema, dict)]
