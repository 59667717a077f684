from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from evaluator.definitions.evaluators import Evaluator
from evaluator.sampling.jobs import Job
from evaluator.scoring.checking import LONGEST_CHECK, REST, SLOW, STRIKES, Checks
from evaluator.scoring.first_outcomes import first_outcome
from rules import Rule, passed
from tests.building import step, tool, trace
from traces import DataType, Failure, NotApplicable, SampleRule, Session, SessionRef, Trace, Verdict, When


class Counting(Rule):
    hand: Any = None

    def check(self, trace: Trace) -> Verdict:
        if self.hand is not None:
            self.hand.check()
        return passed(f"looked at {trace.id}")


class Raising(Rule):
    hand: Any = None

    def check(self, trace: Trace) -> Verdict:
        if self.hand is not None:
            self.hand.check()
        raise RuntimeError("with what was evaluated: secret")


class Hand:
    """A clock, and the CPU seconds that each check takes; time passes only while one runs."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.takes = 0.0
        self.waits = 0.0
        self.used = 0.0
        self.reads = 0

    def cpu(self) -> float:
        self.reads += 1
        return self.used

    def check(self) -> None:
        self.used += self.takes
        self.at += self.takes + self.waits

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def of(rule: Rule, **when: Any) -> Evaluator:
    asked = When.model_validate(when)
    return Evaluator("mine", "rule", asked, (SampleRule(rate=1),), "v", DataType.BOOLEAN, rule=rule)


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def checks(hand: Hand) -> Checks:
    return Checks(hand, hand.cpu)


FINE = Verdict(True, "looked at t1")
RESTING = Failure(SLOW, "mine rests: it took too long 3 times in a row")


class TestTime:
    def test_a_quick_rule_gives_its_verdict(self, checks: Checks, hand: Hand) -> None:
        hand.takes = LONGEST_CHECK
        assert [checks.first_outcome(of(Counting(hand=hand)), trace()) for _ in range(10)] == [FINE] * 10

    def test_a_slow_check_gives_no_score_and_is_named(self, checks: Checks, hand: Hand) -> None:
        hand.takes = 3.21
        assert checks.first_outcome(of(Counting(hand=hand)), trace()) == Failure(
            SLOW, "mine took 3.2 CPU seconds, 2 allowed"
        )

    def test_a_rule_that_is_slow_again_and_again_rests(self, checks: Checks, hand: Hand) -> None:
        hand.takes = 5
        slow = [checks.first_outcome(of(Counting(hand=hand)), trace()) for _ in range(STRIKES)]
        assert all(isinstance(each, Failure) and each.kind == SLOW and each != RESTING for each in slow)
        assert checks.first_outcome(of(Counting(hand=hand)), trace()) == RESTING

    def test_after_the_rest_one_check_tries(self, checks: Checks, hand: Hand) -> None:
        hand.takes = 5
        for _ in range(STRIKES):
            checks.first_outcome(of(Counting(hand=hand)), trace())
        hand.at += REST
        assert checks.first_outcome(of(Counting(hand=hand)), trace()) != RESTING
        assert checks.first_outcome(of(Counting(hand=hand)), trace()) == RESTING
        hand.at += REST
        hand.takes = 0.1
        assert [checks.first_outcome(of(Counting(hand=hand)), trace()) for _ in range(3)] == [FINE] * 3

    def test_only_checks_in_a_row_count(self, checks: Checks, hand: Hand) -> None:
        for takes in (5, 5, 0, 5, 5, 0, 5):
            hand.takes = takes
            found = checks.first_outcome(of(Counting(hand=hand)), trace())
            assert found == FINE if takes == 0 else found != RESTING

    def test_others_go_on(self, checks: Checks, hand: Hand) -> None:
        hand.takes = 5
        for _ in range(STRIKES):
            checks.first_outcome(of(Counting(hand=hand)), trace())
        other = Evaluator("other", "rule", When(), (), "v", DataType.BOOLEAN, rule=Counting(hand=hand))
        hand.takes = 0
        assert checks.first_outcome(other, trace()) == FINE

    def test_a_slow_rule_that_raises_is_slow(self, checks: Checks, hand: Hand) -> None:
        hand.takes = 5
        found = checks.first_outcome(of(Raising(hand=hand)), trace())
        assert isinstance(found, Failure)
        assert found.kind == SLOW

    def test_a_rule_that_only_waits_is_not_slow(self, checks: Checks, hand: Hand) -> None:
        hand.takes, hand.waits = 0.5, 60.0
        assert [checks.first_outcome(of(Counting(hand=hand)), trace()) for _ in range(5)] == [FINE] * 5

    def test_what_a_thread_used_before_is_not_laid_at_a_rules_door(self, checks: Checks, hand: Hand) -> None:
        hand.used = 100.0
        hand.takes, hand.waits = 1.0, 10.0
        assert checks.first_outcome(of(Counting(hand=hand)), trace()) == FINE
        hand.used, hand.at = 200.0, hand.at + 1
        assert checks.first_outcome(of(Counting(hand=hand)), trace()) == FINE

    def test_the_kernel_is_seldom_asked(self, checks: Checks, hand: Hand) -> None:
        hand.takes = 0.0001
        for _ in range(1000):
            checks.first_outcome(of(Counting(hand=hand)), trace())
        assert hand.reads <= 3


class TestWords:
    def test_every_line_of_the_log_says_of_what_and_for_whom(self, checks: Checks) -> None:
        said: list[dict[str, Any]] = []

        class Saying(Rule):
            def check(self, trace: Trace) -> Verdict:
                said.append(get_contextvars())
                return passed("")

        looked = trace()
        session = Session("s", (looked,))
        of_trace = Job(looked.ref, ())
        of_session = Job(SessionRef("s#1", "s", "default", looked.ref.started, looked.ref.ended), ())
        bind_contextvars(message_id="m")
        mine = of(Saying())
        checks.first_outcomes([(of_session, mine, session.traces[0]), (of_trace, mine, looked)])
        about = {"message_id": "m", "evaluator": "mine"}
        assert said == [{**about, "session_id": "s"}, {**about, "trace_id": looked.id}]
        assert get_contextvars() == {"message_id": "m"}
        clear_contextvars()


class TestFirstOutcome:
    def test_a_rule_that_raises_is_named_without_its_words(self) -> None:
        assert first_outcome(of(Raising()), trace()) == Failure("rule_error", "RuntimeError in mine")

    def test_a_trace_that_does_not_fit_is_skipped_with_the_condition(self) -> None:
        asked = of(Counting(), observation={"type": "TOOL"}, cost={"at_least": 1})
        assert first_outcome(asked, trace(step("a"))) == NotApplicable("`when` asks for another cost")
        assert first_outcome(asked, trace(step("a", cost=2.0))) == NotApplicable("`when` asks for another observation")
        assert first_outcome(asked, trace(tool("a", cost=2.0))) == FINE

    def test_of_a_step_the_whole_trace_is_asked(self) -> None:
        built = trace(tool("a", 1, id="one"), step("b", id="two"))
        part = built.at(built.observations[2])
        assert first_outcome(of(Counting(), observation={"type": "TOOL"}), part) == FINE

    def test_of_a_session_any_trace_may_fit(self) -> None:
        session = Session("s", (trace(step("a")), trace(tool("b", 1))))
        found = first_outcome(of(Counting(), observation={"type": "TOOL"}), session)
        assert found == NotApplicable("evaluator without rule or rubric")
        found = first_outcome(of(Counting(), observation={"type": "RETRIEVER"}), session)
        assert found == NotApplicable("`when` asks for another observation")
