"""Every mistake in a configuration is told with its place, what was expected and the nearest right name."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from evaluator import starter
from evaluator.definitions import load, schemas
from evaluator.errors import ConfigError
from evaluator.service_config import Duration
from evaluator.yaml_source import LONGEST_FILE
from traces import DataType

Write = Callable[..., Path]

RUBRIC = """\
name: helpfulness
inputs: {answer: $.root.output}
criteria: Does it help?
score: {type: boolean}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def files(**texts: str) -> Path:
        for name, text in texts.items():
            path = tmp_path / ("rubrics/" + name[7:] if name.startswith("rubric_") else name)
            path = path.with_suffix(".yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return files


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_the_shipped_configuration_is_valid() -> None:
    definitions = load(starter.folder())
    assert len([e for e in definitions.evaluators if e.kind == "rule"]) == 12
    assert {e.name for e in definitions.evaluators if e.kind == "rubric"} == {
        "agent-trajectory",
        "faithfulness",
        "helpfulness",
        "instruction-following",
    }
    assert [monitor.score for monitor in definitions.monitors][-1] == "user-feedback"
    assert definitions.notes == ()


def test_an_empty_folder_is_a_service_that_evaluates_nothing(tmp_path: Path) -> None:
    definitions = load(tmp_path)
    assert definitions.evaluators == ()
    assert definitions.service.discovery.quiet_for == timedelta(seconds=90)


def test_a_folder_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    assert problems(tmp_path / "nowhere") == [
        f"{tmp_path}/nowhere: is not a folder; set EVALUATOR_CONFIG, or run `evaluator init`"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("disocvery: {}", "evaluator.yaml:1:1: disocvery: is not known here; did you mean 'discovery'?"),
        (
            "discovery: {quiet_for: 5 parsecs}",
            "evaluator.yaml:1:13: discovery.quiet_for: expected a duration such as 90s, 15m, 1h or 7d",
        ),
        (
            "discovery:\n  every: 1s\n  overlpa: 1m",
            "evaluator.yaml:3:3: discovery.overlpa: is not known here; did you mean 'overlap'?",
        ),
        ("batch_size: 500", "evaluator.yaml:1:1: batch_size: Input should be less than or equal to 50, not 500"),
        (
            "models: {prices: {gpt: {input: 1, ouput: 2}}}",
            "evaluator.yaml:1:35: models.prices.gpt.ouput: is not known here; did you mean 'output'?",
        ),
        ("a: [", "evaluator.yaml:1:5: is not YAML: expected the node content, but found '<stream end>'"),
        ("batch_size: 5\nbatch_size: 6", 'evaluator.yaml:2:1: found duplicate key "batch_size"'),
    ],
)
def test_mistakes_in_evaluator_yaml(write: Write, text: str, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(write(evaluator=text))), problems(write())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "- {name: a, rule: max_latncy, seconds: 1}",
            "rules.yaml:1:13: rule: unknown kind 'max_latncy'; did you mean 'max_latency'?",
        ),
        (
            "- {name: a, rule: not_empty, valeu: $.x}",
            "rules.yaml:1:30: valeu: is not known here; did you mean 'value'?",
        ),
        ("- {name: a, rule: max_latency}", "rules.yaml:1:3: seconds: is missing"),
        ("- {rule: not_empty}", "rules.yaml:1:3: name: is missing"),
        ("- {name: a}", "rules.yaml:1:3: rule: is missing"),
        ("- not_empty", "rules.yaml:1:3: expected a rule: {name: ..., rule: ...}"),
        ("name: a", "rules.yaml:1:1: expected a list: each entry begins with `- `"),
        ("- {name: 'a,b', rule: not_empty}", "rules.yaml:1:4: name: String should match pattern"),
        (
            "- {name: a, rule: not_empty, sample: [{rate: 5}]}",
            "rules.yaml:1:40: sample.0.rate: Input should be less than or equal to 1, not 5",
        ),
        (
            "- {name: a, rule: not_empty, when: {levl: ERROR}}",
            "rules.yaml:1:37: when.levl: is not known here; did you mean 'level'?",
        ),
        (
            "- {name: a, rule: not_empty, value: root.output}",
            "rules.yaml:1:30: value: 'root.output' is not a JSONPath (RFC 9535)",
        ),
        (
            "- {name: a, rule: not_empty}\n- {name: b, rule: not_empty}\n- {name: a, rule: error_level}",
            "rules.yaml:3:4: name: 'a' is already defined at rules.yaml:1:4",
        ),
    ],
)
def test_mistakes_in_rules_yaml(write: Write, text: str, expected: str) -> None:
    (problem,) = problems(write(rules=text))
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name:", "nam:", "rubrics/helpfulness.yaml:1:1: nam: is not known here; did you mean 'name'?"),
        ("$.root.output", "root", "rubrics/helpfulness.yaml:2:10: inputs.answer: 'root' is not a JSONPath"),
        ("{type: boolean}", "{type: bool}", "rubrics/helpfulness.yaml:4:1: score: "),
        ("{type: boolean}", "{type: numeric, min: 5, max: 1}", "rubrics/helpfulness.yaml:4:1: score: min (5) must be"),
        (
            "criteria: Does it help?",
            "criteria: Does it help?\nexamples: [{inputs: {anwser: x}, expect: {equals: true}}]",
            "rubrics/helpfulness.yaml:1:1: example 1: unknown input 'anwser'; the inputs are answer",
        ),
    ],
)
def test_mistakes_in_a_rubric(write: Write, old: str, new: str, expected: str) -> None:
    found = problems(write(rubric_helpfulness=RUBRIC.replace(old, new)))
    assert any(problem.startswith(expected) for problem in found), found


