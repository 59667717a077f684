"""Several opinions become one outcome, whatever they were."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges import BooleanScale, CategoricalScale, ChecklistScale, NumericScale
from judges.answer import BaseScale
from judges.opinions import OPINIONS, combined, escalated, unsure, usage_of
from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict, outcome_from_json, outcome_to_json

FIVE = NumericScale(type="numeric", min=1, max=5)
YES_NO = BooleanScale(type="boolean")
TONES = CategoricalScale(type="categorical", labels=("warm", "cold", "flat"))
TOPICS = CategoricalScale(type="categorical", labels=("refund", "billing", "status"), several=True)
CHECKS = ChecklistScale.model_validate(
    {
        "type": "checklist",
        "criteria": {"cites": "Does it cite?", "polite": {"ask": "Is it polite?", "weight": 3}},
    }
)
USED = Usage("gpt", 1, 100, 20, 0.01)
AWAY = Failure("unavailable", "no answer", retryable=True, usage=USED)
BAD = Failure("bad_answer", "twice no usable answer", usage=USED)
UNTOLD = Unscored("No documents.", USED)


def says(*values: Any, model: str = "gpt") -> list[Outcome]:
    return [Verdict(v, f"I say {v}.", usage=Usage(model, 1, 100, 20, 0.01), details={"cut": 7}) for v in values]


def verdict(outcomes: Sequence[Outcome], scale: BaseScale) -> Verdict:
    outcome = combined(outcomes, scale)
    assert isinstance(outcome, Verdict)
    return outcome


def checked(**answers: str) -> Verdict:
    outcome = CHECKS.judged({name: {"reason": f"{name} {said}", "answer": said} for name, said in answers.items()}, "")
    assert isinstance(outcome, Verdict)
    return outcome


class TestNumbers:
    def test_the_mean_counts_and_never_the_mode(self) -> None:
        found = verdict(says(5.0, 5.0, 2.0), FIVE)
        assert (found.value, found.details["spread"]) == (4.0, pytest.approx(statistics.pstdev([5, 5, 2])))
        assert found.reason == "(mean of 3 opinions from 2 to 5) I say 5.0."

    @pytest.mark.parametrize(
        ("values", "confidence"), [([4, 4, 4], 1.0), ([1, 5], 0.0), ([3, 4], 0.75), ([1, 1, 5, 5], 0.0)]
    )
    def test_confidence_follows_from_the_spread(self, values: list[float], confidence: float) -> None:
        assert verdict(says(*values), FIVE).confidence == confidence

    def test_agreement_is_told(self) -> None:
        assert verdict(says(4.0, 4.0), FIVE).reason == "(2 opinions agree) I say 4.0."

    @given(st.lists(st.floats(1, 5), min_size=2, max_size=9))
    def test_it_lies_among_the_opinions(self, values: list[float]) -> None:
        found = verdict(says(*values), FIVE)
        assert isinstance(found.value, float)
        assert min(values) <= found.value <= max(values)
        assert found.value == pytest.approx(statistics.fmean(values))
        assert found.confidence is not None
        assert 0 <= found.confidence <= 1

    @given(st.lists(st.floats(1, 5), min_size=2, max_size=6), st.randoms())
    def test_the_order_of_the_opinions_means_nothing(self, values: list[float], random: Any) -> None:
        shuffled = random.sample(values, len(values))
        one, other = verdict(says(*values), FIVE), verdict(says(*shuffled), FIVE)
        assert (one.value, one.confidence) == pytest.approx((other.value, other.confidence))


class TestVotes:
    @pytest.mark.parametrize(
        ("scale", "values", "value", "share"),
        [
            (YES_NO, [True, True, False], True, 2 / 3),
            (YES_NO, [False, False], False, 1.0),
            (TONES, ["warm", "cold", "warm", "flat"], "warm", 0.5),
        ],
    )
    def test_the_majority_counts(self, scale: BaseScale, values: list[Any], value: Any, share: float) -> None:
        found = verdict(says(*values), scale)
        assert (found.value, found.confidence, found.details["agreement"]) == (value, share, share)
        assert type(found.value) is type(value)

    def test_the_reason_is_one_of_the_majority(self) -> None:
        assert verdict(says(False, True, True), YES_NO).reason == "(2 of 3 opinions) I say True."
        assert verdict(says(True, True), YES_NO).reason == "(2 opinions agree) I say True."

    def test_a_split_vote_is_no_verdict(self) -> None:
        split = combined(says(True, False), YES_NO)
        assert split == Unscored("the opinions are split: 1 true, 1 false", usage_of(says(True, False)))
        assert isinstance(combined(says("warm", "cold", "warm", "cold", "flat"), TONES), Unscored)

    @given(st.lists(st.booleans(), min_size=2, max_size=9))
    def test_more_than_half_always_wins(self, values: list[bool]) -> None:
        found = combined(says(*values), YES_NO)
        if 2 * sum(values) == len(values):
            assert isinstance(found, Unscored)
        else:
            assert isinstance(found, Verdict)
            assert found.value is (2 * sum(values) > len(values))
            assert found.confidence == max(Counter(values).values()) / len(values)

    def test_several_labels_are_decided_one_by_one(self) -> None:
        found = verdict(says("billing, refund", "refund", "billing, refund, status"), TOPICS)
        assert found.value == "billing, refund"
        assert found.confidence == pytest.approx((3 + 2 + 2) / 9)
        assert TOPICS.has(found.value)

    def test_labels_that_nobody_shares_are_split(self) -> None:
        split = combined(says("refund", "billing"), TOPICS)
        assert isinstance(split, Unscored)
        assert split.reason == "the opinions are split: 1 refund, 1 billing"


class TestChecklists:
    def test_each_criterion_is_decided_by_itself(self) -> None:
        opinions = [
            checked(cites="yes", polite="no"),
            checked(cites="no", polite="no"),
            checked(cites="yes", polite="cannot_judge"),
        ]
        found = verdict(opinions, CHECKS)
        assert found.value == 0.25
        assert found.details["criteria"] == {
            "cites": {"answer": True, "reason": "cites yes", "agreement": pytest.approx(2 / 3)},
            "polite": {"answer": False, "reason": "polite no", "agreement": pytest.approx(2 / 3)},
        }
        assert found.confidence == pytest.approx(2 / 3)
        assert "polite: no. polite no" in found.reason
        parts = CHECKS.parts(found)
        assert isinstance(parts["cites"], Verdict)
        assert parts["cites"].confidence == pytest.approx(2 / 3)

    def test_a_criterion_without_majority_could_not_be_judged(self) -> None:
        found = verdict([checked(cites="yes", polite="no"), checked(cites="no", polite="no")], CHECKS)
        assert found.value == 0.0
        assert CHECKS.parts(found)["cites"] == Unscored("the opinions are split: 1 yes, 1 no")
        assert found.confidence == (1 * 0.5 + 3 * 1.0) / 4

    def test_when_nothing_has_a_majority_there_is_no_score(self) -> None:
        split = combined([checked(cites="yes", polite="no"), checked(cites="no", polite="yes")], CHECKS)
        assert isinstance(split, Unscored)
        assert "cites: could not be judged. the opinions are split" in split.reason


class TestGaps:
    @pytest.mark.parametrize(
        ("outcomes", "value"),
        [
            ([*says(4.0, 2.0), AWAY], 3.0),
            ([*says(4.0), BAD], 4.0),
            ([*says(4.0), UNTOLD], 4.0),
            ([*says(4.0, 4.0), BAD, AWAY], 4.0),
            ([*says(5.0), UNTOLD, AWAY], 5.0),
        ],
    )
    def test_half_of_the_answers_are_enough(self, outcomes: list[Outcome], value: float) -> None:
        assert verdict(outcomes, FIVE).value == value

    @pytest.mark.parametrize(
        ("outcomes", "kind", "retryable"),
        [
            ([*says(4.0), AWAY, AWAY], "unavailable", True),
            ([*says(4.0), AWAY, BAD], "unavailable", True),
            ([*says(4.0), BAD, BAD, AWAY], "unavailable", True),
            ([*says(4.0), BAD, BAD], "bad_answer", False),
            ([AWAY, AWAY, BAD], "unavailable", True),
            ([AWAY, BAD, BAD], "bad_answer", False),
            ([BAD, BAD], "bad_answer", False),
        ],
    )
    def test_fewer_are_a_failure_that_says_whether_to_try_again(
        self, outcomes: list[Outcome], kind: str, retryable: bool
    ) -> None:
        failure = combined(outcomes, FIVE)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.retryable) == (kind, retryable)
        assert failure.usage.calls == len(outcomes)
        assert f"of {len(outcomes)} opinions failed" in failure.reason

    def test_abstentions_are_answers(self) -> None:
        found = combined([UNTOLD, UNTOLD, *says(4.0)], FIVE)
        assert isinstance(found, Unscored)
        assert found.reason == "2 of 3 opinions could not tell: No documents."
        assert verdict([UNTOLD, *says(4.0, 4.0)], FIVE).confidence == pytest.approx(2 / 3)

    def test_what_was_asked_once_is_what_it_was(self) -> None:
        for outcome in (*says(4.0), UNTOLD, BAD, NotApplicable("no answer")):
            assert combined([outcome], FIVE) is outcome
        with pytest.raises(ValueError, match="no opinion"):
            combined([], FIVE)

    def test_a_trace_there_is_nothing_to_ask_about_stays_so(self) -> None:
        nothing = NotApplicable("no answer")
        assert combined([*says(4.0), nothing, nothing], FIVE) == nothing

    def test_the_only_answer_has_no_more_confidence_than_it_had(self) -> None:
        assert verdict([*says(4.0), AWAY], FIVE).confidence is None


class TestRecords:
    def test_every_opinion_is_noted_and_dissent_with_its_reason(self) -> None:
        found = verdict([*says(True, False, True), UNTOLD, BAD], YES_NO)
        assert found.details[OPINIONS] == [
            {"value": True, "model": "gpt"},
            {"value": False, "model": "gpt", "reason": "I say False."},
            {"value": True, "model": "gpt"},
            {"value": None, "model": "gpt", "reason": "No documents."},
            {"failed": "bad_answer"},
        ]
        assert found.details["cut"] == 7

    def test_a_jury_is_named_by_all_its_models(self) -> None:
        found = verdict([*says(4.0, model="b"), *says(5.0, model="a"), *says(3.0, model="b")], FIVE)
        assert (found.usage.model, found.details["judge_model"]) == ("a + b", "a + b")

    def test_what_is_remarked_on_one_is_remarked_on_all(self) -> None:
        found = verdict([*says(4.0), Verdict(5.0, details={"unpriced": True, "spread": 9})], FIVE)
        assert (found.details["cut"], found.details["unpriced"], found.details["spread"]) == (7, True, 0.5)

    def test_the_details_can_be_written_down(self) -> None:
        for scale, outcomes in ((FIVE, says(4.0, 5.0)), (CHECKS, [checked(cites="yes", polite="no")] * 2)):
            found = combined(outcomes, scale)
            assert outcome_from_json(json.loads(json.dumps(outcome_to_json(found)))) == found


ANY = st.one_of(
    st.floats(1, 5).map(lambda value: says(value)[0]),
    st.just(UNTOLD),
    st.just(AWAY),
    st.just(BAD),
)


@given(st.lists(ANY, min_size=1, max_size=8))
def test_all_that_was_asked_is_paid_for_and_something_comes_of_it(outcomes: list[Outcome]) -> None:
    found = combined(outcomes, FIVE)
    assert isinstance(found, Verdict | Unscored | Failure)
    assert found.usage.calls == len(outcomes)
    assert found.usage.usd == pytest.approx(0.01 * len(outcomes))
    answered = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
    assert isinstance(found, Failure) is (2 * len(answered) < len(outcomes))


class TestEscalation:
    @pytest.mark.parametrize(
        ("outcome", "wanted"),
        [
            (Verdict(4.0, confidence=0.9), False),
            (Verdict(4.0, confidence=0.7), False),
            (Verdict(4.0, confidence=0.69), True),
            (Verdict(4.0), True),
            (UNTOLD, True),
            (BAD, True),
            (AWAY, False),
            (NotApplicable("no answer"), False),
        ],
    )
    def test_a_stronger_judge_is_asked_when_the_first_is_unsure(self, outcome: Outcome, wanted: bool) -> None:
        assert unsure(outcome, 0.7) is wanted

    def test_the_stronger_judge_decides_and_both_are_paid(self) -> None:
        first, second = says(2.0, model="mini")[0], says(5.0, model="big")[0]
        found = escalated(first, second)
        assert isinstance(found, Verdict)
        assert (found.value, found.usage.model, found.usage.calls) == (5.0, "big", 2)
        assert found.details["escalated_from"] == {"value": 2.0, "model": "mini", "reason": "I say 2.0."}

    def test_when_the_stronger_will_never_answer_the_first_stands(self) -> None:
        found = escalated(says(2.0)[0], BAD)
        assert isinstance(found, Verdict)
        assert (found.value, found.usage.calls, found.details["escalation_failed"]) == (2.0, 2, "bad_answer")
        assert escalated(UNTOLD, BAD) == Unscored("No documents.", usage_of([UNTOLD, BAD]))

    @pytest.mark.parametrize(("first", "second"), [(says(2.0)[0], AWAY), (BAD, BAD), (BAD, AWAY), (UNTOLD, UNTOLD)])
    def test_otherwise_the_second_is_the_outcome(self, first: Outcome, second: Outcome) -> None:
        found = escalated(first, second)
        assert type(found) is type(second)
        assert usage_of([found]).calls == 2


def test_all_setups_that_gave_an_opinion_are_named() -> None:
    told = ((3.0, "b"), (4.0, "a"), (3.0, "b"))
    opinions = [Verdict(value, usage=USED, details={"judge_fingerprint": setup}) for value, setup in told]
    assert verdict(opinions, FIVE).details["judge_fingerprint"] == "a + b"
    assert "judge_fingerprint" not in verdict(says(3.0, 4.0), FIVE).details
