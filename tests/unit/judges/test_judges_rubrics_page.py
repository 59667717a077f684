"""The page about rubrics is true: its examples are valid, every key has one, and its numbers are measured."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from evaluator import starter
from evaluator.definitions import load, schemas
from judges import Question, Rubric, RubricSpec
from tests.building import step, trace
from tests.recorded import rows, winner
from traces import NotApplicable

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGE: Final = (DOCS / "rubrics.md").read_text(encoding="utf-8")
BLOCK: Final = re.compile(r"^ *```yaml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
WHOLE: Final = [block for block in BLOCK.findall(PAGE) if block.startswith("name:")]


@pytest.mark.parametrize("block", WHOLE, ids=range(len(WHOLE)))
def test_every_example_is_a_valid_rubric(block: str, tmp_path: Path) -> None:
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "rubrics" / "a.yaml").write_text(block, encoding="utf-8")
    (evaluator,) = load(tmp_path).evaluators
    assert evaluator.kind == "rubric"


def test_every_key_of_a_rubric_has_an_example_somewhere() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md")]
    shown = "".join(block for page in pages for block in BLOCK.findall(page))
    schema = schemas(starter.folder())["rubric.schema.json"]
    assert [key for key in keys(schema) if not re.search(rf"\b{key}\b\"?:", shown)] == []


def keys(schema: Any) -> Iterator[str]:
    """Give every property of a JSON Schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for inner in schema.values():
            yield from keys(inner)
    for inner in schema if isinstance(schema, list) else ():
        yield from keys(inner)


def test_every_key_stands_in_a_table() -> None:
    tables = PAGE.partition("<!-- keys -->")[2].partition("<!-- /keys -->")[0]
    for part in (
        "The file",
        "`inputs.NAME`",
        "`judge`",
        "`observe`",
        "`prompt`",
        "`when.score`",
        "`examples[].expect`",
    ):
        assert f"### {part}\n" in tables
    assert not re.search(r"\|  \|$", tables, re.MULTILINE), "a key without a description"


def test_the_library_is_in_the_table() -> None:
    table = PAGE.partition("<!-- library -->")[2].partition("<!-- /library -->")[0]
    definitions = load(starter.folder())
    assert all(f"| {each.name} |" in table for each in definitions.off)
    assert all(f"| **{rubric.name}** |" in table for rubric in definitions.rubrics())


def test_an_input_may_select_only_what_there_is_something_to_judge_in() -> None:
    block = next(block for block in BLOCK.findall(PAGE) if "search(" in block)
    inputs = YAML(typ="safe").load(block)["inputs"]
    spec = {"name": "a", "inputs": inputs, "criteria": "Is it so?", "score": {"type": "boolean"}}
    rubric = Rubric(RubricSpec.model_validate(spec))
    found = step("r", type="RETRIEVER", output=["A document."])
    for cites in ("See [1].", "See https://example.com/a"):
        assert isinstance(rubric.question(trace(found, output=cites)), Question)
    assert rubric.question(trace(found, output="See there.")) == NotApplicable("no answer_that_cites")


class TestNumbers:
    """LLMBar: 419 pairs with a trap in most of them, judged by recorded models in both orders."""

    @pytest.mark.parametrize(
        ("judge", "method", "told"),
        [
            ("GPT-4", "Vanilla_NoRules", "GPT-4, a bare question"),
            ("GPT-4", "Vanilla", "GPT-4, with rules on what counts and what does not"),
            ("GPT-4", "Metrics", "GPT-4, which first writes down what this answer needs"),
            ("GPT-4", "Vanilla_2shot", "GPT-4, rules and two examples in the prompt"),
            ("ChatGPT", "Vanilla", "ChatGPT, with rules"),
            ("ChatGPT", "Metrics", "ChatGPT, which first writes down what is needed"),
        ],
    )
    def test_the_table_on_length_and_order(self, shared: Path, judge: str, method: str, told: str) -> None:
        right: defaultdict[str, Counter[bool]] = defaultdict(Counter)
        for path in sorted((shared / "data" / "llmbar").glob("LLMBar*__judgments.jsonl.gz")):
            pairs = list(rows(path.with_name(path.name.replace("judgments", "dataset"))))
            for run in rows(path):
                if (run["judge"], run["method"]) == (judge, method):
                    count(right, pairs, run)
        assert right["same"].total() == 419
        shares = [right["longer"] + right["shorter"], right["longer"], right["shorter"]]
        row = [f"{100 * each[True] / each.total():.1f} %" for each in shares]
        row.append(f"{100 * right['same'][False] / 419:.1f} %")
        assert f"| {told} | {' | '.join(row)} |" in PAGE


def count(right: defaultdict[str, Counter[bool]], pairs: list[dict[str, Any]], run: dict[str, Any]) -> None:
    for pair, label, result in zip(pairs, run["labels"], run["results"], strict=True):
        said = [winner(result[-1][order]) for order in ("swap = False", "swap = True")]
        longer = 1 if len(pair["output_1"]) > len(pair["output_2"]) else 2
        right["longer" if longer == label else "shorter"].update(each == label for each in said)
        right["same"][said[0] == said[1]] += 1