def test_a_rule_and_a_rubric_may_not_share_a_name(write: Write) -> None:
    folder = write(rules="- {name: helpfulness, rule: not_empty}", rubric_helpfulness=RUBRIC)
    assert problems(folder) == [
        "rubrics/helpfulness.yaml:1:1: name: 'helpfulness' is already defined at rules.yaml:1:4"
    ]


def test_all_problems_of_all_files_come_at_once_in_order(write: Write) -> None:
    folder = write(
        evaluator="x: 1",
        rules="- {name: a, rule: nope}\n- {name: b, rule: nope}",
        monitors="- {score: a}\n- {score: a}",
        rubric_broken="name: [",
    )
    places = [problem.split(": ")[0] for problem in problems(folder)]
    assert places == [
        "evaluator.yaml:1:1",
        "monitors.yaml:2:4",
        "rubrics/broken.yaml:1:8",
        "rules.yaml:1:13",
        "rules.yaml:2:13",
    ]


def test_bombs_and_giants_are_refused(write: Write) -> None:
    bomb = "a: &a [1]\nb: [" + ", ".join(["*a"] * 101) + "]"
    assert problems(write(evaluator=bomb)) == [
        "evaluator.yaml:1:1: uses anchors more than 100 times; write the values out"
    ]
    giant = "# " + "x" * LONGEST_FILE
    assert problems(write(evaluator=giant)) == ["evaluator.yaml:1:1: has more than 1,000,000 bytes; split it"]


def test_yes_and_no_stay_words(write: Write) -> None:
    text = RUBRIC.replace("{type: boolean}", "{type: categorical, labels: [yes, no, off]}")
    (evaluator,) = load(write(rubric_helpfulness=text)).evaluators
    assert evaluator.data_type is DataType.CATEGORICAL
    assert evaluator.rubric is not None
    assert evaluator.rubric.spec.score.answer_schema()["enum"] == ["yes", "no", "off"]


def versions(folder: Path) -> list[str]:
    return [evaluator.version for evaluator in load(folder).evaluators]


