"""YAML is read into plain values with their places, and no file, however hostile, costs more than its problems."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.definitions.yaml_source import LONGEST_FILE, MOST_LEVELS, Location, Source, read
from tests.building import nested

Read = Callable[[str | bytes], Source]


@pytest.fixture
def source(tmp_path: Path) -> Read:
    def written(content: str | bytes) -> Source:
        path = tmp_path / "f.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        found = read(path)
        assert found is not None
        return found

    return written


def told(found: Source) -> list[str]:
    return [str(problem).replace(f"{found.path.parent}/", "") for problem in found.problems]


def test_no_file_is_no_source(tmp_path: Path) -> None:
    assert read(tmp_path / "f.yaml") is None


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "\ufeff"])
def test_an_empty_file_is_nothing_and_no_problem(source: Read, text: str) -> None:
    assert source(text).value is None
    assert source(text).problems == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("0o17", 15),
        ("012", 12),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("null", None),
        ("~", None),
        ("06:00", "06:00"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("2026-02-30", "2026-02-30"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("&mark true", True),
        ("1" * 400, int("1" * 400)),
    ],
)
def test_scalars_are_what_yaml_1_2_says_and_dates_are_text(source: Read, text: str, value: object) -> None:
    found = source(f"a: {text}").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_as_written(source: Read) -> None:
    assert source("{1: a, true: b, null: c, 1.50: d}").value == {"1": "a", "true": "b", "null": "c", "1.50": "d"}


def test_a_file_of_windows_reads_alike(source: Read) -> None:
    found = source("\ufeffa: 1\r\nb:\r\n  - x\r\n")
    assert found.value == {"a": 1, "b": ["x"]}
    assert found.place(("b", 0)).endswith(":3:5")


TEXT = """\
a: 1
list:
  - {x: 1, y: [p, q]}
  -   z: |
        long
