from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rules.agents import RepeatedToolCalls, ToolCallCount
from tests.building import nested, step, tool, trace
from traces import DataType, NotApplicable, Verdict

ARGUMENTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)


def calls(*arguments: Any, name: str = "search") -> Verdict | NotApplicable:
    steps = [tool(name, one, id=f"c{number}") for number, one in enumerate(arguments)]
    return RepeatedToolCalls(limit=2).check(trace(*steps))


def is_loop(*arguments: Any) -> bool:
    found = calls(*arguments)
    assert isinstance(found, Verdict)
    return found.value is False


class TestRepeatedToolCalls:
    def test_without_tool_calls_there_is_nothing_to_say(self) -> None:
        assert RepeatedToolCalls().check(trace(step())) == NotApplicable("no tool calls")

    def test_up_to_the_limit_is_allowed(self) -> None:
        assert calls({"q": 1}, {"q": 1}) == Verdict(True, "2 tool calls, none the same more than 2 times")

    def test_beyond_the_limit_names_the_tool(self) -> None:
        found = calls({"q": 1}, {"q": 1}, {"q": 2}, {"q": 1})
        assert found == Verdict(False, "'search' was called 3 times with the same arguments, 2 allowed")

    def test_of_several_loops_the_longest_is_named(self) -> None:
        found = calls(*[{"q": 1}] * 3, *[{"q": 2}] * 5, *[{"q": 3}] * 4)
        assert isinstance(found, Verdict)
        assert found.reason == "'search' was called 5 times with the same arguments, and 2 other calls, 2 allowed"

    def test_arguments_are_compared_as_json(self) -> None:
        assert is_loop({"a": 1, "b": 2}, {"b": 2, "a": 1}, '{"b":2, "a":1}')

    @pytest.mark.parametrize(
        "arguments",
        [
            ({"q": 1}, {"q": "1"}, {"q": 1.5}),
            ({"q": 1}, {"q": True}, {"q": None}),
            ({"q": [1, 2]}, {"q": [2, 1]}, {}),
            ("", " ", "{}"),
        ],
    )
    def test_what_differs_is_not_the_same(self, arguments: tuple[Any, ...]) -> None:
        assert not is_loop(*arguments)

    def test_the_same_arguments_to_different_tools_are_different_calls(self) -> None:
        steps = [tool(name, {"q": 1}, id=name) for name in ("a", "b", "c")]
        found = RepeatedToolCalls(limit=1).check(trace(*steps))
        assert isinstance(found, Verdict)
        assert found.value is True

    def test_unrecorded_arguments_are_never_the_same(self) -> None:
        assert not is_loop(None, None, None, None)

    def test_text_that_is_no_json_is_compared_as_text(self) -> None:
        assert is_loop("select 1", "select 1", "select 1")

    @pytest.mark.parametrize(
        "odd", [nested(800), nested(20_000), {"a": "\ud800"}, {"a": 2**70}, "\ud800", "[" * 10_000]
    )
    def test_odd_arguments_are_compared_too(self, odd: Any) -> None:
        assert is_loop(odd, odd, odd)

    def test_a_tool_with_an_endless_name_is_cut(self) -> None:
        found = calls(*[{"q": 1}] * 3, name="x" * 10_000)
        assert isinstance(found, Verdict)
        assert len(found.reason) < 200

    @given(st.lists(ARGUMENTS, min_size=1, max_size=12), st.integers(1, 4))
    def test_the_order_of_calls_and_keys_does_not_matter(self, arguments: list[dict[str, int]], limit: int) -> None:
        def looped(inputs: list[Any]) -> object:
            steps = [tool("t", one, id=f"c{number}") for number, one in enumerate(inputs)]
            found = RepeatedToolCalls(limit=limit).check(trace(*steps))
            assert isinstance(found, Verdict)
            return found.value

        written = [json.dumps(dict(reversed(one.items()))) for one in reversed(arguments)]
        most = max(arguments.count(one) for one in arguments)
        assert looped(arguments) is looped(written) is (most <= limit)

    @pytest.mark.parametrize("limit", [0, -1, 1.5, None])
    def test_senseless_limits_are_refused(self, limit: object) -> None:
        with pytest.raises(ValidationError):
            RepeatedToolCalls.model_validate({"limit": limit})


class TestToolCallCount:
    def test_it_is_a_number(self) -> None:
        assert ToolCallCount.gives is DataType.NUMERIC
        assert ToolCallCount().check(trace(step())) == Verdict(0.0, "no tool calls")

    def test_the_tool_called_most_is_named(self) -> None:
        steps = [tool("a", 1), tool("b", 1), tool("b", 2)]
        assert ToolCallCount().check(trace(*steps)) == Verdict(3.0, "3 tool calls, 'b' most often (2)")