def test_a_version_follows_what_can_change_a_verdict_and_nothing_else(write: Write) -> None:
    before = versions(write(rules="- {name: a, rule: length, max: 5}", rubric_helpfulness=RUBRIC))
    same = RUBRIC.replace(
        "criteria: Does it help?", "description: new\nsample: [{rate: 1}]\ncriteria:   'Does it help?'"
    )
    after = versions(write(rules="-  name: other\n   rule: length\n   max: 5\n", rubric_helpfulness=same))
    assert after == before
    changed = RUBRIC.replace("Does it help?", "Does it help at all?")
    assert versions(write(rules="- {name: a, rule: length, max: 6}", rubric_helpfulness=changed))[0] != before[0]
    assert versions(write(rubric_helpfulness=changed))[1] != before[1]


def test_a_team_brings_its_own_rules(write: Write) -> None:
    folder = write(evaluator="rules_path: ours", rules="- {name: a, rule: shouting, most: 3}")
    (folder / "ours").mkdir()
    (folder / "ours" / "shouting.py").write_text(
        "from __future__ import annotations\n"
        "from rules.base import Rule, failed, passed\n"
        "class Shouting(Rule):\n"
        '    """No more than so many exclamation marks."""\n'
        "    most: int\n"
        "    def check(self, trace):\n"
        "        return passed('calm') if str(trace.root.output).count('!') <= self.most else failed('loud')\n"
    )
    (evaluator,) = load(folder).evaluators
    assert evaluator.rule is not None
    assert evaluator.rule.kind == "shouting"
    properties = [kind["properties"] for kind in schemas(folder)["rules.schema.json"]["items"]["anyOf"]]
    assert any(one["rule"] == {"const": "shouting"} for one in properties)


def test_a_rules_path_that_is_not_there_is_told(write: Write) -> None:
    (problem,) = problems(write(evaluator="rules_path: nowhere"))
    assert problem.startswith("evaluator.yaml: rules_path: ")
    assert "is not a folder" in problem


def test_a_monitor_of_a_score_almost_written_here_gets_a_note(write: Write) -> None:
    folder = write(rubric_helpfulness=RUBRIC, monitors="- {score: helpfullness}\n- {score: user-feedback}")
    assert load(folder).notes == (
        "monitors.yaml watches 'helpfullness', which no evaluator here writes; did you mean 'helpfulness'?",
    )


@pytest.mark.parametrize("name", ["evaluator", "rules", "rubric", "monitors"])
def test_schemas_are_fresh_valid_and_accept_what_is_shipped(name: str) -> None:
    folder = starter.folder()
    schema = schemas(folder)[f"{name}.schema.json"]
    Draft202012Validator.check_schema(schema)
    assert json.loads((folder / "schema" / f"{name}.schema.json").read_text()) == json.loads(json.dumps(schema))
    files = sorted((folder / "rubrics").glob("*.yaml")) if name == "rubric" else [folder / f"{name}.yaml"]
    for file in files:
        Draft202012Validator(schema).validate(json.loads(json.dumps(YAML(typ="safe").load(file.read_text()))))


def test_the_starter_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("- {name: mine, rule: not_empty}")
    first = dict(starter.write_starter(tmp_path))
    assert first[tmp_path / "rules.yaml"] is False
    assert first[tmp_path / "rubrics" / "faithfulness.yaml"] is True
    assert not any(written for _, written in starter.write_starter(tmp_path))
    assert [e.name for e in load(tmp_path).evaluators if e.kind == "rule"] == ["mine"]


@given(st.integers(1, 10_000), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_durations_read_as_written(number: int, unit: tuple[str, int]) -> None:
    adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)
    assert adapter.validate_python(f"{number}{unit[0]}") == timedelta(seconds=number * unit[1])


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 parsecs", "1h30m", "NaNs", "5\ts"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)
    with pytest.raises(ValueError, match="such as 90s, 15m, 1h or 7d"):
        adapter.validate_python(text)
