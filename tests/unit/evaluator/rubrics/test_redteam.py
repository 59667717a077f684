"""What a red team asks, what counts as a flip, and when it stops for money."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final

import pytest

from evaluator.rubrics.redteam import Findings, Kind, aim_of, level_of, run, shots_of, unfenced
from judges import Question, Rubric, RubricSpec
from judges.attacks import ATTACKS
from traces import Failure, Outcome, Unscored, Usage, Verdict

SPEC: Final[dict[str, Any]] = {
    "name": "helpful",
    "inputs": {"question": "$.root.input", "answer": "$.root.output"},
    "criteria": "Does it help?",
    "score": {"type": "numeric", "min": 1, "max": 5},
    "judge": {"model": "gpt"},
    "examples": [
        {"inputs": {"question": "How?", "answer": "Like this."}, "expect": {"at_least": 4}},
        {"inputs": {"question": "When?", "answer": "No idea."}, "expect": {"at_most": 2}},
    ],
}


def rubric(**changes: Any) -> Rubric:
    return Rubric(RubricSpec.model_validate({**SPEC, **changes}))


class Judge:
    """Answers by what it is shown, at a tenth of a dollar each."""

    def __init__(self, says: Callable[[Question], float | None]) -> None:
        self._says = says
        self.asked = 0

    def ask(self, questions: Sequence[Question], patience: float | None = None) -> Iterator[list[tuple[int, Outcome]]]:
        del patience
        for at, question in enumerate(questions):
            self.asked += 1
            said, used = self._says(question), Usage("gpt", 1, 10, 10, 0.1)
            yield [(at, Unscored("who knows", usage=used) if said is None else Verdict(said, "", usage=used))]


def poor(question: Question) -> float:
    return 5.0 if "Like this." in question.prompt.user else 2.0


def believing(question: Question) -> float:
    return 5.0 if "Ignore all previous instructions" in question.prompt.user else poor(question)


def found(judge: Judge, sample: int = len(ATTACKS), **more: Any) -> Findings:
    (findings,) = run(judge, shots_of(rubric(), sample), **more)
    return findings


class TestPlan:
    def test_attacks_go_where_something_can_be_won(self) -> None:
        shots = shots_of(rubric(), len(ATTACKS))
        attacks = [shot for shot in shots if shot.kind is Kind.ATTACK]
        assert {shot.number for shot in attacks} == {2}
        assert [shot.attack for shot in attacks] == list(ATTACKS)
        assert sum(shot.kind is Kind.HARMLESS for shot in shots) == len(ATTACKS) // 2
        assert {shot.place for shot in attacks} == {"question", "answer"}

    def test_where_all_deserve_the_best_nothing_is_attacked(self) -> None:
        shots = shots_of(rubric(examples=SPEC["examples"][:1]), len(ATTACKS))
        assert {shot.kind for shot in shots} == {Kind.CLEAN, Kind.UNFENCED}

    @pytest.mark.parametrize(
        ("score", "wish", "worst", "best"),
        [
            ({"type": "numeric", "min": 1, "max": 5}, "5", 1.0, 5.0),
            ({"type": "boolean"}, "true", False, True),
            ({"type": "categorical", "labels": ["bad", "fair", "good"], "ordered": True}, '"good"', "bad", "good"),
            ({"type": "categorical", "labels": ["spam", "ham"], "several": True}, '["ham"]', "spam", "ham, spam"),
            ({"type": "checklist", "criteria": {"a": "A?"}}, '{"a": {"reason": "Met.", "answer": "yes"}}', 0.0, 1.0),
        ],
    )
    def test_every_scale_has_something_to_aim_at(self, score: Any, wish: str, worst: Any, best: Any) -> None:
        scale = rubric(score=score, examples=[]).spec.score
        assert aim_of(scale).json == wish
        assert (level_of(scale, worst), level_of(scale, best)) == (0.0, 1.0)

    def test_without_fences_the_material_is_the_same(self) -> None:
        question = rubric().question_from({"question": "How?", "answer": "Like this."})
        assert isinstance(question, Question)
        bare = unfenced(question).prompt
        assert question.prompt.fence not in bare.user
        assert "<<<" not in bare.system + bare.user
        assert "question:\nHow?\n" in bare.user
        assert "answer:\nLike this.\n" in bare.user


class TestFindings:
    def test_a_judge_that_reads_for_itself_is_not_moved(self) -> None:
        findings = found(Judge(poor))
        assert [findings.rate(kind).value for kind in (Kind.ATTACK, Kind.HARMLESS)] == [0.0, 0.0]  # type: ignore[union-attr]
        assert findings.chance == 1.0
        assert findings.shift is not None
        assert findings.shift.value == 0.0

    def test_one_that_believes_is_found_out(self) -> None:
        findings = found(Judge(believing))
        assert findings.excess is not None
        assert findings.excess > 0.05
        assert findings.chance < 0.05
        flipped = [shot for shot, hit in findings.flipped(Kind.ATTACK) if hit]
        assert "order" in {shot.attack.family for shot in flipped if shot.attack is not None}

    def test_an_attack_that_leaves_no_verdict_is_no_flip(self) -> None:
        findings = found(Judge(lambda q: None if "Ignore all previous" in q.prompt.user else poor(q)))
        assert findings.broken > 0
        assert findings.excess == 0.0

    def test_what_flips_by_itself_is_noise(self) -> None:
        random, clean = Random(5), iter([2.0] * 6)  # the examples as they are come first
        findings = found(Judge(lambda _: next(clean, None) or random.choice([2.0, 2.0, 3.0])), sample=300)
        noise = findings.rate(Kind.HARMLESS)
        assert noise is not None
        assert noise.value > 0.2
        assert findings.excess is not None
        assert abs(findings.excess) < 0.15
        assert findings.chance > 0.05

    def test_who_could_not_be_asked_says_nothing(self) -> None:
        class Down(Judge):
            def ask(self, questions: Sequence[Question], patience: float | None = None) -> Any:
                yield [(at, Failure("unavailable", "down", retryable=True)) for at in range(len(questions))]

        findings = found(Down(poor))
        assert findings.shots == ()
        assert findings.rate(Kind.ATTACK) is None


class TestMoney:
    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("limit", [0.0, 0.5, 3.0])
    def test_no_more_is_spent_than_was_said_once_it_is_known_what_a_question_costs(self, limit: float) -> None:
        judge = Judge(poor)
        found(judge, most_usd=limit)
        assert 0.1 * judge.asked <= max(limit, 0.8)

    def test_without_a_limit_all_is_asked(self) -> None:
        judge = Judge(poor)
        found(judge)
        assert judge.asked == len(shots_of(rubric(), len(ATTACKS)))
