from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rules.agents import (
    ForbiddenTools,
    MaxSteps,
    Progress,
    RepeatedToolCalls,
    RequiredTools,
    ToolCallCount,
    ToolErrors,
)
from tests.building import nested, step, tool, trace
from traces import DataType, NotApplicable, Observation, Verdict

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


def results(*outputs: Any, **fields: Any) -> list[Observation]:
    return [tool("search", {"q": n}, id=f"c{n}", at=n, output=output, **fields) for n, output in enumerate(outputs)]


class TestToolErrors:
    def check(self, *outputs: Any, **fields: Any) -> Verdict:
        found = ToolErrors(**fields).check(trace(*results(*outputs)))
        assert isinstance(found, Verdict)
        return found

    @pytest.mark.parametrize(
        "output",
        [
            "Error: no such order", "  ERROR", "Traceback (most recent call last):\n...", "exception: no",
            {"error": "no"}, {"isError": True, "content": []}, "ValueError: bad", "openai.RateLimitError: slow",
        ],
    )  # fmt: skip
    def test_results_that_tell_of_an_error_are_found(self, output: Any) -> None:
        assert self.check(output).value is False

    @pytest.mark.parametrize(
        "output",
        [
            "Errors are rare",
            "No error",
            "",
            None,
            {"error": None},
            {"error": ""},
            {"isError": False},
            [],
            0,
            "\ud800",
            "[" * 10_000,
        ],
    )
    def test_others_are_none(self, output: Any) -> None:
        assert self.check(output).value is True

    def test_a_level_is_enough(self) -> None:
        found = ToolErrors().check(trace(*results("fine", level="ERROR")))
        assert isinstance(found, Verdict)
        assert found.reason == "1 of 1 tool call failed, 1 in a row; 'search' most often (1); 0 allowed"

    def test_the_limit_is_of_all_and_the_streak_of_a_row(self) -> None:
        outputs = ("Error", "ok", "Error", "Error", "ok")
        assert self.check(*outputs, limit=3).value is True
        assert self.check(*outputs, limit=2).value is False
        found = self.check(*outputs, limit=3, streak=1)
        assert (found.value, found.details) == (False, {"measured": 3})
        assert found.reason.endswith("2 in a row; 'search' most often (3); 1 in a row allowed")
        assert self.check(*outputs, limit=3, streak=2).value is True

    def test_what_an_error_says_may_be_told(self) -> None:
        rule = ToolErrors.model_validate({"says": "not found"})
        assert isinstance(found := rule.check(trace(*results("order not found"))), Verdict)
        assert found.value is False

    def test_without_tool_calls_there_is_nothing_to_say(self) -> None:
        assert ToolErrors().check(trace(step())) == NotApplicable("no tool calls")


class TestRequiredTools:
    def check(self, called: str, *, in_order: bool = False) -> Verdict:
        steps = [tool(name, {}, id=f"c{number}") for number, name in enumerate(called)]
        return RequiredTools(tools=("a", "b"), in_order=in_order).check(trace(*steps))

    def test_what_is_missing_is_named(self) -> None:
        assert self.check("xa") == Verdict(False, "'b' not called in 2 tool calls")
        assert self.check("").reason == "'a', 'b' not called in 0 tool calls"

    @pytest.mark.parametrize(
        ("called", "ordered"), [("ab", True), ("axxb", True), ("ba", False), ("bab", True), ("aab", True)]
    )
    def test_the_order_counts_only_when_asked(self, called: str, ordered: bool) -> None:
        assert self.check(called).value is True
        assert self.check(called, in_order=True).value is ordered

    def test_what_comes_too_early_is_named(self) -> None:
        assert self.check("ba", in_order=True).reason == "'b' was not called in the order 'a', 'b'"

    def test_no_tools_are_refused(self) -> None:
        with pytest.raises(ValidationError):
            RequiredTools(tools=())


class TestForbiddenTools:
    def test_a_forbidden_one_is_named_and_counted(self) -> None:
        steps = [tool(name, {}, id=f"c{number}") for number, name in enumerate(["find", "delete_user", "delete_user"])]
        rule = ForbiddenTools(tools=("delete_*",))
        assert rule.check(trace(*steps)) == Verdict(False, "'delete_user' called, 2 times in all")
        assert rule.check(trace(steps[0])) == Verdict(True, "1 tool call, none forbidden")
        assert rule.check(trace()).value is True

    def test_letters_differ_by_case_and_brackets_may_be_meant(self) -> None:
        assert ForbiddenTools(tools=("find",)).check(trace(tool("Find", {}))).value is True
        assert ForbiddenTools(tools=("a[1]",)).check(trace(tool("a[1]", {}))).value is False

    def test_many_names_are_cut(self) -> None:
        steps = [tool("x" * 300 + str(n), {}, id=f"c{n}") for n in range(50)]
        found = ForbiddenTools(tools=("*",)).check(trace(*steps))
        assert found.reason.endswith("and 45 more called, 50 times in all")


def test_steps_are_counted_by_type() -> None:
    steps = [step("chat", type="GENERATION", id=f"g{n}") for n in range(3)]
    built = trace(*steps, tool("a", {}))
    assert MaxSteps(steps=3).check(built).value is True
    assert MaxSteps(steps=2).check(built) == Verdict(
        False, "3 observations of type GENERATION, at most 2 allowed", details={"measured": 3}
    )
    assert MaxSteps(steps=0, type="TOOL").check(built).value is False


class TestProgress:
    def idle(self, *rounds: list[Any]) -> float:
        steps = []
        for number, outputs in enumerate(rounds):
            steps.append(step("chat", type="GENERATION", id=f"g{number}", at=number))
            steps += [tool("t", {"n": number}, id=f"c{number}.{n}", at=number, output=o) for n, o in enumerate(outputs)]
        found = Progress(limit=1).check(trace(*steps))
        assert isinstance(found, Verdict)
        assert found.value is (found.details["measured"] <= 1)
        return float(found.details["measured"])

    def test_new_results_are_progress(self) -> None:
        assert self.idle(["a"], ["b"], ["c"]) == 0

    def test_the_same_result_again_is_none(self) -> None:
        assert self.idle(["a"], ["a"], ["a"], ["b"], ["a"]) == 2

    def test_an_error_is_none(self) -> None:
        assert self.idle(["Error: 1"], ["Error: 2"], [{"error": "3"}], ["fine"]) == 3

    def test_one_new_result_of_a_round_is_enough(self) -> None:
        assert self.idle(["a", "b"], ["a", "c"], ["Error", "d"]) == 0

    def test_rounds_without_results_are_not_counted(self) -> None:
        assert self.idle(["a"], [None], [], ["a"]) == 1

    def test_objects_are_the_same_whatever_the_order_of_keys(self) -> None:
        assert self.idle([{"a": 1, "b": 2}], [{"b": 2, "a": 1}], ['{"b": 2, "a": 1}']) == 2

    def test_without_model_calls_each_call_is_a_round(self) -> None:
        found = Progress(limit=1).check(trace(*results("a", "a", "a")))
        assert found == Verdict(
            False, "2 of 3 rounds of tool calls in a row without anything new, 1 allowed", details={"measured": 2}
        )

    @pytest.mark.parametrize("steps", [[], results(None, None)])
    def test_without_results_there_is_nothing_to_say(self, steps: list[Observation]) -> None:
        assert Progress().check(trace(*steps)) == NotApplicable("no tool results")
