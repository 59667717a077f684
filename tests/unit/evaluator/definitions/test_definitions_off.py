"""A rubric that is switched off is as valid as the others, is named, can be tested, and never runs."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from evaluator.definitions import Definitions, load
from evaluator.errors import ConfigError
from evaluator.preview.check import check
from evaluator.preview.trying import decide
from evaluator.settings import Settings
from judges import Rubric
from traces import TraceRef, TraceRoot

RUBRIC = """
name: {name}
enabled: {enabled}
sample: [{{rate: 1}}]
inputs: {{answer: $.root.output}}
criteria: Is it {name}?
score: {{type: boolean}}
"""


def loaded(folder: Path, monitors: str = "[]", **enabled: str) -> Definitions:
    (folder / "rubrics").mkdir(exist_ok=True)
    (folder / "monitors.yaml").write_text(monitors)
    for name, state in enabled.items():
        (folder / "rubrics" / f"{name}.yaml").write_text(RUBRIC.format(name=name, enabled=state))
    return load(folder)


def test_it_never_runs(tmp_path: Path) -> None:
    definitions = loaded(tmp_path, kind="true", brief="false")
    assert [each.name for each in definitions.evaluators] == ["kind"]
    assert [each.name for each in definitions.off] == ["brief"]
    assert [each.name for each in definitions.rubrics()] == ["kind"]


def test_it_is_validated_with_the_others(tmp_path: Path) -> None:
    loaded(tmp_path, kind="true", brief="false")
    file = tmp_path / "rubrics" / "brief.yaml"
    file.write_text(file.read_text().replace("boolean", "bolean").replace("name: brief", "name: kind"))
    with pytest.raises(ConfigError, match=r"brief\.yaml:7:9: score\.type"):
        load(tmp_path)
    file.write_text(file.read_text().replace("bolean", "boolean"))
    with pytest.raises(ConfigError, match="'kind' is already defined"):
        load(tmp_path)


def test_one_that_is_named_is_switched_on_for_a_test(tmp_path: Path) -> None:
    definitions = loaded(tmp_path, kind="true", brief="false", terse="false").with_on(["brief"])
    assert [each.name for each in definitions.rubrics(["brief"])] == ["brief"]
    assert [each.name for each in definitions.off] == ["terse"]
    with pytest.raises(ConfigError, match="no rubric is named 'ters'; did you mean 'terse'"):
        definitions.rubrics(["ters"])


def test_switching_it_on_is_no_new_version(tmp_path: Path) -> None:
    (before,) = loaded(tmp_path, brief="false").off
    (after,) = loaded(tmp_path, brief="true").evaluators
    assert before.version == after.version


def test_it_is_not_in_the_group_of_others(tmp_path: Path) -> None:
    (alone,) = loaded(tmp_path, kind="true").evaluators
    brief = RUBRIC.format(name="brief", enabled="false") + "judge: {group: q}\n"
    (tmp_path / "rubrics" / "brief.yaml").write_text(brief)
    kind = RUBRIC.format(name="kind", enabled="true") + "judge: {group: q}\n"
    (tmp_path / "rubrics" / "kind.yaml").write_text(kind)
    definitions = load(tmp_path)
    assert definitions.evaluators[0].version == Rubric(definitions.rubrics()[0].spec).version == alone.version
    assert any("it is asked alone" in note for note in definitions.notes)


def test_a_monitor_that_waits_for_it_is_remarked(tmp_path: Path) -> None:
    notes = loaded(tmp_path, "[{score: brief}, {score: feedback}]", kind="true", brief="false").notes
    (remark,) = [note for note in notes if "watches" in note]
    assert remark == "monitors.yaml watches 'brief', and rubric brief is switched off (enabled: false)"


def test_where_all_are_off_nothing_will_be_evaluated(tmp_path: Path) -> None:
    remark = "nothing will be evaluated: there is no rule in rules.yaml and every rubric is switched off"
    assert remark in loaded(tmp_path, brief="false").notes


def test_check_names_it(tmp_path: Path) -> None:
    loaded(tmp_path, kind="true", brief="false", terse="false")
    said = io.StringIO()
    settings = Settings.model_validate({"evaluator_config": tmp_path})
    assert check(settings, Console(file=said, width=200), offline=True)
    assert "1 evaluators from" in said.getvalue()
    assert "switched off, and valid: brief, terse (`enabled: true` in a file switches it on)" in said.getvalue()


def test_trying_it_says_that_the_service_would_not_ask(tmp_path: Path) -> None:
    definitions = loaded(tmp_path, kind="true", brief="false").with_on(["brief"])
    at = datetime(2026, 3, 2, tzinfo=UTC)
    root = TraceRoot(TraceRef("t", "r", "production", at, at))
    kind, brief = decide(root, definitions.evaluators, definitions.service)
    assert kind.takes
    assert (brief.takes, brief.state, brief.why) == (False, "off", "switched off: `enabled: false` in its file")
