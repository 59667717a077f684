"""Evaluators of observations and sessions, as they are written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from evaluator.definitions import Evaluator, load
from evaluator.errors import ConfigError
from tests.building import step, trace
from traces import Verdict

Write = Callable[..., Path]

RESOLVED = """
name: session-resolution
target: session
idle: 45m
inputs: {conversation: transcript, last: "$.traces[-1].root.output"}
criteria: Did the user get what they came for?
score: {type: boolean}
"""
CHOICE = """
name: tool-choice
target: observation
observe: {type: TOOL, name: [search*, find], at_most: 5}
inputs: {question: $.root.input, call: $.observation.input}
criteria: Was it the right tool?
score: {type: boolean}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def files(*, rules: str = "[]", **rubrics: str) -> Path:
        (tmp_path / "rubrics").mkdir()
        (tmp_path / "rules.yaml").write_text(rules)
        for name, text in rubrics.items():
            (tmp_path / "rubrics" / f"{name}.yaml").write_text(text)
        return tmp_path

    return files


def only(folder: Path) -> Evaluator:
    (found,) = load(folder).evaluators
    return found


def problem(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder)
    (only_one,) = caught.value.problems
    return str(only_one).replace(f"{folder}/", "")


def test_a_rubric_on_sessions_says_how_long_they_must_be_idle(write: Write) -> None:
    found = only(write(resolved=RESOLVED))
    assert (found.target, found.idle, found.observe) == ("session", timedelta(minutes=45), None)


def test_half_an_hour_is_idle_enough_by_default(write: Write) -> None:
    assert only(write(resolved=RESOLVED.replace("idle: 45m\n", ""))).idle == timedelta(minutes=30)


def test_a_rubric_on_observations_says_which(write: Write) -> None:
    found = only(write(choice=CHOICE))
    assert (found.target, found.idle) == ("observation", None)
    assert found.observe is not None
    assert found.observe.at_most == 5


def test_what_is_judged_and_when_does_not_change_a_version(write: Write) -> None:
    folder = write(resolved=RESOLVED)
    before = only(folder).version
    (folder / "rubrics" / "resolved.yaml").write_text(RESOLVED.replace("45m", "2h"))
    assert only(folder).version == before


def test_a_rule_on_observations_looks_at_their_output_unless_told_otherwise(write: Write) -> None:
    rules = """
- {name: has-hits, rule: not_empty, target: observation, observe: {type: TOOL}}
- {name: was-asked, rule: not_empty, target: observation, observe: {type: TOOL}, value: $.observation.input}
- {name: was-answered, rule: not_empty, target: observation, observe: {type: TOOL}, value: $.root.output}
- {name: quick, rule: max_latency, seconds: 2, target: observation, observe: {type: TOOL}}
"""
    tool = step("search", type="TOOL", took=3, input=None, output="one hit")
    part = trace(tool, output="All done.").at(tool)
    verdicts = {e.name: e.rule.check(part) for e in load(write(rules=rules)).evaluators if e.rule is not None}
    values = {name: verdict.value for name, verdict in verdicts.items() if isinstance(verdict, Verdict)}
    assert values == {"has-hits": True, "was-asked": False, "was-answered": True, "quick": False}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            "- {name: a, rule: not_empty, target: session}",
            "rules.yaml:1:3: a rule checks a trace or an observation; a session is judged by a rubric",
        ),
        (
            "- {name: a, rule: not_empty, target: observation}",
            "rules.yaml:1:3: observe: {type: TOOL} says which, with `target: observation` and only with it",
        ),
        (
            "- {name: a, rule: not_empty, observe: {type: TOOL}}",
            "rules.yaml:1:3: observe: {type: TOOL} says which, with `target: observation` and only with it",
        ),
        (
            "- {name: a, rule: not_empty, target: observation, observe: {}}",
            "rules.yaml:1:51: observe: needs type, name or both, such as {type: TOOL}",
        ),
        (
            "- {name: a, rule: not_empty, target: observation, observe: {type: TOLL}}",
            "rules.yaml:1:61: observe.type",
        ),
        (
            "- {name: a, rule: not_empty, value: $.output}",
            "rules.yaml:1:30: value: no trace has $.output, but id, name, environment,",
        ),
    ],
)
def test_mistakes_in_a_rule(write: Write, rules: str, expected: str) -> None:
    assert problem(write(rules=rules)).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RESOLVED.replace("45m", "45"), "4:1: idle: expected a duration such as 90s, 15m, 1h or 7d, not '45'"),
        (RESOLVED.replace("$.traces", "$.observations"), "1:1: inputs.last: no session has $.observations, but id, "),
        (CHOICE.replace("$.observation.", "$.step."), "1:1: inputs.call: no observation has $.step, but id, name, "),
        (CHOICE + "idle: 5m\n", "1:1: idle belongs to `target: session`"),
    ],
)
def test_mistakes_in_a_rubric(write: Write, text: str, expected: str) -> None:
    assert problem(write(one=text)).startswith(f"rubrics/one.yaml:{expected}")
