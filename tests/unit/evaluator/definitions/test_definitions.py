"""Every mistake in a configuration is told with its place, what was expected and the nearest right name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from evaluator import starter
from evaluator.definitions import load, schemas
from evaluator.errors import ConfigError
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
    assert len([e for e in definitions.evaluators if e.kind == "rule"]) == 14
    assert {e.name for e in definitions.evaluators if e.kind == "rubric"} == {
        "agent-trajectory",
        "faithfulness",
        "helpfulness",
        "instruction-following",
    }
    assert len(definitions.off) == 10
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
        ("- a", "evaluator.yaml:1:1: expected keys with values"),
        ("discovery: []", "evaluator.yaml:1:1: discovery: expected keys with values"),
        (
            "limits: {model_calls_in_flight: many}",
            (
                "evaluator.yaml:1:10: limits.model_calls_in_flight: Input should be a valid integer, unable to parse "
                "string as an integer, not 'many'"
            ),
        ),
        (
            "watch: {weekly_on: mondey}",
            (
                "evaluator.yaml:1:9: watch.weekly_on: expected 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', "
                "'saturday' or 'sunday', not 'mondey'; did you mean 'monday'?"
            ),
        ),
        (
            "watch: {daily_at: 06:00+02:00}",
            "evaluator.yaml:1:9: watch.daily_at: expected a time of day in UTC such as \"06:00\", not '06:00+02:00'",
        ),
        (
            "discovery: {every: 0s}",
            "evaluator.yaml:1:13: discovery.every: expected a duration longer than nothing",
        ),
        (
            "discovery: {longest_trace: 99999999999d}",
            (
                "evaluator.yaml:1:13: discovery.longest_trace: expected a duration of at most 10,000 days, "
                "not '99999999999d'"
            ),
        ),
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
        (
            "- {name: 'a,b', rule: not_empty}",
            (
                "rules.yaml:1:4: name: expected 1 to 35 letters, digits, blanks or _ . ( ) -, of which the first is a "
                "letter or digit, not 'a,b'"
            ),
        ),
        ("- {name: 7, rule: not_empty}", "rules.yaml:1:4: name: expected text, not 7"),
        ("- {name: a, rule: }", "rules.yaml:1:13: rule: expected text, not nothing"),
        ("- {name: a, rule: forbids, phrases: []}", "rules.yaml:1:28: phrases: must not be empty"),
        ("- {name: a, rule: length, min: 5, max: 1}", "rules.yaml:1:3: "),
        (
            "- {name: a, rule: regex, pattern: '('}",
            "rules.yaml:1:26: pattern: '(' is not a regular expression",
        ),
        (
            "- {name: a, rule: not_empty, smaple: []}",
            "rules.yaml:1:30: smaple: is not known here; did you mean 'sample'?",
        ),
        (
            "- {name: a, rule: not_empty, colour: red}",
            "rules.yaml:1:30: colour: is not known here; known: description, name, observe, rule, sample, ",
        ),
        (
            "- {name: a, rule: not_empty, sample: 1}",
            "rules.yaml:1:30: sample: expected a list",
        ),
        (
            "- {name: a, rule: not_empty, when: {score: {name: x}}}",
            "rules.yaml:1:37: when.score: needs one of equals, at_most, at_least",
        ),
        (
            "- &first {name: a, rule: not_empty}\n- *first",
            "rules.yaml:1:11: name: 'a' is defined again where this anchor is used",
        ),
        (
            "- &first {name: a, rule: length, mux: 3}\n- {<<: *first, name: b}",
            "rules.yaml:1:34: mux: is not known here; did you mean 'max'?",
        ),
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
        (
            "{type: boolean}",
            "{type: bool}",
            (
                "rubrics/helpfulness.yaml:4:9: score.type: "
                "expected 'numeric', 'boolean', 'categorical', 'checklist', not 'bool'; "
                "did you mean 'boolean'?"
            ),
        ),
        ("{type: boolean}", "{min: 1, max: 5}", "rubrics/helpfulness.yaml:4:1: score.type: is missing"),
        ("{type: boolean}", "3", "rubrics/helpfulness.yaml:4:1: score: expected keys with values, not 3"),
        (
            "{answer: $",
            "{9lives: $",
            (
                "rubrics/helpfulness.yaml:2:10: inputs.9lives: expected a name of 1 to 40 letters, digits, blanks, "
                "_ or -, of which the first is a letter, not '9lives'"
            ),
        ),
        (
            "{answer: $.root.output}",
            "{answer: {path: $.root.output, tke: last}}",
            "rubrics/helpfulness.yaml:2:40: inputs.answer.tke: is not known here; did you mean 'take'?",
        ),
        ("criteria: Does it help?", "criteria: ", "rubrics/helpfulness.yaml:3:1: criteria: expected text, not nothing"),
        (
            "criteria: Does it help?",
            "criteria: x\ntarget: sesion",
            "rubrics/helpfulness.yaml:4:1: target: expected 'trace', 'observation' or 'session', not 'sesion'",
        ),
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


def test_an_empty_rubric_is_no_rubric(write: Write) -> None:
    assert problems(write(rubric_empty="# later\n")) == [
        "rubrics/empty.yaml:1:1: expected keys with values, not nothing"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- helpfulness", "monitors.yaml:1:3: expected keys with values, not 'helpfulness'"),
        ("- {score: 'a,b'}", "monitors.yaml:1:4: score: expected a name without comma, not 'a,b'"),
        (
            "- {score: a, smallest_drop: 200%}",
            "monitors.yaml:1:14: smallest_drop: Input should be less than 1, not 2.0",
        ),
        ("- {score: a, segmants: [tags]}", "monitors.yaml:1:14: segmants: is not known here; did you mean 'segments'?"),
        ("- {score: a, segments: tags}", "monitors.yaml:1:14: segments: expected a list, not 'tags'"),
        ("- {score: a, scale: [5]}", "monitors.yaml:1:14: scale.1: is missing"),
        ("- {score: a, scale: [5, 1]}", "monitors.yaml:1:3: scale goes from low to high, not from 5 to 1"),
        (
            "- {score: a, excluded_weeks: [2026-12-24, 2026-02-30]}",
            (
                "monitors.yaml:1:43: excluded_weeks.1: Input should be a valid date or datetime, "
                "day value is outside expected range, not '2026-02-30'"
            ),
        ),
        (
            "- {score: a}\n- {score: b}\n- {score: a}",
            "monitors.yaml:3:4: score 'a' is already watched at monitors.yaml:1:4",
        ),
    ],
)
def test_mistakes_in_monitors_yaml(write: Write, text: str, expected: str) -> None:
    assert problems(write(monitors=text)) == [expected]


@pytest.mark.parametrize(
    ("watched", "said"),
    [
        (
            "{score: helpfulness}",
            "1:4: score: the values of 'helpfulness' are labels; say with `labels: [...]` whose share is watched",
        ),
        (
            "{score: helpfulness, labels: [goood]}",
            "1:4: labels: 'helpfulness' has no label 'goood'; did you mean 'good'?",
        ),
        ("{score: answered, labels: [good]}", "1:4: labels: the values of 'answered' are no labels"),
    ],
)
def test_labels_are_watched_by_their_share(write: Write, watched: str, said: str) -> None:
    labels = RUBRIC.replace("{type: boolean}", "{type: categorical, labels: [good, bad]}")
    rules = "[{name: answered, rule: not_empty}]"
    assert problems(write(rules=rules, rubric_helpfulness=labels, monitors=f"- {watched}")) == [f"monitors.yaml:{said}"]


def test_one_score_may_be_watched_by_several_labels(write: Write) -> None:
    labels = RUBRIC.replace("{type: boolean}", "{type: categorical, labels: [good, fair, bad]}")
    watched = (
        "{score: helpfulness, labels: good}",
        "{score: helpfulness, labels: [good, fair]}",
        "{score: theirs, labels: x}",
    )
    folder = write(rubric_helpfulness=labels, monitors="".join(f"- {each}\n" for each in watched))
    assert [spec.key for spec in load(folder).monitors] == ["helpfulness=good", "helpfulness=fair+good", "theirs=x"]


def test_a_long_value_is_shown_by_its_beginning(write: Write) -> None:
    (problem,) = problems(write(rules=f"- {{name: {'x' * 5000}, rule: not_empty}}"))
    assert len(problem) < 250
    assert problem.endswith("xxx…")


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


def test_a_key_given_twice_hides_no_other_problem(write: Write) -> None:
    assert problems(write(evaluator="batch_size: 5\nbatch_size: 6\nbatchsize: 7")) == [
        "evaluator.yaml:2:1: batch_size: is already given at evaluator.yaml:1:1; remove one of the two",
        "evaluator.yaml:3:1: batchsize: is not known here; did you mean 'batch_size'?",
    ]


def test_a_file_under_a_wrong_name_is_not_passed_over(write: Write) -> None:
    folder = write(rubric_helpfulness=RUBRIC)
    (folder / "rules.yml").write_text("- {name: a, rule: not_empty}")
    (folder / "monitor.yaml").write_text("[]")
    (folder / "rubrics" / "old").mkdir()
    (folder / "rubrics" / "old" / "x.yaml").write_text(RUBRIC)
    assert problems(folder) == [
        "monitor.yaml:1:1: is not read under this name; did you mean 'monitors.yaml'?",
        "rubrics/old/x.yaml:1:1: is not read; rubrics stand in rubrics/ itself",
        "rules.yml:1:1: is not read under this name; did you mean 'rules.yaml'?",
    ]


def test_files_of_others_are_noted_and_hidden_ones_left_alone(write: Write) -> None:
    folder = write(rules="- {name: a, rule: not_empty}", compose="services: {}")
    (folder / ".#rules.yaml").write_text("an editor's lock")
    assert load(folder).notes == (
        "compose.yaml is not read; the files are evaluator.yaml, monitors.yaml, rules.yaml and rubrics/*.yaml",
    )


def test_a_link_to_nowhere_is_no_missing_file(write: Write) -> None:
    folder = write()
    (folder / "rules.yaml").symlink_to(folder / "gone.yaml")
    assert problems(folder) == ["rules.yaml:1:1: cannot be read: No such file or directory"]


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
    # The rule of an unknown kind may well be one of those that could not be found: it is not called unknown.
    folder = write(evaluator="batch_size: 5\nrules_path: nowhere", rules="- {name: a, rule: ours}")
    assert problems(folder) == [
        "evaluator.yaml:2:1: rules_path: nowhere is not a folder; rules_path names a folder of Python files"
    ]


OWN_RULE = """\
from pydantic import BaseModel
from rules.base import Rule, passed
class Limit(BaseModel):
    {field}: int = 3
