"""What of one trace an evaluator looks at: the trace itself, or each of the observations it is for."""

from __future__ import annotations

from evaluator.definitions import Evaluator
from evaluator.targets import of_observations
from traces import Trace


def parts(evaluator: Evaluator, trace: Trace, salt: str) -> list[Trace]:
    """Return what gets a score, as the service chooses it; nothing where sessions do."""
    if evaluator.observe is None:
        return [trace] if evaluator.target == "trace" else []
    materials = (item.material for item in of_observations(trace, evaluator.observe, salt))
    return [each for each in materials if isinstance(each, Trace)]


def named(part: Trace) -> str:
    """Return how a part is called: by the id of its trace, and which step it is."""
    return part.id if part.whole is None else f"{part.id}/{part.root.id}"
