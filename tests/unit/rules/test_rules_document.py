from __future__ import annotations

import functools
import re
from io import StringIO
from pathlib import Path as File
from typing import Any

import pytest
from pydantic import Field
from ruamel.yaml import YAML

from rules import Rule, collect, passed
from rules.collect import RESERVED
from rules.document import inside, markdown
from tests.building import trace
from traces import Trace, Verdict

PAGE = File(__file__).parents[3] / "docs" / "rules.md"
KINDS = collect()


@functools.cache
def written() -> str:
    return markdown(KINDS)


def section(kind: str) -> str:
    return written().split(f"\n## {kind}\n")[1].split("\n## ")[0]


def examples(text: str) -> list[dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return [example for block in blocks for example in YAML(typ="safe").load(StringIO(block))]


class Undocumented(Rule):
    choice: str | None = Field(default=None, description="a | b,\nor neither")
    anything: Any = 3

    def check(self, trace: Trace) -> Verdict:
        return passed(trace.id)


def test_the_page_is_not_stale() -> None:
    page = PAGE.read_text()
    assert page == markdown(KINDS, inside(page, "findings")), "write docs/rules.md anew: make docs"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_heading_a_description_and_an_example(kind: str) -> None:
    text = section(kind)
    assert f"Gives {KINDS[kind].gives}." in text
    assert (KINDS[kind].__doc__ or "").strip().split("\n", maxsplit=1)[0] in text
    assert len(examples(text)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_in_the_table_with_a_description(kind: str) -> None:
    text = section(kind)
    for name, field in KINDS[kind].model_fields.items():
        assert f"| `{field.alias or name}` |" in text
        assert field.description, f"{kind}.{name} has no description"
        assert field.description in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_is_a_definition_that_works(kind: str) -> None:
    (example,) = examples(section(kind))
    assert example == KINDS[kind].example
    assert example["rule"] == kind
    assert re.fullmatch(r"[a-z][a-z0-9-]*", example["name"])
    parameters = {key: value for key, value in example.items() if key not in RESERVED}
    assert isinstance(KINDS[kind].model_validate(parameters), Rule)


def test_the_kind_of_your_own_on_the_page_works(tmp_path: File) -> None:
    page = written()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (line,) = re.findall(r"this is `- (\{.*?\})`", page)
    (tmp_path / "own.py").write_text(code)
    definition = YAML(typ="safe").load(StringIO(line))
    kind = collect(tmp_path)[definition["rule"]]
    rule = kind.model_validate({key: value for key, value in definition.items() if key not in RESERVED})
    assert rule.check(trace(output="Why? When?")) == Verdict(False, "2 asked, 1 allowed")
    assert rule.check(trace(output="Why?")) == Verdict(True, "1 asked")


def test_the_index_links_to_every_kind() -> None:
    page = written()
    assert all(f"| [{kind}](#{kind}) | {rule.gives} |" in page for kind, rule in KINDS.items())


def test_types_and_defaults_are_shown() -> None:
    assert '| `value` | string | `"$.root.output"` |' in section("length")
    assert "| `min` | integer | none |" in section("length")
    assert '| `unit` | `chars` or `words` or `sentences` or `tokens` | `"chars"` |' in section("length")
    assert "| `usd` | number | required |" in section("max_cost")
    assert "| `any` | list of string or object | none |" in section("contains")
    assert "| `schema` | object or boolean | required |" in section("json_schema")
    assert "| `limit` | integer | `2` |" in section("repeated_tool_calls")


def test_a_kind_without_parameters_has_no_table() -> None:
    assert "parameter" not in section("has_user_id")


def test_what_a_team_wrote_without_documentation_is_still_a_section() -> None:
    page = markdown({"undocumented": Undocumented})
    assert "## undocumented" in page
    assert r"| `choice` | string | none | a \| b, or neither |" in page
    assert "| `anything` | any | `3` |  |" in page
    assert "```yaml" not in page


def test_no_docstring_of_a_base_class_is_shown_as_a_kinds_own() -> None:
    assert "A subclass is a kind" not in markdown({"undocumented": Undocumented})
