"""A verdict becomes the score Langfuse receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evaluator.definitions import Evaluator
from evaluator.sampling.sampler import Sampled
from evaluator.sampling.targets import Item
from judges import CACHED, FINGERPRINT, OF_MATERIAL, PANEL
from traces import DataType, Ref, Score, ScoreValue, Verdict, score_id

Accepted = Sequence[tuple[Ref, Sequence[Score]]]
"""Scores that Langfuse took, each with what the job is about that they come from."""


def scores_of(
    verdict: Verdict, item: Item, evaluator: Evaluator, sampled: Sampled, project_id: str
) -> tuple[Score, ...]:
    """Return the score of one verdict, and behind it one for each criterion of a checklist that wants it."""
    own = score_of(verdict, item, evaluator, sampled, project_id)
    parts = {} if evaluator.rubric is None else evaluator.rubric.parts(verdict)
    return own, *(_part(own, name, part, verdict, project_id) for name, part in parts.items())


def score_of(verdict: Verdict, item: Item, evaluator: Evaluator, sampled: Sampled, project_id: str) -> Score:
    """Return the score of one verdict.

    Identity and timestamp are functions of the subject and the evaluator's name alone, so writing again replaces. The
    metadata carries what a monitor needs later: how likely the subject was to be taken, and to which segments it
    belongs.
    """
    return Score(
        id=score_id(project_id, item.subject, evaluator.name),
        subject=item.subject,
        name=evaluator.name,
        value=_value(verdict.value, evaluator.data_type),
        data_type=evaluator.data_type,
        timestamp=item.at,
        environment=item.environment,
        comment=verdict.reason,
        metadata=_metadata(verdict, item, evaluator, sampled),
    )


def _part(own: Score, name: str, part: Verdict, whole: Verdict, project_id: str) -> Score:
    """Return the score of one criterion: of the same subject, sample and ruler as the `own` score of the whole."""
    of_whole = {"confidence", *whole.details} - {"judge_model", FINGERPRINT, PANEL, CACHED, *OF_MATERIAL}
    shared = {key: value for key, value in own.metadata.items() if key not in of_whole}
    agreed = {} if part.confidence is None else {"confidence": part.confidence}
    return replace(
        own,
        id=score_id(project_id, own.subject, name),
        name=name,
        value=float(part.value),
        data_type=DataType.BOOLEAN,
        comment=part.reason,
        metadata={**shared, **agreed, "part_of": own.name},
    )


def _value(value: float | bool | str, data_type: DataType) -> ScoreValue:
    return str(value) if data_type is DataType.CATEGORICAL else float(value)


def _metadata(verdict: Verdict, item: Item, evaluator: Evaluator, sampled: Sampled) -> dict[str, Any]:
    known: dict[str, Any] = {
        **verdict.details,
        **item.about,
        "evaluator_version": evaluator.version,
        "severity": evaluator.severity,
        "inclusion_probability": sampled.probability * item.chance,
        "stratum": sampled.stratum,
        "session_id": item.session_id,
        "judge_model": verdict.usage.model or None,
        "confidence": verdict.confidence,
        "segments": item.segments,
    }
    return {key: value for key, value in known.items() if value is not None}
