"""What Langfuse already holds of pairs that are decided about anew: what stays, what is missing, what weighs otherwise.

A trace is taken at the rate of now when its hash lies below it, and was taken at the rate of then when it lay below
that one: one hash, so the two samples together are the one of the higher rate. A score of then says by which rate it
was taken; where the rate of now is higher, that number is what must change, and nothing else. With the old one beside
new scores of the higher rate it would count too much in every mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from evaluator.definitions import Evaluator
from evaluator.langfuse import Langfuse, Window
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import LATE, Sampled
from traces import DataType, RecordedScore, Score, SessionRef, Subject, TraceRef, score_id

_AROUND: Final = timedelta(days=1)
"""A score's time is the end of its trace, which may be some time after that of its root."""

_SAME: Final = 1e-9


@dataclass(slots=True)
class Standing:
    """What is to be done about some jobs.

    Attributes:
        missing: pairs without a score, or with one by another version of their evaluator.
        replaced: those of them with a score by another version.
        raised: scores of the present version whose inclusion probability rises, as they are to be written.
        done: pairs whose score stays as it is, or is among `raised`.
    """

    missing: list[Job] = field(default_factory=list)
    replaced: set[tuple[str, str]] = field(default_factory=set)
    raised: list[Score] = field(default_factory=list)
    done: set[tuple[str, str]] = field(default_factory=set)


def standing(langfuse: Langfuse, evaluators: Iterable[Evaluator], jobs: Sequence[Job]) -> Standing:
    """Look up what Langfuse holds of the pairs of some jobs.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    found = Standing()
    if not jobs:
        return found
    known = {each.name: each for each in evaluators}
    held = _held(langfuse, known.values(), jobs)
    for job in jobs:
        missing = []
        for sampled in job.samples:
            pair, evaluator = (job.ref.id, sampled.evaluator), known[sampled.evaluator]
            own = held.get(pair, ())
            if own and all(score.metadata.get("evaluator_version") == evaluator.version for score in own):
                found.done.add(pair)
                scores = (score for name in evaluator.scores for score in held.get((job.ref.id, name), ()))
                found.raised.extend(_raised(score, sampled) for score in scores if _is_lower(score, sampled))
                continue
            missing.append(sampled)
            if own:
                found.replaced.add(pair)
        if missing:
            found.missing.append(replace(job, samples=tuple(missing)))
    return found


def _held(
    langfuse: Langfuse, evaluators: Iterable[Evaluator], jobs: Sequence[Job]
) -> Mapping[tuple[str, str], list[RecordedScore]]:
    """Return our scores by the id of the job's subject and name; those of others have other ids."""
    names = sorted({name for evaluator in evaluators for name in evaluator.scores})
    refs = [job.ref for job in jobs]
    traces = {ref.id: [ref.id] for ref in refs if isinstance(ref, TraceRef)}
    sessions: dict[str, list[str]] = {}
    for ref in refs:
        if isinstance(ref, SessionRef):
            sessions.setdefault(ref.session_id, []).append(ref.id)
    window = Window(min(ref.started for ref in refs), max(ref.ended for ref in refs) + _AROUND)
    project = langfuse.capabilities().project_id
    held: dict[tuple[str, str], list[RecordedScore]] = {}
    asked: tuple[dict[str, Any], ...] = (
        {"trace_ids": list(traces)} if traces else {},
        {"session_ids": list(sessions)} if sessions else {},
    )
    for page in (page for ids in asked if ids for page in langfuse.scores(window, names=names, **ids)):
        for score in page:
            of = sessions.get(score.session_id or "") if score.trace_id is None else traces.get(score.trace_id)
            if of and score.id == score_id(project, _subject(score), score.name):
                for ref_id in of:
                    held.setdefault((ref_id, score.name), []).append(score)
    return held


def _subject(score: RecordedScore) -> Subject:
    if score.trace_id is None:
        return Subject(session_id=score.session_id)
    return Subject(trace_id=score.trace_id, observation_id=score.observation_id)


def _chance(score: RecordedScore) -> float:
    """Return with which probability an observation was chosen among those of its trace."""
    chosen, matching = (score.metadata.get(f"observations_{what}") for what in ("chosen", "matching"))
    return chosen / matching if isinstance(chosen, int) and isinstance(matching, int) and matching else 1.0


def _is_lower(score: RecordedScore, sampled: Sampled) -> bool:
    probability = score.metadata.get("inclusion_probability")
    if score.metadata.get("stratum") == LATE or not isinstance(probability, int | float):
        return True
    return probability < sampled.probability * _chance(score) - _SAME


def _raised(score: RecordedScore, sampled: Sampled) -> Score:
    probability = sampled.probability * _chance(score)
    return Score(
        id=score.id,
        subject=_subject(score),
        name=score.name,
        value=score.value,
        data_type=DataType(score.data_type),
        timestamp=score.timestamp,
        environment=score.environment,
        comment=score.comment,
        metadata={**score.metadata, "inclusion_probability": probability, "stratum": sampled.stratum},
    )
