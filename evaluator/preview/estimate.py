"""What a backfill would do, before it does it: traces, judge calls, cost, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from evaluator.app import Desk
from evaluator.definitions import Evaluator
from evaluator.discovery.standing import standing
from evaluator.langfuse import Window
from evaluator.preview.forecast import Forecast, forecasts
from evaluator.preview.planning import DONE, Told, replay
from evaluator.sampling.jobs import Job

ASSUMED_SECONDS: Final = 3.0
"""How long an answer of a judge takes; what a server really needs shows once it is asked."""

_TRACES_A_SECOND: Final = 50.0
"""What one process on two slow cores works off when no judge is asked (docs/performance.md has more)."""

_ROOTS_A_REQUEST: Final = 1000
_TRACES_A_REQUEST: Final = 25
"""One of these reads traces whole, and one what scores they have."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to come.

    Attributes:
        traces: that finished in the span.
        evaluated: those of them of which something is missing, at most as many as were asked for.
        pairs: of them and evaluators.
        done: pairs that have their score already.
        replaced: pairs whose score is by another version of its evaluator, and becomes one by the present version.
        raised: scores that stay, and say a higher inclusion probability.
        calls: of judges.
        usd: what they cost; None where a price or the tokens are not known.
        seconds: about how long it takes, at least.
        because: what it takes so long for.
        forecasts: the same of each evaluator, not cut to a limit.
    """

    traces: int
    evaluated: int
    pairs: int
    done: int
    replaced: int
    raised: int
    calls: float
    usd: float | None
    seconds: float
    because: str
    forecasts: tuple[Forecast, ...]


def estimate(
    desk: Desk, window: Window, evaluators: Sequence[Evaluator], *, content: int, limit: int | None, told: Told
) -> Estimate:
    """Replay the span and look up what is done.

    Args:
        desk: where traces and scores are.
        window: of end times.
        evaluators: who would evaluate, at the rates of the run.
        content: how many traces are read whole, to know tokens and cost.
        limit: how many traces are evaluated at most.
        told: how many more roots were read.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    counts = {"replaced": 0, "raised": 0}

    def done(jobs: Sequence[Job]) -> set[tuple[str, str]]:
        found = standing(desk.langfuse, evaluators, jobs)
        counts["replaced"] += len(found.replaced)
        counts["raised"] += len(found.raised)
        return found.done

    asked = replace(desk, definitions=replace(desk.definitions, evaluators=tuple(evaluators)))
    plan = replay(asked, window, content=content, told=told, done=done, sessions=True)
    found = tuple(forecasts(plan.now, desk.state.spending()))
    every = sum(plan.now.evaluated.values())
    part = 1.0 if limit is None or every <= limit else limit / every
    calls = part * sum(each.calls for each in found)
    costs = [each.usd for each in found if each.evaluator.rubric is not None]
    seconds, because = _time(desk, plan.now.traces, part * every, calls, part * sum(e.input_tokens or 0 for e in found))
    return Estimate(
        traces=plan.now.traces,
        evaluated=round(part * every),
        pairs=round(part * sum(each.sampled for each in found)),
        done=sum(taken.states[DONE] for taken in plan.now.taken.values()),
        replaced=counts["replaced"],
        raised=counts["raised"],
        calls=calls,
        usd=None if None in costs else part * sum(filter(None, costs)),
        seconds=seconds,
        because=because,
        forecasts=found,
    )


def _time(desk: Desk, traces: int, evaluated: float, calls: float, tokens: float) -> tuple[float, str]:
    """Return the longest of what each limit needs, in seconds, and which it is."""
    limits = desk.definitions.service.limits
    requests = traces / _ROOTS_A_REQUEST + 2 * evaluated / _TRACES_A_REQUEST
    at_once = limits.model_calls_in_flight
    needs = [
        (evaluated / _TRACES_A_SECOND, "reading traces and writing scores"),
        (calls * ASSUMED_SECONDS / at_once, f"{at_once} calls at once, {ASSUMED_SECONDS:g} s each"),
    ]
    for number, allowed, what in (
        (requests, limits.langfuse_requests_per_minute, "requests to Langfuse a minute"),
        (calls, limits.model_requests_per_minute, "requests to the model a minute"),
        (tokens, limits.model_tokens_per_minute, "tokens a minute"),
    ):
        if allowed is not None:
            needs.append((number / allowed * 60, f"{allowed:,} {what}"))
    return max(needs)
