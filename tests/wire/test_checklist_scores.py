"""A checklist whose criteria are scores of their own: exactly once like all others, and known to monitors."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any, Final

import pytest

from evaluator.definitions import load
from evaluator.errors import ConfigError
from evaluator.service import sweep
from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Traffic

NAMES: Final = ("tone", "tone.next_step", "tone.no_promise")
RUBRIC: Final = """
name: tone
sample: [{rate: 1}]
inputs: {answer: $.root.output}
criteria: Judge the answer.
score:
  type: checklist
  criteria: {next_step: Does it say what to do next?, no_promise: {ask: Is it free of promises?, weight: 3}}
  each: true
"""


def pairs(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def test_every_criterion_is_written_once_whatever_is_refused_on_the_way(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, valkey: Any
) -> None:
    ids = traffic.add(30)
    sandbox.langfuse.faults.change({"errors": 0.2, "lost_answers": 0.2, "paths": "/scores"})
    with service(config(rules="[]", rubrics={"tone": RUBRIC})) as app:
        first = sweep(app, timedelta(hours=1), drain=True, threads=4)
        assert first.as_json()["evaluations"] == {"sampled": 30, "scored": 30}
        valkey.flushall()
        sweep(app, timedelta(hours=1), drain=True, threads=4)
    assert pairs(sandbox) == Counter({(i, name): 1 for i in ids for name in NAMES})
    by_name = {name: [s for s in sandbox.langfuse.all_scores() if s["name"] == name] for name in NAMES}
    assert {s["dataType"] for s in by_name["tone.next_step"]} == {"BOOLEAN"}
    for whole, *parts in zip(*(sorted(by_name[name], key=lambda s: s["traceId"]) for name in NAMES), strict=True):
        assert whole["value"] == (parts[0]["value"] + 3 * parts[1]["value"]) / 4


def test_monitors_may_watch_a_criterion_and_a_near_name_is_remarked(config: Config) -> None:
    watched = "[{score: tone.next_step}, {score: tone.no_promis}]"
    notes = load(config(rubrics={"tone": RUBRIC}, monitors=watched)).notes
    assert [note for note in notes if "tone." in note] == [
        "monitors.yaml watches 'tone.no_promis', which no evaluator here writes; did you mean 'tone.no_promise'?"
    ]


def test_two_evaluators_never_write_the_same_score(config: Config) -> None:
    rules = "[{name: tone.next_step, rule: not_empty}]"
    with pytest.raises(ConfigError, match=r"'tone\.next_step' is already defined at"):
        load(config(rules=rules, rubrics={"tone": RUBRIC}))