class {name}(Rule):
    words: frozenset[str] = frozenset({{"one", "two", "three", "four", "five", "six", "seven"}})
    limit: Limit = Limit()
    def check(self, trace):
        return passed("calm")
"""


def test_rules_of_a_team_are_known_though_another_key_is_wrong(write: Write) -> None:
    folder = write(evaluator="rules_path: ours\nbatch_size: 500", rules="- {name: a, rule: calm}")
    (folder / "ours").mkdir()
    (folder / "ours" / "calm.py").write_text(OWN_RULE.format(name="Calm", field="most"))
    assert problems(folder) == ["evaluator.yaml:2:1: batch_size: Input should be less than or equal to 50, not 500"]


def test_two_kinds_may_have_a_type_of_one_name(write: Write) -> None:
    folder = write(evaluator="rules_path: ours")
    (folder / "ours").mkdir()
    for name, field in (("Calm", "most"), ("Quiet", "loudest")):
        (folder / "ours" / f"{name.lower()}.py").write_text(OWN_RULE.format(name=name, field=field))
    validator = Draft202012Validator(schemas(folder)["rules.schema.json"])
    entry = {"name": "a", "rule": "calm", "limit": {"most": 1}}
    assert validator.is_valid([entry])
    assert validator.is_valid([entry | {"rule": "quiet", "limit": {"loudest": 1}}])
    assert not validator.is_valid([entry | {"limit": {"most": "x"}}])
    assert not validator.is_valid([entry | {"limits": {}}])


def test_a_field_no_schema_can_tell_is_a_problem_of_the_schemas_alone(write: Write) -> None:
    folder = write(evaluator="rules_path: ours", rules="- {name: a, rule: odd}")
    (folder / "ours").mkdir()
    (folder / "ours" / "odd.py").write_text(
        "from collections.abc import Callable\n"
        "from rules.base import Rule, passed\n"
        "class Odd(Rule):\n"
        "    how: Callable[[], int] | None = None\n"
        "    def check(self, trace):\n"
        "        return passed('odd')\n"
    )
    assert [evaluator.name for evaluator in load(folder).evaluators] == ["a"]
    with pytest.raises(ConfigError, match="rule 'odd' has a field no schema can tell"):
        schemas(folder)
    assert problems(write(rules="- {name: a, rule: odd, hwo: 1}")) == [
        "rules.yaml:1:24: hwo: is not known here; did you mean 'how'?"
    ]


VERSIONS = (
    "import sys; from pathlib import Path; from evaluator.definitions import load\n"
    "print([evaluator.version for evaluator in load(Path(sys.argv[1])).evaluators])"
)


def test_a_version_is_the_same_in_every_process(write: Write) -> None:
    rules = f"- {{name: a, rule: calm}}\n- {{name: b, rule: length, max: {10**30}}}"
    folder = write(evaluator="rules_path: ours", rules=rules)
    (folder / "ours").mkdir()
    (folder / "ours" / "calm.py").write_text(OWN_RULE.format(name="Calm", field="most"))
    printed = {
        subprocess.run(
            [sys.executable, "-c", VERSIONS, folder],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{versions(folder)}\n"}


def test_a_monitor_of_a_score_almost_written_here_gets_a_note(write: Write) -> None:
    folder = write(
        evaluator="models: {prices: {gpt-5.4-mini: {input: 1, output: 2}}}",
        rubric_helpfulness=RUBRIC,
        monitors="- {score: helpfullness}\n- {score: user-feedback}",
    )
    assert load(folder).notes == (
        "monitors.yaml watches 'helpfullness', which no evaluator here writes; did you mean 'helpfulness'?",
    )


def test_a_model_without_a_price_gets_a_note(write: Write) -> None:
    assert load(write(rubric_helpfulness=RUBRIC)).notes == (
        "evaluator.yaml has no price for 'gpt-5.4-mini' in models.prices: its calls will be counted at no cost",
    )


def test_defaults_are_told_to_editors_as_people_write_them() -> None:
    schema = schemas(starter.folder())["evaluator.schema.json"]
    assert schema["$defs"]["DiscoveryConfig"]["properties"]["quiet_for"]["default"] == "90s"
    assert schema["$defs"]["WatchConfig"]["properties"]["daily_at"]["default"] == "06:00"
    defaults = {name: one["default"] for name, one in schema["properties"].items() if "default" in one}
    Draft202012Validator(schema).validate(defaults)


def described(schema: object, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield every property of a JSON Schema, and whether it says what it is."""
    if isinstance(schema, list):
        for inner in schema:
            yield from described(inner, path)
    if isinstance(schema, dict):
        for name, inner in schema.get("properties", {}).items():
            yield f"{path}.{name}", bool({"description", "$ref", "const"} & set(inner))
        for name, inner in schema.items():
            yield from described(inner, f"{path}.{name}")


