"""Langfuse's own evaluators become rubrics that pass `evaluator check`, and what cannot be carried over is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from evaluator.cli import cli
from evaluator.definitions import load
from evaluator.rubrics.importing import Imported, imported
from sandbox.server import Sandbox
from tests.serving import Config


@pytest.fixture
def typed(environment: dict[str, str], config: Config, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = config(rubrics={})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVALUATOR_CONFIG", str(folder))
    return lambda *words: CliRunner().invoke(cli, ["import", "langfuse", "--to", str(folder / "rubrics"), *words])


def filled(sandbox: Sandbox) -> None:
    native = sandbox.langfuse.native
    correct = native.add(
        "Answer Correctness",
        prompt=[
            {"role": "system", "content": "You are a strict judge."},
            {"role": "user", "content": "Is {{answer}} a correct answer to {{ question }}? Score: 0 to 1"},
        ],
        variables=["answer", "question"],
        variableMapping=[
            {"variable": "answer", "source": "output", "jsonPath": "$.text"},
            {"variable": "question", "source": "input"},
        ],
        modelConfig={"provider": "openai", "model": "gpt-4.1-mini"},
    )
    native.add_rule(
        "Roots",
        correct,
        sampling=0.25,
        filter=[
            {"type": "null", "column": "parentObservationId", "operator": "is null", "value": ""},
            {"type": "stringOptions", "column": "environment", "operator": "any of", "value": ["production"]},
            {"type": "stringObject", "column": "metadata", "key": "plan", "operator": "=", "value": "pro"},
        ],
    )
    labels = {"dataType": "CATEGORICAL", "categories": ["right", "wrong"], "shouldAllowMultipleMatches": False}
    tools = native.add("Tool use!", outputDefinition=labels)
    native.add_rule(
        "Tools", tools, filter=[{"type": "stringOptions", "column": "type", "operator": "any of", "value": ["TOOL"]}]
    )
    native.add_rule("Off", tools, enabled=False)
    native.add("In code", type="code", sourceCode="def evaluate(): ...", sourceCodeLanguage="PYTHON")
    wanted = {"variable": "wanted", "source": "expected_output"}
    native.add("Of experiments", variables=["wanted"], variableMapping=[wanted])


def test_what_is_written_passes_the_check_and_says_what_is_lost(sandbox: Sandbox, typed: Any, tmp_path: Path) -> None:
    filled(sandbox)
    done = typed()
    assert done.exit_code == 0, done.output
    definitions = load(tmp_path / "config")
    rubrics = {each.name: each for each in definitions.off}
    assert set(rubrics) == {"answer-correctness", "tool-use"}
    spec = rubrics["answer-correctness"].rubric.spec  # type: ignore[union-attr]
    document = YAML(typ="safe").load(tmp_path / "config" / "rubrics" / "answer-correctness.yaml")
    assert document["inputs"] == {"answer": "$.root.output.text", "question": "$.root.input"}
    assert document["sample"] == [{"when": {"environment": ["production"]}, "rate": 0.25}]
    assert document["score"] == {"type": "numeric", "min": 0, "max": 1}
    assert (spec.judge.model, spec.enabled) == ("gpt-4.1-mini", False)
    assert spec.criteria.startswith('You are a strict judge.\n\nIs "answer" a correct answer to "question"?')
    assert rubrics["tool-use"].target == "observation"
    assert rubrics["tool-use"].observe.type == ("TOOL",)  # type: ignore[union-attr]
    for said in (
        "rule 'Roots': the filter 'metadata.plan = pro' is not carried over",
        "rule 'Off' is off in Langfuse and left out",
        "the criteria ask for a form of answer",
        "variable 'output' has no mapping: taken from the root's output",
        "In code: not imported",
        "variable 'wanted' is filled from 'expected_output', which no trace has",
        "no rubric can be made of it: inputs",
    ):
        assert said in done.output, said
    assert "# * rule 'Off' is off" in (tmp_path / "config" / "rubrics" / "tool-use.yaml").read_text()


def test_what_is_there_is_kept_unless_forced(sandbox: Sandbox, typed: Any, tmp_path: Path) -> None:
    sandbox.langfuse.native.add("Tone")
    assert typed().exit_code == 0
    path = tmp_path / "config" / "rubrics" / "tone.yaml"
    ours = path.read_text().replace("enabled: false", "enabled: true")
    path.write_text(ours)
    assert "kept what is there" in typed().output
    assert path.read_text() == ours
    typed("--force")
    assert "enabled: false" in path.read_text()


def test_more_than_a_page_is_read_and_names_are_told_apart(sandbox: Sandbox, typed: Any, tmp_path: Path) -> None:
    assert "nothing to import" in typed().output
    for _ in range(103):
        sandbox.langfuse.native.add("Same")
    assert typed().exit_code == 0
    assert len(load(tmp_path / "config").off) == 103


def only(**fields: Any) -> Imported:
    row = {"id": "e", "name": "E", "type": "llm_as_judge", "prompt": "Judge {{x}}.", "variables": ["x"], **fields}
    (found,) = imported([row], fields.get("rules", []))
    return found


def test_a_mapping_of_an_older_rule_names_an_observation() -> None:
    older = {"mappingType": "legacy", "langfuseObject": "retriever", "objectName": "the 'search'"}
    mapping = [{**older, "variable": "x", "source": "output"}]
    found = only(variableMapping=mapping, outputDefinition={"dataType": "BOOLEAN"})
    inputs = YAML(typ="safe").load(found.text)["inputs"]
    assert inputs == {"x": r"$.observations[?@.name == 'the \'search\''].output"}
    assert "it uses the project's default model in Langfuse: set judge.model, or ours is used" in found.notes


def test_two_kinds_of_observations_are_no_target() -> None:
    def rule(kind: str) -> dict[str, Any]:
        where = [{"column": "type", "operator": "any of", "value": [kind]}]
        own = {"evaluatorAssignments": [{"evaluatorId": "e"}], "filter": where}
        return {"name": f"{kind}\nenabled: true", "enabled": True, "sampling": 1, **own}

    mapping = [{"variable": "x", "source": "tool_calls", "jsonPath": "name"}]
    found = only(variableMapping=mapping, outputDefinition={}, rules=[rule("TOOL"), rule("AGENT")], status="paused")
    document = YAML(typ="safe").load(found.text)
    assert "target" not in document
    assert document["enabled"] is False
    notes = " | ".join(found.notes)
    assert "different observations" in notes
    assert "the path 'name' is not carried over" in notes
    assert "it is paused" in notes
    assert "no bounds" in notes
