"""A rubric's file with a few words changed: comments, order and forms of everything else stay as they are written."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import FoldedScalarString, LiteralScalarString

from evaluator.definitions.yaml_source import read
from evaluator.errors import ConfigError, Problem
from judges import Example
from judges.tuning import with_precedents

_FORMS: Final = tuple((width, sequence, offset) for width in (120, 4096) for sequence, offset in ((4, 2), (2, 0)))
"""How wide lines are, and how far lists stand in: the form nearest to how a file is written is taken."""

_FOLDED_FROM: Final = 80


def file_of(folder: Path, name: str) -> Path:
    """Return the file of a rubric in a folder of definitions.

    Raises:
        ConfigError: there is none.
    """
    for path in sorted((folder / "rubrics").glob("*.y*ml")):
        source = read(path)
        if source is not None and isinstance(source.value, Mapping) and source.value.get("name") == name:
            return path
    raise ConfigError([Problem(str(folder / "rubrics"), f"no file there is of a rubric named {name!r}")])


def edited(text: str, anchors: Mapping[str, str], precedents: Sequence[str], examples: Sequence[Example]) -> str:
    """Return a rubric's file with other meanings of levels, more decided cases and more golden examples.

    Args:
        text: the file.
        anchors: meanings by level, as levels are written.
        precedents: lines that end the criteria.
        examples: stand behind those that are there.
    """
    yaml = min(map(_writer, _FORMS), key=lambda each: _distance(text, _dumped(each, each.load(text))))
    document = yaml.load(text)
    as_it_was = _dumped(yaml, document)
    if precedents:
        document["criteria"] = LiteralScalarString(with_precedents(str(document["criteria"]), precedents))
    known = document["score"].setdefault("anchors", CommentedMap()) if anchors else {}
    for level, meaning in anchors.items():
        known[_key(known, level)] = meaning
    if examples:
        named = {str(each.get("name", "")) for each in document.get("examples") or ()}
        more = [_example(each) for each in examples if each.name not in named]
        document.setdefault("examples", CommentedSeq()).extend(more)
    changed = _dumped(yaml, document)
    merged = _merged(text, as_it_was, changed)
    return merged if merged is not None and _same(merged, changed) else changed


def difference(before: str, after: str, path: Path) -> str:
    """Return what is different as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), f"{path} (proposed)"
    )
    return "".join(lines)


def _writer(form: tuple[int, int, int]) -> YAML:
    width, sequence, offset = form
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = width
    yaml.indent(mapping=2, sequence=sequence, offset=offset)
    return yaml


def _dumped(yaml: YAML, document: Any) -> str:
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _distance(one: str, other: str) -> int:
    changed: Iterator[str] = difflib.ndiff(one.splitlines(), other.splitlines())
    return sum(line[:1] in "+-" for line in changed)


def _merged(text: str, before: str, after: str) -> str | None:
    """Return a file with what is different between two writings of it by ruamel, which writes some lines its own way.

    None where a line that changes cannot be found in the file.
    """
    own, old, new = (each.splitlines(keepends=True) for each in (text, before, after))
    places = {len(old): len(own)}
    for _, start, end, place, stop in difflib.SequenceMatcher(None, old, own, autojunk=False).get_opcodes():
        alike = end - start == stop - place
        places |= {line: place + line - start for line in range(start, end)} if alike else {start: place}
    found: list[str] = []
    at = 0
    for tag, start, end, first, last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if start not in places or end not in places:
            return None
        found += [*own[at : places[start]], *new[first:last]]
        at = places[end]
    return "".join([*found, *own[at:]])


def _same(one: str, other: str) -> bool:
    """Whether both mean the same."""
    try:
        return bool(YAML(typ="safe", pure=True).load(one) == YAML(typ="safe", pure=True).load(other))
    except YAMLError:
        return False


def _key(known: Mapping[Any, Any], level: str) -> Any:
    """Return the key of a level as it is written in the file; of one that is not there, as YAML reads it."""
    for key in known:
        same = f"{key:g}" if isinstance(key, int | float) and not isinstance(key, bool) else str(key).lower()
        if level in {same, str(key)}:
            return key
    return YAML(typ="safe", pure=True).load(level)


def _example(each: Example) -> CommentedMap:
    expect = each.expect.model_dump(exclude_none=True)
    wanted = CommentedMap({key: _number(expect[key]) for key in ("equals", "at_least", "at_most") if key in expect})
    wanted.fa.set_flow_style()
    inputs = CommentedMap({name: _text(str(text)) for name, text in each.inputs.items()})
    return CommentedMap({"name": each.name, "description": each.description, "inputs": inputs, "expect": wanted})


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(text: str) -> Any:
    """Return a text as a person would write it: lines as lines, a long one folded."""
    if "\n" in text:
        return LiteralScalarString(text)
    return FoldedScalarString(text) if len(text) > _FOLDED_FROM else text