@pytest.mark.parametrize("name", ["evaluator", "rules", "rubric", "monitors"])
def test_editors_can_tell_what_every_key_is(name: str) -> None:
    found = list(described(schemas(starter.folder())[f"{name}.schema.json"]))
    assert found
    assert [path for path, says in found if not says] == []


@pytest.mark.parametrize("name", ["evaluator", "rules", "rubric", "monitors"])
def test_schemas_are_fresh_valid_and_accept_what_is_shipped(name: str) -> None:
    folder = starter.folder()
    schema = schemas(folder)[f"{name}.schema.json"]
    Draft202012Validator.check_schema(schema)
    assert json.loads((folder / "schema" / f"{name}.schema.json").read_text()) == json.loads(json.dumps(schema))
    files = sorted((folder / "rubrics").glob("*.yaml")) if name == "rubric" else [folder / f"{name}.yaml"]
    for file in files:
        Draft202012Validator(schema).validate(json.loads(json.dumps(YAML(typ="safe").load(file.read_text()))))


SHIPPED = sorted(path for path in starter.folder().rglob("*.yaml"))
DAMAGE = st.sampled_from(
    ["", " ", "\n", "- ", "{", "}", "[", "]", "&a ", "*a", "<<: *a", ": ", "#", "'", '"', "!x ", "\t", "null"]
)


@settings(max_examples=60)
@given(st.sampled_from(SHIPPED), st.data())
def test_no_damage_is_worse_than_a_list_of_problems(original: Path, data: st.DataObject) -> None:
    text = original.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = start + data.draw(st.integers(0, 12))
    damaged = text[:start] + data.draw(DAMAGE) + text[end:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / original.relative_to(starter.folder())
        file.parent.mkdir(exist_ok=True)
        file.write_text(damaged, encoding="utf-8")
        try:
            load(folder)
        except ConfigError as error:
            for problem in error.problems:
                path, line, column = problem.where.rsplit(":", 2)
                assert Path(path) == file
                assert 1 <= int(line) <= damaged.count("\n") + 2
                assert int(column) >= 1
                assert problem.what
