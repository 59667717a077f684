"""Every kind over every sort of trace: never an exception, never an endless or unwritable comment."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules import Rule, collect
from rules.base import LONGEST_REASON
from rules.collect import RESERVED
from tests.building import ANY_TEXT, nested, step, tool, trace
from traces import DataType, NotApplicable, Observation, Outcome, Trace, Verdict

RUNS = File(__file__).parents[4] / "shared" / "data" / "tau_bench_airline" / "gpt-4o-airline.json.gz"
KINDS = collect()
RULES: list[Rule] = [
    kind.model_validate({key: value for key, value in kind.example.items() if key not in RESERVED})
    for kind in KINDS.values()
]
FENCED = [KINDS["json_valid"].model_validate({"fenced": True})]
EVERYWHERE = [
    kind.model_validate({key: value for key, value in {**kind.example, "value": "$..*"}.items() if key not in RESERVED})
    for kind in KINDS.values()
    if "value" in kind.model_fields
]

RECORDED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
HOSTILE: dict[str, Any] = {
    "a megabyte of one letter": "a" * 1_000_000,
    "a megabyte of other scripts": "é漢😀 " * 250_000,
    "NULs": "\x00" * 1000,
    "lone surrogates": "\ud800\udfff" * 1000 + "\udc00",
    "JSON 100,000 levels deep": "[" * 100_000 + "]" * 100_000,
    "unfinished JSON, deep": '{"a":' * 100_000,
    "lists as deep as the parser allows": nested(1000),
    "objects deeper than anything": nested(20_000),
    "a very long number": "9" * 10_000,
    "a number beyond floats": 10**400,
    "not a number": float("nan"),
    "infinity": float("-inf"),
    "white space": " \t\n\u00a0\u2028" * 10_000,
    "control characters": "".join(map(chr, range(32))) * 100,
    "right to left marks": "\u202e\u200f" * 1000,
    "a fence without end": "```" * 10_000,
    "many keys": {f"key{number}": number for number in range(5000)},
    "keys that are odd": {"": 1, "\x00": 2, "\ud800": 3, "$ref": "#", "a" * 10_000: 4},
    "a message without content": {"role": "assistant", "content": None, "tool_calls": []},
    "messages that are none": [{"role": ["user"], "content": {"content": {}}}],
    "nothing": None,
    "a boolean": False,
    "ten megabytes of words": "lorem ipsum dolor sit " * 450_000,
    "dots": "." * 300_000 + "a",
    "white space in a row of a table": "| a |" + " " * 200_000 + "x|-",
    "open brackets, links and quotation marks": '[](http://"{{`**' * 20_000,
    "addresses in addresses": "https:" * 50_000,
    "open code fences": "```python\n" * 30_000,
    "marks on one letter": "a" + "\u0301" * 300_000,
    "a row of minus signs": "-" * 30_000 + "1",
    "citations": "[1][doc-2] " * 30_000,
    "documents without number": [{"id": number, "text": "a b c"} for number in range(3000)],
    "messages of a system": [{"role": "system", "content": ["a", {"type": "text"}]}, {"role": "developer"}],
    "a schema of tools": [{"type": "function", "function": {"name": f"t{n}", "parameters": {}}} for n in range(1500)],
}


def check(rule: Rule, built: Trace) -> Outcome:
    """Run a rule and hold it to what every rule promises."""
    found = rule.check(built)
    assert isinstance(found, (Verdict, NotApplicable))
    assert found.reason
    assert len(found.reason) <= LONGEST_REASON
    assert "\n" not in found.reason
    orjson.dumps(found.reason)  # can be encoded, as the score will be
    if isinstance(found, Verdict):
        assert type(found.value) is (bool if rule.writes is DataType.BOOLEAN else float)
    return found


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_content_gets_a_verdict_from_every_kind(content: Any) -> None:
    steps = [tool("search", content, id=f"c{number}", output=content) for number in range(3)]
    steps.append(step("find", type="RETRIEVER", output=content))
    steps.append(step("answer", type="GENERATION", input=[{"role": "system", "content": content}], output=content))
    metadata = {"expected": content, "relevant_ids": content}
    built = trace(*steps, input=content, output=content, root_metadata=metadata)
    for rule in [*RULES, *FENCED]:
        check(rule, built)


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.kind)
def test_values_from_everywhere_get_a_verdict(rule: Rule) -> None:
    check(rule, trace(tool("search", nested(300)), output={"a": [None, 1, "x", {"b": "\ud800"}]}))


@given(RECORDED, st.text(), st.sampled_from(["DEFAULT", "ERROR", "odd"]), st.none() | ANY_TEXT)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_recorded_value_gets_the_same_verdict_twice(
    recorded: Any, name: str, level: str, message: str | None
) -> None:
    fields: dict[str, Any] = {"output": recorded, "level": level, "status_message": message, "cost": 0.1}
    built = trace(
        tool(name, recorded, id="c", **fields), output=recorded, input=recorded, user_id=message, session_id=name
    )
    for rule in RULES:
        assert check(rule, built) == check(rule, built)


def test_a_trace_of_nothing_but_an_open_root_gets_verdicts() -> None:
    for rule in RULES:
        check(rule, trace(output=None, input=None, root_took=None))


def test_a_trace_of_many_steps_gets_verdicts() -> None:
    steps = [tool("search", {"q": number % 700}, id=f"c{number}", level="ERROR") for number in range(3000)]
    for rule in RULES:
        check(rule, trace(*steps))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_rule_survives_its_written_form(rule: Rule) -> None:
    written = rule.model_dump(mode="json")
    again = type(rule).model_validate(json.loads(json.dumps(written)))
    assert again == rule
    assert again.model_dump(mode="json") == written


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_every_kind_has_a_json_schema_for_editors(kind: type[Rule]) -> None:
    schema = kind.model_json_schema()
    assert schema["additionalProperties"] is False
    assert all("description" in spec for spec in schema.get("properties", {}).values())


@pytest.fixture(scope="module")
def runs() -> list[Trace]:
    if not RUNS.exists():
        pytest.skip(f"{RUNS} is not on this machine")
    with gzip.open(RUNS, "rt") as file:
        return [_as_trace(run["traj"], run["reward"]) for run in json.load(file)]


class TestRealRuns:
    """Two hundred recorded gpt-4o runs, each as the trace a tracing SDK would make of it."""

    def test_every_kind_says_something_of_every_run(self, runs: list[Trace]) -> None:
        outcomes = {rule.kind: [check(rule, run) for run in runs] for rule in RULES}
        assert len(runs) == 200
        assert all(len(said) == 200 for said in outcomes.values())
        assert set(map(type, outcomes["not_empty"])) == {Verdict}
        assert {said.reason for said in outcomes["max_cost"] if isinstance(said, NotApplicable)} == {"no cost recorded"}

    def test_loops_are_found_in_some_runs_and_not_in_most(self, runs: list[Trace]) -> None:
        rule = KINDS["repeated_tool_calls"].model_validate({"limit": 2})
        values = [said.value for run in runs if isinstance(said := check(rule, run), Verdict)]
        assert 0 < values.count(False) < len(values) / 4

    def test_counts_are_those_of_the_recording(self, runs: list[Trace]) -> None:
        rule = KINDS["tool_call_count"]()
        said = [check(rule, run) for run in runs]
        assert [v.value for v in said if isinstance(v, Verdict)] == [float(len(run.tool_calls)) for run in runs]

    def test_answers_are_prose_not_json(self, runs: list[Trace]) -> None:
        said = [check(KINDS["json_valid"](), run) for run in runs]
        assert not any(v.value for v in said if isinstance(v, Verdict))

    def test_transcripts_name_every_tool_call(self, runs: list[Trace]) -> None:
        for run in runs[:20]:
            assert run.transcript().count("[TOOL ") == len(run.tool_calls)


def _as_trace(messages: list[dict[str, Any]], reward: float) -> Trace:
    answers = [message for message in messages if message["role"] == "assistant" and message["content"]]
    output = answers[-1]["content"] if answers else None
    return trace(*_steps(messages), input=messages[:2], output=output, name="airline", root_metadata={"reward": reward})


def _steps(messages: list[dict[str, Any]]) -> Iterator[Observation]:
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        yield step("answer", at=number / 100, type="GENERATION", id=f"g{number}", output=message, model="gpt-4o")
        for call in message.get("tool_calls") or ():
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            yield tool(name, json.loads(arguments), id=call["id"], at=number / 100, output=results.get(call["id"]))
