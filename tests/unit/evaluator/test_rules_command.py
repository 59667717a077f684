from __future__ import annotations

import json
from pathlib import Path as File

import pytest
from typer.testing import CliRunner, Result

from evaluator.cli import cli
from evaluator.errors import ConfigError
from rules import collect

OWN = """from rules import Rule, passed

class Polite(Rule):
    \"\"\"The answer is polite.\"\"\"

    def check(self, trace):
        return passed("polite")
"""


@pytest.fixture
def run(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "polite.py").write_text(OWN)
    (tmp_path / "evaluator.yaml").write_text("rules_path: own\n")
    monkeypatch.setenv("EVALUATOR_CONFIG", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def asked(run: CliRunner, *arguments: str) -> Result:
    return run.invoke(cli, ["rules", *arguments])


def test_every_kind_is_listed_and_own_ones_with_their_file(run: CliRunner) -> None:
    said = asked(run).output
    assert all(f"\n{kind} " in said for kind in collect())
    assert "The answer is polite." in said
    assert "polite.py" in said
    assert f"{len(collect()) + 1} kinds" in said


def test_one_kind_has_its_section_of_the_page(run: CliRunner) -> None:
    said = asked(run, "length").output
    assert said.startswith("## length\n")
    assert "| `max` | integer | none | the most that is allowed |" in said
    assert "rule: length" in said
    assert "## max_cost" not in said


def test_programs_get_json(run: CliRunner) -> None:
    told = json.loads(asked(run, "--json").output)
    assert set(told) == {*collect(), "polite"}
    assert told["length"]["parameters"]["max"]["description"] == "the most that is allowed"
    assert told["json_schema"]["required"] == ["schema"]
    assert (told["length"]["ours"], told["polite"]["ours"]) == (True, False)
    assert set(json.loads(asked(run, "polite", "--json").output)) == {"polite"}


def test_a_slip_of_the_pen_gets_the_nearest_kind(run: CliRunner) -> None:
    failed = asked(run, "lenght").exception
    assert isinstance(failed, ConfigError)
    assert "unknown kind 'lenght'; did you mean 'length'?" in str(failed)


def test_own_rules_that_cannot_be_read_are_told_with_their_place(run: CliRunner, tmp_path: File) -> None:
    (tmp_path / "own" / "polite.py").write_text("1 / 0")
    failed = asked(run).exception
    assert isinstance(failed, ConfigError)
    assert "evaluator.yaml:1:1: rules_path: " in str(failed.problems[0])
    assert "ZeroDivisionError" in str(failed.problems[0])
