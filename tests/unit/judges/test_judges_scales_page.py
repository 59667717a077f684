"""The page about scales is true: its examples are valid, and it names every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from evaluator.definitions import load
from judges import Criterion, Scale
from judges.judge import Judge

PAGE: Final = (Path(__file__).parents[3] / "docs" / "scales.md").read_text(encoding="utf-8")
EXAMPLES: Final = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
KINDS: Final[tuple[type[BaseModel], ...]] = get_args(get_args(Scale)[0])

RUBRIC: Final = "name: tone\ninputs: {answer: $.root.output}\ncriteria: Judge the answer.\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_valid(example: str, tmp_path: Path) -> None:
    (tmp_path / "rubrics").mkdir()
    score = "" if "score:" in example else "score: {type: boolean}\n"
    (tmp_path / "rubrics" / "tone.yaml").write_text(RUBRIC + score + example, encoding="utf-8")
    (evaluator,) = load(tmp_path).evaluators
    assert evaluator.rubric is not None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_section_that_names_its_keys(kind: type[BaseModel]) -> None:
    (name,) = get_args(kind.model_fields["type"].annotation)
    _, _, behind = PAGE.partition(f"\n## {name}\n")
    section = behind.partition("\n## ")[0]
    keys = [*kind.model_fields, *(Criterion.model_fields if name == "checklist" else ())]
    assert [key for key in keys if f"{key}:" not in section] == []


def test_what_is_said_of_opinions_is_so() -> None:
    example = next(each for each in EXAMPLES if "samples:" in each)
    judge = Judge.model_validate(YAML(typ="safe").load(example)["judge"])
    assert len(judge.models) == 6


def test_every_key_is_described() -> None:
    schemas: list[dict[str, Any]] = [kind.model_json_schema()["properties"] for kind in KINDS]
    bare = [key for schema in schemas for key, told in schema.items() if key != "type" and "description" not in told]
    assert bare == []