"""


@pytest.mark.parametrize(
    ("location", "place", "steps"),
    [
        ((), "1:1", []),
        (("a",), "1:1", ["a"]),
        (("list", 0), "3:5", ["list", "0"]),
        (("list", 0, "y"), "3:12", ["list", "0", "y"]),
        (("list", 0, "y", 1), "3:19", ["list", "0", "y", "1"]),
        (("list", 1, "z"), "4:7", ["list", "1", "z"]),
        (("list", "tag of a union", 0, "x"), "3:6", ["list", "0", "x"]),
        (("list", 0, "absent"), "3:5", ["list", "0"]),
        (("list", 7), "2:1", ["list"]),
        (("list", -1), "2:1", ["list"]),
        (("a", "b", "c"), "1:1", ["a"]),
    ],
)
def test_places_are_those_of_the_key_or_the_item(
    source: Read, location: Location, place: str, steps: list[str]
) -> None:
    found = source(TEXT)
    assert found.place(location) == f"{found.path}:{place}"
    assert found.steps(location) == steps


def test_anchors_are_written_out(source: Read) -> None:
    found = source("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3, z: 4}\nd: {<<: [{x: 7}, *a]}\n")
    assert found.problems == ()
    assert found.value["b"] == {"x": 1, "y": 2}
    assert found.value["c"] == {"x": 1, "y": 3, "z": 4}
    assert found.value["d"] == {"x": 7, "y": 2}


def test_what_a_merge_brings_stands_where_it_was_written(source: Read) -> None:
    found = source("a: &a {x: 1, y: 2}\nc: {<<: *a, y: 3}\n")
    assert found.place(("c", "x")) == f"{found.path}:1:8"
    assert found.place(("c", "y")) == f"{found.path}:2:13"


def test_every_duplicate_is_told_with_both_places_once(source: Read) -> None:
    found = source("a: &a\n  x: 1\n  x: 2\nb: {<<: *a}\na: 5\n'a': 6\n")
    assert told(found) == [
        "f.yaml:3:3: x: is already given at f.yaml:2:3; remove one of the two",
        "f.yaml:5:1: a: is already given at f.yaml:1:1; remove one of the two",
        "f.yaml:6:1: a: is already given at f.yaml:1:1; remove one of the two",
    ]
    assert found.value == {"a": {"x": 1}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [", "f.yaml:2:5: is not YAML: expected the node content, but found '<stream end>'"),
        ("a: 'x\n", "f.yaml:2:1: is not YAML: found unexpected end of stream"),
        ("a: 1\n\tb: 2", "f.yaml:2:1: is not YAML: found character '\\t' that cannot start any token"),
        ("- a\n---\n- b", "f.yaml:2:1: is not YAML: but found another document"),
        ("a: *nobody", "f.yaml:1:4: is not YAML: found undefined alias 'nobody'"),
        ("a: 1\nb: \x07", "f.yaml:2:4: is not YAML: the character U+0007 is not allowed"),
        ("a: 1\nb: \x00", "f.yaml:2:4: is not YAML: the character U+0000 is not allowed"),
        ("a: &a [*a]", f"f.yaml:1:4: has values nested deeper than {MOST_LEVELS} levels, or an anchor inside itself"),
        ("&a {<<: *a}", f"f.yaml:1:1: has values nested deeper than {MOST_LEVELS} levels, or an anchor inside itself"),
        ("[" * 3000, f"f.yaml:1:1: has values nested deeper than {MOST_LEVELS} levels, or an anchor inside itself"),
        ("a: !!int five", "f.yaml:1:4: 'five' is not what its tag says"),
        ("a: !ours 5", "f.yaml:1:4: the tag '!ours' is not known here; leave it out"),
        ("- !!set {a, b}", "f.yaml:1:3: the tag 'set' is not known here; leave it out"),
        ("a: !!python/name:os.system x", "f.yaml:1:4: the tag 'python/name:os.system' is not known here; leave it out"),
        ("? [a, b]\n: 1", "f.yaml:1:3: a key must be one word or text"),
        ("a: {<<: 5}", "f.yaml:1:9: << takes keys with values, or a list of such"),
        ('a: "\\ud800"', "f.yaml:1:4: a text has half a character; write the whole one"),
        ('"\\udfff": 1', "f.yaml:1:1: a text has half a character; write the whole one"),
        ("a: 1" + "1" * 5000, f"f.yaml:1:4: '1{'1' * 39}' is not what its tag says"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(source: Read, text: str, expected: str) -> None:
    assert told(source(text)) == [expected]


def test_text_in_another_encoding_is_told_with_its_place(source: Read) -> None:
    assert told(source("a: 1\nb: é".encode("latin-1"))) == ["f.yaml:2:4: is not UTF-8 text"]
    assert told(source("a: 1".encode("utf-16"))) == ["f.yaml:1:1: is not UTF-8 text"]


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").mkdir()
    found = read(tmp_path / "f.yaml")
    assert found is not None
    assert told(found) == ["f.yaml:1:1: is no file"]


def test_giants_are_refused_unread(source: Read) -> None:
    assert told(source("# " + "x" * LONGEST_FILE)) == ["f.yaml:1:1: has more than 1,000,000 bytes; split it"]


def bomb(opening: str, closing: str, levels: int) -> str:
    """Return levels of anchors, each of which uses the one before nine times."""
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {opening}{','.join([f'*a{n - 1}'] * 9)}{closing}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize("levels", [9, 40])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{<<: [", "]}")])
def test_bombs_are_refused_however_few_their_anchors(source: Read, opening: str, closing: str, levels: int) -> None:
    (problem,) = source(bomb(opening, closing, levels)).problems
    assert problem.what == "has more than 100,000 values; write less, and use anchors less"


def test_emphasis_in_a_text_is_no_anchor(source: Read) -> None:
    found = source("criteria: |\n" + "  *very* important, *really*\n" * 200)
    assert found.problems == ()


def test_deep_but_sane_values_are_read(source: Read) -> None:
    value = nested(MOST_LEVELS - 1)
    text = str(value).replace("'", '"')
    assert source(f"a: {text}").value == {"a": value}


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(value=JSONISH)
def test_json_is_read_as_what_it_is(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "f.yaml"
    path.write_text(json.dumps(value))
    found = read(path)
    assert found is not None
    assert found.problems == ()
    assert found.value == value


@settings(max_examples=150)
@given(text=st.text(alphabet=st.sampled_from("ab: -\n{}[],&*<!'\"#|>?%~1\t\x00é"), max_size=60))
def test_any_text_is_read_or_told(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "f.yaml"
    path.write_text(text, encoding="utf-8")
    found = read(path)
    assert found is not None
    for problem in found.problems:
        name, line, column = problem.where.rsplit(":", 2)
        assert name == str(path)
        assert 1 <= int(line) <= text.count("\n") + 2
        assert int(column) >= 1
    assert isinstance(found.value, dict | list | str | int | float | None)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "endless.yaml", "folder.yaml"):
        found = read(tmp_path / name)
        assert found is not None
        assert [str(problem) for problem in found.problems] == [f"{tmp_path / name}:1:1: is no file"]
