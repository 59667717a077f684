"""Scores of a judge and labels of people in the Langfuse stand-in, as few words as a test needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.server import Sandbox
from tests.serving import trace_id


def score(number: int, name: str, value: float | str, *, ago: float = 1.0, **fields: Any) -> dict[str, Any]:
    """Return a score of trace `number`, `ago` days old."""
    at = datetime.now(UTC) - timedelta(days=ago)
    kind = "CATEGORICAL" if isinstance(value, str) else fields.pop("kind", "NUMERIC")
    return {
        "id": f"{name}-{number}-{fields.get('authorUserId', '')}",
        "name": name,
        "value": value,
        "dataType": kind,
        "traceId": trace_id(number),
        "timestamp": at.isoformat(),
        **fields,
    }


def ours(number: int, value: float | str, *, name: str = "helpfulness", **fields: Any) -> dict[str, Any]:
    """Return a score as the service writes it; `meta` changes what it carries."""
    meta: Mapping[str, Any] = {
        "segments": {"trace_name": "answer"},
        "inclusion_probability": 1.0,
        "evaluator_version": "v1",
        "judge_model": "gpt-5.4-mini",
        "session_id": f"session-{number // 2}",
        **fields.pop("meta", {}),
    }
    fields.setdefault("comment", f"Reason of judge {number}.")
    return score(number, name, value, metadata=meta, **fields)


def annotated(
    number: int, value: float | str, *, by: str = "ann", name: str = "quality", **fields: Any
) -> dict[str, Any]:
    """Return what a person said in Langfuse's user interface."""
    return score(number, name, value, source="ANNOTATION", authorUserId=by, **fields)


def load(sandbox: Sandbox, *documents: Sequence[dict[str, Any]]) -> None:
    """Put scores into the stand-in."""
    for lot in documents:
        sandbox.langfuse.load_scores(lot)
