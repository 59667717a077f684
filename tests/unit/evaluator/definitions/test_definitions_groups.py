"""Groups of rubrics in a config folder: known to each other, and remarked when they are not what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluator.definitions import Definitions, load
from evaluator.errors import ConfigError


def rubric(name: str, judge: str) -> str:
    return (
        f"name: {name}\ninputs: {{answer: $.root.output}}\ncriteria: Is it {name}?\n"
        f"score: {{type: boolean}}\njudge: {{{judge}}}\n"
    )


def loaded(folder: Path, **judges: str) -> Definitions:
    (folder / "rubrics").mkdir(exist_ok=True)
    for name, judge in judges.items():
        (folder / "rubrics" / f"{name}.yaml").write_text(rubric(name, judge))
    return load(folder)


def test_the_versions_of_a_group_depend_on_each_other(tmp_path: Path) -> None:
    before = {e.name: e.version for e in loaded(tmp_path, a="group: q", b="group: q", c="").evaluators}
    after = {e.name: e.version for e in loaded(tmp_path, b="group: q, max_output_tokens: 900").evaluators}
    assert [name for name in before if before[name] != after[name]] == ["a", "b"]


def test_a_group_that_is_none_is_remarked(tmp_path: Path) -> None:
    alone = loaded(tmp_path, a="group: q").notes
    assert "group 'q' has one rubric, a: it is asked alone" in alone
    split = loaded(tmp_path, b="group: q, model: gpt-5.4").notes
    assert "group 'q' takes 2 calls: its rubrics differ in model, temperature or target" in split


def test_too_many_rubrics_in_one_call_are_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"judge\.group: group 'q' has 9 rubrics; one call answers at most 8"):
        loaded(tmp_path, **{f"r{n}": "group: q" for n in range(9)})
