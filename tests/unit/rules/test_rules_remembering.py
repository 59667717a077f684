"""Rules that compare a trace with earlier ones: pure, given what was kept of those."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.remembering import ConsistentAnswer, Remembering, WithinUsual, alike, fingerprint
from tests.building import ANY_TEXT, nested, step, trace
from traces import NotApplicable, Outcome, Trace, Verdict

SENT = "Your order was shipped on Monday and should arrive within three to five business days."
SENT_TOO = "The order has been shipped on Monday. It should arrive in three to five business days."
NO = "We are sorry, but we cannot help with that request."


def after(rule: Remembering, built: Trace, earlier: list[str]) -> Outcome:
    topic = rule.topic(built)
    assert topic is not None
    return rule.check(replace(built, earlier={rule.memory(topic): earlier}))


def value(found: Outcome) -> Any:
    assert isinstance(found, Verdict)
    return found.value


@pytest.mark.parametrize("rule", [WithinUsual(of="latency"), ConsistentAnswer()])
class TestBoth:
    def test_where_nothing_is_known_there_is_nothing_to_say(self, rule: Remembering) -> None:
        assert rule.check(trace()) == NotApplicable("no earlier traces are known here")

    def test_a_step_is_not_compared_with_whole_traces(self, rule: Remembering) -> None:
        inner = step()
        assert rule.check(trace(inner).at(inner)) == NotApplicable("only whole traces are compared")

    def test_what_is_kept_is_short_and_no_text(self, rule: Remembering) -> None:
        secret = "my password is hunter22 " * 1000
        built = trace(input=secret, output=secret)
        topic, note = rule.topic(built), rule.note(built)
        assert topic is not None
        assert note is not None
        assert len(note) <= 300
        assert "hunter" not in note
        assert "hunter" not in rule.memory(topic)

    def test_other_parameters_remember_apart(self, rule: Remembering) -> None:
        other = rule.model_copy(update={"days": 3})
        assert other.memory("a") != rule.memory("a") != rule.memory("b")


class TestWithinUsual:
    def check(self, took: float, earlier: list[float], **fields: Any) -> Outcome:
        rule = WithinUsual.model_validate({"of": "latency", **fields})
        return after(rule, trace(root_took=took), [f"{each:.6g}" for each in earlier])

    def test_the_percentile_is_the_limit(self) -> None:
        earlier = [float(number) for number in range(1, 101)]
        assert value(self.check(95, earlier)) is True
        found = self.check(95.5, earlier)
        assert found == Verdict(
            False,
            "latency 95.5, at most 95 allowed, the 95th percentile of 100 earlier traces",
            details={"measured": 95.5},
        )

    def test_a_multiple_may_be_allowed(self) -> None:
        found = self.check(19, [10.0] * 50, factor=2)
        assert isinstance(found, Verdict)
        assert found.value is True
        assert "at most 2 times 10 allowed" in found.reason
        assert value(self.check(20.5, [10.0] * 50, factor=2)) is False

    @pytest.mark.parametrize(("percentile", "number"), [(50, 29), (95, 29), (99, 99), (99.9, 999)])
    def test_with_too_few_there_is_nothing_to_say(self, percentile: float, number: int) -> None:
        few = NotApplicable("too few earlier traces to compare with")
        assert self.check(1, [1.0] * number, percentile=percentile) == few
        assert isinstance(self.check(1, [1.0] * (number + 1), percentile=percentile), Verdict)

    @given(st.lists(st.floats(0, 1e6), min_size=40, max_size=200), st.floats(50, 97))
    def test_as_many_earlier_ones_as_it_says_would_pass(self, earlier: list[float], percentile: float) -> None:
        kept = [f"{each:.6g}" for each in earlier]
        rule = WithinUsual(of="latency", percentile=percentile)
        passing = sum(bool(value(rule.compare(each, kept))) for each in kept)
        assert passing >= percentile / 100 * len(kept)

    def test_every_measure_is_read(self) -> None:
        call = step("chat", took=4, type="GENERATION", usage={"total": 70.0}, cost=0.25, time_to_first_token=0.5)
        notes = {of: WithinUsual.model_validate({"of": of}).note(trace(call)) for of in (
            "latency", "cost", "tokens", "slowest_step", "time_to_first_token"
        )}  # fmt: skip
        assert notes == {
            "latency": "10", "cost": "0.25", "tokens": "70", "slowest_step": "4", "time_to_first_token": "0.5"
        }  # fmt: skip

    @pytest.mark.parametrize("of", ["cost", "tokens", "slowest_step", "time_to_first_token"])
    def test_what_was_not_recorded_is_not_kept(self, of: str) -> None:
        rule = WithinUsual.model_validate({"of": of})
        assert rule.note(trace()) is None
        assert rule.check(replace(trace(), earlier={})) == NotApplicable("value not found")

    @pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0])
    def test_odd_numbers_are_not_kept(self, cost: float) -> None:
        assert WithinUsual(of="cost").note(trace(step(cost=cost))) is None


class TestConsistentAnswer:
    def check(self, answer: Any, *earlier: Any, **fields: Any) -> Outcome:
        return after(ConsistentAnswer(**fields), trace(output=answer), [fingerprint(each) for each in earlier])

    def test_a_question_that_is_new_gets_no_score(self) -> None:
        assert self.check(SENT) == NotApplicable("not asked before")

    def test_the_same_and_the_same_in_other_words_pass(self) -> None:
        assert value(self.check(SENT, SENT)) is True
        assert value(self.check(SENT, SENT_TOO)) is True

    def test_another_answer_fails(self) -> None:
        found = self.check(NO, SENT, SENT_TOO)
        assert isinstance(found, Verdict)
        assert found.value is False
        assert found.reason.endswith("of 2 earlier answers to the same input, at least 0.15 expected")
        assert found.details["measured"] < 0.1

    def test_one_earlier_answer_that_is_alike_is_enough(self) -> None:
        assert value(self.check(NO, SENT, NO)) is True

    def test_answers_may_have_to_be_the_same(self) -> None:
        assert value(self.check(SENT, SENT_TOO, similarity=0.9)) is False
        assert value(self.check("Yes.", "yes", similarity=1)) is True
        assert value(self.check("Yes.", "No.")) is False

    def test_inputs_are_the_same_but_for_case_and_space(self) -> None:
        rule = ConsistentAnswer()
        ask = [rule.topic(trace(input=each)) for each in ("Where is it?", " where  IS it", "Where is she?")]
        assert ask[0] == ask[1] != ask[2]
        assert rule.topic(trace(input=[{"role": "user", "content": "Hi"}])) is not None

    @pytest.mark.parametrize("asked", [None, "", "  ?"])
    def test_without_an_input_nothing_is_compared(self, asked: Any) -> None:
        assert ConsistentAnswer().check(replace(trace(input=asked), earlier={})) == NotApplicable("value not found")

    @pytest.mark.parametrize("odd", ["\ud800" * 100, nested(20_000), "a" * 1_000_000, "é漢😀 " * 100_000, {"a": None}])
    def test_odd_answers_are_compared_too(self, odd: Any) -> None:
        note = ConsistentAnswer().note(trace(output=odd))
        assert note is not None
        assert alike(note, note) == 1

    def test_what_another_release_kept_is_unlike(self) -> None:
        for kept in ("", "zz", "00" * 64, "x" * 256):
            assert alike(fingerprint(SENT), kept) == 0


class TestFingerprint:
    @given(ANY_TEXT, ANY_TEXT)
    def test_it_is_of_one_length_and_alike_itself_whichever_comes_first(self, one: str, other: str) -> None:
        first, second = fingerprint(one), fingerprint(other)
        assert len(first) == 256
        assert alike(first, first) == 1
        assert alike(first, second) == alike(second, first) <= 1

    def test_it_estimates_the_share_of_pieces_that_both_have(self) -> None:
        chance = random.Random(5)
        words = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(3, 9))) for _ in range(400)]
        errors = []
        for kept in (0.0, 0.3, 0.6, 0.9) * 15:
            one = chance.choices(words, k=150)
            other = [word if chance.random() < kept else chance.choice(words) for word in one]
            left, right = " ".join(one), " ".join(other)
            errors.append(alike(fingerprint(left), fingerprint(right)) - _jaccard(left, right))
        # Sixty errors with a standard deviation of 0.04: their mean has one of 0.005.
        assert abs(sum(errors) / len(errors)) < 0.02
        assert max(map(abs, errors)) < 0.18


def _jaccard(one: str, other: str) -> float:
    left, right = ({text[at : at + 5] for at in range(len(text) - 4)} for text in (one, other))
    return len(left & right) / len(left | right)
