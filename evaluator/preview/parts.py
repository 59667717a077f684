"""What an evaluator looks at of a trace (the trace itself, or each of the observations it is for), or of a session."""

from __future__ import annotations

from evaluator.definitions import Evaluator
from evaluator.langfuse import Langfuse
from evaluator.sampling.targets import of_observations
from traces import Session, Trace


def parts(evaluator: Evaluator, trace: Trace, salt: str) -> list[Trace]:
    """Return what gets a score, as the service chooses it; nothing where sessions do."""
    if evaluator.observe is None:
        return [trace] if evaluator.target == "trace" else []
    return [part for _, part in of_observations(trace, evaluator.observe, salt)]


def named(part: Trace | Session) -> str:
    """Return how a part is called: by the id of its trace, and which step it is; a session by its own."""
    if isinstance(part, Session) or part.whole is None:
        return part.id
    return f"{part.id}/{part.root.id}"


def ids_of(part: Trace | Session) -> dict[str, str | None]:
    """Return the ids that a part has in Langfuse, by kind."""
    if isinstance(part, Session):
        return {"session_id": part.id}
    return {"trace_id": part.id, "observation_id": None if part.whole is None else part.root.id}


def url_of(part: Trace | Session, langfuse: Langfuse) -> str:
    """Return where a person reads a part."""
    return langfuse.session_url(part.id) if isinstance(part, Session) else langfuse.trace_url(part.id)
