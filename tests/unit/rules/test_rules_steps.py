from __future__ import annotations

from typing import Any

import pytest

from rules.steps import MaxRetries, MaxStepLatency, MaxTimeToFirstToken, StepTimeShare
from tests.building import nested, step, tool, trace
from traces import NotApplicable, Observation, Outcome, Verdict


def value(found: Outcome) -> Any:
    assert isinstance(found, Verdict)
    return found.value


class TestMaxStepLatency:
    def test_the_slowest_step_counts_and_is_named(self) -> None:
        built = trace(step("quick", took=1), tool("slow", took=4.25))
        found = MaxStepLatency(seconds=4).check(built)
        assert found == Verdict(False, "TOOL 'slow' took 4.25 s, at most 4 s allowed", details={"measured": 4.25})
        assert value(MaxStepLatency(seconds=4.25).check(built)) is True

    def test_one_type_may_be_meant(self) -> None:
        built = trace(step("quick", took=1), tool("slow", took=4))
        assert value(MaxStepLatency(seconds=2, type="SPAN").check(built)) is True
        assert MaxStepLatency(seconds=2, type="AGENT").check(built) == NotApplicable("no ended step")

    @pytest.mark.parametrize("took", [None, -1])
    def test_open_steps_and_broken_clocks_are_left_out(self, took: float | None) -> None:
        assert MaxStepLatency(seconds=2).check(trace(step(took=took))) == NotApplicable("no ended step")

    def test_the_root_is_no_step(self) -> None:
        assert MaxStepLatency(seconds=2).check(trace()) == NotApplicable("no ended step")


class TestMaxTimeToFirstToken:
    def test_the_longest_wait_counts(self) -> None:
        waits = [step("chat", type="GENERATION", id=f"g{wait}", time_to_first_token=wait) for wait in (0.5, 2.5, 1.0)]
        found = MaxTimeToFirstToken(seconds=2).check(trace(*waits))
        assert isinstance(found, Verdict)
        assert (found.value, found.details) == (False, {"measured": 2.5})
        assert (
            found.reason
            == "2.50 s to the first token of GENERATION 'chat', the longest of 3 waits; at most 2 s allowed"
        )

    @pytest.mark.parametrize("wait", [None, float("nan"), float("inf"), -1.0])
    def test_without_a_wait_there_is_nothing_to_say(self, wait: float | None) -> None:
        built = trace(step("chat", type="GENERATION", time_to_first_token=wait))
        assert MaxTimeToFirstToken(seconds=2).check(built) == NotApplicable("no time to first token recorded")


class TestMaxRetries:
    def tries(self, *levels: str, arguments: Any = "same") -> Verdict:
        steps = [tool("search", {"q": arguments}, id=f"c{n}", level=level) for n, level in enumerate(levels)]
        return MaxRetries(limit=1).check(trace(*steps))

    def test_the_same_again_after_an_error_is_a_retry(self) -> None:
        assert self.tries("ERROR", "DEFAULT") == Verdict(
            True, "1 step done again after it failed, 'search' most often (1); 1 allowed", details={"measured": 1}
        )
        assert self.tries("ERROR", "ERROR", "DEFAULT").value is False

    @pytest.mark.parametrize(
        "levels", [("DEFAULT", "DEFAULT", "DEFAULT"), ("DEFAULT", "ERROR"), ("WARNING", "DEFAULT")]
    )
    def test_the_same_again_after_success_is_none(self, levels: tuple[str, ...]) -> None:
        assert self.tries(*levels).details == {"measured": 0}

    def test_what_succeeded_meanwhile_is_no_retry_again(self) -> None:
        assert self.tries("ERROR", "DEFAULT", "DEFAULT").details == {"measured": 1}

    def test_other_input_and_none_are_no_retry(self) -> None:
        assert self.tries("ERROR", "ERROR", "ERROR", arguments=None).value is False  # {"q": null} is an input
        steps = [
            tool("search", arguments, id=str(n), level="ERROR")
            for n, arguments in enumerate([{"q": 1}, {"q": 2}, None, None])
        ]
        assert MaxRetries(limit=0).check(trace(*steps)).value is True

    def test_odd_inputs_are_compared_too(self) -> None:
        for odd in (nested(20_000), "\ud800", 2**70):
            assert self.tries("ERROR", "ERROR", "ERROR", arguments=odd).value is False


class TestStepTimeShare:
    def steps(self, *seconds: float) -> list[Observation]:
        return [step(f"s{n}", at=n, took=took) for n, took in enumerate(seconds)]

    def test_the_slowest_leaf_counts(self) -> None:
        found = StepTimeShare(share=0.5).check(trace(*self.steps(1, 6)))
        assert found == Verdict(False, "SPAN 's1' took 60% of 10.00 s, at most 50% allowed", details={"measured": 0.6})
        assert value(StepTimeShare(share=0.6).check(trace(*self.steps(1, 6)))) is True

    def test_what_holds_others_does_not_count(self) -> None:
        outer = step("outer", took=9)
        inner = [step("a", took=4, parent="outer"), step("b", took=4, parent="outer")]
        assert value(StepTimeShare(share=0.5).check(trace(outer, *inner))) is True

    def test_a_step_that_outlasts_the_trace_takes_all_of_it(self) -> None:
        found = StepTimeShare(share=1).check(trace(*self.steps(1, 60)))
        assert isinstance(found, Verdict)
        assert found.details == {"measured": 1.0}

    @pytest.mark.parametrize(
        ("seconds", "took"), [((5.0,), 10.0), ((), 10.0), ((0.1, 0.2), 0.5), ((1.0, 1.0), 0.0), ((1.0, 1.0), -5.0)]
    )
    def test_few_steps_and_quick_traces_are_left_out(self, seconds: tuple[float, ...], took: float) -> None:
        built = trace(*self.steps(*seconds), root_took=took)
        assert StepTimeShare(share=0.5).check(built) == NotApplicable("too few steps, or too quick")
