"""A rule's verdict takes a trace to a rubric in the pass that finds it, with the probability that it was taken with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.definitions.evaluators import Evaluator, never_found, unanswerable, with_verdicts
from evaluator.sampling.conditions import decided, root_of, with_verdicts_on
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Choice, NotTaken, Sampled, Sampler, position
from evaluator.scoring.first_outcomes import rule_outcome
from rules import Rule
from rules.agents import RepeatedToolCalls, ToolCallCount
from rules.text import Length
from tests.building import tool, trace
from traces import DataType, Observe, SampleRule, Trace, TraceRef, TraceRoot, When

NOW = datetime(2026, 11, 20, tzinfo=UTC)
LOOP = RepeatedToolCalls(limit=1)


def made(name: str, *sample: dict[str, Any], when: dict[str, Any] | None = None, **fields: Any) -> Evaluator:
    lines = tuple(SampleRule.model_validate(line) for line in sample or ({"rate": 1},))
    fields = {"kind": "rule" if "rule" in fields else "rubric", "data_type": DataType.BOOLEAN, **fields}
    return Evaluator(name=name, when=When.model_validate(when or {}), sample=lines, version="1", **fields)


def rule(name: str, check: Rule = LOOP, **fields: Any) -> Evaluator:
    return made(name, rule=check, **fields)


def looping(trace_id: str, *, loops: bool) -> Trace:
    steps = [tool("search", {"q": 1 if loops else number}, id=f"c{number}") for number in range(2)]
    return replace(trace(*steps), id=trace_id)


def take(
    evaluators: Sequence[Evaluator], material: Trace, salt: str = "s"
) -> tuple[dict[str, Sampled], set[str], list[Choice]]:
    """Decide as discovery and a worker do; return who takes the trace, who leaves it after all, and the choices."""
    known = with_verdicts(evaluators)
    root = replace(root_of(material), ref=TraceRef(material.id, "r", "default", NOW, NOW))
    choices = Sampler(known, salt).choose(root)
    job = Job(root.ref, tuple(sample for choice in choices for sample in choice.samples))
    taken, left = decided(job, material, {each.name: each for each in known}, rule_outcome)
    return {each.evaluator: each for each in taken}, {each.evaluator for each in left}, list(choices)


TROUBLE = {"when": {"score": {"name": "no-loop", "equals": False}}, "rate": 1}


def test_a_finding_raises_the_rate_and_the_probability_says_so() -> None:
    evaluators = [rule("no-loop"), made("judge", TROUBLE, {"rate": 0.0001})]
    taken, left, _ = take(evaluators, looping("1" * 32, loops=True))
    assert taken["judge"] == Sampled("judge", 1, "0")
    assert left == set()
    taken, left, choices = take(evaluators, looping("1" * 32, loops=False))
    assert "judge" not in taken
    assert left == {"judge"}
    assert [choice.state for choice in choices] == ["sampled", "sampled"]


def test_what_chance_takes_anyway_has_the_rate_of_the_line_that_holds() -> None:
    evaluators = [rule("no-loop"), made("judge", TROUBLE, {"rate": 0.999999})]
    assert take(evaluators, looping("1" * 32, loops=True))[0]["judge"].probability == 1
    assert take(evaluators, looping("1" * 32, loops=False))[0]["judge"] == Sampled("judge", 0.999999, "1")


@given(
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.booleans(),
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_it_is_what_the_highest_line_that_holds_would_have_done(trace_id: str, loops: bool, rates: list[float]) -> None:
    lines: list[dict[str, Any]] = [{**TROUBLE, "rate": rates[0]}, {"rate": rates[1]}, {**TROUBLE, "rate": rates[2]}]
    taken, _, _ = take([rule("no-loop"), made("judge", *lines)], looping(trace_id, loops=loops))
    highest = max(rates) if loops else rates[1]
    assert ("judge" in taken) == (position(trace_id, "s") < highest)
    if "judge" in taken:
        assert taken["judge"].probability == highest


def test_weighted_means_are_unbiased_and_plain_ones_are_not() -> None:
    """Half a million would be surer; at 6,000 traces the weighted mean lies within four standard errors."""
    chance = random.Random(7)
    evaluators = with_verdicts([rule("no-loop"), made("judge", TROUBLE, {"rate": 0.1})])
    by_name = {each.name: each for each in evaluators}
    sampler = Sampler(evaluators, "s")
    both = {loops: looping("x", loops=loops) for loops in (False, True)}
    truth, weighted, plain, weights = [], [], [], []
    for number in range(6_000):
        loops = chance.random() < 0.2
        worth = float(chance.random() < (0.3 if loops else 0.9))
        truth.append(worth)
        ref = TraceRef(f"{number:032x}", "r", "default", NOW, NOW)
        (_, choice) = sampler.choose(TraceRoot(ref))
        taken, _ = decided(Job(ref, choice.samples), both[loops], by_name, rule_outcome)
        for each in taken:
            plain.append(worth)
            weighted.append(worth / each.probability)
            weights.append(1 / each.probability)
    assert 1_500 < len(plain) < 1_900
    estimate = sum(weighted) / sum(weights)
    # 480 of the plain ones carry four fifths of the weight: a standard error of about 0.8 * sqrt(0.09 / 480) = 0.011.
    assert abs(estimate - fmean(truth)) < 0.044
    assert fmean(plain) < fmean(truth) - 0.15


def test_a_rule_is_asked_once_and_whether_or_not_it_is_sampled() -> None:
    asked: list[str] = []

    class Counting(Rule):
        def check(self, trace: Trace) -> Any:
            asked.append(trace.id)
            return LOOP.check(trace)

    evaluators = [
        made("no-loop", {"rate": 0}, rule=Counting()),
        made("judge", TROUBLE, {"rate": 0}),
        made("other", TROUBLE, {"rate": 0}),
    ]
    taken, _, _ = take(evaluators, looping("1" * 32, loops=True))
    assert taken.keys() == {"judge", "other"}
    assert asked == ["1" * 32]


def test_a_rule_whose_filter_leaves_the_trace_says_nothing_of_it() -> None:
    evaluators = [rule("no-loop", when={"trace_name": "another"}), made("judge", TROUBLE)]
    assert take(evaluators, looping("1" * 32, loops=True))[1] == {"judge"}


def test_a_rule_that_breaks_finds_nothing() -> None:
    class Broken(Rule):
        def check(self, trace: Trace) -> Any:
            raise RuntimeError(trace.id)

    assert take([rule("no-loop", Broken()), made("judge", TROUBLE)], looping("1" * 32, loops=True))[1] == {"judge"}


def test_a_whole_filter_may_depend_too() -> None:
    evaluators = [rule("no-loop"), made("judge", {"rate": 1}, when={"score": {"name": "no-loop", "equals": False}})]
    assert take(evaluators, looping("1" * 32, loops=True))[0]["judge"].probability == 1
    assert take(evaluators, looping("1" * 32, loops=False))[1] == {"judge"}


def test_numbers_are_compared() -> None:
    calls = rule("calls", ToolCallCount(), data_type=DataType.NUMERIC)
    for least, expected in ((2, True), (3, False)):
        line = {"when": {"score": {"name": "calls", "at_least": least}}, "rate": 1}
        assert ("judge" in take([calls, made("judge", line)], looping("1" * 32, loops=False))[0]) is expected


class TestSeverity:
    def take(self, wanted: str, loops: bool, severity: str | None = "error") -> bool:
        line = {"when": {"found": wanted}, "rate": 1}
        evaluators = [
            rule("no-loop", severity=severity),
            rule("short", Length(max=1), severity="info"),
            rule("calls", ToolCallCount(), severity="critical", data_type=DataType.NUMERIC),
            made("judge", line),
        ]
        return "judge" in take(evaluators, looping("1" * 32, loops=loops))[0]

    @pytest.mark.parametrize(
        ("wanted", "expected"), [("info", True), ("warning", True), ("error", True), ("critical", False)]
    )
    def test_as_bad_or_worse_is_meant(self, wanted: str, expected: bool) -> None:
        assert self.take(wanted, loops=True) is expected

    def test_a_milder_finding_and_a_number_are_not(self) -> None:
        assert self.take("info", loops=False) is True  # the answer is too long
        assert self.take("warning", loops=False) is False


class TestWhatCannotBeTold:
    def said(self, *evaluators: Evaluator) -> str | None:
        known = with_verdicts(evaluators)
        return unanswerable(known[-1]) or never_found(known[-1], known)

    def test_a_severity_that_no_rule_has(self) -> None:
        line = {"when": {"found": "critical"}, "rate": 1}
        said = self.said(rule("no-loop", severity="error"), made("judge", line))
        assert said == "judge asks for `found: critical`, and no rule on traces has this severity or a worse one"
        assert self.said(rule("no-loop", severity="critical"), made("judge", line)) is None

    def test_a_session(self) -> None:
        session = replace(made("judge", {"when": {"found": "info"}, "rate": 1}), idle=timedelta(hours=1))
        assert "a session is not judged" in str(self.said(rule("no-loop", severity="info"), session))

    def test_a_budget_on_a_line_that_depends(self) -> None:
        line = {**{key: held for key, held in TROUBLE.items() if key == "when"}, "budget": "10/day"}
        assert "too late to choose the rate" in str(self.said(rule("no-loop"), made("judge", line)))
        assert self.said(made("judge", line)) is None  # a score that others write

    def test_rules_that_need_more_than_the_trace_are_asked_of_langfuse(self) -> None:
        of_steps = rule("no-loop", observe=Observe(type=("TOOL",)))
        of_scores = rule("no-loop", when={"score": {"name": "thumb", "equals": False}})
        for each in (of_steps, of_scores):
            assert with_verdicts([each, made("judge", TROUBLE)])[1].in_pass == frozenset()
        assert with_verdicts([rule("no-loop"), made("judge", TROUBLE)])[1].in_pass == {"no-loop"}


def test_a_line_that_is_no_longer_in_the_file_holds_for_nobody() -> None:
    evaluators = with_verdicts([rule("no-loop"), made("judge", TROUBLE)])
    job = Job(TraceRef("t", "r", "e", NOW, NOW), (Sampled("judge", 1, "7", depends=True),))
    taken, left = decided(job, looping("t", loops=True), {each.name: each for each in evaluators}, rule_outcome)
    assert (taken, [each.evaluator for each in left]) == ([], ["judge"])


def test_choices_that_depend_are_the_same_object_each_time() -> None:
    evaluators = with_verdicts([rule("no-loop"), made("judge", TROUBLE, {"rate": 0.5})])
    sampler = Sampler(evaluators, "s")
    roots = [TraceRoot(TraceRef(f"{number:032x}", "r", "e", NOW, NOW)) for number in range(50)]
    assert len({id(sampler.choose(root)[1]) for root in roots}) == 2


def test_without_depending_lines_a_choice_is_what_it_was() -> None:
    (choice,) = Sampler([made("judge", {"rate": 0})], "s").choose(TraceRoot(TraceRef("t", "r", "e", NOW, NOW)))
    assert (choice.decision, choice.samples, choice.state) == (NotTaken.SAMPLED_OUT, (), "sampled_out")


def test_a_root_may_be_given_what_the_rules_say() -> None:
    evaluators = with_verdicts([rule("no-loop", severity="error"), made("judge", TROUBLE)])
    material = looping("1" * 32, loops=True)
    root = with_verdicts_on(replace(root_of(material), scores={"thumb": 1.0}), material, evaluators, rule_outcome)
    assert (root.scores, root.found) == ({"thumb": 1.0, "no-loop": 0.0}, "error")
