"""YAML with a memory of places: every problem of a file is told as file:line:column.

YAML 1.2 (ruamel), read into nothing but dict, list, text, numbers, truths and null: a label `yes` stays a word, a date
stays as written, and a key given twice is a problem, not a silent choice.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from evaluator.errors import Problem

LONGEST_FILE: Final = 1_000_000
"""Bytes of one file; definitions are written by people."""

MOST_VALUES: Final = 100_000
"""Values of one file with every anchor written out; no file within LONGEST_FILE needs as many, an explosion does."""

MOST_LEVELS: Final = 50
"""How deep values may be nested."""

Location = Sequence[int | str]

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_NUMBERS_AND_SUCH: Final = frozenset(_TAG + kind for kind in ("int", "float", "bool", "null"))
_TAGS: Final = _NUMBERS_AND_SUCH | {_TAG + kind for kind in ("str", "timestamp", "map", "seq", "merge")}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands (its key, or its item in a list), counted from 0, and the places below it."""

    line: int = 0
    column: int = 0
    below: dict[str, Place] | list[Place] | None = None

    def step(self, step: int | str) -> Place | None:
        """Return the place one key or item further down, None when there is none."""
        if isinstance(self.below, dict):
            return self.below.get(str(step))
        if isinstance(self.below, list) and isinstance(step, int) and 0 <= step < len(self.below):
            return self.below[step]
        return None


@dataclass(frozen=True, slots=True)
class Source:
    """One file as read: its value, where each part of it stands, and what is wrong with it as YAML.

    The value is None when the file is empty, or so wrong that there is nothing to look at.
    """

    path: Path
    value: Any
    problems: tuple[Problem, ...] = ()
    root: Place = Place()

    def place(self, location: Location) -> str:
        """Return `file:line:column` of the innermost value that `location` reaches."""
        found = self.root
        for step in location:
            found = found.step(step) or found  # no key: the tag of a union, a function, what is missing
        return f"{self.path}:{found.line + 1}:{found.column + 1}"

    def steps(self, location: Location) -> list[str]:
        """Return the parts of pydantic's path that stand in the file."""
        found, known = self.root, []
        for step in location:
            below = found.step(step)
            if below is not None:
                found = below
                known.append(str(step))
        return known


def read(path: Path) -> Source | None:
    """Read a file; None when there is none. What is wrong with it is among the problems of the result."""
    if not os.path.lexists(path):
        return None
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return _unreadable(path, "is no file")  # a pipe would be waited for, a device has no end
        with path.open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
        if len(content) > LONGEST_FILE:
            return _unreadable(path, f"has more than {LONGEST_FILE:,} bytes; split it")
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        return _unreadable(path, "is not UTF-8 text", before.count(b"\n"), error.start - before.rfind(b"\n") - 1)
    except OSError as error:
        return _unreadable(path, f"cannot be read: {error.strerror}")
    return _parsed(path, text)


def _parsed(path: Path, text: str) -> Source:
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        reading = _Reading(path, yaml.constructor)
        value, below = (None, None) if node is None else reading.content(node, 0)
    except _TooMuch as error:
        return _unreadable(path, str(error), error.line, error.column)
    except ReaderError as error:
        before = text[: error.position]
        said = f"is not YAML: the character U+{error.character:04X} is not allowed"
        return _unreadable(path, said, before.count("\n"), error.position - before.rfind("\n") - 1)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = f"is not YAML: {_first_line(error.problem or error.context)}"
        return _unreadable(path, said, mark.line if mark else 0, mark.column if mark else 0)
    except RecursionError:
        return _unreadable(path, _TOO_DEEP)
    except (YAMLError, ValueError) as error:
        return _unreadable(path, f"is not YAML: {_first_line(str(error))}")
    return Source(path, value, tuple(dict.fromkeys(reading.problems)), Place(below=below))


_TOO_DEEP: Final = f"has values nested deeper than {MOST_LEVELS} levels, or an anchor inside itself"


