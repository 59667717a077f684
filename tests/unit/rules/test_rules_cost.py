from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rules import Rule
from rules.cost import Latency, MaxCost, MaxLatency, MaxTokens
from tests.building import step, trace
from traces import DataType, NotApplicable, Observation, Verdict

BACKWARDS = NotApplicable("ends before it starts")


def call(**fields: Any) -> Observation:
    return step(type="GENERATION", **fields)


class TestMaxLatency:
    @pytest.mark.parametrize(("took", "passed"), [(0.0, True), (10.0, True), (10.01, False), (1e6, False)])
    def test_the_limit_itself_is_allowed(self, took: float, passed: bool) -> None:
        found = MaxLatency(seconds=10).check(trace(root_took=took))
        assert found == Verdict(passed, f"took {took:.2f} s, at most 10 s allowed", details={"measured": took})

    def test_an_open_root_is_measured_to_the_last_moment(self) -> None:
        found = MaxLatency(seconds=10).check(trace(step(at=11), root_took=None))
        assert found == Verdict(False, "took 12.00 s, at most 10 s allowed", details={"measured": 12.0})

    def test_a_clock_that_went_backwards_says_nothing(self) -> None:
        assert MaxLatency(seconds=10).check(trace(root_took=-1.0)) == BACKWARDS


class TestLatency:
    def test_it_is_a_number_of_seconds(self) -> None:
        assert Latency.gives is DataType.NUMERIC
        assert Latency().check(trace(root_took=2.5)) == Verdict(2.5, "took 2.50 s")

    def test_a_clock_that_went_backwards_says_nothing(self) -> None:
        assert Latency().check(trace(root_took=-0.5)) == BACKWARDS

    @given(st.floats(0, 1e6), st.floats(0.001, 1e6))
    def test_both_rules_agree(self, took: float, limit: float) -> None:
        built = trace(root_took=took)
        number, verdict = Latency().check(built), MaxLatency(seconds=limit).check(built)
        assert isinstance(number, Verdict)
        assert isinstance(verdict, Verdict)
        assert verdict.value is (float(number.value) <= limit)


class TestMaxCost:
    @pytest.mark.parametrize(("costs", "passed"), [([0.0], True), ([0.02, 0.03], True), ([0.04, 0.02], False)])
    def test_the_sum_is_compared(self, costs: list[float], passed: bool) -> None:
        found = MaxCost(usd=0.05).check(trace(*(call(cost=cost) for cost in costs)))
        assert isinstance(found, Verdict)
        assert found.value is passed
        assert found.reason == f"cost {sum(costs):.4g} USD, at most 0.05 USD allowed"

    @pytest.mark.parametrize("costs", [[], [None], [float("nan")], [float("inf"), 1.0]])
    def test_no_sensible_cost_says_nothing(self, costs: list[float | None]) -> None:
        built = trace(*(call(cost=cost) for cost in costs))
        assert MaxCost(usd=1).check(built) == NotApplicable("no cost recorded")


class TestMaxTokens:
    def test_input_and_output_of_all_calls_count(self) -> None:
        built = trace(call(usage={"input": 900.0, "output": 101.0}), call(usage={"total": 200.0}), call())
        found = MaxTokens(tokens=1300).check(built)
        assert found == Verdict(
            True, "1,201 tokens in 2 model calls, at most 1,300 allowed", details={"measured": 1201.0}
        )

    def test_more_than_the_limit_fails(self) -> None:
        found = MaxTokens(tokens=10).check(trace(call(usage={"input": 11.0})))
        assert found == Verdict(False, "11 tokens in 1 model call, at most 10 allowed", details={"measured": 11.0})

    def test_the_limit_itself_is_allowed(self) -> None:
        found = MaxTokens(tokens=10).check(trace(call(usage={"input": 10.0})))
        assert isinstance(found, Verdict)
        assert found.value is True

    @pytest.mark.parametrize(
        "steps", [(), (call(),), (step(usage={"total": 5.0}),), (call(usage={"input": float("nan")}),)]
    )
    def test_no_recorded_usage_says_nothing(self, steps: tuple[Observation, ...]) -> None:
        assert MaxTokens(tokens=10).check(trace(*steps)) == NotApplicable("no tokens recorded")


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (MaxLatency, {"seconds": 0}),
        (MaxLatency, {"seconds": float("inf")}),
        (MaxLatency, {"seconds": "10 s"}),
        (MaxLatency, {}),
        (MaxCost, {"usd": -1}),
        (MaxCost, {"usd": float("nan")}),
        (MaxTokens, {"tokens": 0}),
        (MaxTokens, {"tokens": 1.5}),
        (Latency, {"seconds": 1}),
    ],
)
def test_senseless_limits_are_refused(kind: type[Rule], parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(parameters)
