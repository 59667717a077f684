from __future__ import annotations

from dataclasses import replace
from typing import Any

from evaluator.definitions import Evaluator
from evaluator.sampling.sampler import Sampled
from evaluator.sampling.targets import of_trace
from evaluator.scoring.scores import score_of, scores_of
from judges import Rubric, RubricSpec
from tests.building import trace
from traces import DataType, Usage, Verdict, When

SAMPLED = Sampled("tone", 0.25, "1")


def evaluator(*, each: bool = True) -> Evaluator:
    score = {"type": "checklist", "criteria": {"cites": "Does it?", "polite": {"ask": "Is it?", "weight": 3}}}
    spec = RubricSpec.model_validate(
        {
            "name": "tone",
            "inputs": {"answer": "$.root.output"},
            "criteria": "Judge the answer.",
            "score": score | {"each": each},
        }
    )
    rubric = Rubric(spec)
    return Evaluator("tone", "rubric", When(), spec.sample, rubric.version, rubric.data_type, rubric=rubric)


def verdict(**findings: bool | None) -> Verdict:
    held = {name: {"answer": answer, "reason": f"{name}?", "agreement": 0.75} for name, answer in findings.items()}
    details: dict[str, Any] = {"criteria": held, "judge_model": "gpt", "spread": 0.1, "opinions": [{}]}
    return Verdict(0.5, "whole", 0.9, Usage("gpt", 1, 10, 5, 0.1), details)


def test_each_criterion_is_a_boolean_score_of_the_same_subject_sample_and_ruler() -> None:
    judged, by = trace(), evaluator()
    own, cites, polite = scores_of(verdict(cites=False, polite=True), of_trace(judged), by, SAMPLED, "project")
    assert own == score_of(verdict(cites=False, polite=True), of_trace(judged), by, SAMPLED, "project")
    assert [(s.name, s.value, s.data_type) for s in (cites, polite)] == [
        ("tone.cites", 0.0, DataType.BOOLEAN),
        ("tone.polite", 1.0, DataType.BOOLEAN),
    ]
    assert (cites.subject, cites.timestamp, cites.environment) == (own.subject, own.timestamp, own.environment)
    assert cites.comment == "cites?"
    assert cites.metadata == {
        "judge_model": "gpt",
        "evaluator_version": by.version,
        "inclusion_probability": 0.25,
        "stratum": "1",
        "segments": judged.segments(),
        "confidence": 0.75,
        "part_of": "tone",
    }


def test_what_is_told_of_the_material_stands_on_each_criterion_too() -> None:
    told = {"redacted": {"email": 2}, "suspected": ["instruction"]}
    whole = verdict(cites=True)
    whole = replace(whole, details={**whole.details, **told})
    for score in scores_of(whole, of_trace(trace()), evaluator(), SAMPLED, "project"):
        assert {key: score.metadata[key] for key in told} == told


def test_their_identities_differ_and_never_change() -> None:
    first = scores_of(verdict(cites=False, polite=True), of_trace(trace()), evaluator(), SAMPLED, "project")
    again = scores_of(verdict(cites=True, polite=True), of_trace(trace()), evaluator(), SAMPLED, "project")
    assert [score.id for score in first] == [score.id for score in again]
    assert len({score.id for score in first}) == 3


def test_a_criterion_that_could_not_be_judged_has_no_score() -> None:
    names = [s.name for s in scores_of(verdict(cites=None, polite=True), of_trace(trace()), evaluator(), SAMPLED, "p")]
    assert names == ["tone", "tone.polite"]


def test_without_each_there_is_one_score_under_the_same_version() -> None:
    plain = evaluator(each=False)
    assert [s.name for s in scores_of(verdict(cites=True, polite=True), of_trace(trace()), plain, SAMPLED, "p")] == [
        "tone"
    ]
    assert plain.version == evaluator().version
    assert (plain.scores, list(evaluator().scores)) == (
        {"tone": DataType.NUMERIC},
        ["tone", "tone.cites", "tone.polite"],
    )