class _TooMuch(Exception):
    """A file whose values are too many or too deep; where it became so."""

    def __init__(self, said: str, node: Node) -> None:
        super().__init__(said)
        self.line, self.column = node.start_mark.line, node.start_mark.column


class _Reading:
    """Turns the nodes of one file into values and places, and gathers what is wrong on the way."""

    def __init__(self, path: Path, constructor: Any) -> None:
        self._path = path
        self._constructor = constructor
        self._values = 0
        self.problems: list[Problem] = []

    def content(self, node: Node, level: int) -> tuple[Any, dict[str, Place] | list[Place] | None]:
        """Return a node's value and the places below it. Raises _TooMuch."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise _TooMuch(f"has more than {MOST_VALUES:,} values; write less, and use anchors less", node)
        if level > MOST_LEVELS:
            raise _TooMuch(_TOO_DEEP, node)
        if node.tag not in _TAGS:
            # Told, then ignored: the rest of the file is looked at all the same.
            self._problem(node, f"the tag {str(node.tag).removeprefix(_TAG)!r} is not known here; leave it out")
        if isinstance(node, MappingNode):
            return self._mapping(node, level)
        if isinstance(node, SequenceNode):
            return self._sequence(node, level)
        return self._scalar(node), None

    def _mapping(self, node: MappingNode, level: int) -> tuple[dict[str, Any], dict[str, Place]]:
        values: dict[str, Any] = {}
        places: dict[str, Place] = {}
        merged: list[Node] = []
        for key, inner in node.value:
            name = self._whole(key) if isinstance(key, ScalarNode) else ""
            if key.tag == _MERGE:
                merged += inner.value if isinstance(inner, SequenceNode) else [inner]
            elif not isinstance(key, ScalarNode):
                self._problem(key, "a key must be one word or text")
            elif (first := places.get(name)) is not None:
                at = f"{self._path}:{first.line + 1}:{first.column + 1}"
                self._problem(key, f"{name}: is already given at {at}; remove one of the two")
            else:
                values[name], below = self.content(inner, level + 1)
                places[name] = Place(key.start_mark.line, key.start_mark.column, below)
        for inner in merged:
            self._merge(inner, level, values, places)
        return values, places

    def _merge(self, node: Node, level: int, values: dict[str, Any], places: dict[str, Place]) -> None:
        """Add what `<<` brings in and the mapping does not say itself; it stands where it was written."""
        value, below = self.content(node, level + 1)
        if not isinstance(below, dict):
            self._problem(node, "<< takes keys with values, or a list of such")
            return
        for key, place in below.items():
            if key not in places:
                values[key], places[key] = value[key], place

    def _sequence(self, node: SequenceNode, level: int) -> tuple[list[Any], list[Place]]:
        values, places = [], []
        for inner in node.value:
            value, below = self.content(inner, level + 1)
            values.append(value)
            places.append(Place(inner.start_mark.line, inner.start_mark.column, below))
        return values, places

    def _scalar(self, node: Node) -> Any:
        if node.tag in _NUMBERS_AND_SUCH:
            try:
                return self._constructor.construct_object(node)
            except (YAMLError, ValueError):
                self._problem(node, f"{str(node.value)[:40]!r} is not what its tag says")
        return self._whole(node)

    def _whole(self, node: Node) -> str:
        """Return a text that can be written again: escapes as in JSON give a character in two halves, or half a one."""
        halves = str(node.value).encode("utf-16-le", "surrogatepass")
        try:
            return halves.decode("utf-16-le")
        except UnicodeDecodeError:
            self._problem(node, "a text has half a character; write the whole one")
            return halves.decode("utf-16-le", "replace")

    def _problem(self, node: Node, what: str) -> None:
        self.problems.append(Problem(f"{self._path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}", what))


def _unreadable(path: Path, what: str, line: int = 0, column: int = 0) -> Source:
    return Source(path, None, (Problem(f"{path}:{line + 1}:{column + 1}", what),))


def _first_line(text: str | None) -> str:
    return (text or "unknown problem").strip().splitlines()[0]
