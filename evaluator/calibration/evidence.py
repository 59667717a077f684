"""Recorded scores as evidence for monitors: our own carry all that is needed, for others the trace is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluator.sampling.sampler import LATE
from judges import PANEL
from monitors import Judged
from traces import RecordedScore, TraceRoot


def evidence(score: RecordedScore, number: float, root: TraceRoot | None) -> Judged:
    """Return a score that counts as a number as evidence; `root` tells the segments of a score that is not ours."""
    meta = score.metadata
    ours = is_ours(score)
    session = meta.get("session_id") or score.session_id or (root.session_id if root else None) or score.trace_id
    return Judged(
        value=number,
        at=score.timestamp,
        trace_id=score.trace_id or "",
        weight=_weight(meta.get("inclusion_probability")),
        session=str(session or score.id),
        segments={k: str(v) for k, v in meta["segments"].items()} if ours else _segments(root),
        version=_ruler(meta),
        comment=score.comment,
        boolean=score.data_type == "BOOLEAN",
        session_id="" if score.trace_id else score.session_id or "",
        confidence=_confidence(meta.get("confidence")),
    )


def _ruler(meta: Mapping[str, Any]) -> str:
    """Return what measured a score. Of a panel not everybody answers each time: it is one ruler all the same."""
    judge = meta.get(PANEL) or meta.get("judge_model")
    return " ".join(str(known) for known in (meta.get("evaluator_version"), judge) if known)


def counts(score: RecordedScore) -> bool:
    """Whether the score is of the sample: what feedback brought back for a reader has others that count for it."""
    return score.metadata.get("stratum") != LATE


def is_ours(score: RecordedScore) -> bool:
    """Whether the score carries what our own ones do, so that its trace need not be looked up."""
    return isinstance(score.metadata.get("segments"), Mapping)


def _weight(probability: Any) -> float:
    """Return one over the inclusion probability; scores of others were not sampled by us and count once."""
    usable = isinstance(probability, (int, float)) and 0 < probability <= 1
    return 1 / float(probability) if usable else 1.0


def _confidence(told: Any) -> float:
    """Return how sure a judge was, 0 where nobody says."""
    return float(told) if isinstance(told, (int, float)) and 0 <= told <= 1 else 0.0


def _segments(root: TraceRoot | None) -> dict[str, str]:
    """Return what our own scores carry in their metadata, for the score of somebody else."""
    if root is None:
        return {}
    prompt = f"{root.prompt_name}:{root.prompt_version}" if root.prompt_name and root.prompt_version else None
    known: dict[str, str | None] = {
        "trace_name": root.name,
        "model": root.model,
        "prompt_version": prompt,
        "release": root.release,
        "version": root.version,
        "environment": root.ref.environment,
        "tags": ",".join(sorted(root.tags)),
    }
    return {key: text for key, text in known.items() if text}
