from __future__ import annotations

import json
from typing import Any

import pytest

from rules.offered import KnownTools, ToolArguments
from tests.building import nested, step, tool, trace
from traces import NotApplicable, Trace, Verdict

ORDER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}, "additionalProperties": False}
OFFERED = [{"type": "function", "function": {"name": "get_order", "parameters": ORDER}}]


def asks(name: str, arguments: Any, **fields: Any) -> Trace:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    fields = {"input": {"messages": [], "tools": OFFERED}, **fields}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return trace(step("chat", type="GENERATION", output=message, **fields))


class TestKnownTools:
    def test_what_was_offered_may_be_called(self) -> None:
        found = KnownTools().check(asks("get_order", "{}"))
        assert found == Verdict(True, "1 tool call, all of 1 tool offered", details={"measured": 0})

    def test_what_was_not_is_named(self) -> None:
        found = KnownTools().check(asks("get_oder", "{}"))
        assert found == Verdict(False, "'get_oder' called, not among 1 tool offered", details={"measured": 1})

    def test_observations_tell_when_no_model_output_does(self) -> None:
        built = trace(step("chat", type="GENERATION", input={"tools": OFFERED}), tool("cancel", {}))
        found = KnownTools().check(built)
        assert isinstance(found, Verdict)
        assert found.value is False

    def test_tools_may_be_told_in_the_rule(self) -> None:
        built = trace(tool("a", {}), tool("b", {}))
        assert KnownTools().check(built) == NotApplicable("no tool definitions recorded")
        assert KnownTools(tools=("a", "b")).check(built) == Verdict(
            True, "2 tool calls, all of 2 tools offered", details={"measured": 0}
        )

    def test_without_calls_there_is_nothing_to_say(self) -> None:
        assert KnownTools(tools=("a",)).check(trace(step())) == NotApplicable("no tool calls")

    def test_a_huge_list_of_tools_is_read(self) -> None:
        many = [{"name": f"tool{number}", "input_schema": {}} for number in range(20_000)]
        assert isinstance(KnownTools().check(asks("tool7", {}, input={"tools": many})), Verdict)


class TestToolArguments:
    def check(self, built: Trace, **fields: Any) -> Verdict:
        found = ToolArguments(**fields).check(built)
        assert isinstance(found, Verdict)
        return found

    @pytest.mark.parametrize("arguments", ['{"id": 7}', {"id": 7}])
    def test_what_fits_passes(self, arguments: Any) -> None:
        assert self.check(asks("get_order", arguments)).value is True

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"id": "secret-7"}, "$.id is a string, expected integer"),
            ({}, "'id' is a required property"),
            (None, "'id' is a required property"),
            ({"id": 1, "x": 2}, "$.x is not allowed"),
            ("{broken", "$ is a string, expected object"),
            ([7], "$ is an array, expected object"),
        ],
    )
    def test_what_does_not_fit_fails_with_its_place(self, arguments: Any, said: str) -> None:
        found = self.check(asks("get_order", arguments))
        assert found.value is False
        assert said in found.reason
        assert "secret" not in found.reason

    @pytest.mark.parametrize(
        "offered",
        [
            [{"name": "get_order", "parameters": ORDER}],
            [{"name": "get_order", "input_schema": ORDER}],
            [{"name": "get_order", "inputSchema": {**ORDER, "$schema": "http://json-schema.org/draft-07/schema#"}}],
            [json.dumps(OFFERED[0])],
            json.dumps(OFFERED),
            {"get_order": {"parameters": ORDER}},
            [{"functionDeclarations": [{"name": "get_order", "parameters": ORDER}]}],
        ],
    )
    def test_schemas_are_read_as_every_provider_writes_them(self, offered: Any) -> None:
        for where in ({"input": {"tools": offered}}, {"metadata": {"gen_ai.tool.definitions": offered}, "input": "Hi"}):
            assert self.check(asks("get_order", {"id": "7"}, **where)).value is False
        beside = {"attributes": {"ai.prompt.tools": offered}}
        assert self.check(asks("get_order", {"id": "7"}, metadata=beside, input="Hi")).value is False

    def test_definitions_among_the_messages_are_read(self) -> None:
        messages = [{"role": "tool", "content": OFFERED[0]}, {"role": "user", "content": "Hi"}]
        assert self.check(asks("get_order", {"id": "7"}, input=messages)).value is False

    def test_a_schema_in_the_rule_counts_more(self) -> None:
        assert self.check(asks("get_order", {"id": "7"}), schemas={"get_order": {"type": "object"}}).value is True

    @pytest.mark.parametrize(
        "schema",
        [
            None,
            "no schema",
            {"type": 7},
            {"$ref": "https://example.com/schema.json"},
            {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
            {"properties": {"a": {"$ref": "#/properties/a"}}},
            {"pattern": "(?=look)", "type": "object"},
            {"description": "x" * 200_000},
        ],
    )
    def test_schemas_that_are_none_or_might_never_end_are_left_out(self, schema: Any) -> None:
        built = asks("get_order", {"id": 7}, input={"tools": [{"name": "get_order", "parameters": schema}]})
        assert ToolArguments().check(built) == NotApplicable("no schema of a called tool recorded")

    def test_definitions_that_end_are_followed(self) -> None:
        schema = {"$defs": {"id": {"type": "integer"}}, "properties": {"id": {"$ref": "#/$defs/id"}}}
        built = asks("get_order", {"id": "7"}, input={"tools": [{"name": "get_order", "parameters": schema}]})
        assert self.check(built).value is False

    @pytest.mark.parametrize("odd", [nested(800), nested(20_000), {"id": 2**70}, "\ud800", "[" * 10_000])
    def test_odd_arguments_get_a_verdict(self, odd: Any) -> None:
        assert self.check(asks("get_order", odd)).reason

    @pytest.mark.parametrize(
        "odd",
        [7, "x", [[]], [None, 7, {"function": 7}, {"name": 7}], {"choices": [7, {"message": 7}]}, {"tool_calls": 7}],
    )
    def test_what_is_no_definition_and_no_call_is_left_out(self, odd: Any) -> None:
        built = trace(step("chat", type="GENERATION", input={"tools": odd}, output=odd, metadata={"tools": odd}))
        assert ToolArguments().check(built) == NotApplicable("no tool calls")


@pytest.mark.parametrize(
    "output",
    [
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"role": "assistant", "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a": 1}'}},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}]},
        [{"type": "function_call", "name": "f", "arguments": '{"a": 1}'}],
        {"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}}]},
        {"toolCalls": [{"toolName": "f", "args": {"a": 1}}]},
    ],
)
def test_calls_are_read_as_every_provider_writes_them(output: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    built = trace(
        step("chat", type="GENERATION", input={"functions": [{"name": "f", "parameters": schema}]}, output=output)
    )
    found = ToolArguments().check(built)
    assert isinstance(found, Verdict)
    assert found.reason.endswith("'f': $.a is a number, expected string")
