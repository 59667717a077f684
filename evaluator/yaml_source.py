"""YAML with a memory of places: every problem of a file is told as file:line:column.

YAML 1.2 (ruamel), so a label `yes` stays a word; a key given twice is a problem, not a silent choice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from evaluator.errors import Problem

LONGEST_FILE: Final = 1_000_000
"""Bytes of one file; definitions are written by people."""

MOST_ALIASES: Final = 100
"""Uses of anchors in one file: enough for shared text, too few for an explosion."""

Location = Sequence[int | str]

_ALIAS: Final = re.compile(r"(?:^|[\s\[{,])\*\w")


@dataclass(frozen=True, slots=True)
class Source:
    """One file as read: plain values, and where each of them stands."""

    path: Path
    value: Any
    problems: tuple[Problem, ...] = field(default=())

    def place(self, location: Location) -> str:
        """Return `file:line:column` of the innermost value that `location` reaches."""
        node: Any = self.value
        line, column = (0, 0) if not _positioned(node) else (node.lc.line or 0, node.lc.col or 0)
        for step in location:
            found = _step(node, step)
            if found is None:
                continue  # a part of pydantic's path that is no key: the tag of a union, a function
            node, line, column = found
        return f"{self.path}:{line + 1}:{column + 1}"

    def steps(self, location: Location, *, missing: bool) -> list[str]:
        """Return the parts of pydantic's path that stand in the file; of a `missing` key also its name."""
        node: Any = self.value
        found: list[str] = []
        for step in location:
            below = _step(node, step)
            if below is not None:
                node = below[0]
                found.append(str(step))
        return [*found, str(location[-1])] if missing else found


def read(path: Path) -> Source:
    """Read a file; what makes it unreadable is among the problems of the result, whose value is then None."""
    try:
        if path.stat().st_size > LONGEST_FILE:
            return _unreadable(path, f"has more than {LONGEST_FILE:,} bytes; split it")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return _unreadable(path, f"cannot be read: {error}")
    if text.count("*") > MOST_ALIASES and _aliases(text) > MOST_ALIASES:
        return _unreadable(path, f"uses anchors more than {MOST_ALIASES} times; write the values out")
    try:
        return Source(path, YAML(typ="rt", pure=True).load(text))
    except DuplicateKeyError as error:
        return _unreadable(path, f"{_first_line(error.problem)}; remove one of the two", error)
    except MarkedYAMLError as error:
        return _unreadable(path, f"is not YAML: {_first_line(error.problem or error.context)}", error)
    except (YAMLError, RecursionError, ValueError) as error:
        return _unreadable(path, f"is not YAML: {_first_line(str(error))}")


def problems_of(error: ValidationError, source: Source, model: type[BaseModel], prefix: Location = ()) -> list[Problem]:
    """Return each of pydantic's complaints with its place and, for a wrong name, the nearest right one."""
    details = error.errors(include_url=False, include_input=True)
    return [_problem(one, source, model, prefix) for one in details if not _follows(one, details)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return what a person probably meant: `did you mean 'x'?`, or all known names when nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def plain(value: Any) -> Any:
    """Return a loaded value without its places, as plain dict, list and scalars."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    for scalar in (bool, int, float, str):
        if isinstance(value, scalar):
            return scalar(value)
    return value


def _follows(one: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a list is called too short only because its entries are wrong, which is told already."""
    depth = len(one["loc"])
    return one["type"] == "too_short" and any(
        other is not one and other["loc"][:depth] == one["loc"] for other in details
    )


def _problem(one: ErrorDetails, source: Source, model: type[BaseModel], prefix: Location) -> Problem:
    location = [*prefix, *one["loc"]]
    path = ".".join(source.steps(location, missing=one["type"] == "missing")[len(prefix) :])
    said = one["msg"].removeprefix("Value error, ")
    if one["type"] == "extra_forbidden":
        said = f"is not known here; {nearest(str(one['loc'][-1]), _fields(model, one['loc'][:-1]))}"
    elif one["type"] == "missing":
        said = "is missing"
        location = location[:-1]
    elif isinstance(one.get("input"), str | int | float | bool) and one["type"] not in {"bad_text", "value_error"}:
        said = f"{said}, not {one['input']!r}"
    return Problem(source.place(location), f"{path}: {said}" if path else said)


def _fields(model: type[BaseModel], location: Location) -> set[str]:
    """Name the keys a model knows at `location`, as its JSON Schema tells."""
    schema = model.model_json_schema()
    shared = schema.get("$defs", {})
    nodes = [schema]
    for step in location:
        deeper = [found for node in _opened(nodes, shared) for found in _below(node, step)]
        nodes = deeper or nodes  # the tag of a union is no key: stay where we are
    return {name for node in _opened(nodes, shared) for name in node.get("properties", {})}


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
    inner = node.get("additionalProperties")
    return [inner] if isinstance(inner, dict) else []


def _step(node: Any, step: int | str) -> tuple[Any, int, int] | None:
    if isinstance(node, CommentedMap) and step in node:
        line, column = node.lc.key(step)
        inner = node[step]
        return inner, line, column
    if isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
        line, column = node.lc.item(step)
        return node[step], line, column
    return None


def _positioned(node: Any) -> bool:
    return isinstance(node, CommentedMap | CommentedSeq)


def _aliases(text: str) -> int:
    return len(_ALIAS.findall(text))


def _unreadable(path: Path, what: str, error: MarkedYAMLError | None = None) -> Source:
    mark = error.problem_mark if error is not None else None
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else f"{path}:1:1"
    return Source(path, None, (Problem(place, what),))


def _first_line(text: str | None) -> str:
    return (text or "unknown problem").strip().splitlines()[0]
