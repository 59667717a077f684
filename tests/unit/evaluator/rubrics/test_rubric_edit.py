"""A rubric's file keeps its comments and forms when a few words of it change."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from evaluator import starter
from evaluator.errors import ConfigError
from evaluator.rubrics.editing import difference, edited, file_of
from evaluator.rubrics.files import versions_in
from judges import Example, Expectation
from judges.tuning import PRECEDENTS

RUBRIC: Final = """\
# of the support team
name: helpful   # a score in Langfuse
sample: [{rate: 1}]   # ruamel would write it otherwise
inputs: {question: $.root.input, answer: $.root.output}
criteria: |
  Does it help?
  Take it apart.
score:
  type: numeric
  min: 1
  max: 5
  step: 1
  anchors:
    5: all of it     # at once
    1: "nothing"
# who judges
judge: {model: gpt-5.4-mini}
examples:
- inputs: {question: How?, answer: So.}
  expect: {at_least: 4}
# the end
"""


def example(text: str = "So.") -> Example:
    expect = Expectation(at_least=2, at_most=3.5)
    return Example(
        name="labelled 1", description="A person said 3", inputs={"question": text, "answer": "No."}, expect=expect
    )


def test_only_what_was_proposed_changes_and_comments_stay(tmp_path: Path) -> None:
    after = edited(RUBRIC, {"1": "settles nothing", "3": "half of it"}, ["- A kind: 3, because so."], [example()])
    diff = difference(RUBRIC, after, Path("helpful.yaml"))
    removed = [line for line in diff.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert removed == ['-    1: "nothing"']
    for kept in ("# of the support team", "# a score in Langfuse", "# at once", "# who judges", "# the end"):
        assert kept in after
    assert f"  {PRECEDENTS}\n  - A kind: 3, because so.\n" in after
    path = tmp_path / "helpful.yaml"
    path.write_text(after)
    (rubric,) = versions_in(path, "helpful").rubrics()
    assert rubric.spec.score.anchors == {1: "settles nothing", 3: "half of it", 5: "all of it"}  # type: ignore[union-attr]
    assert rubric.spec.examples[1] == example()
    assert edited(after, {}, [], [example()]) == after  # an example that is there is not there twice


@pytest.mark.parametrize("path", sorted((starter.folder() / "rubrics").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_rubric_of_the_library_can_be_edited_without_another_line_changing(path: Path) -> None:
    text = path.read_text()
    assert edited(text, {}, [], []) == text
    after = edited(text, {}, ["- A kind: yes, because so."], [])
    lines = [line for line in difference(text, after, path).splitlines()[2:] if line[0] in "+-"]
    assert lines == [f"+  {PRECEDENTS}", "+  - A kind: yes, because so."]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), min_size=1, max_size=200))
@settings(max_examples=25)
def test_whatever_a_trace_holds_is_read_back_as_it_was(text: str) -> None:
    after = YAML(typ="safe", pure=True).load(edited(RUBRIC, {}, [], [example(text)]))
    assert after["examples"][1]["inputs"]["question"] == text


def test_the_file_of_a_rubric_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "rubrics" / "other.yaml").write_text(RUBRIC)
    assert file_of(tmp_path, "helpful").name == "other.yaml"
    with pytest.raises(ConfigError, match="no file there is"):
        file_of(tmp_path, "unknown")
