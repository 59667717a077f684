"""Rules about single steps: the slowest, the one that takes all the time, those done again."""

from __future__ import annotations

import math
from collections import Counter
from typing import ClassVar, Final

from pydantic import Field

from rules.agents import canonical
from rules.base import Rule, counted, failed, passed, quoted
from traces import NotApplicable, Observation, ObservationType, Trace, Verdict

_NO_STEPS: Final = NotApplicable("no ended step")
_NO_FIRST_TOKEN: Final = NotApplicable("no time to first token recorded")
_TOO_QUICK: Final = NotApplicable("too few steps, or too quick")


class MaxStepLatency(Rule):
    """No single step took longer than a limit; the root is not a step, and steps still open are not looked at."""

    example: ClassVar = {"name": "no-slow-tool", "rule": "max_step_latency", "seconds": 5, "type": "TOOL"}

    seconds: float = Field(gt=0, allow_inf_nan=False, description="the longest that is allowed, in seconds")
    type: ObservationType | None = Field(default=None, description="only steps of this type")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look for the slowest step."""
        slowest = slowest_step(trace, self.type)
        if slowest is None:
            return _NO_STEPS
        step, took = slowest
        verdict = passed if took <= self.seconds else failed
        return verdict(f"{described(step)} took {took:.2f} s, at most {self.seconds:g} s allowed", took)


class MaxTimeToFirstToken(Rule):
    """No model kept people waiting for its first token longer than a limit.

    A trace in which no generation has a time to first token (it did not stream) is not scored.
    """

    example: ClassVar = {"name": "starts-quickly", "rule": "max_time_to_first_token", "seconds": 2}

    seconds: float = Field(gt=0, allow_inf_nan=False, description="the longest that is allowed, in seconds")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look for the longest wait."""
        waits = first_token_waits(trace)
        if not waits:
            return _NO_FIRST_TOKEN
        step, longest = max(waits, key=lambda found: found[1])
        verdict = passed if longest <= self.seconds else failed
        found = f"{longest:.2f} s to the first token of {described(step)}, the longest of {counted(len(waits), 'wait')}"
        return verdict(f"{found}; at most {self.seconds:g} s allowed", longest)


class MaxRetries(Rule):
    """No more than `limit` steps are a second try: the same type, name and input again after it had failed.

    A step failed when it was recorded at level ERROR. Steps without a recorded input are no second tries.
    """

    example: ClassVar = {"name": "few-retries", "rule": "max_retries", "limit": 2}

    limit: int = Field(default=2, ge=0, description="how many second tries are allowed")

    def check(self, trace: Trace) -> Verdict:
        """Count the steps that were done again."""
        broken: set[tuple[str, str, bytes]] = set()
        again: Counter[str] = Counter()
        for step in trace.observations:
            # The input of what neither failed nor might be a second try is not worth writing out.
            if step is trace.root or step.input is None or not (broken or step.level == "ERROR"):
                continue
            key = step.type, step.name, canonical(step.input)
            again[step.name] += key in broken
            if step.level == "ERROR":
                broken.add(key)
            else:
                broken.discard(key)
        total = again.total()
        if not total:
            return passed("no step was done again after it failed", 0)
        name, times = again.most_common(1)[0]
        verdict = passed if total <= self.limit else failed
        found = f"{counted(total, 'step')} done again after it failed, {quoted(name)} most often ({times})"
        return verdict(f"{found}; {self.limit} allowed", total)


class StepTimeShare(Rule):
    """No single step takes more than a share of the trace's time: what does is what to make faster.

    Only steps with nothing below them count, since what holds others takes their time too. A trace with fewer than two
    of them, or quicker than `at_least` seconds, is not scored.
    """

    example: ClassVar = {"name": "no-bottleneck", "rule": "step_time_share", "share": 0.8}

    share: float = Field(gt=0, le=1, description="the largest share that is allowed, from 0 to 1")
    at_least: float = Field(
        default=1, ge=0, allow_inf_nan=False, description="seconds from which on a trace is looked at"
    )

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Compare the slowest step with the whole."""
        parents = {step.parent_id for step in trace.observations}
        leaves = [(step, took) for step, took in timed(trace) if step.id not in parents]
        if len(leaves) < 2 or trace.latency <= 0 or trace.latency < self.at_least:
            return _TOO_QUICK
        step, took = max(leaves, key=lambda found: found[1])
        share = min(took / trace.latency, 1.0)
        verdict = passed if share <= self.share else failed
        return verdict(
            f"{described(step)} took {share:.0%} of {trace.latency:.2f} s, at most {self.share:.0%} allowed", share
        )


def timed(trace: Trace) -> list[tuple[Observation, float]]:
    """Return the steps that ended with the seconds each took, without the root and what ends before it starts."""
    timed_steps = ((step, step.latency) for step in trace.observations if step is not trace.root)
    return [(step, took) for step, took in timed_steps if took is not None and took >= 0]


def slowest_step(trace: Trace, of: ObservationType | None = None) -> tuple[Observation, float] | None:
    """Return the slowest step, of one type or of all, and what it took; None when none has ended."""
    steps = ((step, took) for step, took in timed(trace) if of in {None, step.type})
    return max(steps, key=lambda found: found[1], default=None)


def first_token_waits(trace: Trace) -> list[tuple[Observation, float]]:
    """Return the model calls that tell how long the first token took, in seconds."""
    told = ((step, step.time_to_first_token) for step in trace.generations)
    return [(step, wait) for step, wait in told if wait is not None and math.isfinite(wait) and wait >= 0]


def described(step: Observation) -> str:
    """Return what a step is, for a reason."""
    return f"{step.type} {quoted(step.name, 40)}"
