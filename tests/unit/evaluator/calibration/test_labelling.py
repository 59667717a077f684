"""What kind of score a label is asked for, how unsure its judge was, and by what people answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from evaluator.calibration.labelling import _config, doubt_of, stratum_of
from evaluator.errors import ConfigError
from judges import Rubric, RubricSpec
from judges.shared_scale import shared_scale
from judges.teaching import Stratum
from traces import RecordedScore

NUMBERS = {"type": "numeric", "min": 1, "max": 5}
STARS = {**NUMBERS, "step": 1}
YES = {"type": "boolean"}
TONES = {"type": "categorical", "labels": ["rude", "plain", "warm"], "ordered": True}
SHARE = {"type": "checklist", "criteria": {"a": "is it?", "b": "does it?"}}


def rubric(score: dict[str, Any]) -> Rubric:
    said = {"name": "helpfulness", "inputs": {"answer": "$.root.output"}, "criteria": "Does it?", "score": score}
    return Rubric(RubricSpec.model_validate(said))


def scored(value: float | str, **meta: Any) -> RecordedScore:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    return RecordedScore("1", "helpfulness", value, "NUMERIC", "API", at, "t", metadata=meta)


@pytest.mark.parametrize(
    ("score", "said", "value", "level"),
    [
        (STARS, [], 4.0, "4"),
        (STARS, [], 3.6, "4"),
        (NUMBERS, [], 1.0, "1 to 1.8"),
        (NUMBERS, [], 5.0, "4.2 to 5"),
        (SHARE, [], 0.5, "0.4 to 0.6"),
        (YES, [], 1.0, "yes"),
        (STARS, [True, False], 3.0, "no"),
        (STARS, [True, False], 4.0, "yes"),
        (TONES, [], "plain", "plain"),
    ],
)
def test_a_level_is_as_coarse_as_people_would_call_it(
    score: dict[str, Any], said: list[Any], value: float | str, level: str
) -> None:
    scale = shared_scale(rubric(score).spec.score, said)
    assert stratum_of(scored(value, segments={}), scale) == Stratum(level, "")


def test_the_prompt_version_tells_kinds_apart_before_the_model_and_the_name_do() -> None:
    scale = shared_scale(rubric(STARS).spec.score, [])
    known = {"trace_name": "answer", "model": "m", "prompt_version": "answer:4"}
    assert stratum_of(scored(4, segments=known), scale).segment == "answer:4"
    assert stratum_of(scored(4, segments={"trace_name": "answer"}), scale).segment == "answer"
    assert stratum_of(scored(4, segments={"trace_name": ""}), scale).segment == ""


@pytest.mark.parametrize(
    ("told", "doubt"), [(None, 0), (1.0, 0), (0.25, 0.75), (0, 1), (7, 0), (-1, 1), ("0.2", 0), (True, 0)]
)
def test_doubt_is_what_confidence_lacks(told: Any, doubt: float) -> None:
    assert doubt_of(scored(4, confidence=told)) == doubt


@pytest.mark.parametrize(
    ("score", "said", "config"),
    [
        (STARS, [], {"dataType": "NUMERIC", "minValue": 1, "maxValue": 5}),
        (SHARE, [], {"dataType": "NUMERIC", "minValue": 0, "maxValue": 1}),
        (YES, [], {"dataType": "BOOLEAN"}),
        (STARS, [True], {"dataType": "BOOLEAN"}),
        (
            TONES,
            [],
            {
                "dataType": "CATEGORICAL",
                "categories": [{"label": label, "value": n} for n, label in enumerate(["rude", "plain", "warm"])],
            },
        ),
        ({**TONES, "ordered": False, "several": True}, [], None),
    ],
)
def test_people_answer_on_the_scale_of_the_judge_or_as_they_did_before(
    score: dict[str, Any], said: list[Any], config: dict[str, Any] | None
) -> None:
    known = rubric(score)
    found = _config(known, "quality", shared_scale(known.spec.score, said))
    assert found == (None if config is None else {"name": "quality", **config})


def test_a_name_that_langfuse_does_not_take_is_told_before_it_is_sent() -> None:
    known = rubric(STARS)
    with pytest.raises(ConfigError, match="at most 35"):
        _config(known, "q" * 36, shared_scale(known.spec.score, []))
